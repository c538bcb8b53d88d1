"""Copies of what passes on a channel, for Wireshark and its like.

    from shmring import tap

    with tap.open("ctl", "ctl.pcapng") as t:              # all of it, from now on
        time.sleep(10)

    t = tap.open("ctl", "late.pcapng", keep=10.0)         # the last ten seconds, when it matters:
    t.trigger("the arm stood still")                      # now, or at the first late packet

    tap.trigger("ctl", "the arm stood still")             # likewise, every tap of the channel

`shmring tap` is the same from the command line.
"""

from shmring.tap.opening import DEFAULT_BUFFER_BYTES, TRIGGERS, open, trigger
from shmring.tap.session import Tap, TapStats

__all__ = ["DEFAULT_BUFFER_BYTES", "TRIGGERS", "Tap", "TapStats", "open", "trigger"]
