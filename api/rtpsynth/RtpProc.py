"""Scheduler: one thread of the process that calls functions at their requested times."""

import atexit
import os

from rtpsynth import _proc
from rtpsynth._proc import ChannelProcError, RtpProc, RtpProcChannel

__all__ = ["ChannelProcError", "RtpProc", "RtpProcChannel"]


def _breathe() -> None:
    """Called between callbacks, so that other threads get the interpreter's lock."""


_proc.configure(_breathe)
os.register_at_fork(after_in_child=_proc.after_fork_in_child)
atexit.register(_proc.at_exit)
