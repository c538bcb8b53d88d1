/* host.h: where the files of a channel are on this host, and which owners are trusted. Python has
 * the same rules: rtworkers/paths.py and rtworkers/ownership.py. */
#ifndef CLIENT_HOST_H
#define CLIENT_HOST_H

#include "shm/shm_segment.h"

#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define HOST_PATH_BYTES 4096u
#define HOST_USER_BYTES 64u

/* The namespace: given, or $SHMRING_NAMESPACE, or "default". The text stays the caller's or the
 * environment's. */
const char *host_namespace(const char *given);

/* Opens the segment of a channel. Any user may create files of any kind in /dev/shm: links are not
 * followed, and anything but a regular file is refused. Returns a descriptor; -ENOENT, -EACCES,
 * -EINVAL (invalid name), -EPROTO (no regular file), -EBUSY (a process holds a lease on the file)
 * or another -errno, with a text. */
int host_open_segment(const char *name_space, const char *name, int writable);

/* Opens and maps the segment of a channel whose owner is trusted (host_is_trusted). Returns 0; as
 * host_open_segment and shm_segment_map; -EPERM (another user's), with a text. */
int host_map_segment(shm_segment_t *s, const char *name_space, const char *name, int writable,
                     uint32_t also);

/* A user in words, such as "alice (uid 1001)", into out[HOST_USER_BYTES]. Returns out. */
const char *host_user_text(uid_t user, char *out);

/* Whether to trust the contents of a file: its owner is root, this user or `also`, or it is shared
 * with a group of this process other than its primary one. */
int host_is_trusted(const struct stat *facts, uid_t also);

/* The control socket of a worker, into out[HOST_PATH_BYTES]. base: the folder that contains a
 * folder for each namespace of this user, or NULL: as the environment says, which does not count in
 * a program with more privileges than its user. Returns 0; -ENAMETOOLONG with a text. */
int host_worker_socket(const char *base, const char *name_space, const char *pool, uint32_t slot,
                       char *out);

#endif
