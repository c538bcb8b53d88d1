/* Control messages as they may come from anybody. */
#include "rt_test.h"

#include "base/rt_err.h"
#include "worker/command.h"

#include <errno.h>

typedef struct message {
    ctl_header_t head;
    uint8_t body[CTL_MAX_BYTES];
} message_t;

static message_t message;
static command_t command;

static int parse(uint32_t op, const void *body, size_t bytes, unsigned fds)
{
    memset(&message, 0, sizeof message);
    message.head =
        (ctl_header_t){.magic = CTL_MAGIC, .op = op, .request = 42, .body_bytes = (uint32_t)bytes};
    memcpy(message.body, body, bytes);
    return command_parse(&command, &message, sizeof message.head + bytes, fds);
}

typedef struct open_body {
    ctl_open_t open;
    shm_config_t config;
} open_body_t;

static open_body_t good_open(void)
{
    open_body_t body;
    memset(&body, 0, sizeof body);
    shm_config_init(&body.config);
    memcpy(body.config.name, "ctl", 4);
    memcpy(body.config.name_space, "ns", 3);
    memcpy(body.config.pool, "p", 2);
    body.config.max_payload_bytes = 1500;
    return body;
}

static void test_good_messages_are_taken(void)
{
    open_body_t body = good_open();
    body.open.flags = CTL_OPEN_TAKEOVER;
    CHECK_EQ(parse(CTL_OPEN, &body, sizeof body, 2), 0);
    CHECK_STR_EQ(command.name, "ctl");
    CHECK_EQ(command.open.flags, CTL_OPEN_TAKEOVER);
    CHECK(command.pool_only);
    CHECK_EQ(parse(CTL_OPEN, &body, sizeof body, 3), 0);
    CHECK_EQ(parse(CTL_PING, "", 0, 0), 0);
    CHECK_EQ(command.request, 42);
    CHECK(!command.pool_only);
    ctl_channel_t channel = {.name = "a.b-c"};
    CHECK_EQ(parse(CTL_HOLD, &channel, sizeof channel, 0), 0);
    CHECK_STR_EQ(command.name, "a.b-c");
    ctl_attach_t attach = {.channel = channel, .what = CTL_ATTACH_READER, .reader = 3};
    CHECK_EQ(parse(CTL_ATTACH, &attach, sizeof attach, 0), 0);
    CHECK_EQ(command.attach.reader, 3);
}

static void test_foreign_messages_get_no_answer(void)
{
    memset(&message, 0x5a, sizeof message);
    CHECK_EQ(command_parse(&command, &message, sizeof message.head, 0), -EBADMSG);
    CHECK_EQ(command_parse(&command, &message, 0, 0), -EBADMSG);
    CHECK_EQ(command_parse(&command, &message, sizeof message.head - 1, 0), -EBADMSG);
}

static void test_sizes_and_descriptors_are_checked(void)
{
    open_body_t body = good_open();
    CHECK_EQ(parse(CTL_OPEN, &body, sizeof body - 1, 2), -EPROTO);
    CHECK_EQ(command.request, 42);
    CHECK_EQ(parse(CTL_OPEN, &body, sizeof body, 1), -EPROTO);
    CHECK_EQ(parse(CTL_OPEN, &body, sizeof body, 4), -EPROTO);
    CHECK_EQ(parse(CTL_PING, "", 0, 1), -EPROTO);
    ctl_attach_t attach = {.channel = {.name = "x"}, .what = CTL_ATTACH_READER};
    CHECK_EQ(parse(CTL_ATTACH, &attach, sizeof attach, 0), 0);
    CHECK_EQ(parse(CTL_ATTACH, &attach, sizeof attach, 1), -EPROTO); /* bells come from the worker */
    CHECK_EQ(parse(CTL_PING, "x", 1, 0), -EPROTO);
    CHECK_EQ(parse(0, "", 0, 0), -EPROTO);
    CHECK_EQ(parse(CTL_ENGINE + 1, "", 0, 0), -EPROTO);
    CHECK_EQ(parse(UINT32_MAX, "", 0, 0), -EPROTO);
    message.head.op = CTL_PING;
    message.head.body_bytes = UINT32_MAX;
    CHECK_EQ(command_parse(&command, &message, sizeof message.head, 0), -EPROTO);
    CHECK(strstr(rt_err_text(), "version") != NULL);
}

