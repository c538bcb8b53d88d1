#include "worker/bells.h"

#include "base/rt_err.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define RINGS_PER_CALL 16u /* 0.5 to 3 us each */

/* --- bells ---------------------------------------------------------------------------------- */

/* After the shutdown nobody can send to the worker's end any more, so no descriptors reach the
 * worker that way. An eventfd would not do: its holders share the flag that keeps a write from
 * waiting. A pipe would not do: a reader can hold its lock for as long as it likes. */
int bells_make(wrk_bell_ends_t *ends)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
        return rt_err_system(errno, "making a bell");
    if (shutdown(pair[0], SHUT_RD) != 0) {
        int rc = rt_err_system(errno, "making a bell");
        close(pair[0]);
        close(pair[1]);
        return rc;
    }
    *ends = (wrk_bell_ends_t){.own = pair[0], .theirs = pair[1]};
    return 0;
}

/* Errors do not matter: a full socket is rung already, and one that hung up has no reader. */
void wrk_ring(int bell_fd)
{
    (void)send(bell_fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A bell that takes the place of another one, or one that lies behind a new one, could be passed
 * over: rounds under way begin again. */
static void begin_again(wrk_channel_t *ch)
{
    for (unsigned kind = 0; kind < WRK_BELL_KINDS; kind++)
        if (ch->rounds[kind].left > 0)
            ch->rounds[kind].left = ch->bell_count;
}

void bells_add(wrk_channel_t *ch, uint32_t slot, int fd)
{
    ch->bells[ch->bell_count++] = (wrk_bell_t){.slot = slot, .fd = fd};
    begin_again(ch);
}

void bells_close(wrk_channel_t *ch, int fd)
{
    for (uint32_t i = 0; i < ch->bell_count; i++) {
        if (ch->bells[i].fd != fd)
            continue;
        close(fd);
        ch->bells[i] = ch->bells[--ch->bell_count];
        begin_again(ch);
        break;
    }
}

/* --- rounds --------------------------------------------------------------------------------- */

static bool is_wanted(const wrk_channel_t *ch, const wrk_bell_t *bell, wrk_bell_kind_t kind)
{
    if ((bell->slot == WRK_WATCHER) != (kind == WRK_BELL_WATCHERS))
        return false;
    if (kind == WRK_BELL_WATCHERS)
        return true;
    shm_reader_t *reader = &ch->segment.readers[bell->slot];
    return rt_load_relaxed(&reader->bell_want) != 0 && rt_exchange(&reader->bell_want, 0) != 0;
}

static void ring_some(wrk_channel_t *ch, wrk_bell_kind_t kind)
{
    wrk_round_t *round = &ch->rounds[kind];
    for (unsigned rings = 0; round->left > 0 && rings < RINGS_PER_CALL; round->left--) {
        if (round->next >= ch->bell_count)
            round->next = 0;
        const wrk_bell_t *bell = &ch->bells[round->next++];
        if (!is_wanted(ch, bell, kind))
            continue;
        wrk_ring(bell->fd);
        rings++;
    }
}

static bool is_done(const wrk_channel_t *ch)
{
    return ch->rounds[WRK_BELL_READERS].left == 0 && ch->rounds[WRK_BELL_WATCHERS].left == 0;
}

/* Behind the others. */
static void enlist(wrk_channel_t *ch)
{
    worker_t *w = ch->worker;
    ch->ringing = true;
    ch->ringing_next = NULL;
    if (w->ringing == NULL)
        w->ringing = ch;
    else
        w->ringing_last->ringing_next = ch;
    w->ringing_last = ch;
}

/* A round continues where the last one ended: if rounds never end, each bell has its turn. */
static void begin_round(wrk_channel_t *ch, wrk_bell_kind_t kind)
{
    ch->rounds[kind].left = ch->bell_count;
    ring_some(ch, kind);
    if (ch->rounds[kind].left > 0 && !ch->ringing)
        enlist(ch);
}

void bells_ring_readers(wrk_channel_t *ch)
{
    rt_fence_full(); /* the tail is visible before the requests are
                        read; a reader does the reverse */
    begin_round(ch, WRK_BELL_READERS);
}

void bells_ring_watchers(void *of)
{
    begin_round(of, WRK_BELL_WATCHERS);
}

/* By turns, because readers that ask in every pass keep their round going for ever. */
static wrk_bell_kind_t kind_of_turn(const wrk_channel_t *ch)
{
    wrk_bell_kind_t other =
        ch->rung_last == WRK_BELL_READERS ? WRK_BELL_WATCHERS : WRK_BELL_READERS;
    return ch->rounds[other].left > 0 ? other : ch->rung_last;
}

bool bells_step(worker_t *w)
{
    wrk_channel_t *ch = w->ringing;
    if (ch == NULL)
        return false;
    w->ringing = ch->ringing_next;
    ch->ringing = false;
    ch->rung_last = kind_of_turn(ch);
    ring_some(ch, ch->rung_last);
    if (!is_done(ch))
        enlist(ch);
    return true;
}

void bells_forget(wrk_channel_t *ch)
{
    worker_t *w = ch->worker;
    wrk_channel_t *last = NULL;
    for (wrk_channel_t **at = &w->ringing; *at != NULL;) {
        if (*at == ch) {
            *at = ch->ringing_next;
            continue;
        }
        last = *at;
        at = &last->ringing_next;
    }
    w->ringing_last = last;
    ch->ringing = false;
}
