/* Where a channel lies, and whose it may be. */
#include "rt_test.h"

#include "client/host.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static char file[128];

static const char *name_in_shm(const char *name)
{
    (void)snprintf(file, sizeof file, "/dev/shm/shmring:host-test:c:%s", name);
    (void)unlink(file);
    return file;
}

static void test_the_namespace_comes_from_the_caller_or_the_environment(void)
{
    CHECK_EQ(unsetenv("SHMRING_NAMESPACE"), 0);
    CHECK_STR_EQ(host_namespace(NULL), "default");
    CHECK_EQ(setenv("SHMRING_NAMESPACE", "plant", 1), 0);
    CHECK_STR_EQ(host_namespace(NULL), "plant");
    CHECK_STR_EQ(host_namespace("other"), "other");
}

static void test_the_runtime_directory_is_that_of_python(void)
{
    char path[HOST_PATH_BYTES];
    CHECK_EQ(setenv("XDG_RUNTIME_DIR", "/run/user/7", 1), 0);
    CHECK_EQ(setenv("SHMRING_RUNTIME_DIR", "/tmp/here", 1), 0);
    CHECK_EQ(host_worker_socket(NULL, "ns", "pool", 12, path), 0);
    CHECK_STR_EQ(path, "/tmp/here/ns/pool/worker-12.sock");
    CHECK_EQ(unsetenv("SHMRING_RUNTIME_DIR"), 0);
    CHECK_EQ(host_worker_socket(NULL, "ns", "pool", 0, path), 0);
    CHECK_STR_EQ(path, "/run/user/7/shmring/ns/pool/worker-0.sock");
    CHECK_EQ(unsetenv("XDG_RUNTIME_DIR"), 0);
    CHECK_EQ(host_worker_socket(NULL, "ns", "pool", 0, path), 0);
    CHECK(strncmp(path, geteuid() == 0 ? "/run/shmring/" : "/tmp/shmring-", 13) == 0);
}

static void test_a_given_runtime_directory_comes_before_the_environment(void)
{
    char path[HOST_PATH_BYTES];
    CHECK_EQ(setenv("SHMRING_RUNTIME_DIR", "/tmp/here", 1), 0);
    CHECK_EQ(host_worker_socket("/given", "ns", "pool", 3, path), 0);
    CHECK_STR_EQ(path, "/given/ns/pool/worker-3.sock");
    CHECK_EQ(unsetenv("SHMRING_RUNTIME_DIR"), 0);
}

static void test_only_regular_files_are_opened(void)
{
    CHECK_EQ(host_open_segment("host-test", "none", 0), -ENOENT);
    CHECK_EQ(mkfifo(name_in_shm("pipe"), 0600), 0);
    CHECK_EQ(host_open_segment("host-test", "pipe", 0), -EPROTO); /* and does not wait */
    (void)unlink(file);
    CHECK_EQ(symlink("/etc/passwd", name_in_shm("link")), 0);
    CHECK_EQ(host_open_segment("host-test", "link", 0), -ELOOP);
    (void)unlink(file);
    int made = open(name_in_shm("file"), O_RDWR | O_CREAT, 0600);
    int found = host_open_segment("host-test", "file", 1);
    CHECK(made >= 0 && found >= 0);
    close(made);
    close(found);
    (void)unlink(file);
}

static void test_names_that_cannot_be(void)
{
    CHECK_EQ(host_open_segment("..", "x", 0), -EINVAL);
    CHECK_EQ(host_open_segment("host-test", "a/b", 0), -EINVAL);
    CHECK_EQ(host_open_segment("host-test", "", 0), -EINVAL);
}

static void test_whose_files_are_trusted(void)
{
    struct stat facts = {.st_uid = geteuid(), .st_mode = S_IFREG | 0600};
    CHECK(host_is_trusted(&facts, 0));
    facts.st_uid = 0;
    CHECK(host_is_trusted(&facts, 0));
    facts.st_uid = 4711;
    facts.st_gid = getegid();
    CHECK(!host_is_trusted(&facts, 0));
    CHECK(host_is_trusted(&facts, 4711));
    facts.st_mode = S_IFREG | 0660; /* of the primary group, which others may be in by default */
    CHECK(!host_is_trusted(&facts, 0));
    facts.st_gid = 4711;
    CHECK(!host_is_trusted(&facts, 0));
}

int main(void)
{
    RUN(test_the_namespace_comes_from_the_caller_or_the_environment);
    RUN(test_the_runtime_directory_is_that_of_python);
    RUN(test_a_given_runtime_directory_comes_before_the_environment);
    RUN(test_only_regular_files_are_opened);
    RUN(test_names_that_cannot_be);
    RUN(test_whose_files_are_trusted);
    return rt_test_result();
}
