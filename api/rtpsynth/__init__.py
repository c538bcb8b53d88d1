"""RTP on top of shmring, under the names of the original package of this name.

The package itself has no names; each of its modules holds what the original's module of that name
holds:

    rtpsynth.RtpUtils     G.711 and sample rates
    rtpsynth.env          one constant

Everything else of shmring stays out of these: no worker process, no shared memory.
"""
