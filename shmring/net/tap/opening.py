"""Opens a tap: checks the arguments and finds the channel."""

import builtins
import contextlib
import errno
import os
from collections.abc import Callable, Collection, Iterator
from typing import Any

from rtworkers import paths
from rtworkers.layout import Op
from rtworkers.similar import meant_channel
from shmring import _host, errors
from shmring._attachment import Attachment
from shmring._check import error, last_text
from shmring._ring import ffi, lib
from shmring.net.tap.capture import Capture
from shmring.net.tap.packets import plain_ip
from shmring.net.tap.pcapng import LINKTYPE_IPV4, LINKTYPE_IPV6, LINKTYPE_RAW, Sink
from shmring.net.tap.session import NS_PER_S, WHY_A_WORKER, Plan, Tap
from shmring.types import TapDirection, TapTimes, TapTrigger

DEFAULT_BUFFER_BYTES = 16 << 20
DEFAULT_MEMORY_BYTES = 256 << 20
DEFAULT_AFTER_S = 1.0
TRIGGERS: tuple[TapTrigger, ...] = ("late", "api")
DIRECTIONS = {"tx": lib.CTL_TAP_TX, "rx": lib.CTL_TAP_RX, "both": lib.CTL_TAP_TX | lib.CTL_TAP_RX}
TIMES = ("auto", "sent", "wire")
_MOST_S = 86400.0 * 366
_OFFSET_ROUNDS = 9


