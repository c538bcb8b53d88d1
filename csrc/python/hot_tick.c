#include "python/hot.h"

#include "base/rt_atomic.h"
#include "client/alarm.h"
#include "shm/cyclic_shm.h"

/* The engine's part of a channel of ticks. NULL: the channel has another engine. */
static shm_cyclic_head_t *head_of(const endpoint_t *end)
{
    const shm_config_t *c = &end->segment->config;
    bool cyclic = memcmp(c->engine, SHM_CYCLIC_ENGINE, sizeof SHM_CYCLIC_ENGINE) == 0;
    return cyclic && c->engine_bytes >= SHM_CYCLIC_HEAD_BYTES
               ? shm_cyclic_head(end->segment->engine)
               : NULL;
}

/* Asks the worker to show the next ticks early enough for this process, too. */
static void ask_early(core_t *self, const endpoint_t *end, int64_t took_ns)
{
    shm_cyclic_head_t *head = head_of(end);
    self->early_ns = alarm_early_ns(self->early_ns, took_ns);
    uint64_t wanted = (uint64_t)self->early_ns;
    if (head != NULL && rt_load_relaxed(&head->early_wanted_ns) < wanted)
        rt_store_relaxed(&head->early_wanted_ns, wanted);
}

/* Takes all ticks that wait. Returns whether there was one: the last one is in *last. */
static bool take_newest(endpoint_t *end, rx_packet_t *last)
{
    bool found = false;
    while (endpoint_peek(end)) {
        *last = end->spare_packet;
        endpoint_taken(end);
        found = true;
    }
    return found;
}

/* A client may have written this time. */
static int64_t plausible_ns(int64_t time_ns, int64_t awake_ns)
{
    return time_ns >= 0 && time_ns < awake_ns + RT_NS_PER_S ? time_ns : awake_ns;
}

/* (due, when the worker showed it, when this thread was awake), all of CLOCK_MONOTONIC. The caller
 * spins until it is due. None: there is none until then. */
PyObject *core_tick(core_t *self, PyObject *until)
{
    int none_there = 0;
    int64_t until_mono_ns = PyLong_AsLongLong(until);
    if (until_mono_ns == -1 && PyErr_Occurred())
        return NULL;
    endpoint_t *end = hot_wait_for_packet(self, until_mono_ns, &none_there);
    rx_packet_t newest;
    if (end == NULL && !none_there)
        return NULL;
    if (end == NULL || !take_newest(end, &newest)) {
        Py_INCREF(Py_None);
        return Py_None;
    }
    int64_t awake_ns = rt_mono_ns();
    int64_t due_ns = plausible_ns(newest.time_ns, awake_ns);
    int64_t shown_ns = due_ns + (int32_t)newest.tag;
    if (awake_ns < due_ns + RT_NS_PER_MS && awake_ns >= shown_ns) /* else it had other work to do */
        ask_early(self, end, awake_ns - shown_ns);
    return Py_BuildValue("(LLL)", (long long)due_ns, (long long)shown_ns, (long long)awake_ns);
}
