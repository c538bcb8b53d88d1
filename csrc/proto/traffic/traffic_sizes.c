#include "proto/traffic/traffic_sizes.h"

#include "base/rt_err.h"

#include <errno.h>
#include <inttypes.h>

static int check_size(const traffic_size_t *size)
{
    if (size->least_bytes < TRAFFIC_LEAST_BYTES)
        return rt_err_set(-EINVAL,
                          "size is %" PRIu32 " bytes: at least %u are needed, for the sequence "
                          "number and the timestamp",
                          size->least_bytes, TRAFFIC_LEAST_BYTES);
    if (size->most_bytes > TRAFFIC_MOST_BYTES)
        return rt_err_set(-EINVAL, "size is %" PRIu32 " bytes: a UDP datagram has at most %u",
                          size->most_bytes, TRAFFIC_MOST_BYTES);
    if (size->least_bytes > size->most_bytes)
        return rt_err_set(-EINVAL, "size is from %" PRIu32 " to %" PRIu32 " bytes: swap them",
                          size->least_bytes, size->most_bytes);
    if (size->weight < 1 || size->weight > TRAFFIC_MAX_WEIGHT)
        return rt_err_set(-EINVAL, "weight of a size is %" PRIu32 ": it must be 1 to %u",
                          size->weight, TRAFFIC_MAX_WEIGHT);
    return 0;
}

int traffic_sizes_check(const traffic_sizes_t *sizes)
{
    if (sizes->size_count < 1 || sizes->size_count > TRAFFIC_MAX_SIZES)
        return rt_err_set(-EINVAL, "there are %" PRIu32 " sizes: give 1 to %u", sizes->size_count,
                          TRAFFIC_MAX_SIZES);
    for (uint32_t i = 0; i < sizes->size_count; i++) {
        int rc = check_size(&sizes->sizes[i]);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static void begin_cycle(traffic_cycle_t *cycle, const traffic_sizes_t *sizes)
{
    for (uint32_t i = 0; i < sizes->size_count; i++) {
        cycle->left[i] = sizes->sizes[i].weight;
        cycle->total += cycle->left[i];
    }
}

static const traffic_size_t *draw(traffic_cycle_t *cycle, const traffic_sizes_t *sizes,
                                  rt_random_t *r)
{
    if (sizes->size_count == 1)
        return &sizes->sizes[0];
    if (cycle->total == 0)
        begin_cycle(cycle, sizes);
    uint32_t at = rt_random_below(r, cycle->total);
    uint32_t i = 0;
    while (at >= cycle->left[i])
        at -= cycle->left[i++];
    cycle->left[i]--;
    cycle->total--;
    return &sizes->sizes[i];
}

uint32_t traffic_size_next(traffic_cycle_t *cycle, const traffic_sizes_t *sizes, rt_random_t *r)
{
    const traffic_size_t *size = draw(cycle, sizes, r);
    uint32_t range = size->most_bytes - size->least_bytes;
    return size->least_bytes + (range > 0 ? rt_random_below(r, range + 1) : 0);
}
