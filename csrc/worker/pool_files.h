/* pool_files.h: the names of a pool's files. Worker's thread.
 *
 * The pool creates each file without a name and locks it. The worker names the file when it serves
 * it, and removes the name when it is done with it. So a process that is killed while it opens or
 * closes a channel leaves nothing behind: before the worker has the file it has no name, and
 * afterwards the worker removes the name. */
#ifndef WRK_POOL_FILES_H
#define WRK_POOL_FILES_H

#include "worker/worker.h"

/* Gives the file of fd its name in POSIX shared memory. Returns 0, also if it has that name already
 * or is not a file of /dev/shm; -EEXIST if another file has the name; -errno with a text. */
int pool_file_publish_channel(int fd, const shm_config_t *config);

/* Whether it has that name. */
bool pool_file_is_published(int fd, const shm_config_t *config);
int pool_file_publish_page(const worker_t *w);

/* Removes the name again, unless it is another file's. Before that it removes a named pool's note
 * of the channel: a note must not outlive the name, which any user may then give to a file. */
void pool_file_withdraw_channel(const worker_t *w, int fd, const shm_config_t *config);
void pool_file_withdraw_page(const worker_t *w);

/* Opens and holds the lock of the runtime directory, shared. Waits for the directory, which a
 * private pool creates while the worker starts. Returns 0 or -errno with a text; -ECONNRESET: the
 * pool hung up meanwhile. */
int runtime_dir_hold(worker_t *w);

/* Removes the runtime directory if no other process holds it. The last step. */
void runtime_dir_leave(worker_t *w);

/* The pool is gone: removes its other named files (those that no process holds), and the runtime
 * directory like runtime_dir_leave. The last step. Waits up to 100 ms for the pool's locks. */
void pool_files_sweep(worker_t *w);

#endif
