/* host.h: where the files of a channel are on this host, and which owners are trusted. Python has
 * the same rules: rtworkers/paths.py and rtworkers/ownership.py. */
#ifndef CLIENT_HOST_H
#define CLIENT_HOST_H

#include "shm/shm_config.h"

#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define HOST_PATH_BYTES 4096u

/* The namespace: given, or $SHMRING_NAMESPACE, or "default". The text stays the caller's or the
 * environment's. */
const char *host_namespace(const char *given);

/* Opens the segment of a channel. Any user may create files of any kind in /dev/shm: links are not
 * followed, and anything but a regular file is refused. Returns a descriptor; -ENOENT, -EACCES,
 * -EINVAL (invalid name), -EPROTO (no regular file), -EBUSY (a process holds a lease on the file)
 * or another -errno, with a text. */
int host_open_segment(const char *name_space, const char *name, int writable);

/* Whether to trust the contents of a file: its owner is root, this user or `also`, or it is shared
 * with a group of this process other than its primary one. */
int host_is_trusted(const struct stat *facts, uid_t also);

/* The control socket of a worker, into out[HOST_PATH_BYTES]. Returns 0; -ENAMETOOLONG with a text.
 */
int host_worker_socket(const char *name_space, const char *pool, uint32_t slot, char *out);

#endif
