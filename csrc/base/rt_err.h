/* rt_err.h: the text of an error code. Cold path only.
 *
 * Functions of this library return a count or 0, and -errno when they fail. The function that
 * fails records the cause with rt_err_set, and its callers add lines with rt_err_append. The
 * binding shows the whole text. One text per thread; any thread.
 *
 * Convention for the text: name the value, the limit, and the fix.
 */
#ifndef RT_ERR_H
#define RT_ERR_H

/* Replaces the text. Returns neg_errno, so that "return rt_err_set(-EINVAL, ...)" reads well. */
int rt_err_set(int neg_errno, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The text for a call of the system that failed with this errno; what: such as "making a socket".
 * If the process is at its limit of open files, it names the limit and the fix. Returns -error. */
int rt_err_system(int error, const char *what);

/* Adds ": text" context in front of what is there. Does nothing to the error code. */
void rt_err_append(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The text recorded last on this thread, "" if none. Valid until the next rt_err call here. */
const char *rt_err_text(void);

void rt_err_clear(void);

#endif
