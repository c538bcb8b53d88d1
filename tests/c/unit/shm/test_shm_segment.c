#include "shm_test.h"

#include "shm/udt_shm.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static shm_config_t config;

static int new_file(void)
{
    int fd = memfd_create("test_shm_segment", MFD_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

static int new_segment(void)
{
    int fd = new_file();
    config = shm_test_config(8192, 500);
    config.remote = (shm_addr_t){.family = 4, .port = 9};
    shm_segment_t s;
    CHECK_EQ(shm_segment_format(&s, fd, &config, 77), 0);
    shm_segment_unmap(&s);
    return fd;
}

static shm_identity_t *identity_of(int fd)
{
    void *base = mmap(NULL, SHM_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(base != MAP_FAILED);
    return base;
}

static void check_new(const shm_segment_t *s)
{
    CHECK_EQ(s->segment_id, 77);
    CHECK_EQ(s->bytes, shm_segment_bytes(&config));
    CHECK_MEM_EQ(&s->config, &config, sizeof config);
    CHECK(s->writable);
    CHECK_EQ(s->rx_data - s->tx_data, (ptrdiff_t)config.tx_bytes);
    CHECK_EQ(s->rx_data + config.rx_bytes - s->base, (ptrdiff_t)s->bytes);
    CHECK(s->engine == NULL);
    CHECK_EQ((uintptr_t)s->tx % RT_LINE_BYTES, 0);
    CHECK_EQ((uintptr_t)s->producers % RT_LINE_BYTES, 0);
    CHECK_EQ((uintptr_t)s->readers % RT_LINE_BYTES, 0);
    CHECK_EQ((uintptr_t)s->tx_data % SHM_PAGE_BYTES, 0);
    for (uint32_t i = 0; i < config.producers; i++)
        CHECK_EQ(rt_load_relaxed(&s->producers[i].intent), SHM_INTENT_NONE);
    CHECK_EQ(rt_load_relaxed(&s->status->state), SHM_STATE_NEW);
}

static void test_what_was_formatted_is_mapped(void)
{
    int fd = new_segment();
    shm_segment_t s;
    REQUIRE(shm_segment_map(&s, fd, 1) == 0);
    check_new(&s);
    shm_segment_unmap(&s);
    CHECK(s.base == NULL);
    shm_segment_unmap(&s); /* once more does no harm */
    close(fd);
}

static void test_its_maker_has_it_mapped(void)
{
    int fd = new_file();
    config = shm_test_config(8192, 500);
    shm_segment_t s;
    REQUIRE(shm_segment_format(&s, fd, &config, 77) == 0);
    check_new(&s);
    shm_segment_unmap(&s);
    close(fd);
}

static void test_an_engine_has_its_own_part(void)
{
    config = shm_test_config(8192, 500);
    config.engine_bytes = 8192;
    int fd = new_file();
    shm_segment_t s;
    REQUIRE(shm_segment_format(&s, fd, &config, 77) == 0);
    CHECK(s.engine == s.rx_data + config.rx_bytes);
    CHECK(s.engine + 8192 == s.base + s.bytes);
    for (unsigned i = 0; i < 8192; i++)
        CHECK_EQ(s.engine[i], 0);
    shm_segment_unmap(&s);
    close(fd);
}

/* Whoever takes its sizes from the file would map less than the configuration says. */
static void test_a_worker_takes_its_own_configuration(void)
{
    config = shm_test_config(8192, 500);
    config.engine_bytes = 4 * SHM_PAGE_BYTES;
    int fd = new_file();
    shm_segment_t s;
    REQUIRE(shm_segment_format(&s, fd, &config, 77) == 0);
    shm_segment_unmap(&s);
    shm_identity_t *id = identity_of(fd);
    id->config.engine_bytes = SHM_PAGE_BYTES;
    id->segment_bytes -= 3 * SHM_PAGE_BYTES;
    REQUIRE(shm_segment_map_as(&s, fd, &config) == 0);
    CHECK_EQ(s.bytes, shm_segment_bytes(&config));
    CHECK_MEM_EQ(&s.config, &config, sizeof config);
    CHECK(s.engine + config.engine_bytes == s.base + s.bytes);
    shm_segment_unmap(&s);
    CHECK_EQ(ftruncate(fd, (off_t)id->segment_bytes), 0);
    CHECK_EQ(shm_segment_map_as(&s, fd, &config), -EPROTO);
    CHECK(strstr(rt_err_text(), "cut short") != NULL);
    CHECK(s.base == NULL);
    munmap(id, SHM_PAGE_BYTES);
    close(fd);
}

static void test_an_engine_part_too_short_for_its_structs_is_refused(void)
{
    static const char *const engines[] = {"mux", "netflux", "rtp", "udt", "udt-port"};
    for (size_t i = 0; i < sizeof engines / sizeof *engines; i++) {
        config = shm_test_config(8192, 500);
        strcpy(config.engine, engines[i]);
        int fd = new_file();
        shm_segment_t s;
        REQUIRE(shm_segment_format(&s, fd, &config, 77) == 0);
        shm_segment_unmap(&s);
        if (!CHECK_EQ(shm_segment_map(&s, fd, 0), -EINVAL))
            shm_segment_unmap(&s);
        CHECK(strstr(rt_err_text(), "bytes of shared memory") != NULL);
        close(fd);
    }
}

/* Its sender would queue the heads of parts without a byte in them for ever. */
static void test_a_udt_record_has_room_for_a_byte_of_the_stream(void)
{
    shm_segment_t s;
    config = shm_test_config(8192, sizeof(shm_udt_tx_t));
    config.engine_bytes = SHM_PAGE_BYTES;
    strcpy(config.engine, SHM_UDT_ENGINE);
    int fd = new_file();
    REQUIRE(shm_segment_format(&s, fd, &config, 77) == 0);
    shm_segment_unmap(&s);
    if (!CHECK_EQ(shm_segment_map(&s, fd, 1), -EINVAL))
        shm_segment_unmap(&s);
    CHECK(strstr(rt_err_text(), "max_payload of 9,") != NULL);
    close(fd);
}

static void test_state_and_reason_reach_a_file_that_nobody_maps(void)
{
    int fd = new_segment();
    shm_segment_t s;
    REQUIRE(shm_segment_map(&s, fd, 0) == 0);
    CHECK_EQ(shm_segment_write_state(fd, SHM_STATE_FAILED, 5, "its end has come"), 0);
    CHECK_EQ(rt_load_relaxed(&s.status->state), SHM_STATE_FAILED);
    CHECK_EQ(rt_load_relaxed(&s.status->error), 5);
    CHECK(strcmp(s.status->reason, "its end has come") == 0);
    CHECK_EQ(ftruncate(fd, 0), 0);
    CHECK_EQ(shm_segment_write_state(fd, SHM_STATE_FAILED, 6, ""), 0);
    CHECK_EQ(rt_load_relaxed(&s.status->error), 6); /* the page is there again */
    CHECK(!shm_segment_torn(&s));
    CHECK_EQ(rt_load_relaxed(&s.tx->tail), 0);
    CHECK_EQ(s.tx_data[SHM_PAGE_BYTES], 0);
    CHECK(shm_segment_torn(&s));
    shm_segment_unmap(&s);
    close(fd);
}

static void check_refused(int fd, int expected, const char *word)
{
    shm_segment_t s;
    CHECK_EQ(shm_segment_map(&s, fd, 0), expected);
    CHECK(s.base == NULL);
    if (!CHECK(strstr(rt_err_text(), word) != NULL))
        (void)fprintf(stderr, "  \"%s\" is not in: %s\n", word, rt_err_text());
}

static void test_files_that_are_no_segments_are_refused(void)
{
    shm_segment_t s = {0};
    int fd = new_file();
    CHECK_EQ(shm_segment_map(&s, fd, 0), -EPROTO); /* empty */
    REQUIRE(ftruncate(fd, SHM_PAGE_BYTES - 1) == 0);
    CHECK_EQ(shm_segment_map(&s, fd, 0), -EPROTO);
    REQUIRE(ftruncate(fd, SHM_PAGE_BYTES) == 0);
    check_refused(fd, -EPROTO, "not a finished");
    close(fd);
    CHECK_EQ(shm_segment_map(&s, fd, 0), -EBADF);
}

static void test_damage_is_named(void)
{
    int fd = new_segment();
    shm_identity_t *id = identity_of(fd);
    shm_identity_t sound = *id;

    rt_store_relaxed(&id->version, 0);
    check_refused(fd, -EPROTO, "not a finished");
    rt_store_relaxed(&id->version, SHM_LAYOUT_VERSION + 1);
    char other[32];
    (void)snprintf(other, sizeof other, "layout version %u", SHM_LAYOUT_VERSION + 1);
    check_refused(fd, -EPROTO, other);
    id->magic = 1;
    check_refused(fd, -EPROTO, "0x0000000000000001");
    *id = sound;
    id->segment_bytes++;
    check_refused(fd, -EINVAL, "damaged");
    *id = sound;
    id->config.tx_bytes = 1 << 20; /* would reach behind the file's end */
    check_refused(fd, -EINVAL, "damaged");
    id->segment_bytes = shm_segment_bytes(&id->config);
    check_refused(fd, -EINVAL, "damaged");
    *id = sound;
    id->config.producers = 0;
    check_refused(fd, -EINVAL, "segment's configuration");
    *id = sound;
    REQUIRE(ftruncate(fd, (off_t)shm_segment_bytes(&config) - SHM_PAGE_BYTES) == 0);
    check_refused(fd, -EINVAL, "damaged");
    munmap(id, SHM_PAGE_BYTES);
    close(fd);
}

static void test_format_checks_first(void)
{
    int fd = new_file();
    config = shm_test_config(8192, 500);
    config.direction = 9;
    shm_segment_t s;
    CHECK_EQ(shm_segment_format(&s, fd, &config, 1), -EINVAL);
    config = shm_test_config(8192, 500);
    CHECK_EQ(shm_segment_format(&s, -1, &config, 1), -EBADF);
    close(fd);
}

/* A file size limit stands in for a full /dev/shm: the reservation fails, not a later store. */
static void test_no_room_is_an_error_at_once(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit limit = {65536, 65536};
        (void)signal(SIGXFSZ, SIG_IGN);
        (void)setrlimit(RLIMIT_FSIZE, &limit);
        config = shm_test_config(1 << 20, 500);
        int fd = new_file();
        shm_segment_t s;
        CHECK_EQ(shm_segment_format(&s, fd, &config, 1), -EFBIG);
        CHECK(strstr(rt_err_text(), "free in shared memory") != NULL);
        _exit(rt_test_result());
    }
    int status = 1;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

static void test_a_tap_cannot_write(void)
{
    int fd = new_segment();
    pid_t pid = fork();
    if (pid == 0) {
        shm_segment_t s;
        if (shm_segment_map(&s, fd, 0) < 0)
            _exit(1);
        (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would report it */
        rt_store_relaxed(&s.tx->tail, 1);
        _exit(0);
    }
    int status = 0;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    close(fd);
}

int main(void)
{
    RUN(test_what_was_formatted_is_mapped);
    RUN(test_its_maker_has_it_mapped);
    RUN(test_an_engine_has_its_own_part);
    RUN(test_a_worker_takes_its_own_configuration);
    RUN(test_an_engine_part_too_short_for_its_structs_is_refused);
    RUN(test_a_udt_record_has_room_for_a_byte_of_the_stream);
    RUN(test_state_and_reason_reach_a_file_that_nobody_maps);
    RUN(test_files_that_are_no_segments_are_refused);
    RUN(test_damage_is_named);
    RUN(test_format_checks_first);
    RUN(test_no_room_is_an_error_at_once);
    RUN(test_a_tap_cannot_write);
    return rt_test_result();
}
