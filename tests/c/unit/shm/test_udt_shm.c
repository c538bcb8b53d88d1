/* What a UDT port and a UDT connection may be asked to be. */
#include "shm_test.h"

#include "shm/udt_shm.h"

static shm_udt_config_t good(void)
{
    return (shm_udt_config_t){
        .config_bytes = sizeof(shm_udt_config_t), .port = "port", .mode = SHM_UDT_STREAM};
}

static shm_udt_port_config_t good_port(void)
{
    return (shm_udt_port_config_t){
        .config_bytes = sizeof(shm_udt_port_config_t), .max_sockets = 1, .backlog = 1};
}

static void test_a_port_and_a_mode_are_enough(void)
{
    shm_udt_config_t c = good();
    shm_udt_port_config_t p = good_port();
    CHECK_EQ(shm_udt_config_check(&c), 0);
    CHECK_EQ(shm_udt_port_config_check(&p), 0);
}

typedef struct spoil {
    size_t offset;
    size_t bytes;
    int64_t value;
    int expected;
    const char *word;
} spoil_t;

#define SPOIL(type, field, value, expected, word)                                \
    {                                                                            \
        offsetof(type, field), sizeof(((type *)0)->field), value, expected, word \
    }
#define CONN(field, value, expected, word) SPOIL(shm_udt_config_t, field, value, expected, word)
#define PORT(field, value, expected, word) \
    SPOIL(shm_udt_port_config_t, field, value, expected, word)

static const spoil_t conn_spoils[] = {
    CONN(config_bytes, 4, -EPROTO, "4 bytes"),
    CONN(mode, 0, -EINVAL, "mode"),
    CONN(mode, 3, -EINVAL, "mode"),
    CONN(rendezvous, 2, -EINVAL, "rendezvous"),
    CONN(cc, 4, -EINVAL, "cc"),
    CONN(cc, SHM_UDT_CC_FIXED, -EINVAL, "max_bandwidth"),
    CONN(socket_id, INT64_C(1) << 31, -EINVAL, "socket_id"),
    CONN(mss_bytes, 75, -EINVAL, "mss_bytes"),
    CONN(mss_bytes, 65536, -EINVAL, "mss_bytes"),
    CONN(window_packets, 31, -EINVAL, "window_packets"),
    CONN(send_bytes, 65535, -EINVAL, "send_bytes"),
    CONN(send_bytes, (INT64_C(1) << 31) + 1, -EINVAL, "send_bytes"),
    CONN(receive_packets, (1 << 20) + 1, -EINVAL, "receive_packets"),
    CONN(max_bandwidth, INT64_C(1) << 41, -EINVAL, "max_bandwidth"),
    CONN(connect_ns, -1, -EINVAL, "connect_ns"),
    CONN(burst_ns, -2, -EINVAL, "burst_ns"),
    CONN(burst_ns, RT_NS_PER_S + 1, -EINVAL, "burst_ns"),
};

static const spoil_t port_spoils[] = {
    PORT(config_bytes, 4, -EPROTO, "4 bytes"),
    PORT(max_sockets, 0, -EINVAL, "max_sockets"),
    PORT(max_sockets, SHM_UDT_MAX_SOCKETS + 1, -EINVAL, "max_sockets"),
    PORT(listens, 3, -EINVAL, "listens"),
    PORT(backlog, 0, -EINVAL, "backlog"),
    PORT(backlog, SHM_UDT_MAX_BACKLOG + 1, -EINVAL, "backlog"),
};

static void test_each_value_has_its_limits(void)
{
    for (size_t i = 0; i < sizeof conn_spoils / sizeof conn_spoils[0]; i++) {
        shm_udt_config_t c = good();
        memcpy((uint8_t *)&c + conn_spoils[i].offset, &conn_spoils[i].value, conn_spoils[i].bytes);
        CHECK_EQ(shm_udt_config_check(&c), conn_spoils[i].expected);
        CHECK(strstr(rt_err_text(), conn_spoils[i].word) != NULL);
    }
    for (size_t i = 0; i < sizeof port_spoils / sizeof port_spoils[0]; i++) {
        shm_udt_port_config_t p = good_port();
        memcpy((uint8_t *)&p + port_spoils[i].offset, &port_spoils[i].value, port_spoils[i].bytes);
        CHECK_EQ(shm_udt_port_config_check(&p), port_spoils[i].expected);
        CHECK(strstr(rt_err_text(), port_spoils[i].word) != NULL);
    }
}

static void test_a_name_must_be_one(void)
{
    shm_udt_config_t c = good();
    memset(c.port, 'a', sizeof c.port);
    CHECK_EQ(shm_udt_config_check(&c), -EINVAL);
    CHECK(strstr(rt_err_text(), "not terminated") != NULL);
    c.port[0] = '\0';
    CHECK_EQ(shm_udt_config_check(&c), -EINVAL);
    c = good();
    c.port[1] = '/';
    CHECK_EQ(shm_udt_config_check(&c), -EINVAL);
}

static void test_who_accepts_is_no_side_of_a_rendezvous(void)
{
    shm_udt_config_t c = good();
    c.accepts = 7;
    CHECK_EQ(shm_udt_config_check(&c), 0);
    c.rendezvous = 1;
    CHECK_EQ(shm_udt_config_check(&c), -EINVAL);
    c.accepts = 0;
    CHECK_EQ(shm_udt_config_check(&c), 0);
}

int main(void)
{
    RUN(test_a_port_and_a_mode_are_enough);
    RUN(test_each_value_has_its_limits);
    RUN(test_a_name_must_be_one);
    RUN(test_who_accepts_is_no_side_of_a_rendezvous);
    return rt_test_result();
}
