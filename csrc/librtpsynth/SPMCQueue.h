/* SPMCQueue.h: a queue of pointers with a fixed capacity, one producer, any number of consumers,
 * no locks. First in, first out; NULL is a value as any other. C and C++.
 *
 * What the producer wrote before try_push is visible to whoever pops that pointer, on every
 * machine. */
#ifndef RTPSYNTH_SPMCQUEUE_H
#define RTPSYNTH_SPMCQUEUE_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct SPMCQueue SPMCQueue;

/* capacity: a power of two; all of it is usable. NULL: not one, or no memory. */
SPMCQueue *create_queue(size_t capacity);

/* No other thread uses the queue any more. What is still in it is not looked at. */
void destroy_queue(SPMCQueue *queue);

/* The producer only. false: full. */
bool try_push(SPMCQueue *queue, void *value);

/* Any consumer. false: empty, and *value is as it was. */
bool try_pop(SPMCQueue *queue, void **value);

/* Any consumer: takes up to howmany neighbouring values at once. Returns how many, 0 for an empty
 * queue; of values[] only so many mean anything. */
size_t try_pop_many(SPMCQueue *queue, void **values, size_t howmany);

#ifdef __cplusplus
}
#endif

#endif
