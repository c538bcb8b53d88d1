"""UDP with deadlines.

C workers own the sockets and meet the deadlines. Rings in shared memory connect them to any number
of Python processes.

    with shmring.Pool(cpus=[1]) as pool:
        ch = pool.open("ctl", local=("127.0.0.1", 0), remote=("127.0.0.1", 9000))
        ch.send(b"hello", at=time.monotonic_ns() + 1_000_000)
        packet = ch.recv(timeout=0.1)

    ch = shmring.attach("ctl")              # in any other process
    tap = shmring.attach("ctl", readonly=True)   # only observes
"""

try:
    from shmring._ring import lib as _lib  # noqa: F401
except ModuleNotFoundError as _missing:
    if _missing.name != "shmring._ring":
        raise
    raise ImportError(
        f"{__path__[0]} has no compiled modules: it is a source folder, and Python finds it before "
        'the installed one. Install it ("pip install .", or "make test" for development) and start '
        "Python in another folder, or with -P",
        name="shmring",
    ) from None

from shmring._address import Address
from shmring._hot import Packet
from shmring._opening import Udp
from shmring._pool_quota import UserLimits
from shmring.batch import PacketBatch, ReportBatch
from shmring.channel import Channel
from shmring.errors import (
    BadAddress,
    BadConfig,
    ChannelClosed,
    ChannelExists,
    ChannelNotFound,
    LayoutMismatch,
    NoPermission,
    NoSpace,
    PayloadTooLarge,
    RealtimeWarning,
    ReceiveTimeout,
    RingFull,
    SendTimeout,
    ShmringError,
    ShmringOSError,
    TooLate,
    WorkerFailed,
)
from shmring.histogram import Histogram
from shmring.netflux.channel import NetfluxChannel, NetfluxSettings
from shmring.netflux.engine import Netflux
from shmring.netflux.items import (
    NetfluxEvent,
    NetfluxEventKind,
    NetfluxItem,
    NetfluxSnapshot,
    NetfluxValues,
    SentValues,
)
from shmring.netflux.statistics import NetfluxChannelStats, NetfluxLink, NetfluxStats
from shmring.pool import (
    Pool,
    close_default_pool,
    default_pool,
)
from shmring.pool import (
    open as open,  # not in __all__: a star import keeps the builtin
)
from shmring.registry import (
    ChannelInfo,
    Removed,
    Unreadable,
    attach,
    channels,
    unreadable,
)
from shmring.registry import (
    gc as gc,  # not in __all__, either: the module gc
)
from shmring.rtp.batch import RtpBatch
from shmring.rtp.channel import RtpChannel
from shmring.rtp.engine import Rtp
from shmring.rtp.frames import RtpBye, RtpErasure, RtpFrame, RtpItem, RtpResync
from shmring.rtp.statistics import RtpChannelStats, RtpStats
from shmring.stats import ChannelStats, ReaderInfo
from shmring.types import LAYOUT_VERSION, Impairment, SendReport, Stamp, State, Verdict, WorkerInfo

__all__ = [
    "LAYOUT_VERSION",
    "Address",
    "BadAddress",
    "BadConfig",
    "Channel",
    "ChannelClosed",
    "ChannelExists",
    "ChannelInfo",
    "ChannelNotFound",
    "ChannelStats",
    "Histogram",
    "Impairment",
    "LayoutMismatch",
    "Netflux",
    "NetfluxChannel",
    "NetfluxChannelStats",
    "NetfluxEvent",
    "NetfluxEventKind",
    "NetfluxItem",
    "NetfluxLink",
    "NetfluxSettings",
    "NetfluxSnapshot",
    "NetfluxStats",
    "NetfluxValues",
    "NoPermission",
    "NoSpace",
    "Packet",
    "PacketBatch",
    "PayloadTooLarge",
    "Pool",
    "ReaderInfo",
    "RealtimeWarning",
    "ReceiveTimeout",
    "Removed",
    "ReportBatch",
    "RingFull",
    "Rtp",
    "RtpBatch",
    "RtpBye",
    "RtpChannel",
    "RtpChannelStats",
    "RtpErasure",
    "RtpFrame",
    "RtpItem",
    "RtpResync",
    "RtpStats",
    "SendReport",
    "SendTimeout",
    "SentValues",
    "ShmringError",
    "ShmringOSError",
    "Stamp",
    "State",
    "TooLate",
    "Udp",
    "Unreadable",
    "UserLimits",
    "Verdict",
    "WorkerFailed",
    "WorkerInfo",
    "attach",
    "channels",
    "close_default_pool",
    "default_pool",
    "unreadable",
]