static void test_requests_to_engines_are_of_any_length(void)
{
    struct {
        ctl_channel_t channel;
        uint8_t extra[CTL_ENGINE_BYTES + 1];
    } body = {.channel = {.name = "x"}, .extra = {7, 8}};
    CHECK_EQ(parse(CTL_ENGINE, &body, sizeof body.channel, 0), 0);
    CHECK_EQ(command.engine_bytes, 0);
    CHECK_EQ(parse(CTL_ENGINE, &body, sizeof body.channel + 2, 0), 0);
    CHECK_EQ(command.engine_bytes, 2);
    CHECK_EQ(command.engine_body[1], 8);
    CHECK_STR_EQ(command.name, "x");
    CHECK_EQ(parse(CTL_ENGINE, &body, sizeof body.channel + CTL_ENGINE_BYTES, 0), 0);
    CHECK_EQ(parse(CTL_ENGINE, &body, sizeof body, 0), -EPROTO);
    CHECK_EQ(parse(CTL_ENGINE, &body, sizeof body.channel - 1, 0), -EPROTO);
    CHECK_EQ(parse(CTL_ENGINE, &body, sizeof body.channel, 1), -EPROTO);
}

static void test_names_must_end_and_be_names(void)
{
    ctl_channel_t channel;
    memset(&channel, 'a', sizeof channel);
    CHECK_EQ(parse(CTL_CLOSE, &channel, sizeof channel, 0), -EINVAL);
    channel = (ctl_channel_t){.name = "../etc"};
    CHECK_EQ(parse(CTL_CLOSE, &channel, sizeof channel, 0), -EINVAL);
    channel = (ctl_channel_t){.name = ""};
    CHECK_EQ(parse(CTL_PURGE, &channel, sizeof channel, 0), -EINVAL);
    open_body_t body = good_open();
    memset(body.config.name, 'b', sizeof body.config.name);
    CHECK(parse(CTL_OPEN, &body, sizeof body, 2) == 0); /* 64 characters are a name */
    CHECK_EQ(strlen(command.name), SHM_NAME_MAX);
    memset(body.config.pool, '/', sizeof body.config.pool);
    CHECK_EQ(parse(CTL_OPEN, &body, sizeof body, 2), -EINVAL);
}

static void test_values_are_checked(void)
{
    open_body_t body = good_open();
    body.open.flags = 2;
    CHECK_EQ(parse(CTL_OPEN, &body, sizeof body, 2), -EINVAL);
    body = good_open();
    body.config.direction = 9;
    CHECK(parse(CTL_OPEN, &body, sizeof body, 2) < 0);
    ctl_attach_t attach = {.channel = {.name = "x"}, .what = 8};
    CHECK_EQ(parse(CTL_ATTACH, &attach, sizeof attach, 0), -EINVAL);
    attach.what = 0;
    CHECK_EQ(parse(CTL_ATTACH, &attach, sizeof attach, 0), -EINVAL);
}

static void test_any_bytes_are_survived(void)
{
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 5);
    for (int i = 0; i < 20000; i++) {
        size_t bytes = rt_test_rand(&seed) % (sizeof(open_body_t) + sizeof message.head + 64);
        uint8_t *at = (uint8_t *)&message;
        for (size_t k = 0; k < bytes; k += 8) {
            uint64_t r = rt_test_rand(&seed);
            memcpy(at + k, &r, 8);
        }
        message.head.magic = CTL_MAGIC;
        message.head.op = (uint32_t)(rt_test_rand(&seed) % 15);
        if (i % 2 && bytes >= sizeof message.head)
            message.head.body_bytes = (uint32_t)(bytes - sizeof message.head);
        (void)command_parse(&command, &message, bytes, (unsigned)(rt_test_rand(&seed) % 5));
    }
    CHECK(true);
}

int main(void)
{
    RUN(test_good_messages_are_taken);
    RUN(test_foreign_messages_get_no_answer);
    RUN(test_sizes_and_descriptors_are_checked);
    RUN(test_requests_to_engines_are_of_any_length);
    RUN(test_names_must_end_and_be_names);
    RUN(test_values_are_checked);
    RUN(test_any_bytes_are_survived);
    return rt_test_result();
}
