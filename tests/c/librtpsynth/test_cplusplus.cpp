// The headers in C++: they compile without a warning, and what they declare has C names.
#include <rtpjbuf.h>
#include <rtpsynth.h>
#include <SPMCQueue.h>

static uint32_t one(void *)
{
    return 1;
}

int main()
{
    char packet[32];
    rsynth_set_randfunc(one, nullptr);
    void *generator = rsynth_ctor(8000, 20);
    void *buffer = rtpjbuf_ctor(1);
    bool good = rsynth_next_pkt_pa(generator, 20, RTP_PCMA, packet, sizeof packet, 0) == 32;
    rjb_udp_in_r r = rtpjbuf_udp_in(buffer, reinterpret_cast<unsigned char *>(packet), 32);
    good = good && r.error == 0 && r.ready == nullptr;
    r = rtpjbuf_flush(buffer);
    good = good && r.ready != nullptr && r.ready->type == RFT_ERS && r.ready->ers.lseq_end == 0;
    rtp_frame *frame = good ? r.ready->next : nullptr;
    good = frame != nullptr && frame->rtp.info.seq == 1 && frame->rtp.info.nsamples == 20;
    rtpjbuf_frame_dtor(frame);
    rtpjbuf_dtor(buffer);
    rsynth_dtor(generator);

    SPMCQueue *queue = create_queue(2);
    void *value = nullptr;
    good = good && try_push(queue, packet) && try_pop(queue, &value) && value == packet;
    destroy_queue(queue);
    return good && sizeof(rtp_hdr_t) == 12 ? 0 : 1;
}
