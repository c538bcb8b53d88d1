/* command.h: a control message, checked. Pure: bytes in, command out.
 *
 * What a client may have got wrong is found here and nowhere else: sizes, magic, names without end,
 * descriptors too many or too few. Whether the client may do what it asks is for control_run.c. */
#ifndef WRK_COMMAND_H
#define WRK_COMMAND_H

#include "shm/ctl_msg.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct command {
    ctl_op_t op;
    uint32_t request;
    uint32_t until_ms; /* ctl_header_t */
    bool pool_only; /* pools and processes of the same user only */
    ctl_list_t list;
    ctl_open_t open;
    shm_config_t config;       /* OPEN: checked by shm_config_check */
    ctl_attach_t attach;       /* ATTACH */
    ctl_attached_t detach;     /* DETACH */
    ctl_tap_t tap;             /* TAP */
    char name[SHM_NAME_BYTES]; /* every op that names a channel; terminated and checked */
    const uint8_t *engine_body; /* ENGINE, MARK: inside the message */
    size_t engine_bytes;
} command_t;

/* fds: how many descriptors came with the message. Fills out; out->request is set whenever the
 * message has a header, for the answer. Returns 0; -EBADMSG (not one of our messages, no answer
 * possible), -EPROTO, -EINVAL ... with a text for the answer. */
int command_parse(command_t *out, const void *message, size_t bytes, unsigned fds);

#endif
