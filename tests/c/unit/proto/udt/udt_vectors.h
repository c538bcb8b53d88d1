/* Reading tests/vectors/udt: hex, one datagram a line. */
#ifndef UDT_VECTORS_H
#define UDT_VECTORS_H

#include "rt_test.h"

enum { VECTOR_BYTES = 1500, VECTOR_LINE = 2 * VECTOR_BYTES + 200 };

static FILE *open_vectors(const char *name)
{
    char path[4200];
    (void)snprintf(path, sizeof path - 64, "%s", __FILE__);
    char *tests = strstr(path, "/c/unit/proto/udt/");
    if (tests == NULL)
        TEST_SKIP("no source tree beside %s", __FILE__);
    (void)snprintf(tests, 64, "/vectors/udt/%s", name);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        TEST_SKIP("no %s", path);
    return f;
}

/* On the heap and not a byte longer; "-" is a datagram of no bytes. */
static uint8_t *from_hex(const char *hex, size_t *size)
{
    *size = strcmp(hex, "-") == 0 ? 0 : strlen(hex) / 2;
    uint8_t *data = malloc(*size > 0 ? *size : 1);
    for (size_t i = 0; i < *size; i++) {
        unsigned byte;
        CHECK_EQ(sscanf(hex + 2 * i, "%2x", &byte), 1);
        data[i] = (uint8_t)byte;
    }
    return data;
}

#endif
