#include "worker/channel_memory.h"

#include "base/rt_err.h"
#include "base/rt_linux.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__
/* Smaller pieces have red zones. A larger one takes too long to fill. */
#define MAPPED_FROM_BYTES (UINT64_C(16) << 20)
#else
#define MAPPED_FROM_BYTES (UINT64_C(64) << 10)
#endif
#define STEP_BYTES (UINT64_C(512) << 10)

/* Kept apart from its memory, which starts on a page if it is mapped. A head there would shift all
 * that follows, so that an idle UDT connection would touch one page more. */
struct wrk_piece {
    wrk_piece_t *next;
    uint8_t *memory;
    uint64_t bytes; /* of a mapped one whole pages */
    uint64_t asked_bytes;
    bool mapped;
};

static int refuse(const wrk_channel_t *ch, uint64_t more)
{
    uint64_t wanted_bytes = ch->memory.used_bytes + more;
    return rt_err_set(
        -ENOMEM,
        "the worker needs %llu bytes for channel \"%s\" beside its shared memory, and "
        "%llu are left of what its user may have: lower its sizes, close channels, or "
        "start the pool with --user-limits shm=",
        (unsigned long long)wanted_bytes, ch->config.name,
        (unsigned long long)ch->memory.limit_bytes);
}

int wrk_count_memory(wrk_channel_t *ch, uint64_t bytes)
{
    wrk_memory_t *m = &ch->memory;
    if (m->limit_bytes != 0 && (bytes > m->limit_bytes || m->used_bytes > m->limit_bytes - bytes))
        return refuse(ch, bytes);
    m->used_bytes += bytes;
    return 0;
}

static uint64_t whole_pages(uint64_t bytes)
{
    return (bytes + SHM_PAGE_BYTES - 1) / SHM_PAGE_BYTES * SHM_PAGE_BYTES;
}

/* Huge pages would be filled with zeroes at once, which takes 100 us. */
static void *map(uint64_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    (void)madvise(at, bytes, MADV_NOHUGEPAGE);
    return at;
}

static void *allocate(uint64_t bytes)
{
    void *at = NULL;
    if (posix_memalign(&at, RT_LINE_BYTES, bytes) != 0)
        return NULL;
    memset(at, 0, bytes);
    return at;
}

static wrk_piece_t *make_piece(uint64_t bytes)
{
    bool mapped = bytes >= MAPPED_FROM_BYTES;
    uint64_t all = mapped ? whole_pages(bytes) : bytes;
    wrk_piece_t *piece = malloc(sizeof *piece);
    if (piece == NULL)
        return NULL;
    *piece = (wrk_piece_t){.memory = mapped ? map(all) : allocate(all),
                           .bytes = all,
                           .asked_bytes = bytes,
                           .mapped = mapped};
    if (piece->memory != NULL)
        return piece;
    free(piece);
    return NULL;
}

void *wrk_take_memory(wrk_channel_t *ch, uint64_t bytes)
{
    if (wrk_count_memory(ch, bytes) < 0)
        return NULL;
    wrk_piece_t *piece = make_piece(bytes);
    if (piece == NULL) {
        ch->memory.used_bytes -= bytes;
        (void)rt_err_set(-ENOMEM,
                         "the worker has no memory for %llu bytes of channel \"%s\": close "
                         "channels, or raise its limit (ulimit -v)",
                         (unsigned long long)bytes, ch->config.name);
        return NULL;
    }
    piece->next = ch->memory.pieces;
    ch->memory.pieces = piece;
    return piece->memory;
}

static void give_back(worker_t *w, wrk_piece_t *piece)
{
    if (!piece->mapped) {
        free(piece->memory);
        free(piece);
        return;
    }
    piece->next = w->given_back;
    w->given_back = piece;
}

void wrk_give_memory(wrk_channel_t *ch, void *memory)
{
    if (memory == NULL)
        return;
    wrk_piece_t **at = &ch->memory.pieces;
    while ((*at)->memory != memory)
        at = &(*at)->next;
    wrk_piece_t *piece = *at;
    *at = piece->next;
    ch->memory.used_bytes -= piece->asked_bytes;
    give_back(ch->worker, piece);
}

void channel_memory_init(wrk_channel_t *ch, uint64_t limit_bytes)
{
    ch->memory = (wrk_memory_t){.limit_bytes = limit_bytes};
}

uint64_t channel_memory_settle(wrk_channel_t *ch)
{
    wrk_memory_t *m = &ch->memory;
    if (m->limit_bytes == 0)
        return m->used_bytes;
    uint64_t most = m->used_bytes + ch->ops->room_bytes;
    m->limit_bytes = most < m->limit_bytes ? most : m->limit_bytes;
    return m->limit_bytes;
}

void channel_memory_end(wrk_channel_t *ch)
{
    while (ch->memory.pieces != NULL) {
        wrk_piece_t *piece = ch->memory.pieces;
        ch->memory.pieces = piece->next;
        give_back(ch->worker, piece);
    }
    ch->memory.used_bytes = 0;
}

bool channel_memory_step(worker_t *w)
{
    wrk_piece_t *piece = w->given_back;
    if (piece == NULL)
        return false;
    if (piece->bytes > STEP_BYTES) {
        piece->bytes -= STEP_BYTES;
        (void)munmap(piece->memory + piece->bytes, STEP_BYTES);
    } else {
        w->given_back = piece->next;
        (void)munmap(piece->memory, piece->bytes);
        free(piece);
    }
    return true;
}

/* Not munmap, which waits for every process that is changing the file's mappings. */
bool channel_memory_leave_step(const shm_segment_t *segment, uint64_t *at)
{
    uint64_t left = segment->bytes - *at;
    uint64_t bytes = left < STEP_BYTES ? left : STEP_BYTES;
    if (madvise(segment->base + *at, bytes, MADV_DONTNEED_LOCKED) != 0)
        (void)madvise(segment->base + *at, bytes, MADV_DONTNEED);
    *at += bytes;
    return bytes < left;
}
