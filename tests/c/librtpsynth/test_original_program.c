/* A program as one writes it for the original: the includes in the order its headers needed, opaque
 * handles, frames walked with `next` fetched before each is released. It makes a stream, shuffles
 * it, loses a packet, and plays it. */
#include <stdint.h>
#include <stddef.h>
#include <rtp.h>
#include <rtp_info.h>
#include <rtpjbuf.h>
#include <rtpsynth.h>
#include <SPMCQueue.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PACKETS 100
#define LOST 50

static uint32_t my_random(void *arg)
{
    uint32_t *state = arg;
    *state = *state * 1664525u + 1013904223u;
    return *state;
}

static int expect(long got, long wanted, const char *what)
{
    if (got != wanted)
        (void)fprintf(stderr, "%s: %ld, expected %ld\n", what, got, wanted);
    return got == wanted ? 0 : 1;
}

int main(void)
{
    uint32_t state = 42;
    long frames = 0, erased = 0, dropped = 0, out_of_order = 0;
    uint64_t last = 0;
    int failed = 0, i;
    SPMCQueue *queue = create_queue(128);
    void *ri, *jb, *item;

    rsynth_set_randfunc(my_random, &state);
    ri = rsynth_ctor(8000, 20);
    jb = rtpjbuf_ctor(8);
    if (ri == NULL || jb == NULL || queue == NULL)
        return 1;
    for (i = 0; i < PACKETS; i++) {
        void *pkt = rsynth_next_pkt(ri, 160, RTP_PCMU);
        if (i == LOST)
            rsynth_pkt_free(pkt);
        else if (!try_push(queue, pkt))
            return 1;
    }
    while (try_pop(queue, &item)) {
        void *second = NULL;
        void *pair[2];
        int k, n = 0;
        if (try_pop(queue, &second))
            pair[n++] = second;
        pair[n++] = item;
        for (k = 0; k < n; k++) {
            struct rjb_udp_in_r r = rtpjbuf_udp_in(jb, pair[k], sizeof(struct rtp_hdr) + 160);
            struct rtp_frame *fp, *next;
            failed += expect(r.error, 0, "error");
            for (fp = r.ready; fp != NULL; fp = next) {
                next = fp->next;
                if (fp->type == RFT_ERS) {
                    erased += (long)(fp->ers.lseq_end - fp->ers.lseq_start + 1);
                    failed += expect((long)fp->ers.ts_diff, 160, "ts_diff");
                    continue;
                }
                out_of_order += frames > 0 && fp->rtp.lseq < last;
                last = fp->rtp.lseq;
                frames++;
                failed += expect(fp->rtp.info.nsamples, 160, "nsamples");
                rsynth_pkt_free((void *)(uintptr_t)fp->rtp.data);
                rtpjbuf_frame_dtor(fp);
            }
            for (fp = r.drop; fp != NULL; fp = next) {
                next = fp->next;
                dropped++;
                rsynth_pkt_free((void *)(uintptr_t)fp->rtp.data);
                rtpjbuf_frame_dtor(fp);
            }
        }
    }
    failed += expect(frames, PACKETS - 1, "frames");
    failed += expect(erased, 1, "erased");
    failed += expect(dropped, 0, "dropped");
    failed += expect(out_of_order, 0, "out of order");
    rtpjbuf_dtor(jb);
    rsynth_dtor(ri);
    destroy_queue(queue);
    return failed == 0 ? 0 : 1;
}
