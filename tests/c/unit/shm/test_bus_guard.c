#include "shm_test.h"

#include "shm/bus_guard.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define BYTES (4 * SHM_PAGE_BYTES)

static volatile uint8_t *map_new(int *fd)
{
    *fd = memfd_create("bus_guard", MFD_CLOEXEC);
    CHECK_EQ(ftruncate(*fd, BYTES), 0);
    void *at = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    CHECK(at != MAP_FAILED);
    return at;
}

static void drop(volatile uint8_t *at, uint32_t place, int fd)
{
    bus_guard_remove(place);
    munmap((void *)(uintptr_t)at, BYTES);
    close(fd);
}

static void test_a_file_cut_short_is_replaced(void)
{
    int fd;
    uint32_t place;
    volatile uint8_t *at = map_new(&fd);
    REQUIRE(bus_guard_add((void *)(uintptr_t)at, BYTES, &place) == 0);
    at[0] = at[SHM_PAGE_BYTES] = 7;
    CHECK(!rt_load_acquire(bus_guard_torn(place)));
    CHECK_EQ(ftruncate(fd, SHM_PAGE_BYTES), 0);
    CHECK_EQ(at[0], 7);
    CHECK(!rt_load_acquire(bus_guard_torn(place)));
    CHECK_EQ(at[SHM_PAGE_BYTES], 0);
    CHECK(rt_load_acquire(bus_guard_torn(place)));
    CHECK_EQ(at[0], 0); /* all of it was replaced */
    at[BYTES - 1] = 9;
    CHECK_EQ(at[BYTES - 1], 9);
    drop(at, place, fd);
}

static void test_before_the_first_access_too(void)
{
    int fd;
    uint32_t place;
    volatile uint8_t *at = map_new(&fd);
    REQUIRE(bus_guard_add((void *)(uintptr_t)at, BYTES, &place) == 0);
    CHECK_EQ(ftruncate(fd, 0), 0);
    at[5] = 1;
    CHECK(rt_load_acquire(bus_guard_torn(place)));
    drop(at, place, fd);
}

static void test_a_place_is_used_again_as_new(void)
{
    int fd, other_fd;
    uint32_t place, other;
    volatile uint8_t *at = map_new(&fd);
    REQUIRE(bus_guard_add((void *)(uintptr_t)at, BYTES, &place) == 0);
    CHECK_EQ(ftruncate(fd, 0), 0);
    CHECK_EQ(at[0], 0);
    drop(at, place, fd);
    at = map_new(&other_fd);
    REQUIRE(bus_guard_add((void *)(uintptr_t)at, BYTES, &other) == 0);
    CHECK_EQ(place, other);
    CHECK(!rt_load_acquire(bus_guard_torn(other)));
    drop(at, other, other_fd);
    CHECK(bus_guard_torn(0) == NULL);
    bus_guard_remove(0);
}

/* --- what is not ours ------------------------------------------------------------------------ */

/* Runs it in a child; the signal that ended the child, or minus its exit code. */
static int ends_by(void (*run)(void))
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        run();
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void install(void)
{
    (void)signal(SIGBUS, SIG_DFL); /* a sanitizer's, or the test runner's */
    int fd;
    uint32_t place;
    volatile uint8_t *at = map_new(&fd);
    if (bus_guard_add((void *)(uintptr_t)at, BYTES, &place) != 0)
        _exit(99);
    drop(at, place, fd);
}

static void fault_elsewhere(void)
{
    int fd;
    volatile uint8_t *at = map_new(&fd);
    if (ftruncate(fd, 0) == 0)
        at[0] = 1;
}

static void foreign_fault(void)
{
    install();
    fault_elsewhere();
}

static void signal_from_another(void)
{
    install();
    pid_t me = getpid();
    pid_t child = fork();
    if (child == 0) {
        (void)kill(me, SIGBUS);
        _exit(0);
    }
    pause();
}

static void raised_here(void)
{
    install();
    (void)raise(SIGBUS);
}

