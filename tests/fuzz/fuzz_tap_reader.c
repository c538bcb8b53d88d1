/* The log of a tap as its tool reads it: the tool may be root's and the worker any user's, so the
 * writer writes anything anywhere, also between two loads of the reader. What must hold: nothing is
 * read beyond the memory or written beyond the buffer, every call ends, the records of a batch lie
 * one behind the other and fill it.
 *
 *      input:  step step ...   put (size), hostile_plan(), take (size of the buffer) */
#include "hostile.h"

#include "shm/tap_ring.c"

#define MEMORY_BYTES TAP_LEAST_BYTES
#define LONGEST 3000u

typedef struct fuzz {
    fuzz_input_t in;
    uint8_t *memory;
    tap_writer_t writer;
    tap_reader_t reader;
} fuzz_t;

static void put(fuzz_t *f)
{
    static const uint8_t payload[LONGEST];
    uint32_t bytes = (uint32_t)fuzz_take(&f->in, 2) % (LONGEST + 1);
    tap_record_t record = {.kind = (uint8_t)(fuzz_take(&f->in, 1) % 6),
                           .payload_bytes = bytes,
                           .captured_bytes = bytes};
    tap_writer_put(&f->writer, &record, payload, bytes, payload);
}

static void check_batch(const uint8_t *buffer, const tap_batch_t *batch, uint32_t room)
{
    uint32_t at = 0;
    fuzz_require(batch->bytes <= room, "a batch fits the buffer");
    for (uint32_t i = 0; i < batch->records; i++) {
        tap_record_t record;
        fuzz_require(batch->bytes - at >= sizeof record, "a record lies in its batch");
        memcpy(&record, buffer + at, sizeof record);
        fuzz_require(record.bytes >= sizeof record && record.bytes <= batch->bytes - at,
                     "a record ends in its batch");
        at += record.bytes;
    }
    fuzz_require(at == batch->bytes, "the records fill the batch");
}

static void take(fuzz_t *f)
{
    static const uint32_t rooms[] = {200, 1024, 8192, TAP_RECORD_MOST};
    uint32_t room = rooms[fuzz_take(&f->in, 1) % 4];
    uint8_t *buffer = malloc(room);
    tap_batch_t batch;
    fuzz_require(buffer != NULL, "memory");
    hostile_new_call();
    fuzz_require(tap_reader_take(&f->reader, buffer, room, &batch) == batch.records, "a count");
    check_batch(buffer, &batch, room);
    free(buffer);
}

static void plan(fuzz_t *f)
{
    hostile_plan(&f->in, (uint32_t)f->reader.at, (uint32_t)f->reader.ring_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t f = {.in = {.at = data, .left = size}, .memory = hostile_part(MEMORY_BYTES)};
    hostile_reset();
    hostile_may_write(f.memory, 1024);
    hostile_may_write(f.memory + TAP_HEAD_BYTES, MEMORY_BYTES - TAP_HEAD_BYTES);
    tap_writer_init(&f.writer, f.memory, MEMORY_BYTES, 1, RT_CLOCK_MONOTONIC);
    fuzz_require(tap_reader_init(&f.reader, f.memory, MEMORY_BYTES) == 0, "a fresh log");
    static void (*const steps[])(fuzz_t *) = {put, plan, take, take};
    while (f.in.left > 0)
        steps[fuzz_take(&f.in, 1) % 4](&f);
    free(f.memory);
    return 0;
}
