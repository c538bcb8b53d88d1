#include "worker/command.h"

#include "base/rt_err.h"

#include <errno.h>
#include <string.h>

typedef struct shape {
    const char *name;
    uint32_t body_bytes;
    unsigned min_fds;
    unsigned max_fds;
    bool pool_only;
    uint32_t extra_bytes; /* most extra bytes */
} shape_t;

static const shape_t SHAPES[] = {
    [CTL_OPEN] = {"OPEN", sizeof(ctl_open_t) + sizeof(shm_config_t), 2, 3, true, 0},
    [CTL_CLOSE] = {"CLOSE", sizeof(ctl_channel_t), 0, 0, true, 0},
    [CTL_ATTACH] = {"ATTACH", sizeof(ctl_attach_t), 0, 0, false, 0},
    [CTL_DETACH] = {"DETACH", sizeof(ctl_attached_t), 0, 0, false, 0},
    [CTL_HOLD] = {"HOLD", sizeof(ctl_channel_t), 0, 0, false, 0},
    [CTL_RELEASE] = {"RELEASE", sizeof(ctl_channel_t), 0, 0, false, 0},
    [CTL_PURGE] = {"PURGE", sizeof(ctl_channel_t), 0, 0, false, 0},
    [CTL_RESET] = {"RESET", sizeof(ctl_channel_t), 0, 0, false, 0},
    [CTL_LIST] = {"LIST", sizeof(ctl_list_t), 0, 0, false, 0},
    [CTL_EXPORT] = {"EXPORT", sizeof(ctl_channel_t), 0, 0, true, 0},
    [CTL_PING] = {"PING", 0, 0, 0, false, 0},
    [CTL_ADOPT] = {"ADOPT", 0, 0, 0, true, 0},
    [CTL_QUIT] = {"QUIT", 0, 0, 0, true, 0},
    [CTL_ENGINE] = {"ENGINE", sizeof(ctl_channel_t), 0, 0, false, CTL_ENGINE_BYTES},
    [CTL_TAP] = {"TAP", sizeof(ctl_tap_t), 0, 0, false, 0},
    [CTL_MARK] = {"MARK", sizeof(ctl_channel_t), 0, 0, false, CTL_MARK_BYTES},
    [CTL_CLIENT] = {"CLIENT", sizeof(ctl_client_t), 0, 0, true, 0},
};
#define SHAPE_COUNT (sizeof SHAPES / sizeof SHAPES[0])

static int take_name(command_t *out, const ctl_channel_t *channel)
{
    memcpy(out->name, channel->name, sizeof out->name);
    if (memchr(out->name, 0, sizeof out->name) == NULL)
        return rt_err_set(-EINVAL, "channel name is not terminated within %zu bytes",
                          sizeof out->name);
    return shm_name_check("channel", out->name);
}

static int take_open(command_t *out, const uint8_t *body)
{
    memcpy(&out->open, body, sizeof out->open);
    memcpy(&out->config, body + sizeof out->open, sizeof out->config);
    if ((out->open.flags & ~CTL_OPEN_TAKEOVER) != 0)
        return rt_err_set(-EINVAL, "OPEN flags 0x%x: only 0x%x is known", out->open.flags,
                          CTL_OPEN_TAKEOVER);
    shm_config_t *c = &out->config;
    c->name[SHM_NAME_MAX] = c->name_space[SHM_NAME_MAX] = c->pool[SHM_NAME_MAX] = '\0';
    int rc = shm_config_check(c);
    if (rc == 0)
        memcpy(out->name, c->name, sizeof out->name);
    return rc;
}

static int take_attach(command_t *out, const uint8_t *body)
{
    memcpy(&out->attach, body, sizeof out->attach);
    const uint32_t known = CTL_ATTACH_PRODUCER | CTL_ATTACH_READER;
    if (out->attach.what != CTL_ATTACH_WATCHER &&
        (out->attach.what == 0 || (out->attach.what & ~known) != 0))
        return rt_err_set(
            -EINVAL, "ATTACH has 0x%x: give producer (%u), reader (%u) or both, or watcher (%u)",
            out->attach.what, CTL_ATTACH_PRODUCER, CTL_ATTACH_READER, CTL_ATTACH_WATCHER);
    return take_name(out, &out->attach.channel);
}

static int take_body(command_t *out, const uint8_t *body, size_t body_bytes)
{
    ctl_channel_t channel;
    switch (out->op) {
    case CTL_OPEN:
        return take_open(out, body);
    case CTL_ATTACH:
        return take_attach(out, body);
    case CTL_DETACH:
        memcpy(&out->detach, body, sizeof out->detach);
        return take_name(out, &out->detach.channel);
    case CTL_TAP:
        memcpy(&out->tap, body, sizeof out->tap);
        return take_name(out, &out->tap.channel);
    case CTL_CLIENT:
        memcpy(&out->client, body, sizeof out->client);
        if (out->client.group_count > CTL_MOST_GROUPS)
            return rt_err_set(-EINVAL, "CLIENT has %u groups, at most %u are taken",
                              out->client.group_count, CTL_MOST_GROUPS);
        return 0;
    case CTL_LIST:
        memcpy(&out->list, body, sizeof out->list);
        return 0;
    case CTL_PING:
    case CTL_ADOPT:
    case CTL_QUIT:
        return 0;
    default: /* the engine checks the part after the name, or it is text */
        memcpy(&channel, body, sizeof channel);
        out->engine_body = body + sizeof channel;
        out->engine_bytes = body_bytes - sizeof channel;
        return take_name(out, &channel);
    }
}

int command_parse(command_t *out, const void *message, size_t bytes, unsigned fds)
{
    ctl_header_t head;
    memset(out, 0, sizeof *out);
    if (bytes < sizeof head)
        return rt_err_set(-EBADMSG, "message of %zu bytes is shorter than its header", bytes);
    memcpy(&head, message, sizeof head);
    if (head.magic != CTL_MAGIC)
        return rt_err_set(-EBADMSG,
                          "magic 0x%08x is not 0x%08x: the other side is not a shmring client "
                          "of this version",
                          head.magic, CTL_MAGIC);
    out->request = head.request;
    out->until_ms = head.until_ms;
    if (head.op >= SHAPE_COUNT || SHAPES[head.op].name == NULL)
        return rt_err_set(-EPROTO,
                          "request %u is unknown to this worker: client and worker must be "
                          "of the same shmring version",
                          head.op);
    const shape_t *shape = &SHAPES[head.op];
    out->op = (ctl_op_t)head.op;
    out->pool_only = shape->pool_only;
    uint32_t most = shape->body_bytes + shape->extra_bytes;
    if (head.body_bytes != bytes - sizeof head || head.body_bytes < shape->body_bytes ||
        head.body_bytes > most)
        return rt_err_set(-EPROTO,
                          "%s has a body of %zu bytes (header: %u), expected %u to %u: client and "
                          "worker must be of the same shmring version",
                          shape->name, bytes - sizeof head, head.body_bytes, shape->body_bytes,
                          most);
    if (fds < shape->min_fds || fds > shape->max_fds)
        return rt_err_set(-EPROTO, "%s has %u descriptors, expected %u to %u", shape->name, fds,
                          shape->min_fds, shape->max_fds);
    return take_body(out, (const uint8_t *)message + sizeof head, head.body_bytes);
}
