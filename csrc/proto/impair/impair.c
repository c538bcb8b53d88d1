/* How it works
 *
 * Everything that happens to a datagram is decided when it is offered, including its due time. The
 * bottleneck is the time from which on it is idle, and the path after it only adds to that. So
 * nothing needs to run between an offer and the time at which the datagram is due.
 *
 * Exit times never decrease (jitter does not reorder), and reordering adds the same amount
 * to each exit time that it changes. So both kinds are queues, in order of their due time without
 * any sorting:
 *
 *      line       [d1 d2 d4 d5 ...]     exit = max(exit before, bottleneck + delay +- jitter)
 *      held_back  [d3 ...]              exit + reorder_extra
 *
 * and the next datagram due is at the front of one of the two. Each queue is a byte ring:
 *
 *      0             head                tail      wrap   bytes
 *      +-------------+-------------------+---------+------+
 *      |    free     | on the way        |  free   |unused|
 *      +-------------+-------------------+---------+------+
 *
 * An entry never wraps at the end of the ring: the rest is left unused. One wrap point is
 * enough, because the next one can only come after head has passed this one. Only an offer writes
 * to the rings, so emitted datagrams can be read until then. */
#include "proto/impair/impair.h"

#include "base/rt_err.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define NS_PER_S UINT64_C(1000000000)
#define KIB UINT64_C(1024)
#define MIB (KIB * KIB)
#define MIN_QUEUE_BYTES (128 * KIB)
#define MAX_DEFAULT_QUEUE_BYTES (64 * MIB)
#define MIN_STORE_BYTES MIB
#define MAX_DEFAULT_STORE_BYTES (256 * MIB)
#define DEFAULT_RATE_BPS UINT64_C(1000000000)
#define DEFAULT_QUEUE_PER_S 20u /* 50 ms */

typedef struct impair_entry {
    int64_t due_ns;
    int64_t offered_ns;
    int64_t time_ns;
    uint32_t entry_bytes; /* header, datagram and padding to 8 */
    uint32_t len;
    uint32_t tag_bytes;
    uint32_t flags;
    uint8_t tag[IMPAIR_TAG_BYTES];
} impair_entry_t;

/* The random decisions for one copy, before it is known what happens to it. */
typedef struct impair_draw {
    int64_t jitter_ns;
    uint32_t flip_bit;
    bool corrupt;
    bool reorder;
} impair_draw_t;

static uint64_t entry_bytes(uint32_t len)
{
    return (sizeof(impair_entry_t) + len + 7u) & ~UINT64_C(7);
}

/* --- configuration ------------------------------------------------------------------------ */

static int check_share(const char *field, double value, double limit)
{
    if (value >= 0.0 && value <= limit)
        return 0;
    return rt_err_set(-EINVAL, "impair %s is %g; set 0 .. %g", field, value, limit);
}

static int check_time(const char *field, int64_t value)
{
    if (value >= 0 && value <= IMPAIR_MAX_DELAY_NS)
        return 0;
    return rt_err_set(-EINVAL, "impair %s is %" PRId64 "; set 0 .. %" PRId64, field, value,
                      IMPAIR_MAX_DELAY_NS);
}

static int check_amount(const char *field, uint64_t value, uint64_t limit)
{
    if (value <= limit)
        return 0;
    return rt_err_set(-EINVAL, "impair %s is %" PRIu64 "; set 0 .. %" PRIu64, field, value, limit);
}

static int check_bursts(const impair_config_t *c)
{
    int rc = check_share("burst_loss", c->burst_loss, 1.0);
    if (rc < 0 || c->burst_loss == 0.0)
        return rc;
    if (!(c->burst_packets >= 1.0 && c->burst_packets <= IMPAIR_MAX_BURST_PACKETS))
        return rt_err_set(-EINVAL,
                          "impair burst_packets is %g; set the mean length of a burst, 1 .. %g, "
                          "when burst_loss is set",
                          c->burst_packets, IMPAIR_MAX_BURST_PACKETS);
    double most = c->burst_packets / (1.0 + c->burst_packets);
    if (c->burst_loss > most)
        return rt_err_set(
            -EINVAL,
            "impair burst_loss is %g; bursts of %g packets can make 0 .. %g, so raise "
            "burst_packets or use loss",
            c->burst_loss, c->burst_packets, most);
    return 0;
}

