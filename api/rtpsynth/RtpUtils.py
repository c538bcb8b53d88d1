"""G.711 companding (ITU-T G.711) and linear sample rate conversion of 16-bit samples.

Each name is a function of this module and a static method of the class `RtpUtils`. Arguments are
positional only.
"""

from rtpsynth._core import (
    RtpUtils,
    alaw2linear,
    linear2alaw,
    linear2ulaw,
    resample_linear,
    ulaw2linear,
)

__all__ = [
    "RtpUtils",
    "alaw2linear",
    "linear2alaw",
    "linear2ulaw",
    "resample_linear",
    "ulaw2linear",
]
