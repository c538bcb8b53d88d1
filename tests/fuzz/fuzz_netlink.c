/* Answers of netlink to what opening a socket asks: routes and queueing disciplines. They come from
 * the kernel; what must hold for any bytes: nothing is read beyond an answer, every call ends,
 * names are whole.
 *
 *      input:  which question (1), interface (1), the answer */
#include "io/udp_route.c"

#include <stdlib.h>

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void read_routes(const char *answer, size_t bytes)
{
    uint32_t out = 0;
    int rc = read_messages(answer, bytes, take_out_interface, &out);
    require(rc <= 1);
}

static void read_qdiscs(const char *answer, size_t bytes, uint32_t ifindex)
{
    qdisc_tree_t tree = {.ifindex = ifindex};
    int rc = read_messages(answer, bytes, take_qdisc, &tree);
    require(rc <= 1);
    require(memchr(tree.root, '\0', sizeof tree.root) != NULL);
    require(memchr(tree.leaves, '\0', sizeof tree.leaves) != NULL);
    (void)only_spreads(tree.root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    /* In a block of its own, and at its very end, so that one byte too many is seen. */
    char *answer = malloc(size - 2 ? size - 2 : 1);
    if (answer == NULL)
        return 0;
    memcpy(answer, data + 2, size - 2);
    if (data[0] % 2 == 0)
        read_routes(answer, size - 2);
    else
        read_qdiscs(answer, size - 2, data[1] % 4);
    free(answer);
    return 0;
}
