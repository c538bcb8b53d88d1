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

try:
    from shmring._hot import configure as _  # noqa: F401 (the smallest compiled module)
except ModuleNotFoundError as _missing:
    if _missing.name != "shmring._hot":
        raise
    from shmring._source_folder import import_installed

    import_installed(__name__, __path__[0])

TYPE_CHECKING = False  # typing.TYPE_CHECKING without typing: type checkers know the name

if TYPE_CHECKING:  # a name for users needs a line here, in __all__ and in _HOMES
    from shmring import net as net  # modules that are often used as attributes
    from shmring import observe as observe
    from shmring import recording as recording
    from shmring import rtp as rtp
    from shmring import testing as testing
    from shmring import udt as udt
    from shmring._address import Address, pack_addresses
    from shmring._attaching import attach
    from shmring._opening import Udp
    from shmring._pool_quota import UserLimits
    from shmring.batch import Packet, PacketBatch, PacketLoan, ReportBatch
    from shmring.channel import Channel
    from shmring.cyclic.channel import CyclicChannel, CyclicStats
    from shmring.cyclic.engine import Cyclic
    from shmring.cyclic.ticks import Tick, Ticks, block_until, sleep_until, ticks
    from shmring.datagram import ChannelTransport, create_datagram_endpoint
    from shmring.errors import (
        BadAddress,
        BadConfig,
        ChannelClosed,
        ChannelExists,
        ChannelNotFound,
        LayoutMismatch,
        LoanOverwritten,
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
        UnsentWarning,
        WorkerFailed,
    )
    from shmring.histogram import Histogram
    from shmring.local import Local
    from shmring.net.capture.player import replay
    from shmring.net.probes.clock import ClockEstimate, RemoteClock, clock_to
    from shmring.net.probes.measuring import measure
    from shmring.net.probes.reflector import ReflectorReport, reflect
    from shmring.net.traffic.generator import generate
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
    from shmring.netflux.statistics import NetfluxLink, NetfluxStats
    from shmring.observe.reading import ReaderInfo
    from shmring.parts import Multicast, Queue, Share, Socket
    from shmring.pool import Pool, close_default_pool, default_pool
    from shmring.pool import open as open  # not in __all__: a star import keeps the builtin
    from shmring.proxy.channel import ProxyChannel, ProxyStats
    from shmring.proxy.engine import Proxy
    from shmring.registry import (
        ChannelInfo,
        Removed,
        Unreadable,
        channels,
        unreadable,
    )
    from shmring.registry import gc as gc  # not in __all__, either: the module gc
    from shmring.rtp.batch import RtpBatch
    from shmring.rtp.channel import RtpChannel
    from shmring.rtp.engine import Rtp
    from shmring.rtp.frames import RtpBye, RtpErasure, RtpFrame, RtpItem, RtpResync
    from shmring.rtp.statistics import RtpStats
    from shmring.stats import ChannelStats
    from shmring.types import (
        LAYOUT_VERSION,
        Impairment,
        SendReport,
        Stamp,
        State,
        Verdict,
        WorkerInfo,
    )

    __version__: str

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
    "ChannelTransport",
    "ClockEstimate",
    "Cyclic",
    "CyclicChannel",
    "CyclicStats",
    "Histogram",
    "Impairment",
    "LayoutMismatch",
    "LoanOverwritten",
    "Local",
    "Multicast",
    "Netflux",
    "NetfluxChannel",
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
    "PacketLoan",
    "PayloadTooLarge",
    "Pool",
    "Proxy",
    "ProxyChannel",
    "ProxyStats",
    "Queue",
    "ReaderInfo",
    "RealtimeWarning",
    "ReceiveTimeout",
    "ReflectorReport",
    "RemoteClock",
    "Removed",
    "ReportBatch",
    "RingFull",
    "Rtp",
    "RtpBatch",
    "RtpBye",
    "RtpChannel",
    "RtpErasure",
    "RtpFrame",
    "RtpItem",
    "RtpResync",
    "RtpStats",
    "SendReport",
    "SendTimeout",
    "SentValues",
    "Share",
    "ShmringError",
    "ShmringOSError",
    "Socket",
    "Stamp",
    "State",
    "Tick",
    "Ticks",
    "TooLate",
    "Udp",
    "Unreadable",
    "UnsentWarning",
    "UserLimits",
    "Verdict",
    "WorkerFailed",
    "WorkerInfo",
    "attach",
    "block_until",
    "channels",
    "clock_to",
    "close_default_pool",
    "create_datagram_endpoint",
    "default_pool",
    "generate",
    "measure",
    "pack_addresses",
    "reflect",
    "replay",
    "sleep_until",
    "ticks",
    "unreadable",
]

