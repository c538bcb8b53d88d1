/* Requests to a worker, and what may come back. The answers lie in the socket before the question
 * is asked: its number is known. */
#include "rt_test.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "client/control.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { FIRST = 1 }; /* number of the first request of a connection */

typedef struct pair {
    control_t client;
    int worker;
} pair_t;

static pair_t connected(void)
{
    int ends[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    return (pair_t){.client = {.fd = ends[0], .peer_pid = getpid()}, .worker = ends[1]};
}

static void hang_up(pair_t *p)
{
    if (p->worker >= 0)
        close(p->worker);
    p->worker = -1;
    control_close(&p->client);
    control_close(&p->client); /* any number of times */
}

static void say(pair_t *p, uint32_t request, int32_t result, const void *body, uint32_t bytes,
                const int *fds, unsigned count)
{
    _Alignas(struct cmsghdr) uint8_t space[CMSG_SPACE(8 * sizeof(int))] = {0};
    ctl_header_t header = {
        .magic = CTL_MAGIC, .request = request, .result = result, .body_bytes = bytes};
    struct iovec parts[] = {{&header, sizeof header}, {(void *)(uintptr_t)body, bytes}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    if (count > 0) {
        message.msg_control = space;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
    }
    CHECK(sendmsg(p->worker, &message, 0) > 0);
}

static int ask(pair_t *p, control_reply_t *reply)
{
    return control_request(&p->client, CTL_PING, "why", 3, RT_NEVER_NS, reply);
}

static void test_a_request_is_a_header_and_a_body(void)
{
    pair_t p = connected();
    control_reply_t reply;
    uint8_t got[128];
    say(&p, FIRST, 7, "because", 7, &p.worker, 1);
    CHECK_EQ(control_request(&p.client, CTL_PING, "why", 3, RT_NEVER_NS, &reply), 0);
    CHECK_EQ(reply.result, 7);
    CHECK_EQ(reply.bytes, 7);
    CHECK_EQ(memcmp(reply.body, "because", 7), 0);
    CHECK_EQ(reply.fd_count, 1);
    CHECK_EQ(fcntl(reply.fds[0], F_GETFD), FD_CLOEXEC);
    control_reply_close(&reply);
    CHECK_EQ(reply.fd_count, 0);

    CHECK_EQ(recv(p.worker, got, sizeof got, 0), sizeof(ctl_header_t) + 3);
    ctl_header_t header;
    memcpy(&header, got, sizeof header);
    CHECK_EQ(header.op, CTL_PING);
    CHECK_EQ(header.body_bytes, 3);
    CHECK(header.until_ms != 0);
    hang_up(&p);
}

static void test_a_refusal_bears_the_workers_text(void)
{
    pair_t p = connected();
    control_reply_t reply;
    say(&p, FIRST, -EUSERS, "no slot is free", 16, NULL, 0);
    CHECK_EQ(ask(&p, &reply), -EUSERS);
    CHECK(reply.refused);
    CHECK_STR_EQ(rt_err_text(), "no slot is free");
    say(&p, FIRST + 1, -EPERM, "", 0, &p.worker, 1);
    CHECK_EQ(ask(&p, &reply), -EPERM);
    CHECK_STR_EQ(rt_err_text(), strerror(EPERM));
    CHECK_EQ(reply.fd_count, 0);
    hang_up(&p);
}

static void test_answers_to_former_requests_are_passed_over(void)
{
    pair_t p = connected();
    control_reply_t reply;
    p.client.last_request = UINT32_MAX; /* numbers begin again at 1 */
    say(&p, UINT32_MAX, 1, "", 0, &p.worker, 1);
    say(&p, UINT32_MAX - 1, -EIO, "", 0, NULL, 0);
    say(&p, FIRST, 2, "", 0, NULL, 0);
    CHECK_EQ(ask(&p, &reply), 0);
    CHECK_EQ(reply.result, 2);
    hang_up(&p);
}

static void test_a_worker_that_hangs_up_may_say_why(void)
{
    pair_t p = connected();
    control_reply_t reply;
    close(p.worker);
    p.worker = -1;
    CHECK_EQ(ask(&p, &reply), -ECONNRESET);
    CHECK(!reply.refused);
    hang_up(&p);
    p = connected();
    say(&p, 0, -EUSERS, "too many connections", 21, NULL, 0);
    close(p.worker);
    p.worker = -1;
    CHECK_EQ(ask(&p, &reply), -EUSERS);
    CHECK_STR_EQ(rt_err_text(), "too many connections");
    hang_up(&p);
    p = connected();
    say(&p, 0, -EUSERS, "too many connections", 21, NULL, 0);
    CHECK_EQ(send(p.client.fd, "unread", 6, 0), 6); /* so that the hang-up is a reset */
    close(p.worker);
    p.worker = -1;
    CHECK_EQ(ask(&p, &reply), -EUSERS);
    hang_up(&p);
}

/* Answers and hangs up while the caller waits. The request is unread, so the hang-up is a reset,
 * which the caller is told before the answer. */
static struct last_word {
    pair_t *of;
    int32_t result;
} last_word;

static int say_last_word(void)
{
    pair_t *p = last_word.of;
    if (p->worker >= 0) {
        say(p, FIRST, last_word.result, "because", 8, NULL, 0);
        close(p->worker);
    }
    p->worker = -1;
    return 0;
}

static void test_an_answer_before_a_hang_up_counts(void)
{
    static const int32_t results[] = {0, -EUSERS};
    control_reply_t reply;
    for (unsigned i = 0; i < sizeof results / sizeof *results; i++) {
        pair_t p = connected();
        last_word = (struct last_word){&p, results[i]};
        control_on_signal = say_last_word;
        CHECK_EQ(ask(&p, &reply), results[i]);
        control_on_signal = NULL;
        CHECK_EQ(p.worker, -1);
        CHECK_EQ(reply.bytes, 8);
        CHECK_EQ(memcmp(reply.body, "because", 8), 0);
        if (results[i] != 0)
            CHECK_STR_EQ(rt_err_text(), "because");
        hang_up(&p);
    }
}

/* Also if the kernel tells the end first. An empty message looks the same. */
static void test_an_answer_after_the_end_counts(void)
{
    pair_t p = connected();
    control_reply_t reply;
    CHECK_EQ(send(p.worker, "", 0, 0), 0);
    say(&p, FIRST, -EUSERS, "too many connections", 21, NULL, 0);
    CHECK_EQ(ask(&p, &reply), -EUSERS);
    CHECK_STR_EQ(rt_err_text(), "too many connections");
    hang_up(&p);
}

static void test_messages_that_make_no_sense_are_refused(void)
{
    static const uint8_t huge[2 * CONTROL_BODY_BYTES];
    control_reply_t reply;
    pair_t p = connected();
    CHECK_EQ(send(p.worker, "x", 1, 0), 1);
    CHECK_EQ(ask(&p, &reply), -EPROTO);
    say(&p, FIRST + 1, 0, huge, sizeof huge, &p.worker, 1);
    CHECK_EQ(ask(&p, &reply), -EPROTO);
    CHECK_EQ(reply.fd_count, 0);
    ctl_header_t wrong = {.magic = CTL_MAGIC, .request = FIRST + 2, .body_bytes = 1};
    CHECK_EQ(send(p.worker, &wrong, sizeof wrong, 0), sizeof wrong);
    CHECK_EQ(ask(&p, &reply), -EPROTO);
    hang_up(&p);
}

static void test_descriptors_that_find_no_room_are_told(void)
{
    struct rlimit limit;
    pair_t p = connected();
    control_reply_t reply;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit none = {.rlim_cur = 3, .rlim_max = limit.rlim_max};
    say(&p, FIRST, 0, "slot", 4, &p.worker, 1);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    CHECK_EQ(ask(&p, &reply), -EMFILE);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_EQ(reply.bytes, 4); /* what was given is known */
    CHECK(!reply.refused);
    CHECK_EQ(reply.fd_count, 0);
    hang_up(&p);
}

static void test_nobody_listens(void)
{
    control_t c;
    char path[200];
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    CHECK_EQ(control_connect(&c, "/tmp/none-such.sock", 0, RT_NEVER_NS), -ENOENT);
    CHECK_EQ(c.fd, -1);
    CHECK_EQ(control_connect(&c, path, 0, RT_NEVER_NS), -ENAMETOOLONG);
}

/* --- signals ---------------------------------------------------------------------------------- */

static struct signals {
    unsigned times;    /* control_on_signal was called */
    int listener;      /* takes a connection at the third time; or -1 */
    control_t *closes; /* at the first time; or NULL */
    int answers;       /* what control_on_signal returns */
} signals;

static int on_signal(void)
{
    signals.times++;
    if (signals.closes != NULL)
        control_close(signals.closes);
    if (signals.times == 3 && signals.listener >= 0)
        close(accept(signals.listener, NULL, NULL));
    return signals.answers;
}

static void no_op(int number)
{
    (void)number;
}

/* Every 10 ms until signals_end. */
static void signals_begin(int listener, control_t *closes, int answers)
{
    const struct sigaction action = {.sa_handler = no_op}; /* without SA_RESTART, as in Python */
    const struct itimerval often = {{.tv_usec = 10000}, {.tv_usec = 10000}};
    signals.times = 0;
    signals.listener = listener;
    signals.closes = closes;
    signals.answers = answers;
    control_on_signal = on_signal;
    CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
    CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
}

static void signals_end(void)
{
    const struct itimerval never = {0};
    CHECK_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
    control_on_signal = NULL;
}

/* A socket at path with one connection in its queue, which has room for no other. */
static int listen_full(const char *path, int *queued)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    (void)unlink(path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK_EQ(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    CHECK_EQ(listen(fd, 0), 0);
    *queued = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK_EQ(connect(*queued, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void test_signals_while_it_connects(void)
{
    char path[64];
    control_t c;
    int queued;
    (void)snprintf(path, sizeof path, "/tmp/control-%d.sock", (int)getpid());
    int listener = listen_full(path, &queued);
    signals_begin(-1, NULL, -EINTR);
    CHECK_EQ(control_connect(&c, path, 0, RT_NEVER_NS), -EINTR);
    CHECK_EQ(signals.times, 1);
    CHECK_EQ(c.fd, -1);
    signals_begin(-1, &c, 0);
    CHECK_EQ(control_connect(&c, path, 0, RT_NEVER_NS), -EPIPE);
    CHECK_EQ(c.fd, -1);
    signals_begin(listener, NULL, 0);
    CHECK_EQ(control_connect(&c, path, 0, RT_NEVER_NS), 0);
    CHECK(signals.times >= 3);
    CHECK_EQ(c.peer_pid, getpid());
    signals_end();
    control_close(&c);
    close(queued);
    close(listener);
    (void)unlink(path);
}

static void test_a_handler_may_close_what_waits_for_an_answer(void)
{
    pair_t p = connected();
    control_reply_t reply;
    signals_begin(-1, &p.client, 0);
    CHECK_EQ(ask(&p, &reply), -EPIPE);
    CHECK_EQ(signals.times, 1);
    signals_end();
    hang_up(&p);
}

/* A signal that comes just before a wait does not interrupt it. */
static void test_signals_that_interrupt_nothing(void)
{
    char path[64];
    int queued;
    control_t c;
    (void)snprintf(path, sizeof path, "/tmp/control-%d.sock", (int)getpid());
    int listener = listen_full(path, &queued);
    pair_t p = connected();
    control_reply_t reply;
    signals = (struct signals){.listener = -1, .answers = -EINTR};
    control_on_signal = on_signal;
    CHECK_EQ(control_nap(), -EINTR);
    CHECK_EQ(ask(&p, &reply), -EINTR);
    CHECK_EQ(control_connect(&c, path, 0, RT_NEVER_NS), -EINTR);
    CHECK_EQ(signals.times, 3);
    control_on_signal = NULL;
    hang_up(&p);
    close(queued);
    close(listener);
    (void)unlink(path);
}

static void test_a_stopped_worker_with_a_full_queue(void)
{
    char path[64];
    int queued;
    control_t c;
    (void)snprintf(path, sizeof path, "/tmp/control-%d.sock", (int)getpid());
    int listener = listen_full(path, &queued);
    CHECK_EQ(control_connect(&c, path, 0, RT_NEVER_NS), -ETIMEDOUT);
    CHECK(strstr(rt_err_text(), "full for 5 s") != NULL);
    CHECK_EQ(c.fd, -1);
    close(queued);
    close(listener);
    (void)unlink(path);
}

int main(void)
{
    RUN(test_a_request_is_a_header_and_a_body);
    RUN(test_a_refusal_bears_the_workers_text);
    RUN(test_answers_to_former_requests_are_passed_over);
    RUN(test_a_worker_that_hangs_up_may_say_why);
    RUN(test_an_answer_before_a_hang_up_counts);
    RUN(test_an_answer_after_the_end_counts);
    RUN(test_messages_that_make_no_sense_are_refused);
    RUN(test_descriptors_that_find_no_room_are_told);
    RUN(test_nobody_listens);
    RUN(test_signals_while_it_connects);
    RUN(test_a_handler_may_close_what_waits_for_an_answer);
    RUN(test_signals_that_interrupt_nothing);
    RUN(test_a_stopped_worker_with_a_full_queue);
    return rt_test_result();
}
