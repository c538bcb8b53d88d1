"""RTP channels: Python queues frames, the worker sends packets on the grid of the media clock, and
the receiver gets frames at their playout time. `shmring` exports the public names, except those of
the parts of `Rtp`."""

from shmring.rtp.engine import Nack, Playout, Rtcp

__all__ = ["Nack", "Playout", "Rtcp"]
