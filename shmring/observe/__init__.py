"""What happened: each worker's flight recorder and distinct errors, each channel's late packets.

Everything is read from shared memory, read-only and without asking any process. So it can be read
when the worker hangs, and after a whole pool was killed, until ``shmring gc`` removes its files.

    >>> from shmring import observe
    >>> observe.events(namespace="plant")
    >>> observe.late_packets("ctl")
    >>> observe.errors("line-1")

Times are in ns, of CLOCK_MONOTONIC where a name says so, else of the channel's clock.

Names are imported on first use: `shmring.observe.monitor`, which rtstat reads, needs few of them.
"""

TYPE_CHECKING = False  # typing.TYPE_CHECKING without typing: type checkers know the name

if TYPE_CHECKING:
    from rtworkers.history import DistinctError as DistinctError
    from rtworkers.history import Event as Event
    from rtworkers.history import EventKind as EventKind
    from rtworkers.history import WorkerRecord as WorkerRecord
    from rtworkers.history import errors as errors
    from rtworkers.history import event_kinds as event_kinds
    from rtworkers.history import events as events
    from rtworkers.history import workers as workers
    from shmring.observe.late import LateChannel as LateChannel
    from shmring.observe.late import LatePacket as LatePacket
    from shmring.observe.late import late_channel as late_channel
    from shmring.observe.late import late_packets as late_packets
    from shmring.observe.late import worker_lives as worker_lives
    from shmring.observe.reading import ReaderInfo as ReaderInfo
    from shmring.registry import ChannelInfo as ChannelInfo
    from shmring.registry import Removed as Removed
    from shmring.registry import Unreadable as Unreadable
    from shmring.registry import unreadable as unreadable
    from shmring.types import WorkerInfo as WorkerInfo
else:
    from shmring._faces import face

    __getattr__, __dir__, __all__ = face(
        __name__,
        {
            "rtworkers.history": (
                "DistinctError Event EventKind WorkerRecord errors event_kinds events workers"
            ),
            "shmring.observe.late": (
                "LateChannel LatePacket late_channel late_packets worker_lives"
            ),
            "shmring.observe.reading": "ReaderInfo",
            "shmring.registry": "ChannelInfo Removed Unreadable unreadable",
            "shmring.types": "WorkerInfo",
        },
    )
