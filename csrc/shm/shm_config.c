#include "shm/shm_config.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define PAGE_BYTES 4096u
#define MIN_RING_BYTES PAGE_BYTES
#define MAX_RING_BYTES (UINT64_C(8) << 30) /* places are counted in 32 bits of 8 bytes each */
/* Limits of the emulated link (proto/impair), checked before anything is created. */
#define MAX_BURST_PACKETS 1e6
#define MAX_RATE_BPS UINT64_C(1000000000000)
#define MAX_QUEUE_BYTES (UINT64_C(1) << 30)

void shm_config_init(shm_config_t *c)
{
    *c = (shm_config_t){.config_bytes = sizeof *c, .engine = "udp", SHM_CONFIG_DEFAULTS};
}

static bool name_char(char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
           ch == '.' || ch == '_' || ch == '-';
}

int shm_name_check(const char *what, const char *name)
{
    size_t n = strnlen(name, SHM_NAME_BYTES);
    bool folder = (n == 1 && name[0] == '.') || (n == 2 && name[0] == '.' && name[1] == '.');
    bool ok = n >= 1 && n <= SHM_NAME_MAX && !folder;
    for (size_t i = 0; ok && i < n; i++)
        ok = name_char(name[i]);
    if (ok)
        return 0;
    return rt_err_set(-EINVAL,
                      "%s \"%.65s\" is not usable: use 1 to %u characters of A-Z a-z 0-9 . _ -, "
                      "but not \".\" or \"..\" alone",
                      what, name, SHM_NAME_MAX);
}

int shm_check_config_bytes(const char *what, uint32_t bytes, size_t expected)
{
    if (bytes == expected)
        return 0;
    return rt_err_set(-EPROTO,
                      "%s configuration of %u bytes, this build expects %zu: both sides must be of "
                      "the same shmring version",
                      what, bytes, expected);
}

int shm_check_range(const char *what, int64_t value, int64_t low, int64_t high)
{
    if (value >= low && value <= high)
        return 0;
    return rt_err_set(-EINVAL, "%s is %lld; it must be between %lld and %lld", what,
                      (long long)value, (long long)low, (long long)high);
}

static int check_amount(const char *what, uint64_t value, uint64_t high)
{
    if (value <= high)
        return 0;
    return rt_err_set(-EINVAL, "%s is %llu; it must be between 0 and %llu", what,
                      (unsigned long long)value, (unsigned long long)high);
}

static int check_share(const char *what, double p)
{
    if (p >= 0.0 && p <= 1.0)
        return 0;
    return rt_err_set(-EINVAL, "%s is %g; it is a share and must be between 0 and 1", what, p);
}

/* Negated, so that NaN is refused as well. */
static int check_burst(const shm_impair_t *i)
{
    if (i->burst_loss == 0.0)
        return 0;
    if (!(i->burst_packets >= 1.0 && i->burst_packets <= MAX_BURST_PACKETS))
        return rt_err_set(-EINVAL,
                          "impairment burst_packets is %g; it is the mean length of a burst and must "
                          "be between 1 and %g when burst_loss is set",
                          i->burst_packets, MAX_BURST_PACKETS);
    double most = i->burst_packets / (1.0 + i->burst_packets);
    if (i->burst_loss > most)
        return rt_err_set(-EINVAL,
                          "impairment burst_loss is %g; bursts of %g packets make at most %g: raise "
                          "burst_packets, or use loss",
                          i->burst_loss, i->burst_packets, most);
    return 0;
}

int shm_impair_check(const shm_impair_t *i)
{
    int rc = check_share("impairment loss", i->loss);
    rc = rc ? rc : check_share("impairment burst_loss", i->burst_loss);
    rc = rc ? rc : check_burst(i);
    rc = rc ? rc : check_share("impairment duplicate", i->duplicate);
    rc = rc ? rc : check_share("impairment reorder", i->reorder);
    rc = rc ? rc : check_share("impairment corrupt", i->corrupt);
    rc = rc ? rc : shm_check_range("impairment delay_ns", i->delay_ns, 0, 60 * RT_NS_PER_S);
    rc = rc ? rc : shm_check_range("impairment jitter_ns", i->jitter_ns, 0, 60 * RT_NS_PER_S);
    rc = rc ? rc : shm_check_range("impairment reorder_extra_ns", i->reorder_extra_ns, 0,
                               60 * RT_NS_PER_S);
    rc = rc ? rc : check_amount("impairment rate_bps", i->rate_bps, MAX_RATE_BPS);
    return rc ? rc : check_amount("impairment queue_bytes", i->queue_bytes, MAX_QUEUE_BYTES);
}

static int check_ring(const char *what, uint64_t bytes)
{
    if (bytes >= MIN_RING_BYTES && bytes <= MAX_RING_BYTES && bytes % PAGE_BYTES == 0)
        return 0;
    return rt_err_set(-EINVAL,
                      "%s is %llu bytes; a ring takes %u bytes to %llu GiB in whole pages: lower its "
                      "packets or packet_bytes",
                      what, (unsigned long long)bytes, MIN_RING_BYTES,
                      (unsigned long long)(MAX_RING_BYTES >> 30));
}

