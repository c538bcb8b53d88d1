"""RTP on top of shmring, under the names of the original package of this name.

The package itself exports no names. Each of its modules has the contents of the original's module
of that name:

    rtpsynth.RtpProc      functions called at their requested times
    rtpsynth.RtpSynth     generator of packets
    rtpsynth.RtpGen       the same under another name
    rtpsynth.RtpJBuf      the jitter buffer
    rtpsynth.RtpServer    many UDP ports that call back
    rtpsynth.RtpUtils     G.711 and sample rates
    rtpsynth.headers      headers of many packets as one table (not in the original)
    rtpsynth.env          one constant

`RtpServer` uses a worker process and shared memory of shmring. The others do not.
"""

try:
    from shmring.drop_ins import check as _check
except ImportError:  # nothing compiled is here
    pass
else:
    _check(__name__, __file__)
