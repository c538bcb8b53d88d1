/* A C program on a channel: does what each line of its input says, and answers with one line.
 *
 *     c_client CHANNEL [readonly|shared|each]
 *
 *     send AT_NS TEXT         -> the sequence        to ADDRESS PORT TEXT   -> the sequence
 *     batch COUNT TEXT        -> how many            replace SEQUENCE TEXT  -> the new sequence
 *     claim TEXT, abort TEXT  -> the sequence        cancel SEQUENCE        -> 1 or 0
 *     answer MS TEXT          -> the sequence of the answer to the next packet, from where it came to
 *     from ADDRESS TEXT       -> the sequence
 *     recv MS                 -> SEQUENCE TEXT       many MAX MS            -> SEQUENCE:TEXT ...
 *     wait room|packet MS     -> ready               poll MS                -> readable, or quiet
 *     reports MAX             -> SEQUENCE:VERDICT ...
 *     info                    -> NAME ENGINE DIRECTION STATE MAX_PAYLOAD EPOCH
 *     fork                    -> as send 0 forked, by a child
 *
 * A failed call answers "error ERRNO_NAME TEXT". The first line is "attached", or such an error. */
#include <shmring.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS INT64_C(1000000)
#define MOST 64

static shmring_t *channel;
static char buffer[1 << 16];

static const char *name_of(int error)
{
    static const struct {
        int number;
        const char *name;
    } names[] = {
        {EAGAIN, "EAGAIN"},
        {ETIMEDOUT, "ETIMEDOUT"},
        {EPIPE, "EPIPE"},
        {EPERM, "EPERM"},
        {ENOENT, "ENOENT"},
        {EMSGSIZE, "EMSGSIZE"},
        {ERANGE, "ERANGE"},
        {EINVAL, "EINVAL"},
        {EACCES, "EACCES"},
        {ENOTSUP, "ENOTSUP"},
        {EUSERS, "EUSERS"},
        {EPROTO, "EPROTO"},
        {ECONNRESET, "ECONNRESET"},
        {EDESTADDRREQ, "EDESTADDRREQ"},
        {EAFNOSUPPORT, "EAFNOSUPPORT"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].number == error)
            return names[i].name;
    return "another";
}

/* Prints the error. Returns whether there is one. */
static int failed(int64_t rc)
{
    if (rc < 0)
        printf("error %s %s\n", name_of((int)-rc), shmring_error());
    return rc < 0;
}

static void answer_sequence(int rc, uint64_t sequence)
{
    if (!failed(rc))
        printf("%" PRIu64 "\n", sequence);
}

/* --- sending ---------------------------------------------------------------------------------- */

static void do_send(const char *text, int64_t due_ns, const shmring_address_t *to)
{
    shmring_terms_t terms = {.due_ns = due_ns, .to = to};
    uint64_t sequence = 0;
    int rc = shmring_send(channel, text, strlen(text), &terms, &sequence);
    answer_sequence(rc, sequence);
}

static void do_to(const char *ip, unsigned port, const char *text)
{
    shmring_address_t to;
    if (!failed(shmring_address(&to, ip, (uint16_t)port)))
        do_send(text, 0, &to);
}

static void do_answer(int64_t ms, const char *text)
{
    shmring_packet_t packet;
    uint64_t sequence = 0;
    if (failed(shmring_recv(channel, buffer, sizeof buffer, ms * MS, &packet)))
        return;
    shmring_terms_t terms = {.to = &packet.source,
                             .source = packet.local.family != 0 ? &packet.local : NULL};
    int rc = shmring_send(channel, text, strlen(text), &terms, &sequence);
    answer_sequence(rc, sequence);
}

static void do_from(const char *ip, const char *text)
{
    shmring_address_t source;
    uint64_t sequence = 0;
    if (failed(shmring_address(&source, ip, 0)))
        return;
    shmring_terms_t terms = {.source = &source};
    int rc = shmring_send(channel, text, strlen(text), &terms, &sequence);
    answer_sequence(rc, sequence);
}

static void do_batch(size_t count, const char *text)
{
    shmring_batch_t batch = {.data = buffer, .size = strlen(text), .count = count};
    size_t sent;
    for (size_t i = 0; i < count; i++)
        memcpy(buffer + i * batch.size, text, batch.size);
    if (!failed(shmring_send_batch(channel, &batch, NULL, &sent)))
        printf("%zu\n", sent);
}

static void do_claim(const char *text, int commits)
{
    shmring_claim_t claim;
    int rc = shmring_claim(channel, strlen(text), NULL, &claim);
    if (rc == 0) {
        memcpy(claim.data, text, claim.bytes);
        if (commits)
            shmring_commit(channel, &claim);
        else
            shmring_abort(channel, &claim);
    }
    answer_sequence(rc, claim.sequence);
}

static void do_replace(uint64_t old, const char *text)
{
    uint64_t sequence = 0;
    int rc = shmring_replace(channel, old, text, strlen(text), NULL, &sequence);
    answer_sequence(rc, sequence);
}