def open(
    channel: str,
    output: str | os.PathLike[str] | Sink,
    *,
    namespace: str | None = None,
    direction: TapDirection = "both",
    keep: float | None = None,
    triggers: Collection[TapTrigger] = TRIGGERS,
    after: float = DEFAULT_AFTER_S,
    again: bool = False,
    count: int | None = None,
    snap: int = 0,
    not_sent: bool = False,
    times: TapTimes = "auto",
    buffer_bytes: int = DEFAULT_BUFFER_BYTES,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> Tap:
    """Copy the packets of `channel` to `output`, a path or an object with ``write``, as pcapng.

    `direction`: ``"tx"``, ``"rx"`` or ``"both"``.
    `keep`: write only on a trigger. Then write the last `keep` seconds, and the next `after`
        seconds. None: write everything at once.
    `triggers`: triggers in addition to `Tap.trigger`. ``"late"``: a packet with a verdict that
        means late. ``"api"``: `shmring.net.tap.trigger` in any process.
    `again`: keep recording after a trigger. Otherwise the tap ends.
    `count`: end after this number of packets.
    `snap`: copy at most this number of bytes of a datagram, 0: all.
    `not_sent`: also include packets that got a verdict and were not sent, without payload.
    `times`: the time of a sent packet: ``"sent"``, the start of its send call, or ``"wire"``, the
        timestamp of the kernel or card if it has one. ``"auto"``: the timestamp if every packet
        gets one.
    `buffer_bytes`: size of the log that the worker writes, at least 256 KiB. What is not read in
        time is overwritten, and counted.
    `memory_bytes`: at most this much memory is used for `keep`.

    The worker makes the copies and never waits, so a stopped or killed tap disturbs no process.
    `namespace`: as for `shmring.attach`. `channel` may also name it: ``"NAMESPACE/name"``. Raises
    `ValueError`, `ChannelNotFound`, `ChannelClosed`, `NoPermission`, `NoSpace` (too many taps, no
    memory), `WorkerFailed`, `OSError` (the output).
    """
    what = _what(direction, not_sent, triggers if keep is not None else ())
    keep_ns = None if keep is None else _nanoseconds(keep, "keep")
    after_ns = _nanoseconds(after, "after")
    if times not in TIMES:
        raise ValueError(f"times is {times!r}: use one of {', '.join(TIMES)}")
    for value, name, least in ((snap, "snap", 0), (memory_bytes, "memory_bytes", 1 << 20)):
        if value < least:
            raise ValueError(f"{name} is {value}: it must be at least {least}")
    if count is not None and count < 1:
        raise ValueError(f"count is {count}: it must be at least 1")
    space, channel, segment = _segment(channel, namespace)
    config = segment.config
    clock_tai = config.clock == lib.RT_CLOCK_TAI
    plan = Plan(
        what=what,
        snap_bytes=snap,
        buffer_bytes=buffer_bytes,
        keep_ns=keep_ns,
        memory_bytes=memory_bytes,
        triggers=frozenset(triggers),
        after_ns=after_ns,
        again=again,
        most_packets=count,
        clock_tai=clock_tai,
    )
    every_stamped = config.stamp_every == 1 and config.tx_stamp >= lib.SHM_STAMP_KERNEL
    with _output(output) as (sink, close_output):
        capture = Capture(
            sink,
            channel=channel,
            namespace=space,
            wanted=_interfaces(direction, not_sent),
            link=_link(config),
            snap_bytes=snap,
            real_offset_ns=_real_offset_ns(clock_tai),
            clock="CLOCK_TAI" if clock_tai else "CLOCK_MONOTONIC",
            wire_times=times == "wire" or (times == "auto" and every_stamped),
        )
        with _explained(channel):
            tap = Tap(segment, channel, capture, plan, close_output)
    return tap.start()


def trigger(channel: str, text: str = "", *, namespace: str | None = None) -> int:
    """Trigger every tap of `channel`, in all processes. The text becomes a comment.

    Returns how many taps there are. Taps without ``"api"`` among their triggers only write the
    comment. Raises the exceptions of `open`.
    """
    _, channel, segment = _segment(channel, namespace)
    attachment = Attachment(segment)
    with _explained(channel):
        try:
            return attachment.request(Op.MARK, text.encode("utf-8")[: lib.CTL_MARK_BYTES])[0]
        finally:
            attachment.close()


def _what(direction: str, not_sent: bool, triggers: Collection[str]) -> int:
    if direction not in DIRECTIONS:
        raise ValueError(f"direction is {direction!r}: use one of {', '.join(DIRECTIONS)}")
    for name in triggers:
        if name not in TRIGGERS:
            raise ValueError(f"triggers has {name!r}: use {', '.join(TRIGGERS)}")
    what = int(DIRECTIONS[direction])
    if "late" in triggers:  # a packet that was dropped because it was late counts as late
        what |= lib.CTL_TAP_TX | lib.CTL_TAP_NOT_SENT
    return what | (lib.CTL_TAP_NOT_SENT if not_sent else 0)


def _interfaces(direction: str, not_sent: bool) -> tuple[str, ...]:
    ways = ("tx", "rx") if direction == "both" else (direction,)
    return (*ways, "not sent") if not_sent else ways


def _link(config: Any) -> int:
    """Return the link type of a channel's packets. A socket of all IPv6 addresses has packets of
    both IP versions, and ports of a ``mux`` may differ. A local channel has no addresses: its
    packets are shown as IPv6."""
    if config.local.family == 4:
        return LINKTYPE_IPV4
    if not config.local.family:
        is_local = ffi.string(config.engine) == b"local"
        return LINKTYPE_IPV6 if is_local else LINKTYPE_RAW
    ip = bytes(config.local.ip)
    return LINKTYPE_IPV6 if any(ip) and plain_ip(ip) == ip else LINKTYPE_RAW


def _nanoseconds(seconds: float, name: str) -> int:
    if not 0 <= seconds <= _MOST_S:
        raise ValueError(f"{name} is {seconds!r}: it must be 0 s to a year")
    return round(seconds * NS_PER_S)


def _segment(channel: str, namespace: str | None) -> tuple[str, str, Any]:
    """Return the names of namespace and channel, and the channel's segment, mapped for reading."""
    if isinstance(channel, str) and "/" in channel:
        namespace, _, channel = channel.rpartition("/")
    with _host.translated(f"channel {channel!r}"):
        space = paths.namespace_of(namespace)
        paths.check_name("channel name", channel)
    posix_name = paths.channel_segment(space, channel)
    fd = _host.open_segment_file(posix_name, writable=False)
    if fd is None:
        if paths.shm_file(posix_name).exists():
            raise error(
                errno.EACCES,
                f"channel {channel!r} cannot be tapped: this user may not open its segment, nor "
                f"reach its worker; {WHY_A_WORKER}",
            )
        raise error(
            errno.ENOENT,
            f"channel {channel!r} is not open in namespace {space!r}: see shmring ls"
            + meant_channel(channel, space),
        )
    segment = ffi.new("shm_segment_t *")
    try:
        if lib.shm_segment_map(segment, fd, 0) < 0:
            raise error(errno.EPROTO, f"channel {channel!r}: {last_text()}")
    finally:
        os.close(fd)
    return space, channel, ffi.gc(segment, lib.shm_segment_unmap)


def _real_offset_ns(clock_tai: bool) -> int:
    """Return the difference from the channel's clock to Unix time. Of several readings, it takes
    the one with the least disturbance. Both clocks run at the same rate, so the value is valid
    until the time is set."""
    read = lib.rt_tai_ns if clock_tai else lib.rt_mono_ns
    best, offset = 1 << 62, 0
    for _ in range(_OFFSET_ROUNDS):
        before, real, after = read(), lib.rt_real_ns(), read()
        if after - before < best:
            best, offset = after - before, real - (before + after) // 2
    return int(offset)


@contextlib.contextmanager
def _output(
    output: str | os.PathLike[str] | Sink,
) -> Iterator[tuple[Sink, Callable[[], object]]]:
    """Return the sink, and what closes it. A file that is opened here is closed if a later step
    fails."""
    if not isinstance(output, (str, os.PathLike)):
        yield output, _nothing
        return
    file = builtins.open(output, "wb", buffering=0)  # noqa: SIM115
    try:
        yield file, file.close
    except BaseException:
        file.close()
        raise


def _nothing() -> None:
    """Close nothing: a file of the caller stays open."""


@contextlib.contextmanager
def _explained(channel: str) -> Iterator[None]:
    """Explain why a worker is needed, if there is no way to reach it."""
    try:
        yield
    except (errors.WorkerFailed, errors.NoPermission) as reason:
        number = reason.errno or errno.ECONNRESET
        raise type(reason)(number, f"{reason.strerror or reason}; {WHY_A_WORKER}") from None
