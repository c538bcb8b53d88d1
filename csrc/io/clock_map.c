#include "io/clock_map.h"

#include "base/rt_err.h"

#include <errno.h>

#define FIRST_PAIRS 48

/* Far from every real offset, and far enough from the type's ends for their difference. */
#define UNKNOWN_NS (INT64_MAX / 4)

static int64_t tai_to_real_offset_ns(void)
{
    return -(int64_t)rt_tai_offset_s() * RT_NS_PER_S;
}

int clock_map_bounds(clock_map_t *map, int64_t low_ns, int64_t high_ns)
{
    int stepped = low_ns > map->high_ns || high_ns < map->low_ns;
    if (stepped || low_ns > map->low_ns)
        map->low_ns = low_ns;
    if (stepped || high_ns < map->high_ns)
        map->high_ns = high_ns;
    map->offset_ns = map->low_ns + (map->high_ns - map->low_ns) / 2;
    return stepped;
}

int clock_map_check(clock_map_t *map)
{
    if (map->target != RT_CLOCK_MONOTONIC)
        return 0;
    int64_t before_mono_ns = rt_mono_ns();
    int64_t real_ns = rt_real_ns();
    int64_t after_mono_ns = rt_mono_ns();
    return clock_map_bounds(map, real_ns - after_mono_ns, real_ns - before_mono_ns);
}

static int refresh_tai(clock_map_t *map)
{
    int64_t offset_ns = tai_to_real_offset_ns();
    /* 0: the program that set TAI has ended. The last offset is right until a leap second. */
    if (offset_ns == 0 || offset_ns == map->offset_ns)
        return 0;
    map->offset_ns = map->low_ns = map->high_ns = offset_ns;
    return 1;
}

int clock_map_refresh(clock_map_t *map, int64_t now_mono_ns)
{
    if (now_mono_ns < map->next_refresh_mono_ns)
        return 0;
    map->next_refresh_mono_ns = now_mono_ns + CLOCK_MAP_REFRESH_NS;
    if (map->target == RT_CLOCK_TAI)
        return refresh_tai(map);
    return clock_map_check(map);
}

int clock_map_init(clock_map_t *map, rt_clock_id_t target)
{
    *map = (clock_map_t){.target = target};
    switch (target) {
    case RT_CLOCK_TAI:
        map->offset_ns = map->low_ns = map->high_ns = tai_to_real_offset_ns();
        if (map->offset_ns == 0)
            return rt_err_set(-EINVAL,
                              "clock TAI: the kernel's TAI offset is 0, so CLOCK_TAI would "
                              "run on UTC; let ptp4l/phc2sys or chrony (leapsectz) set it, "
                              "or use the monotonic clock");
        return 0;
    case RT_CLOCK_MONOTONIC:
        map->low_ns = -UNKNOWN_NS;
        map->high_ns = UNKNOWN_NS;
        for (int i = 0; i < FIRST_PAIRS; i++)
            clock_map_check(map);
        return 0;
    }
    return rt_err_set(-EINVAL, "clock %d is unknown; 0 is monotonic, 1 TAI", (int)target);
}

int64_t clock_now_ns(rt_clock_id_t clock)
{
    return clock == RT_CLOCK_TAI ? rt_tai_ns() : rt_mono_ns();
}