static void test_other_faults_end_the_process(void)
{
    CHECK_EQ(ends_by(foreign_fault), SIGBUS);
    CHECK_EQ(ends_by(signal_from_another), SIGBUS);
    CHECK_EQ(ends_by(raised_here), 0);
}

static sigjmp_buf escape;

static void on_fault(int number)
{
    (void)number;
    siglongjmp(escape, 1);
}

static void handled_by_the_program(void)
{
    struct sigaction mine = {.sa_handler = on_fault};
    (void)sigaction(SIGBUS, &mine, NULL);
    int fd;
    uint32_t place;
    volatile uint8_t *at = map_new(&fd);
    (void)bus_guard_add((void *)(uintptr_t)at, BYTES, &place);
    if (sigsetjmp(escape, 1) == 0) {
        fault_elsewhere();
        _exit(1);
    }
    if (ftruncate(fd, 0) != 0 || at[0] != 0 || !rt_load_acquire(bus_guard_torn(place)))
        _exit(2);
}

static void test_the_handler_before_gets_what_is_not_ours(void)
{
    CHECK_EQ(ends_by(handled_by_the_program), 0);
}

/* As Python's faulthandler: it prints, puts back what was there before it, and raises again. */
static struct sigaction before_printer;
static volatile int printed;

static void printer(int number)
{
    printed++;
    (void)sigaction(number, &before_printer, NULL);
    (void)raise(number);
}

static void printer_on_top(void)
{
    install();
    struct sigaction theirs = {.sa_handler = printer, .sa_flags = SA_NODEFER};
    (void)sigaction(SIGBUS, &theirs, &before_printer);
    int fd;
    uint32_t place;
    volatile uint8_t *at = map_new(&fd);
    /* The guard comes to lie above it again. */
    if (bus_guard_add((void *)(uintptr_t)at, BYTES, &place) != 0 || ftruncate(fd, 0) != 0 ||
        at[0] != 0 || printed != 0)
        _exit(1);
    (void)sigaction(SIGBUS, &theirs, NULL);
    volatile uint8_t *second = map_new(&fd);
    (void)second;
    uint32_t ignored;
    if (bus_guard_add((void *)(uintptr_t)second, BYTES, &ignored) != 0)
        _exit(2);
    (void)sigaction(SIGBUS, &theirs, &before_printer);
    if (ftruncate(fd, 0) != 0 || second[0] != 0 || printed != 1)
        _exit(3);
    fault_elsewhere(); /* ends the process, and does not print for ever */
    _exit(4);
}

static void test_a_handler_that_prints_and_raises_again(void)
{
    CHECK_EQ(ends_by(printer_on_top), SIGBUS);
}

static void test_the_table_has_an_end(void)
{
    static uint8_t memory[16];
    static uint32_t places[BUS_GUARD_PLACES];
    uint32_t one_more;
    for (uint32_t i = 0; i < BUS_GUARD_PLACES; i++)
        if (bus_guard_add(memory, sizeof memory, &places[i]) != 0)
            CHECK_EQ(i, BUS_GUARD_PLACES);
    CHECK_EQ(bus_guard_add(memory, sizeof memory, &one_more), -ENOSPC);
    CHECK(strstr(rt_err_text(), "16384") != NULL);
    for (uint32_t i = 0; i < BUS_GUARD_PLACES; i++)
        bus_guard_remove(places[i]);
    CHECK_EQ(bus_guard_add(memory, sizeof memory, &one_more), 0);
    bus_guard_remove(one_more);
}

int main(void)
{
    RUN(test_a_file_cut_short_is_replaced);
    RUN(test_before_the_first_access_too);
    RUN(test_a_place_is_used_again_as_new);
    RUN(test_other_faults_end_the_process);
    RUN(test_the_handler_before_gets_what_is_not_ours);
    RUN(test_a_handler_that_prints_and_raises_again);
    RUN(test_the_table_has_an_end);
    return rt_test_result();
}
