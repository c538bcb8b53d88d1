/* file_guard.h: which names in the file system this process may make and remove after its start
 * (Landlock).
 *
 * A worker removes names of its channels and of its pool's directory. If it is ever made to run
 * foreign code, that code can remove and make nothing elsewhere, although its user may. */
#ifndef WRK_FILE_GUARD_H
#define WRK_FILE_GUARD_H

/* For the rest of the process. Call it once after everything is set up and before the filter of
 * system calls, with no_new_privs. runtime_dir: its pool's; NULL: none. Returns 0, or -errno and a
 * text: the kernel has no Landlock (Linux 5.13), or a container refuses it. Nothing is guarded
 * then. */
int file_guard_install(const char *runtime_dir);

#endif
