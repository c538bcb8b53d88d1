"""`rtpsynth.RtpSynth` under the name that the original's documentation also uses."""

from rtpsynth._core import RtpSynth, set_randfunc

RtpGen = RtpSynth

__all__ = ["RtpGen", "RtpSynth", "set_randfunc"]
