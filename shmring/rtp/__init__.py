"""RTP channels: Python queues frames, the worker sends packets on the grid of the media clock, and
the receiver gets frames at their playout time."""

TYPE_CHECKING = False  # typing.TYPE_CHECKING without typing: type checkers know the name

if TYPE_CHECKING:
    from shmring.rtp.batch import Batch as Batch
    from shmring.rtp.channel import Channel as Channel
    from shmring.rtp.engine import Nack as Nack
    from shmring.rtp.engine import Playout as Playout
    from shmring.rtp.engine import Rtcp as Rtcp
    from shmring.rtp.frames import Bye as Bye
    from shmring.rtp.frames import Erasure as Erasure
    from shmring.rtp.frames import Frame as Frame
    from shmring.rtp.frames import Item as Item
    from shmring.rtp.frames import Resync as Resync
    from shmring.rtp.statistics import Stats as Stats
else:
    from shmring._faces import face

    __getattr__, __dir__, __all__ = face(
        __name__,
        {
            "shmring.rtp.batch": "Batch",
            "shmring.rtp.channel": "Channel",
            "shmring.rtp.engine": "Nack Playout Rtcp",
            "shmring.rtp.frames": "Bye Erasure Frame Item Resync",
            "shmring.rtp.statistics": "Stats",
        },
    )
