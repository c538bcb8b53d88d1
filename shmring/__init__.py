"""UDP with deadlines.

C workers own the sockets and meet the deadlines. Rings in shared memory connect them to any number
of Python processes.

    with shmring.Pool(cpus=[1]) as pool:
        ch = pool.open("ctl", local=("127.0.0.1", 0), remote=("127.0.0.1", 9000))
        ch.send(b"hello", at=time.monotonic_ns() + 1_000_000)
        packet = ch.recv(timeout=0.1)

    ch = shmring.attach("ctl")              # in any other process
    watch = shmring.attach("ctl", readonly=True)   # only observes
"""

import sys

try:
    from shmring._hot import configure as _  # noqa: F401 (the smallest compiled module)
except ModuleNotFoundError as _missing:
    if _missing.name != "shmring._hot":
        raise
    from shmring._source_folder import import_installed

    import_installed(__name__, __path__[0])

from shmring._faces import found, homes_of

TYPE_CHECKING = False  # typing.TYPE_CHECKING without typing: type checkers know the name

if TYPE_CHECKING:  # a name for users needs a line here, in __all__ and in _HOMES
    from shmring import batch as batch  # modules that are used as attributes
    from shmring import control as control
    from shmring import cyclic as cyclic
    from shmring import datagram as datagram
    from shmring import errors as errors
    from shmring import histogram as histogram
    from shmring import net as net
    from shmring import netflux as netflux
    from shmring import observe as observe
    from shmring import pool as pool
    from shmring import proxy as proxy
    from shmring import recording as recording
    from shmring import rtp as rtp
    from shmring import stats as stats
    from shmring import testing as testing
    from shmring import types as types
    from shmring import udt as udt
    from shmring._attaching import attach
    from shmring._opening import Udp
    from shmring.batch import Packet, PacketBatch
    from shmring.channel import Channel
    from shmring.cyclic.engine import Cyclic
    from shmring.cyclic.ticks import block_until, sleep_until, ticks
    from shmring.datagram import create_datagram_endpoint
    from shmring.errors import (
        ChannelClosed,
        ChannelNotFound,
        ReceiveTimeout,
        RingFull,
        ShmringError,
    )
    from shmring.local import Local
    from shmring.netflux.engine import Netflux
    from shmring.parts import Multicast, Queue, Share, Socket
    from shmring.pool import Pool, close_default_pool, default_pool
    from shmring.pool import open as open  # not in __all__: a star import keeps the builtin
    from shmring.proxy.engine import Proxy
    from shmring.registry import channels
    from shmring.registry import gc as gc  # not in __all__, either: the module gc
    from shmring.rtp.engine import Rtp
    from shmring.types import Impairment, SendReport, State, Verdict

    __version__: str

__all__ = [
    "Channel",
    "ChannelClosed",
    "ChannelNotFound",
    "Cyclic",
    "Impairment",
    "Local",
    "Multicast",
    "Netflux",
    "Packet",
    "PacketBatch",
    "Pool",
    "Proxy",
    "Queue",
    "ReceiveTimeout",
    "RingFull",
    "Rtp",
    "SendReport",
    "Share",
    "ShmringError",
    "Socket",
    "State",
    "Udp",
    "Verdict",
    "attach",
    "block_until",
    "channels",
    "close_default_pool",
    "create_datagram_endpoint",
    "default_pool",
    "sleep_until",
    "ticks",
]

# Where each name is, and the modules. A name is imported on first use.
_HOMES = homes_of(
    {
        "shmring._attaching": "attach",
        "shmring._opening": "Udp",
        "shmring.batch": "Packet PacketBatch",
        "shmring.channel": "Channel",
        "shmring.cyclic.engine": "Cyclic",
        "shmring.cyclic.ticks": "block_until sleep_until ticks",
        "shmring.datagram": "create_datagram_endpoint",
        "shmring.errors": "ChannelClosed ChannelNotFound ReceiveTimeout RingFull ShmringError",
        "shmring.local": "Local",
        "shmring.netflux.engine": "Netflux",
        "shmring.parts": "Multicast Queue Share Socket",
        "shmring.pool": "Pool close_default_pool default_pool open",
        "shmring.proxy.engine": "Proxy",
        "shmring.registry": "channels gc",
        "shmring.rtp.engine": "Rtp",
        "shmring.types": "Impairment SendReport State Verdict",
    }
)
_MODULES = frozenset(
    (
        *("batch", "channel", "control", "cyclic", "datagram", "engine", "engine_channel"),
        *("errors", "histogram", "local", "net", "netflux", "observe", "parts", "pool", "proxy"),
        *("recording", "registry", "rtp", "stats", "testing", "types", "udt"),
    )
)
# Old names that are elsewhere now. There they lack the prefix that is the name of the room.
_MOVED = {
    "batch": "PacketLoan ReportBatch pack_addresses",
    "cyclic": "CyclicChannel CyclicStats Tick Ticks",
    "datagram": "ChannelTransport",
    "default_pool().aio": "open_async",
    "errors": (
        "BadAddress BadConfig ChannelExists LayoutMismatch LoanOverwritten NoPermission NoSpace "
        "PayloadTooLarge RealtimeWarning SendTimeout ShmringOSError TooLate UnsentWarning "
        "WorkerFailed"
    ),
    "histogram": "Histogram",
    "net": "capture clock_to generate lanes measure reflect replay tap traffic",
    "net.probes": "ClockEstimate ReflectorReport RemoteClock stamp",
    "netflux": (
        "NetfluxChannel NetfluxEvent NetfluxEventKind NetfluxItem NetfluxLink NetfluxSettings "
        "NetfluxSnapshot NetfluxStats NetfluxValues SentValues"
    ),
    "observe": "ChannelInfo ReaderInfo Removed Unreadable WorkerInfo unreadable",
    "pool": "UserLimits",
    "proxy": "ProxyChannel ProxyStats",
    "rtp": "RtpBatch RtpBye RtpChannel RtpErasure RtpFrame RtpItem RtpResync RtpStats",
    "stats": "ChannelStats",
    "types": "Address LAYOUT_VERSION Stamp",
}


if not TYPE_CHECKING:  # for a type checker, a module with __getattr__ has every name

    def __getattr__(name):
        value = globals()[name] = _found(name)
        return value

    def _found(name):
        if name == "__version__":
            from importlib.metadata import version

            return version(__name__)
        if name in _HOMES:
            return found(__name__, name, _HOMES[name])
        if name in _MODULES:
            return found(__name__, name, __name__)
        text = _new_place(name)
        if text and sys._getframe(2).f_code.co_name == "_handle_fromlist":
            raise ImportError(text)  # `from shmring import NAME` hides an AttributeError
        raise AttributeError(text or f"module {__name__!r} has no attribute {name!r}")

    def _new_place(name):
        for room, names in _MOVED.items():
            if name in names.split():
                new = name.removeprefix(room.capitalize()).removesuffix("_async") or name
                place = room if name == "stamp" else f"{room}.{new}"
                return f"shmring.{name} is now shmring.{place}"
        return None


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES, "__version__"})
