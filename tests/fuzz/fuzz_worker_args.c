/* A worker's command line: with capabilities of its file, whoever may run it chooses the arguments.
 * What must hold: refused with a text, or every value lies within its range.
 *
 *      input:  words, separated by zeros */
#include "worker/worker_args.h"

#include "base/rt_err.h"

#include <stdlib.h>
#include <string.h>

#define MOST_WORDS 40

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_accepted(const worker_args_t *args)
{
    require(args->cpu >= WRK_CPU_NONE && args->cpu <= 65535);
    require(args->slot <= 65535);
    require(args->priority >= 0 && args->priority <= 99);
    require(!args->fifo || args->priority >= 1);
    require(args->profile <= SHM_PROFILE_POWER);
    require(args->examine_ms >= WRK_EXAMINE_NOT && args->examine_ms <= WRK_EXAMINE_MOST_MS);
    require(memchr(args->name_space, '\0', sizeof args->name_space) != NULL);
    require(memchr(args->pool, '\0', sizeof args->pool) != NULL);
    require(args->device != NULL);
    if (args->examine_ms == WRK_EXAMINE_NOT)
        require(args->runtime_dir != NULL && args->page_fd >= 0 && args->pool_fd >= 0 &&
                args->name_space[0] != '\0' && args->pool[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    char *words[MOST_WORDS + 2] = {(char[]){"shmring-worker"}};
    int count = 1;
    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    for (size_t at = 0; at < size && count <= MOST_WORDS; at += strlen(text + at) + 1)
        words[count++] = text + at;
    worker_args_t args;
    rt_err_clear();
    int rc = worker_args_parse(&args, count, words);
    require(rc <= 0);
    require((rc < 0) == (rt_err_text()[0] != '\0'));
    if (rc == 0)
        check_accepted(&args);
    free(text);
    return 0;
}
