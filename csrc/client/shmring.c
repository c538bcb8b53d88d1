#include "client/shmring_private.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "client/channel_stats.h"
#include "client/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

_Static_assert(sizeof(shmring_address_t) == sizeof(shm_addr_t), "copied as a whole");
_Static_assert(offsetof(shmring_address_t, ip) == offsetof(shm_addr_t, ip), "copied as a whole");
_Static_assert(SHMRING_HELD == (int)SHM_STATE_HELD && SHMRING_FAILED == (int)SHM_STATE_FAILED,
               "the worker's numbers");

const char *shmring_version(void)
{
    return RT_VERSION;
}

const char *shmring_error(void)
{
    return rt_err_text();
}

/* --- attaching ------------------------------------------------------------------------------ */

static int check_arguments(const char *name, const shmring_options_t *o)
{
    if (name == NULL)
        return rt_err_set(-EINVAL, "the channel's name is NULL");
    if (o->reading < SHMRING_AS_OPENED || o->reading > SHMRING_SHARED)
        return rt_err_set(-EINVAL, "reading is %d: use one of shmring_reading_t", (int)o->reading);
    for (size_t i = 0; i < sizeof o->reserved / sizeof *o->reserved; i++)
        if (o->reserved[i] != 0)
            return rt_err_set(-EINVAL, "shmring_options_t.reserved[%zu] is %u: set it to 0", i,
                              (unsigned)o->reserved[i]);
    return 0;
}

static int read_mode_of(const shmring_t *c, int reading)
{
    if (reading == SHMRING_AS_OPENED)
        return c->segment.writable ? c->segment.config.read_mode : SHM_READ_EACH;
    return reading == SHMRING_SHARED ? SHM_READ_SHARED : SHM_READ_EACH;
}

static int attach(shmring_t *c, const char *name, const shmring_options_t *o)
{
    uint32_t epoch;
    int rc = check_arguments(name, o);
    rc = rc ? rc
            : host_map_segment(&c->segment, host_namespace(o->name_space), name, !o->readonly,
                               o->owner);
    if (rc == 0 && c->segment.writable)
        rc = attachment_served_epoch(&c->segment, &epoch);
    rc = rc ? rc : endpoint_open(&c->end, &c->segment, read_mode_of(c, o->reading), 0);
    if (rc < 0)
        return rc;
    attachment_init(&c->attachment, &c->segment, NULL);
    channel_report_reader_init(&c->reports, &c->segment);
    return 0;
}

shmring_t *shmring_attach(const char *name, const shmring_options_t *options)
{
    static const shmring_options_t defaults = {0};
    shmring_t *c = calloc(1, sizeof *c);
    if (c == NULL) {
        rt_err_set(-ENOMEM, "no memory for a channel");
        return NULL;
    }
    int rc = attach(c, name, options != NULL ? options : &defaults);
    if (rc == 0)
        return c;
    endpoint_close(&c->end);
    shm_segment_unmap(&c->segment);
    free(c);
    errno = -rc;
    return NULL;
}

void shmring_close(shmring_t *c)
{
    if (c == NULL)
        return;
    endpoint_shut(&c->end);
    endpoint_close(&c->end);
    attachment_close(&c->attachment);
    shm_segment_unmap(&c->segment);
    free(c);
}

void shmring_after_fork(shmring_t *c)
{
    endpoint_forget_slots(&c->end);
    attachment_forget(&c->attachment);
}

/* --- attaching to a worker ------------------------------------------------------------------ */

static int check_may(const shmring_t *c, int what)
{
    const shm_config_t *config = &c->segment.config;
    bool sends = what == ENDPOINT_TX;
    if (sends && !c->segment.writable)
        return rt_err_set(-EPERM, "channel \"%s\" is attached with readonly, which cannot send",
                          config->name);
    if (config->direction & (sends ? SHM_TX : SHM_RX))
        return 0;
    return rt_err_set(-EPERM, "channel \"%s\" only %s: open it with direction=\"duplex\" to %s",
                      config->name, sends ? "receives" : "sends", sends ? "send" : "receive");
}

int shmring_attach_as(shmring_t *c, int what, int64_t until_mono_ns)
{
    int rc = check_may(c, what);
    rc = rc ? rc : attachment_attach(&c->attachment, &c->end, what, until_mono_ns);
    return rc ? rc : attachment_bind(&c->attachment, &c->end);
}

/* --- what it is ----------------------------------------------------------------------------- */

int shmring_address(shmring_address_t *out, const char *ip, uint16_t port)
{
    *out = (shmring_address_t){.port = port};
    if (inet_pton(AF_INET, ip, out->ip) == 1)
        out->family = 4;
    else if (inet_pton(AF_INET6, ip, out->ip) == 1)
        out->family = 6;
    else
        return rt_err_set(-EINVAL, "\"%s\" is not an IP address: use one such as 127.0.0.1 or ::1",
                          ip);
    return 0;
}

static shmring_address_t public_address(const shm_addr_t *from)
{
    shmring_address_t out;
    rt_copy_once(&out, from, sizeof out);
    return out;
}

int shmring_info(const shmring_t *c, shmring_info_t *out)
{
    const shm_config_t *config = &c->segment.config;
    const shm_status_t *status = c->segment.status;
    uint32_t state = rt_load_acquire(&status->state); /* any process may have overwritten it */
    *out = (shmring_info_t){
        .direction = config->direction,
        .state = state <= SHM_STATE_FAILED ? state : SHM_STATE_FAILED,
        .max_payload = config->max_payload_bytes,
        .epoch = rt_load_relaxed(&status->epoch),
        .local = public_address(&status->bound),
        .remote = public_address(&config->remote),
    };
    memcpy(out->name, config->name, sizeof config->name);
    memcpy(out->pool, config->pool, sizeof config->pool);
    memcpy(out->engine, config->engine, sizeof config->engine);
    return 0;
}

int64_t shmring_now_ns(const shmring_t *c)
{
    return channel_now_ns(&c->segment);
}
