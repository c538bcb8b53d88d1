"""Generator of RTP packets: class `RtpSynth` (also under the name `RtpGen`), and `set_randfunc`."""

from rtpsynth._core import RtpSynth, set_randfunc

RtpGen = RtpSynth

__all__ = ["RtpGen", "RtpSynth", "set_randfunc"]
