/* pool_files.h: the names of a pool's files. Worker's thread.
 *
 * The pool makes each file without a name and locks it. It gets its name from the worker once the
 * worker serves it, and loses it when the worker is done with it. So a process that is killed while
 * it opens or closes a channel leaves nothing behind: before the worker has the file it has no
 * name, and afterwards the worker removes the name. */
#ifndef WRK_POOL_FILES_H
#define WRK_POOL_FILES_H

#include "worker/worker.h"

/* Gives the file behind fd its name in POSIX shared memory. Returns 0, also if it has that name
 * already or is not a file of /dev/shm; -EEXIST where another file has the name; -errno with a
 * text. */
int pool_file_publish_channel(int fd, const shm_config_t *config);

/* Whether it has that name. */
bool pool_file_is_published(int fd, const shm_config_t *config);
int pool_file_publish_page(const worker_t *w);

/* Takes the name away again, unless it is another file's; before it what a named pool noted of the
 * channel: a note must not outlive the name, which is then free for everybody's files. */
void pool_file_withdraw_channel(const worker_t *w, int fd, const shm_config_t *config);
void pool_file_withdraw_page(const worker_t *w);

/* Opens and holds the lock of the runtime directory, shared. A private pool makes its directory
 * while the worker starts: waits for it. Returns 0 or -errno with a text; -ECONNRESET: the pool
 * hung up meanwhile. */
int runtime_dir_hold(worker_t *w);

/* Removes the runtime directory if nobody else holds it. Last of all. */
void runtime_dir_leave(worker_t *w);

/* The pool is gone: removes what else it left under a name (files that nobody holds), and the
 * runtime directory as runtime_dir_leave does. Last of all; waits up to 100 ms for its locks. */
void pool_files_sweep(worker_t *w);

#endif
