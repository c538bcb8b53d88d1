/* shm_config.h: the requested configuration of a channel, shm_config_t (rows/config.toml). One
 * struct serves the segment's first page, the control message that opens the channel, and the
 * binding that fills it.
 *
 * The pool checks it with shm_config_check before it creates anything. The worker checks its own
 * copy again, because it arrives over a socket. Zeroed and filled by shm_config_init. */
#ifndef SHM_CONFIG_H
#define SHM_CONFIG_H

#include "rows/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHM_MAX_PAYLOAD 65507u
#define SHM_MAX_RECORD 65535u /* payload in a ring, including an engine's own header */
#define SHM_MAX_SLOTS 1024u /* of producers, and of readers */
#define SHM_MAX_ENGINE_BYTES (UINT64_C(1) << 32)

/* Defaults: an unconnected duplex "udp" channel without addresses. */
void shm_config_init(shm_config_t *c);

/* Checks every field. Any thread. Returns 0 or -EINVAL, -EMSGSIZE with a text that names the value,
 * the limit and the fix. */
int shm_config_check(const shm_config_t *c);

/* Returns 0, or -EINVAL with a text that names the field, its value and its limits. */
int shm_impair_check(const shm_impair_t *impair);

/* The longest payload that one ring of the channel accepts: max_payload_bytes, or less in the ring
 * of a direction that is not used. It is a quarter of the ring less SHM_RECORD_HEAD_BYTES, so that
 * one longest record, one in relocation and its padding fit. */
#define SHM_RECORD_HEAD_BYTES 88u /* of a record: header, addresses, rounding */
uint32_t shm_config_longest(const shm_config_t *c, uint64_t ring_bytes);

/* Checks that a name consists of 1 .. 64 of [A-Za-z0-9._-] and is neither "." nor "..", because
 * names of pools and namespaces are folders. Returns 0 or -EINVAL. */
int shm_name_check(const char *what, const char *name);

/* The checks of one value of a configuration, also of an engine's. Return 0, -EINVAL or -EPROTO
 * with a text that names the value and its limits. */
int shm_check_config_bytes(const char *what, uint32_t bytes, size_t expected);
int shm_check_range(const char *what, int64_t value, int64_t low, int64_t high);
int shm_check_number(const char *what, int64_t value, int64_t low, int64_t high, bool power);
int shm_check_family(const char *what, unsigned family); /* 0: no address */

#endif
