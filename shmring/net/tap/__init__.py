"""Copies of the packets of a channel, for Wireshark and similar programs.

    from shmring.net import tap

    with tap.open("ctl", "ctl.pcapng") as t:              # everything, from now on
        time.sleep(10)

    t = tap.open("ctl", "late.pcapng", keep=10.0)         # the last ten seconds, on a trigger:
    t.trigger("the arm stood still")                      # now, or at the first late packet

    tap.trigger("ctl", "the arm stood still")             # the same for every tap of the channel

`shmring tap` does the same on the command line.
"""

from shmring.net.tap.opening import DEFAULT_BUFFER_BYTES, TRIGGERS, open, trigger
from shmring.net.tap.session import Tap, TapStats

__all__ = ["DEFAULT_BUFFER_BYTES", "TRIGGERS", "Tap", "TapStats", "open", "trigger"]