static int check_store(const impair_config_t *c)
{
    int rc = check_amount("max_datagram_bytes", c->max_datagram_bytes, IMPAIR_MAX_DATAGRAM_BYTES);
    if (rc < 0 || c->store_bytes == 0)
        return rc;
    uint32_t longest =
        c->max_datagram_bytes > 0 ? c->max_datagram_bytes : IMPAIR_MAX_DATAGRAM_BYTES;
    if (c->store_bytes < entry_bytes(longest))
        return rt_err_set(-EINVAL,
                          "impair store_bytes is %" PRIu64 "; set at least %" PRIu64
                          ", or lower max_datagram_bytes",
                          c->store_bytes, entry_bytes(longest));
    return check_amount("store_bytes", c->store_bytes, UINT64_C(1) << 40);
}

int impair_config_check(const impair_config_t *c)
{
    int rc = check_share("loss", c->loss, 1.0);
    rc = rc ? rc : check_bursts(c);
    rc = rc ? rc : check_share("duplicate", c->duplicate, 1.0);
    rc = rc ? rc : check_share("reorder", c->reorder, 1.0);
    rc = rc ? rc : check_share("corrupt", c->corrupt, 1.0);
    rc = rc ? rc : check_time("delay_ns", c->delay_ns);
    rc = rc ? rc : check_time("jitter_ns", c->jitter_ns);
    rc = rc ? rc : check_time("reorder_extra_ns", c->reorder_extra_ns);
    rc = rc ? rc : check_amount("rate_bps", c->rate_bps, IMPAIR_MAX_RATE_BPS);
    rc = rc ? rc : check_amount("queue_bytes", c->queue_bytes, IMPAIR_MAX_QUEUE_BYTES);
    return rc == 0 ? check_store(c) : rc;
}

bool impair_config_active(const impair_config_t *c)
{
    return c->loss > 0 || c->burst_loss > 0 || c->duplicate > 0 || c->reorder > 0 ||
           c->corrupt > 0 || c->delay_ns > 0 || c->jitter_ns > 0 || c->rate_bps > 0;
}

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
    if (value < low)
        return low;
    return value < high ? value : high;
}

static uint64_t default_store_bytes(const impair_config_t *c)
{
    uint64_t rate_bps = c->rate_bps > 0 ? c->rate_bps : DEFAULT_RATE_BPS;
    uint64_t queue_bytes = c->rate_bps > 0 ? c->queue_bytes : 0;
    double longest_s =
        (double)(c->delay_ns + c->jitter_ns + c->reorder_extra_ns) / (double)NS_PER_S;
    double way_bytes = (double)rate_bps / 8.0 * longest_s;
    double bytes = 2.0 * (way_bytes + (double)queue_bytes);
    return bytes < (double)MAX_DEFAULT_STORE_BYTES
               ? clamp((uint64_t)bytes, MIN_STORE_BYTES, MAX_DEFAULT_STORE_BYTES)
               : MAX_DEFAULT_STORE_BYTES;
}

static void fill_in_defaults(impair_config_t *c)
{
    if (c->max_datagram_bytes == 0)
        c->max_datagram_bytes = IMPAIR_MAX_DATAGRAM_BYTES;
    if (c->queue_bytes == 0)
        c->queue_bytes =
            clamp(c->rate_bps / 8 / DEFAULT_QUEUE_PER_S, MIN_QUEUE_BYTES, MAX_DEFAULT_QUEUE_BYTES);
    if (c->reorder_extra_ns == 0 && c->reorder > 0)
        c->reorder_extra_ns = IMPAIR_DEFAULT_REORDER_EXTRA_NS;
    if (c->store_bytes == 0)
        c->store_bytes = default_store_bytes(c);
    c->store_bytes = (c->store_bytes + 7u) & ~UINT64_C(7);
}

static uint64_t memory_bytes(const impair_config_t *filled_in)
{
    return filled_in->reorder > 0 ? 2 * filled_in->store_bytes : filled_in->store_bytes;
}