static void do_cancel(uint64_t sequence)
{
    int rc = shmring_cancel(channel, sequence);
    if (!failed(rc))
        printf("%d\n", rc);
}

static void do_fork(void)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        shmring_after_fork(channel);
        do_send("forked", 0, NULL);
        shmring_close(channel);
        exit(0);
    }
    waitpid(child, NULL, 0);
}

/* --- receiving -------------------------------------------------------------------------------- */

static void do_recv(int64_t ms)
{
    shmring_packet_t packet;
    if (!failed(shmring_recv(channel, buffer, sizeof buffer, ms * MS, &packet)))
        printf("%" PRIu64 " %.*s\n", packet.sequence, (int)packet.bytes, buffer);
}

static void do_many(size_t max, int64_t ms)
{
    shmring_packet_t packets[MOST];
    int64_t n = shmring_recv_many(channel, buffer, sizeof buffer, ms * MS, packets,
                                  max < MOST ? max : MOST);
    if (failed(n))
        return;
    for (int64_t i = 0; i < n; i++)
        printf("%" PRIu64 ":%.*s%c", packets[i].sequence, (int)packets[i].bytes,
               buffer + packets[i].offset, i + 1 < n ? ' ' : '\n');
}

static void do_wait(const char *what, int64_t ms)
{
    int event = strcmp(what, "room") == 0 ? SHMRING_ROOM : SHMRING_PACKET;
    if (!failed(shmring_wait(channel, event, ms * MS)))
        printf("ready\n");
}

static void do_poll(int ms)
{
    struct pollfd ready = {.fd = shmring_fileno(channel), .events = POLLIN};
    if (!failed(ready.fd))
        printf(poll(&ready, 1, ms) == 1 ? "readable\n" : "quiet\n");
}

/* --- looking ---------------------------------------------------------------------------------- */

static void do_reports(size_t max)
{
    shmring_report_t reports[MOST];
    int64_t n = shmring_reports(channel, reports, max < MOST ? max : MOST);
    if (failed(n))
        return;
    for (int64_t i = 0; i < n; i++)
        printf("%" PRIu64 ":%u%c", reports[i].sequence, reports[i].verdict, i + 1 < n ? ' ' : '\n');
    if (n == 0)
        printf("none\n");
}

static void do_info(void)
{
    shmring_info_t info;
    if (!failed(shmring_info(channel, &info)))
        printf("%s %s %u %u %u %u\n", info.name, info.engine, info.direction, info.state,
               info.max_payload, info.epoch);
}

/* --- lines ------------------------------------------------------------------------------------ */

static void obey(char *line)
{
    char *rest = NULL;
    const char *what = strtok_r(line, " ", &rest);
    const char *a = strtok_r(NULL, " ", &rest);
    const char *b = strtok_r(NULL, " ", &rest);
    const char *c = strtok_r(NULL, " ", &rest);
    a = a ? a : "";
    b = b ? b : "";
    if (strcmp(what, "send") == 0)
        do_send(b, strtoll(a, NULL, 10), NULL);
    else if (strcmp(what, "to") == 0)
        do_to(a, (unsigned)atoi(b), c ? c : "");
    else if (strcmp(what, "answer") == 0)
        do_answer(atoi(a), b);
    else if (strcmp(what, "from") == 0)
        do_from(a, b);
    else if (strcmp(what, "batch") == 0)
        do_batch((size_t)atoi(a), b);
    else if (strcmp(what, "claim") == 0)
        do_claim(a, 1);
    else if (strcmp(what, "abort") == 0)
        do_claim(a, 0);
    else if (strcmp(what, "replace") == 0)
        do_replace(strtoull(a, NULL, 10), b);
    else if (strcmp(what, "cancel") == 0)
        do_cancel(strtoull(a, NULL, 10));
    else if (strcmp(what, "recv") == 0)
        do_recv(atoi(a));
    else if (strcmp(what, "many") == 0)
        do_many((size_t)atoi(a), atoi(b));
    else if (strcmp(what, "wait") == 0)
        do_wait(a, atoi(b));
    else if (strcmp(what, "poll") == 0)
        do_poll(atoi(a));
    else if (strcmp(what, "reports") == 0)
        do_reports((size_t)atoi(a));
    else if (strcmp(what, "info") == 0)
        do_info();
    else if (strcmp(what, "fork") == 0)
        do_fork();
    else
        printf("what is %s?\n", what);
}

int main(int argc, char **argv)
{
    const char *how = argc > 2 ? argv[2] : "";
    shmring_options_t options = {.readonly = strcmp(how, "readonly") == 0};
    if (strcmp(how, "shared") == 0)
        options.reading = SHMRING_SHARED;
    if (strcmp(how, "each") == 0)
        options.reading = SHMRING_EACH;
    setvbuf(stdout, NULL, _IOLBF, 0);
    channel = shmring_attach(argv[1], &options);
    if (channel == NULL) {
        (void)failed(-errno);
        return 1;
    }
    printf("attached\n");
    char line[1024];
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] != '\0')
            obey(line);
    }
    shmring_close(channel);
    return 0;
}
