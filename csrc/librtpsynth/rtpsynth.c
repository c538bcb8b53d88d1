#include "librtpsynth/rtpsynth.h"

#include "base/rt_clock.h"
#include "base/rt_tick.h"
#include "proto/rtp/rtp_packet.h"
#include "proto/rtp/rtp_synth.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/random.h>

typedef struct instance {
    rtp_synth_t core;
    rt_tick_t tick;
} instance_t;

static uint32_t draw_entropy(void *arg)
{
    (void)arg;
    uint32_t drawn;
    if (getrandom(&drawn, sizeof drawn, 0) == (ssize_t)sizeof drawn)
        return drawn;
    /* A kernel without the call, or a sandbox that forbids it. */
    return (uint32_t)random() ^ (uint32_t)rt_mono_ns();
}

static rsynth_randfunc_t draw = draw_entropy;
static void *draw_arg;

void rsynth_set_randfunc(rsynth_randfunc_t f, void *arg)
{
    draw = f != NULL ? f : draw_entropy;
    draw_arg = f != NULL ? arg : NULL;
}

void *rsynth_ctor(int srate, int ptime)
{
    instance_t *ri = malloc(sizeof *ri);
    if (ri == NULL)
        return NULL;
    uint32_t draws[RTP_SYNTH_DRAWS];
    for (unsigned i = 0; i < RTP_SYNTH_DRAWS; i++)
        draws[i] = draw(draw_arg);
    rt_tick_init(&ri->tick);
    rtp_synth_init(&ri->core, srate, ptime, draws, rt_mono_ns());
    return ri;
}

void rsynth_dtor(void *ri)
{
    free(ri);
}

int rsynth_next_pkt_pa(void *ri, int plen, int pt, char *buf, unsigned int blen, int pa)
{
    instance_t *self = ri;
    int length = rtp_synth_next(&self->core, plen, pt, (uint8_t *)buf, blen, pa != 0,
                                rt_tick_mono_ns(&self->tick));
    return length < 0 ? -1 : length;
}

void *rsynth_next_pkt(void *ri, int plen, int pt)
{
    if (plen < 0)
        return NULL;
    unsigned int room = RTP_HEADER_BYTES + (unsigned int)plen;
    char *packet = malloc(room);
    if (packet != NULL && rsynth_next_pkt_pa(ri, plen, pt, packet, room, 0) < 0) {
        free(packet);
        return NULL;
    }
    return packet;
}

void rsynth_pkt_free(void *rnp)
{
    free(rnp);
}

size_t rsynth_next_pkts(void *ri, size_t npkts, size_t plen, int pt, const void *payload, void *buf,
                        size_t stride)
{
    instance_t *self = ri;
    return rtp_synth_next_many(&self->core, npkts, plen, pt, payload, buf, stride, rt_mono_ns());
}

void rsynth_skip(void *ri, int npkts)
{
    instance_t *self = ri;
    rtp_synth_skip(&self->core, npkts);
}

unsigned int rsynth_set_mbt(void *ri, unsigned int new_st)
{
    instance_t *self = ri;
    return rtp_synth_set_marker(&self->core, (new_st & 1u) != 0);
}

void rsynth_resync(void *ri, struct rsynth_seq *rsp)
{
    instance_t *self = ri;
    if (rsp != NULL) {
        rsp->ts = self->core.ts;
        rsp->seq = self->core.seq;
    }
    rtp_synth_resync(&self->core, rt_mono_ns());
}
