/* SPMCQueue.h: a queue of pointers with a fixed capacity, one producer, any number of consumers, no
 * locks. First in, first out. NULL is a value like any other. C and C++.
 *
 * Everything that the producer wrote before try_push is visible to the consumer that pops that
 * pointer, on every machine. */
#ifndef RTPSYNTH_SPMCQUEUE_H
#define RTPSYNTH_SPMCQUEUE_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct SPMCQueue SPMCQueue;

/* capacity: a power of two. All of it is usable. NULL: it is not a power of two, or there is no
 * memory. */
SPMCQueue *create_queue(size_t capacity);

/* No other thread may use the queue any more. Pointers that are still in it are ignored. */
void destroy_queue(SPMCQueue *queue);

/* The producer only. false: full. */
bool try_push(SPMCQueue *queue, void *value);

/* Any consumer. false: empty, and *value is unchanged. */
bool try_pop(SPMCQueue *queue, void **value);

/* Any consumer: takes up to howmany consecutive values at once. Returns how many, 0 for an empty
 * queue. Only that many entries of values[] are valid. */
size_t try_pop_many(SPMCQueue *queue, void **values, size_t howmany);

#ifdef __cplusplus
}
#endif

#endif
