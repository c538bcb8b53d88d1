/* each_store.h: a process that dies after any of its stores to shared memory. The code under test
 * is not changed for that: it runs in a child, one instruction after the other, and whenever an
 * instruction has changed the memory, the parent sees what a death there would leave behind. */
#ifndef EACH_STORE_H
#define EACH_STORE_H

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

/* The next stop of the child. Returns whether it came by a step. */
static inline bool each_store_stop(pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFSTOPPED(status) && (WSTOPSIG(status) == SIGTRAP || WSTOPSIG(status) == SIGSTOP);
}

static inline pid_t each_store_start(void (*work)(void))
{
    pid_t child = fork();
    if (child != 0)
        return child;
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
        _exit(1);
    (void)raise(SIGSTOP);
    work();
    (void)kill(getpid(), SIGKILL); /* no leak check, no flush: it is dead */
    _exit(1);
}

/* Runs work() in a child to its end. Calls died(states) for each state of the memory that it leaves
 * on the way. Returns how many states those were, or -1: processes cannot be traced here. */
static inline long each_store(void (*work)(void), const void *memory, size_t bytes,
                              void (*died)(long state))
{
    uint8_t *seen = malloc(bytes);
    pid_t child = seen != NULL ? each_store_start(work) : -1;
    long states = -1;
    if (child > 0 && each_store_stop(child)) {
        (void)ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)PTRACE_O_EXITKILL);
        memcpy(seen, memory, bytes);
        states = 0;
        while (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) == 0 && each_store_stop(child)) {
            if (memcmp(seen, memory, bytes) == 0)
                continue;
            memcpy(seen, memory, bytes);
            died(++states);
        }
    }
    free(seen);
    return states;
}

#endif
