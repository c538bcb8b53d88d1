/* The datagrams in tests/vectors/rtp, each named by what is wrong with it. rtp.txt and rtcp.txt say
 * what comes of them. */
#include "proto/rtp/rtcp.h"
#include "proto/rtp/rtp_packet.h"

#include "rt_test.h"

static const char *folder(void)
{
    static char path[4096];
    (void)snprintf(path, sizeof path, "%s", __FILE__);
    char *tests = strstr(path, "/c/unit/proto/rtp/test_rtp_vectors.c");
    if (tests == NULL)
        TEST_SKIP("no source tree beside %s", __FILE__);
    (void)snprintf(tests, sizeof path - (size_t)(tests - path), "/vectors/rtp");
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

static unsigned for_each(const char *list, void (*check)(const uint8_t *, size_t, const int *))
{
    char line[300];
    char name[200];
    unsigned count = 0;
    FILE *f = open_in_folder(list);
    if (f == NULL)
        TEST_SKIP("no %s in %s", list, folder());
    while (fgets(line, sizeof line, f) != NULL) {
        int expected[3] = {0};
        size_t size = 0;
        if (line[0] == '#')
            continue;
        CHECK(sscanf(line, "%199s %d %d %d", name, &expected[0], &expected[1], &expected[2]) >= 2);
        uint8_t *data = load(name, &size);
        CHECK(data != NULL);
        if (data == NULL)
            continue;
        int before = atomic_load(&rt_test_failure_count);
        check(data, size, expected);
        if (atomic_load(&rt_test_failure_count) > before)
            (void)fprintf(stderr, "in %s\n", name);
        free(data);
        count++;
    }
    (void)fclose(f);
    return count;
}

static void check_rtp(const uint8_t *data, size_t size, const int *expected)
{
    rtp_view_t view;
    CHECK_EQ(rtp_packet_parse(data, size, &view), expected[0]);
    if (expected[0] != 0)
        return;
    CHECK_EQ(view.payload_offset, expected[1]);
    CHECK_EQ(view.payload_bytes, expected[2]);
}

static void check_rtcp(const uint8_t *data, size_t size, const int *expected)
{
    CHECK_EQ(rtcp_check(data, size, false), expected[0]);
}

static void test_rtp(void)
{
    CHECK(for_each("rtp.txt", check_rtp) >= 28);
}

static void test_rtcp(void)
{
    CHECK(for_each("rtcp.txt", check_rtcp) >= 26);
}

int main(void)
{
    RUN(test_rtp);
    RUN(test_rtcp);
    return rt_test_result();
}