size_t impair_memory_bytes(const impair_config_t *config)
{
    if (impair_config_check(config) < 0)
        return 0;
    impair_config_t c = *config;
    fill_in_defaults(&c);
    return (size_t)memory_bytes(&c);
}

static void set_chances(impair_t *im)
{
    uint64_t seed = im->config.seed;
    rt_random_init(&im->burst_chance, rt_random_split(&seed));
    rt_random_init(&im->loss_chance, rt_random_split(&seed));
    rt_random_init(&im->duplicate_chance, rt_random_split(&seed));
    rt_random_init(&im->corrupt_chance, rt_random_split(&seed));
    rt_random_init(&im->jitter_chance, rt_random_split(&seed));
    rt_random_init(&im->reorder_chance, rt_random_split(&seed));
}

static void set_bursts(impair_t *im)
{
    bool on = im->config.burst_loss > 0;
    im->p_leave = on ? 1.0 / im->config.burst_packets : 0;
    im->p_enter = on ? im->p_leave * im->config.burst_loss / (1.0 - im->config.burst_loss) : 0;
    im->in_burst = on && im->in_burst;
}

int impair_init(impair_t *im, const impair_config_t *config, void *memory, size_t bytes)
{
    int rc = impair_config_check(config);
    if (rc < 0)
        return rc;
    memset(im, 0, sizeof *im);
    im->config = *config;
    fill_in_defaults(&im->config);
    if (bytes < memory_bytes(&im->config))
        return rt_err_set(-ENOBUFS, "emulated link got %zu bytes; it needs %" PRIu64, bytes,
                          memory_bytes(&im->config));
    im->line.store = memory;
    im->line.bytes = im->config.store_bytes;
    if (im->config.reorder > 0) {
        im->held_back.store = im->line.store + im->config.store_bytes;
        im->held_back.bytes = im->config.store_bytes;
    }
    set_bursts(im);
    set_chances(im);
    im->now_ns = INT64_MIN;
    im->link_free_ns = INT64_MIN;
    im->last_exit_ns = INT64_MIN;
    im->last_held_ns = INT64_MIN;
    im->old_until_ns = INT64_MIN;
    return 0;
}

/* --- lines -------------------------------------------------------------------------------- */

static impair_entry_t *entry_at(const impair_line_t *line, uint64_t place)
{
    return (impair_entry_t *)(void *)(line->store + place % line->bytes);
}

static uint64_t skip_wrap(const impair_line_t *line, uint64_t place)
{
    return place == line->wrap ? (place / line->bytes + 1) * line->bytes : place;
}

static void line_clear(impair_line_t *line)
{
    line->head = line->tail = 0;
    line->wrap = UINT64_MAX;
    line->count = 0;
}

/* Room for an entry of this size at the tail, NULL if there is none. */
static impair_entry_t *line_claim(impair_line_t *line, uint64_t size)
{
    if (line->count == 0)
        line_clear(line);
    uint64_t to_end = line->bytes - line->tail % line->bytes;
    uint64_t skip = size <= to_end ? 0 : to_end;
    if (line->tail + skip + size - line->head > line->bytes)
        return NULL;
    if (skip > 0) {
        line->wrap = line->tail;
        line->tail += skip;
    }
    impair_entry_t *entry = entry_at(line, line->tail);
    line->tail += size;
    line->count++;
    return entry;
}

static impair_entry_t *line_front(const impair_line_t *line)
{
    return line->count > 0 ? entry_at(line, skip_wrap(line, line->head)) : NULL;
}

static void line_give_out(impair_line_t *line)
{
    uint64_t place = skip_wrap(line, line->head);
    line->head = place + entry_at(line, place)->entry_bytes;
    line->count--;
}

/* --- the way of a datagram ---------------------------------------------------------------- */

static bool meets_burst(impair_t *im)
{
    double unit = rt_random_unit(&im->burst_chance);
    im->in_burst = im->in_burst ? unit >= im->p_leave : unit < im->p_enter;
    return im->in_burst;
}

