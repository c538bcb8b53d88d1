"""Scheduler: one thread of the process that calls functions at their requested times."""

import atexit
import os
import threading
from collections.abc import Callable

from rtpsynth import _core
from rtpsynth._core import ChannelProcError, RtpProc, RtpProcChannel

__all__ = ["ChannelProcError", "RtpProc", "RtpProcChannel"]


def _do_nothing() -> None:
    """Called between callbacks, so that other threads get the interpreter's lock."""


def _make_thread(run: Callable[[], None]) -> threading.Thread:
    return threading.Thread(target=run, name="RtpProc", daemon=True)


_core.configure_proc(_do_nothing, _make_thread)
os.register_at_fork(after_in_child=_core.after_fork_in_child)
atexit.register(_core.at_exit)
