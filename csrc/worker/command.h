/* command.h: a control message, checked. Pure: bytes in, command out.
 *
 * Errors in a client's message are found here and nowhere else: sizes, magic, unterminated names,
 * too many or too few descriptors. control_run.c decides whether the client may do what it asks. */
#ifndef WRK_COMMAND_H
#define WRK_COMMAND_H

#include "shm/ctl_msg.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct command {
    ctl_op_t op;
    uint32_t request;
    uint32_t until_ms; /* ctl_header_t */
    bool pool_only; /* only for pools and processes of the same user */
    ctl_list_t list;
    ctl_open_t open;
    shm_config_t config;        /* OPEN: checked by shm_config_check */
    ctl_attach_t attach;        /* ATTACH */
    ctl_attached_t detach;      /* DETACH */
    ctl_tap_t tap;              /* TAP */
    ctl_client_t client;        /* CLIENT */
    char name[SHM_NAME_BYTES];  /* every op that names a channel; terminated and checked */
    const uint8_t *engine_body; /* ENGINE, MARK: inside the message */
    size_t engine_bytes;
} command_t;

/* fds: how many descriptors came with the message. Fills out. out->request is set for the answer if
 * the message has a header. Returns 0; -EBADMSG (no valid message, no answer possible), -EPROTO,
 * -EINVAL ... with a text for the answer. */
int command_parse(command_t *out, const void *message, size_t bytes, unsigned fds);

#endif
