"""RTP on top of shmring, under the names of the original package of this name.

The package itself has no names; each of its modules holds what the original's module of that name
holds:

    rtpsynth.RtpProc      functions called at the times they ask for
    rtpsynth.RtpSynth     generator of packets
    rtpsynth.RtpGen       the same under another name
    rtpsynth.RtpJBuf      the jitter buffer
    rtpsynth.RtpServer    many UDP ports that call back
    rtpsynth.RtpUtils     G.711 and sample rates
    rtpsynth.headers      headers of many packets as one table (not in the original)
    rtpsynth.env          one constant

`RtpServer` uses a worker process and shared memory of shmring; the others know nothing of it.
"""