static int check_engine_bytes(uint64_t bytes)
{
    if (bytes <= SHM_MAX_ENGINE_BYTES && bytes % PAGE_BYTES == 0)
        return 0;
    return rt_err_set(-EINVAL,
                      "engine's shared memory is %llu bytes; it takes 0 to %llu GiB in whole pages of "
                      "%u bytes: lower the capacity of the engine",
                      (unsigned long long)bytes, (unsigned long long)(SHM_MAX_ENGINE_BYTES >> 30),
                      PAGE_BYTES);
}

uint32_t shm_config_longest(const shm_config_t *c, uint64_t ring_bytes)
{
    uint64_t most = ring_bytes / 4 - SHM_RECORD_HEAD_BYTES;
    return c->max_payload_bytes < most ? c->max_payload_bytes : (uint32_t)most;
}

static int check_longest(const shm_config_t *c, uint64_t ring_bytes)
{
    if (shm_config_longest(c, ring_bytes) == c->max_payload_bytes)
        return 0;
    return rt_err_set(
        -EMSGSIZE,
        "max_payload of %u bytes does not fit a ring of %llu bytes (at most a quarter "
        "of it less %u): raise the capacity or lower max_payload",
        c->max_payload_bytes, (unsigned long long)ring_bytes, SHM_RECORD_HEAD_BYTES);
}

static int check_sizes(const shm_config_t *c)
{
    int rc = check_ring("tx ring", c->tx_bytes);
    rc = rc ? rc : check_ring("rx ring", c->rx_bytes);
    rc = rc ? rc : check_engine_bytes(c->engine_bytes);
    if (rc)
        return rc;
    rc = c->direction & SHM_TX ? check_longest(c, c->tx_bytes) : 0;
    return rc == 0 && c->direction & SHM_RX ? check_longest(c, c->rx_bytes) : rc;
}

int shm_check_family(const char *what, unsigned family)
{
    if (family == 0 || family == 4 || family == 6)
        return 0;
    return rt_err_set(-EINVAL, "%s address family is %u; it must be 4 or 6", what, family);
}

static int check_addresses(const shm_config_t *c)
{
    int rc = shm_check_family("local", c->local.family);
    rc = rc ? rc : shm_check_family("remote", c->remote.family);
    if (rc)
        return rc;
    if (c->local.family && c->remote.family && c->local.family != c->remote.family)
        return rt_err_set(-EINVAL, "local is IPv%u and remote is IPv%u; use one family for both",
                          c->local.family, c->remote.family);
    if (c->connect && c->remote.family == 0)
        return rt_err_set(-EINVAL, "connect is set but there is no remote address to connect to");
    return 0;
}

/* Written so that NaN is refused as well. */
static int check_ratio(const char *what, double ratio, int most)
{
    if (ratio == 0.0 || (ratio > 1.0 && ratio <= most))
        return 0;
    return rt_err_set(-EINVAL, "%s is %g; it must be above 1, up to %d, or None", what, ratio, most);
}

int shm_check_number(const char *what, int64_t value, int64_t low, int64_t high, bool power)
{
    int rc = shm_check_range(what, value, low, high);
    if (rc == 0 && power && value & (value - 1))
        rc = rt_err_set(-EINVAL, "%s is %lld; it must be a power of two or 0", what,
                        (long long)value);
    return rc;
}

static int check_numbers(const shm_config_t *c)
{
    int rc = 0;
#define LIMIT(field, shown, low, high, power) \
    rc = rc ? rc : shm_check_number(shown, (int64_t)c->field, low, high, power);
    SHM_CONFIG_LIMITS(LIMIT)
#undef LIMIT
#define RATIO(field, most) rc = rc ? rc : check_ratio(#field, c->field, most);
    SHM_CONFIG_RATIOS(RATIO)
#undef RATIO
    return rc;
}

int shm_config_check(const shm_config_t *c)
{
    int rc = shm_check_config_bytes("channel", c->config_bytes, sizeof *c);
    rc = rc ? rc : shm_name_check("channel name", c->name);
    rc = rc ? rc : shm_name_check("namespace", c->name_space);
    rc = rc ? rc : shm_name_check("pool name", c->pool);
    rc = rc ? rc : check_numbers(c);
    rc = rc ? rc : check_sizes(c);
    rc = rc ? rc : check_addresses(c);
    rc = rc ? rc : shm_impair_check(&c->impair_tx);
    rc = rc ? rc : shm_impair_check(&c->impair_rx);
    if (rc)
        return rc;
    if (c->clock == RT_CLOCK_TAI && rt_tai_offset_s() == 0)
        return rt_err_set(-EINVAL,
                          "clock is tai but the kernel's TAI offset is 0, so that CLOCK_TAI equals UTC: "
                          "let ptp4l/phc2sys or chrony (leapsectz) set it, or use clock=\"monotonic\"");
    if (memchr(c->engine, 0, sizeof c->engine) == NULL || c->engine[0] == '\0')
        return rt_err_set(-EINVAL, "engine name is empty or longer than %zu characters",
                          sizeof c->engine - 1);
    if (memchr(c->device, 0, sizeof c->device) == NULL)
        return rt_err_set(-EINVAL, "device name is longer than %zu characters",
                          sizeof c->device - 1);
    return 0;
}
