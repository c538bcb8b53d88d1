#include "rt_test.h"

#include "shm/owner.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_this_process_is_alive(void)
{
    uint32_t pid = (uint32_t)getpid();
    uint64_t start = owner_start_time(pid);
    CHECK(start > 0);
    CHECK(owner_alive(pid, start));
    CHECK(owner_alive(pid, 0)); /* start not known */
    CHECK(!owner_alive(pid, start + 1)); /* the same number, another process */
}

static void test_nobody_is_not_alive(void)
{
    CHECK_EQ(owner_start_time(UINT32_MAX), 0);
    CHECK(!owner_alive(UINT32_MAX, 0));
}

static void test_a_killed_child_is_dead_before_and_after_it_is_reaped(void)
{
    int ready[2];
    char byte;
    REQUIRE(pipe(ready) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        /* A name that imitates the end of the name field in /proc. */
        (void)prctl(PR_SET_NAME, "x) Z 1 (2");
        byte = 1;
        (void)!write(ready[1], &byte, 1);
        while (true)
            pause();
    }
    REQUIRE(pid > 0 && read(ready[0], &byte, 1) == 1);
    uint64_t start = owner_start_time((uint32_t)pid);
    CHECK(start >= owner_start_time((uint32_t)getpid()));
    CHECK(owner_alive((uint32_t)pid, start));
    CHECK_EQ(kill(pid, SIGKILL), 0);
    siginfo_t info;
    CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    CHECK(!owner_alive((uint32_t)pid, start));
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    CHECK(!owner_alive((uint32_t)pid, start));
    close(ready[0]);
    close(ready[1]);
}

int main(void)
{
    RUN(test_this_process_is_alive);
    RUN(test_nobody_is_not_alive);
    RUN(test_a_killed_child_is_dead_before_and_after_it_is_reaped);
    return rt_test_result();
}