# Where each name is. It is imported on first use, so that a program loads only what it uses.
_HOMES = {
    name: home
    for home, names in {
        "_address": "Address pack_addresses",
        "_attaching": "attach",
        "_opening": "Udp",
        "_pool_quota": "UserLimits",
        "batch": "Packet PacketBatch PacketLoan ReportBatch",
        "net.capture.player": "replay",
        "channel": "Channel",
        "cyclic.channel": "CyclicChannel CyclicStats",
        "cyclic.engine": "Cyclic",
        "datagram": "ChannelTransport create_datagram_endpoint",
        "errors": (
            "BadAddress BadConfig ChannelClosed ChannelExists ChannelNotFound LayoutMismatch "
            "LoanOverwritten NoPermission NoSpace PayloadTooLarge RealtimeWarning "
            "ReceiveTimeout RingFull SendTimeout ShmringError ShmringOSError TooLate UnsentWarning "
            "WorkerFailed"
        ),
        "histogram": "Histogram",
        "local": "Local",
        "netflux.channel": "NetfluxChannel NetfluxSettings",
        "netflux.engine": "Netflux",
        "netflux.items": (
            "NetfluxEvent NetfluxEventKind NetfluxItem NetfluxSnapshot NetfluxValues SentValues"
        ),
        "netflux.statistics": "NetfluxLink NetfluxStats",
        "observe.reading": "ReaderInfo",
        "parts": "Multicast Queue Share Socket",
        "pool": "Pool close_default_pool default_pool open",
        "proxy.channel": "ProxyChannel ProxyStats",
        "proxy.engine": "Proxy",
        "registry": "ChannelInfo Removed Unreadable channels gc unreadable",
        "rtp.batch": "RtpBatch",
        "rtp.channel": "RtpChannel",
        "rtp.engine": "Rtp",
        "rtp.frames": "RtpBye RtpErasure RtpFrame RtpItem RtpResync",
        "rtp.statistics": "RtpStats",
        "net.probes.clock": "ClockEstimate RemoteClock clock_to",
        "net.probes.reflector": "ReflectorReport reflect",
        "net.probes.measuring": "measure",
        "stats": "ChannelStats",
        "net.traffic.generator": "generate",
        "cyclic.ticks": "Tick Ticks block_until sleep_until ticks",
        "types": "LAYOUT_VERSION Impairment SendReport Stamp State Verdict WorkerInfo",
    }.items()
    for name in names.split()
}
_MODULES = frozenset(
    (
        *(
            "batch",
            "channel",
            "control",
            "cyclic",
            "datagram",
            "engine",
            "engine_channel",
        ),
        *("errors", "histogram", "parts", "proxy"),
        *("local", "net", "netflux", "observe", "pool", "recording", "registry", "rtp", "stats"),
        *("testing", "types", "udt"),
    )
)


if not TYPE_CHECKING:  # for a type checker, a module with __getattr__ has every name

    def __getattr__(name):
        if name not in _HOMES and name not in _MODULES and name != "__version__":
            kind = name.removesuffix("ChannelStats")
            if kind in ("Cyclic", "Netflux", "Proxy", "Rtp"):
                raise AttributeError(f"{name} is ChannelStats[{kind}Stats] now")
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = _found(name)
        return value

    def _found(name):
        if name == "__version__":
            from importlib.metadata import version

            return version(__name__)
        from importlib import import_module

        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES, "__version__"})