/* A fixed number of steps of each generator, whatever the configuration. */
static void draw_copy(impair_t *im, uint32_t len, impair_draw_t *draw)
{
    const impair_config_t *c = &im->config;
    draw->corrupt = rt_random_chance(&im->corrupt_chance, c->corrupt) && len > 0;
    draw->flip_bit = rt_random_below(&im->corrupt_chance, len * 8u);
    draw->reorder = rt_random_chance(&im->reorder_chance, c->reorder);
    double spread_ns = (double)(2 * c->jitter_ns + 1);
    draw->jitter_ns = (int64_t)(rt_random_unit(&im->jitter_chance) * spread_ns) - c->jitter_ns;
}

/* What still waits of the datagrams that were offered before the rate was changed. */
static uint64_t old_backlog_bytes(const impair_t *im)
{
    if (im->old_until_ns <= im->now_ns)
        return 0;
    double left_ns = (double)(im->old_until_ns - im->now_ns);
    return (uint64_t)(im->old_bytes * left_ns / (double)(im->old_until_ns - im->old_from_ns)) + 1;
}

/* Payload that waits for the bottleneck, which has work. */
static uint64_t backlog_bytes(const impair_t *im)
{
    int64_t from_ns = im->old_until_ns > im->now_ns ? im->old_until_ns : im->now_ns;
    if (im->link_free_ns < from_ns)
        return old_backlog_bytes(im);
    /* At most queue_bytes * 8e9 and one datagram more, which fits 64 bits. */
    uint64_t ahead_ns = (uint64_t)(im->link_free_ns - from_ns);
    uint64_t backlog = ahead_ns * im->config.rate_bps + im->link_free_rest;
    return (backlog + 8 * NS_PER_S - 1) / (8 * NS_PER_S) + old_backlog_bytes(im);
}

static bool queue_has_room(const impair_t *im, uint32_t len)
{
    if (im->config.rate_bps == 0 || im->link_free_ns < im->now_ns)
        return true;
    uint64_t waiting = backlog_bytes(im);
    return waiting == 0 || waiting + len <= im->config.queue_bytes;
}

/* When the last bit leaves the bottleneck, whole nanoseconds; the fraction is carried along. */
static int64_t serialise(impair_t *im, uint32_t len)
{
    if (im->config.rate_bps == 0)
        return im->now_ns;
    if (im->link_free_ns < im->now_ns) {
        im->link_free_ns = im->now_ns;
        im->link_free_rest = 0;
    }
    uint64_t work = (uint64_t)len * 8 * NS_PER_S + im->link_free_rest;
    im->link_free_ns += (int64_t)(work / im->config.rate_bps);
    im->link_free_rest = work % im->config.rate_bps;
    return im->link_free_ns;
}

static int64_t travel(impair_t *im, int64_t from_ns, int64_t jitter_ns)
{
    int64_t way_ns = im->config.delay_ns + jitter_ns;
    int64_t exit_ns = way_ns > 0 ? from_ns + way_ns : from_ns;
    if (exit_ns < im->last_exit_ns)
        exit_ns = im->last_exit_ns;
    im->last_exit_ns = exit_ns;
    return exit_ns;
}

/* They keep their order among themselves, also when the extra delay is changed. */
static int64_t hold_back(impair_t *im, int64_t exit_ns)
{
    int64_t due_ns = exit_ns + im->config.reorder_extra_ns;
    if (due_ns < im->last_held_ns)
        due_ns = im->last_held_ns;
    im->last_held_ns = due_ns;
    return due_ns;
}

static void fill_entry(impair_entry_t *entry, const impair_in_t *in, const impair_draw_t *draw)
{
    entry->entry_bytes = (uint32_t)entry_bytes(in->len);
    entry->time_ns = in->time_ns;
    entry->len = in->len;
    entry->tag_bytes = in->tag_bytes;
    uint8_t *data = (uint8_t *)(entry + 1);
    if (in->tag_bytes > 0)
        memcpy(entry->tag, in->tag, in->tag_bytes);
    if (in->len > 0)
        memcpy(data, in->data, in->len);
    if (draw->corrupt)
        data[draw->flip_bit / 8] ^= (uint8_t)(1u << draw->flip_bit % 8);
}

