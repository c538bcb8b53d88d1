#include "base/rt_err.h"
#include "rt_test.h"

#include <errno.h>
#include <pthread.h>

static void test_set_returns_the_code_and_keeps_the_text(void)
{
    CHECK_EQ(rt_err_set(-EINVAL, "depth is %d; at most %d", 9, 8), -EINVAL);
    CHECK_STR_EQ(rt_err_text(), "depth is 9; at most 8");
    CHECK_EQ(rt_err_set(-ENOSPC, "full"), -ENOSPC);
    CHECK_STR_EQ(rt_err_text(), "full");
}

static void test_append_puts_context_in_front(void)
{
    (void)rt_err_set(-EIO, "inner");
    rt_err_append("middle %d", 2);
    rt_err_append("outer");
    CHECK_STR_EQ(rt_err_text(), "outer: middle 2: inner");
    rt_err_clear();
    CHECK_STR_EQ(rt_err_text(), "");
}

static void test_long_texts_are_cut_and_ended(void)
{
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)rt_err_set(-EIO, "%s", text);
    size_t length = strlen(rt_err_text());
    CHECK(length > 100 && length < sizeof text);
    rt_err_append("context");
    CHECK_EQ(strncmp(rt_err_text(), "context: xxx", 12), 0);
    rt_err_append("%s", text);
    CHECK(strlen(rt_err_text()) < sizeof text);
    rt_err_clear();
}

static void *other_thread(void *arg)
{
    (void)arg;
    CHECK_STR_EQ(rt_err_text(), "");
    (void)rt_err_set(-EPERM, "theirs");
    return NULL;
}

static void test_each_thread_has_its_own(void)
{
    (void)rt_err_set(-EIO, "ours");
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, other_thread, NULL) == 0);
    pthread_join(thread, NULL);
    CHECK_STR_EQ(rt_err_text(), "ours");
}

int main(void)
{
    RUN(test_set_returns_the_code_and_keeps_the_text);
    RUN(test_append_puts_context_in_front);
    RUN(test_long_texts_are_cut_and_ended);
    RUN(test_each_thread_has_its_own);
    return rt_test_result();
}
