/* capture_pcapng.h: the blocks of pcapng, for capture_file.c. */
#ifndef PROTO_CAPTURE_PCAPNG_H
#define PROTO_CAPTURE_PCAPNG_H

#include "proto/capture/capture_file.h"

/* Takes one block from data[*at .. bytes). Returns 1: it was a packet; 2: it was another block; 0:
 * more bytes are needed; -EBADMSG with a text. */
int capture_pcapng_block(capture_file_t *f, const uint8_t *data, size_t bytes, size_t *at,
                         capture_frame_t *frame);

#endif
