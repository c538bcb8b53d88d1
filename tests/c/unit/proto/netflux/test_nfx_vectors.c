/* The datagrams in tests/vectors/netflux, each named by what is special about it; netflux.txt says
 * what comes of them. */
#include "proto/netflux/nfx_frame.h"
#include "proto/netflux/nfx_session.h"

#include "rt_test.h"

static const char *folder(void)
{
    static char path[4096];
    (void)snprintf(path, sizeof path, "%s", __FILE__);
    char *tests = strstr(path, "/c/unit/proto/netflux/test_nfx_vectors.c");
    if (tests == NULL)
        TEST_SKIP("no source tree beside %s", __FILE__);
    (void)snprintf(tests, sizeof path - (size_t)(tests - path), "/vectors/netflux");
    return path;
}

static FILE *open_in_folder(const char *name)
{
    char path[4200];
    (void)snprintf(path, sizeof path, "%s/%s", folder(), name);
    return fopen(path, "rb");
}

/* On the heap and not a byte longer. */
static uint8_t *load(const char *name, size_t *size)
{
    static uint8_t buffer[4096];
    FILE *f = open_in_folder(name);
    if (f == NULL)
        return NULL;
    *size = fread(buffer, 1, sizeof buffer, f);
    (void)fclose(f);
    uint8_t *data = malloc(*size > 0 ? *size : 1);
    memcpy(data, buffer, *size);
    return data;
}

typedef struct expected {
    unsigned payload_bytes;
    int result;
    int number;
    int feedback;
} expected_t;

static void check_parse(const uint8_t *data, size_t size, const expected_t *want)
{
    nfx_frame_t frame;
    CHECK_EQ(nfx_frame_parse(data, size, want->payload_bytes, &frame), want->result);
    if (want->result < 0)
        return;
    CHECK_EQ(frame.number, want->number);
    CHECK_EQ(frame.feedback, want->feedback);
    CHECK(frame.payload == data + NFX_HEADER_BYTES);
    CHECK_EQ(frame.payload_bytes, want->payload_bytes);

    uint8_t header[NFX_HEADER_BYTES];
    nfx_frame_header(header, frame.number, frame.feedback);
    CHECK_MEM_EQ(header, data, NFX_HEADER_BYTES);
}

static void check_session(const uint8_t *data, size_t size, const expected_t *want)
{
    static nfx_session_t s;
    static nfx_stats_t stats;
    nfx_frame_t frame;
    nfx_config_t config = {.rx_payload_bytes = want->payload_bytes, .cycle_ns = 1000000};
    memset(&stats, 0, sizeof stats);
    CHECK_EQ(nfx_session_init(&s, &config, &stats), 0);
    CHECK_EQ(nfx_session_receive(&s, data, size, 0, 0, &frame),
             want->result < 0 ? NFX_SHORT : NFX_FIRST);
    CHECK_EQ(rt_load_relaxed(&stats.counters[NFX_COUNT_rejected_short]), want->result < 0);
    CHECK_EQ(rt_load_relaxed(&stats.counters[NFX_COUNT_oversize]), want->result > 0);
}

static void test_vectors(void)
{
    char line[300];
    char name[200];
    unsigned count = 0;
    FILE *list = open_in_folder("netflux.txt");
    if (list == NULL)
        TEST_SKIP("no netflux.txt in %s", folder());
    while (fgets(line, sizeof line, list) != NULL) {
        expected_t want;
        size_t size = 0;
        if (line[0] == '#')
            continue;
        CHECK_EQ(sscanf(line, "%199s %u %d %d %d", name, &want.payload_bytes, &want.result,
                        &want.number, &want.feedback),
                 5);
        uint8_t *data = load(name, &size);
        CHECK(data != NULL);
        if (data == NULL)
            continue;
        int before = atomic_load(&rt_test_failure_count);
        check_parse(data, size, &want);
        check_session(data, size, &want);
        if (atomic_load(&rt_test_failure_count) > before)
            (void)fprintf(stderr, "in %s\n", name);
        free(data);
        count++;
    }
    (void)fclose(list);
    CHECK(count >= 19);
}

int main(void)
{
    RUN(test_vectors);
    return rt_test_result();
}
