"""RTP on top of shmring, under the names of the original package of this name.

The package itself has no names; each of its modules holds what the original's module of that name
holds:

    rtpsynth.RtpSynth     generator of packets
    rtpsynth.RtpGen       the same under another name
    rtpsynth.RtpJBuf      the jitter buffer
    rtpsynth.RtpUtils     G.711 and sample rates
    rtpsynth.headers      headers of many packets as one table (not in the original)
    rtpsynth.env          one constant

Everything else of shmring stays out of these: no worker process, no shared memory.
"""