/* Returns 1 when the copy is on its way, 0 when it was dropped. */
static int pass_copy(impair_t *im, const impair_in_t *in, const impair_draw_t *draw, unsigned flags)
{
    if (!queue_has_room(im, in->len)) {
        im->counters.queue_dropped++;
        return 0;
    }
    bool reorder = draw->reorder && im->held_back.bytes != 0;
    impair_line_t *line = reorder ? &im->held_back : &im->line;
    impair_entry_t *entry = line_claim(line, entry_bytes(in->len));
    if (entry == NULL) {
        im->counters.queue_dropped++;
        im->counters.store_dropped++;
        return 0;
    }
    int64_t exit_ns = travel(im, serialise(im, in->len), draw->jitter_ns);
    entry->offered_ns = im->now_ns;
    entry->due_ns = reorder ? hold_back(im, exit_ns) : exit_ns;
    entry->flags =
        flags | (draw->corrupt ? IMPAIR_OUT_CORRUPTED : 0) | (reorder ? IMPAIR_OUT_REORDERED : 0);
    fill_entry(entry, in, draw);
    im->counters.corrupted += draw->corrupt;
    im->counters.reordered += reorder;
    return 1;
}

static void move_clock(impair_t *im, int64_t now_ns)
{
    if (now_ns > im->now_ns)
        im->now_ns = now_ns;
}

int impair_offer(impair_t *im, const impair_in_t *in, int64_t now_ns)
{
    if (in->len > im->config.max_datagram_bytes)
        return -EMSGSIZE;
    if (in->tag_bytes > IMPAIR_TAG_BYTES)
        return -EINVAL;
    move_clock(im, now_ns);
    im->counters.offered++;

    bool in_burst = meets_burst(im);
    bool alone = rt_random_chance(&im->loss_chance, im->config.loss);
    bool twice = rt_random_chance(&im->duplicate_chance, im->config.duplicate);
    impair_draw_t first;
    impair_draw_t second;
    draw_copy(im, in->len, &first);
    draw_copy(im, in->len, &second);

    if (in_burst) {
        im->counters.burst_lost++;
        return 0;
    }
    if (alone) {
        im->counters.lost++;
        return 0;
    }
    int passed = pass_copy(im, in, &first, 0);
    if (twice) {
        im->counters.duplicated++;
        passed += pass_copy(im, in, &second, IMPAIR_OUT_COPY);
    }
    return passed;
}

/* What is in the storage before is due before what came later. */
static const impair_line_t *first_of(const impair_line_t *old, const impair_line_t *line)
{
    return old->count > 0 ? old : line;
}

/* The line whose front is due first. If both are due at once, the one in order, because the other
 * must be overtaken. */
static const impair_line_t *next_line(const impair_t *im)
{
    const impair_line_t *line = first_of(&im->old_line, &im->line);
    const impair_line_t *held_back = first_of(&im->old_held_back, &im->held_back);
    const impair_entry_t *ordered = line_front(line);
    const impair_entry_t *held = line_front(held_back);
    if (ordered == NULL)
        return held != NULL ? held_back : NULL;
    return held != NULL && held->due_ns < ordered->due_ns ? held_back : line;
}

static void show_entry(impair_entry_t *entry, impair_out_t *out)
{
    *out = (impair_out_t){
        .data = (uint8_t *)(entry + 1),
        .len = entry->len,
        .tag_bytes = entry->tag_bytes,
        .tag = entry->tag,
        .time_ns = entry->time_ns,
        .held_ns = entry->due_ns - entry->offered_ns,
        .due_ns = entry->due_ns,
        .flags = entry->flags,
    };
}

size_t impair_emit(impair_t *im, impair_out_t *out, size_t max, int64_t now_ns)
{
    if (now_ns < im->now_ns)
        now_ns = im->now_ns;
    size_t n = 0;
    while (n < max) {
        impair_line_t *line = (impair_line_t *)next_line(im);
        if (line == NULL || line_front(line)->due_ns > now_ns)
            break;
        show_entry(line_front(line), &out[n++]);
        line_give_out(line);
    }
    im->counters.passed += n;
    return n;
}

int64_t impair_deadline_ns(const impair_t *im)
{
    const impair_line_t *line = next_line(im);
    return line != NULL ? line_front(line)->due_ns : INT64_MAX;
}

static uint64_t old_queued(const impair_t *im)
{
    return im->old_line.count + im->old_held_back.count;
}

uint64_t impair_queued(const impair_t *im)
{
    return im->line.count + im->held_back.count + old_queued(im);
}

uint64_t impair_stored_bytes(const impair_t *im)
{
    return im->line.tail - im->line.head + im->held_back.tail - im->held_back.head;
}

void impair_clear(impair_t *im)
{
    im->counters.queue_dropped += impair_queued(im);
    line_clear(&im->line);
    line_clear(&im->held_back);
    line_clear(&im->old_line);
    line_clear(&im->old_held_back);
    im->link_free_ns = im->now_ns;
    im->link_free_rest = 0;
    im->last_exit_ns = im->now_ns;
    im->last_held_ns = im->now_ns;
    im->old_until_ns = INT64_MIN;
}

/* --- change ------------------------------------------------------------------------------- */

/* With the defaults, and with no less storage than there is. */
static impair_config_t changed_config(const impair_t *im, const impair_config_t *config)
{
    impair_config_t c = *config;
    c.max_datagram_bytes = im->config.max_datagram_bytes;
    c.store_bytes = 0;
    fill_in_defaults(&c);
    if (c.store_bytes < im->line.bytes)
        c.store_bytes = im->line.bytes;
    return c;
}

static bool storage_suffices(const impair_t *im, const impair_config_t *changed)
{
    return changed->store_bytes == im->line.bytes &&
           (changed->reorder == 0 || im->held_back.bytes != 0);
}

/* Storage for reordered datagrams stays when there is any: some may be on their way. */
static uint64_t changed_bytes(const impair_t *im, const impair_config_t *changed)
{
    bool two = changed->reorder > 0 || im->held_back.bytes != 0;
    return two ? 2 * changed->store_bytes : changed->store_bytes;
}

size_t impair_change_bytes(const impair_t *im, const impair_config_t *config)
{
    impair_config_t c = changed_config(im, config);
    bool waits = im->old_line.store != NULL;
    return waits || storage_suffices(im, &c) ? 0 : (size_t)changed_bytes(im, &c);
}

static void use_storage(impair_t *im, const impair_config_t *changed, uint8_t *memory)
{
    bool two = changed_bytes(im, changed) > changed->store_bytes;
    im->old_line = im->line;
    im->old_held_back = im->held_back;
    im->line = (impair_line_t){.store = memory, .bytes = changed->store_bytes};
    if (two)
        im->held_back =
            (impair_line_t){.store = memory + changed->store_bytes, .bytes = changed->store_bytes};
}

void *impair_old_memory(impair_t *im)
{
    void *memory = im->old_line.store;
    if (old_queued(im) > 0)
        return NULL;
    im->old_line = im->old_held_back = (impair_line_t){.store = NULL};
    return memory;
}

/* What waits keeps its exit times: its bytes leave the queue evenly until then. */
static void change_rate(impair_t *im)
{
    if (im->config.rate_bps != 0 && im->link_free_ns > im->now_ns) {
        im->old_bytes = (double)backlog_bytes(im);
        im->old_from_ns = im->now_ns;
        im->old_until_ns = im->link_free_ns;
    }
    im->link_free_rest = 0; /* a fraction in the unit of the old rate */
}

int impair_change(impair_t *im, const impair_config_t *config, void *memory, size_t bytes,
                  int64_t now_ns)
{
    int rc = impair_config_check(config);
    if (rc < 0)
        return rc;
    size_t needed = impair_change_bytes(im, config);
    if (needed > 0 && (memory == NULL || bytes < needed))
        return rt_err_set(-ENOBUFS, "emulated link got %zu bytes; it needs %zu", bytes, needed);
    impair_config_t c = changed_config(im, config);
    move_clock(im, now_ns);
    if (needed > 0)
        use_storage(im, &c, memory);
    if (c.rate_bps != im->config.rate_bps)
        change_rate(im);
    bool other_seed = c.seed != im->config.seed;
    im->config = c;
    set_bursts(im);
    if (other_seed)
        set_chances(im);
    return 0;
}
