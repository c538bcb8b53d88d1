"""The channel of an `RtpServer`, with many UDP ports in the worker, its thread and its requests.

The channel belongs to `shmring.default_pool` and has the engine ``mux`` (csrc/shm/mux_layout.h):
one segment of shared memory, however many ports there are.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import os
import socket
import struct
import threading
import time
import weakref
from dataclasses import dataclass
from typing import Any, Final

import shmring
from rtpsynth._core import Exchange, shared_bytes
from shmring.engine import MAX_RECORD_BYTES, Engine, EngineConfig, Start
from shmring.engine_channel import EngineChannel

PLACES = 16384
"""Maximum number of simultaneous ports of one server."""

QUEUED_BYTES = 8 << 20
ARRIVED_BYTES = 4 << 20
EXIT_TIMEOUT_S = 1.0

_CONFIG = struct.Struct("=II")  # mux_config_t
_REQUEST = struct.Struct("=IHH24s")  # mux_request_t: op, place, generation, shm_addr_t
_REPLY = struct.Struct("=iI24s")  # mux_reply_t: errno, reserved, shm_addr_t
_ADDRESS = struct.Struct("=HHI16s")  # shm_addr_t: 4 or 6, port, scope, IP
_ADD, _REMOVE, _AIM = 1, 2, 3  # mux_op_t

_FAMILIES: Final = {
    **dict.fromkeys(("auto", "unspec", "any", 0), socket.AF_UNSPEC),
    **dict.fromkeys(("ipv4", "inet", "af_inet", 4, int(socket.AF_INET)), socket.AF_INET),
    **dict.fromkeys(("ipv6", "inet6", "af_inet6", 6, int(socket.AF_INET6)), socket.AF_INET6),
}
_HEAD_BYTES = 64  # of a record, more or less: the shortest packets fill the rings by number, too

_OPTIONS: dict[str, Any] = {
    "capacity": QUEUED_BYTES // _HEAD_BYTES,
    "rx_capacity": ARRIVED_BYTES // _HEAD_BYTES,
    "packet_bytes": 8,
    "max_payload": MAX_RECORD_BYTES,
    "overflow": "wait",
    # A worker that spins between packets takes a core from the interpreter. Under other load on two
    # cores, 44,000 packets a second got through instead of 98,000, at 19 us of CPU each, not 6.
    "profile": "power",
    "reports": "off",
    "report_capacity": 0,
    "rx_stamp": "kernel",
    "tx_stamp": "off",
    "txtime": "off",
    "producers": 1,
    "readers": 1,
}

_numbers = itertools.count()
_live: weakref.WeakSet[Mux] = weakref.WeakSet()


@dataclass(frozen=True, slots=True, kw_only=True)
class MuxEngine(Engine[EngineChannel]):
    """The engine ``mux`` (csrc/shm/mux_layout.h)."""

    def prepare(self, options: dict[str, Any]) -> Start[EngineChannel]:
        config = _CONFIG.pack(PLACES, 0)
        engine = EngineConfig("mux", config, shared_bytes(PLACES), deadlines=False)
        return Start(_OPTIONS | options, engine, EngineChannel, quiet=True)


class Mux:
    """A channel with engine mux, and the daemon thread that delivers arrivals."""

    def __init__(self) -> None:
        """Raises `shmring.ShmringError`, `OSError`."""
        pool = shmring.default_pool()
        _watch_exit()
        name = f"rtpsynth-{os.getpid()}-{next(_numbers)}"
        self._channel = pool.open(name, MuxEngine())
        self._lock = threading.RLock()
        self._asking = threading.RLock()
        self._asking_thread = 0
        self._closed = False
        try:
            # Once is enough: a worker that takes over leaves this process the slots it holds.
            self._channel.attach_both_ways()
            self.exchange = Exchange(*self._channel.c_end(), PLACES)
            self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
            self._thread.start()
        except BaseException:
            self._channel.close()
            raise
        _live.add(self)

    def request(self, body: bytes) -> bytes:
        """Send a mux_request_t to the worker's engine, and return its mux_reply_t.

        Any thread. A signal handler may interrupt a request of its own thread with another.
        Raises `shmring.ShmringError`: the channel is closed, or the worker does not answer.
        """
        if self._asking_thread == threading.get_ident():
            return self._channel.request_apart(body)  # the other connection waits
        with self._asking:
            self._asking_thread = threading.get_ident()
            try:
                return self._channel.request(body)
            finally:
                self._asking_thread = 0

    def check(
        self, callback: object, host: bytes | None, port: int, queue_size: int, family: object
    ) -> bytes:
        """Check the arguments of `create_channel` in the original's order. Return the address.

        After `shutdown`, too, an address that cannot be bound is an error.
        """
        if not callable(callback):
            raise TypeError("pkt_in must be callable")
        if queue_size == 0:
            raise ValueError("queue_size must be > 0")
        if queue_size & (queue_size - 1):
            raise ValueError("queue_size must be a power of two")
        number = _family(family)
        if host is None:
            host = b"::" if number == socket.AF_INET6 else b"0.0.0.0"
        address = self.resolve(host, port, number)
        if self.exchange.stopping:
            found, pair = _unpack(address)
            with socket.socket(found, socket.SOCK_DGRAM) as sock:
                sock.bind(pair)
        return address

    def resolve(self, host: bytes, port: int, family: int) -> bytes:
        """Return the first address of a host, numeric or a name, as an ``shm_addr_t``."""
        if not 0 <= port <= 65535:
            raise ValueError("port must be in range 0..65535")
        flags = socket.AI_PASSIVE | socket.AI_NUMERICSERV
        try:
            found = socket.getaddrinfo(
                host or None, port, family, socket.SOCK_DGRAM, socket.IPPROTO_UDP, flags
            )
        except OSError as error:
            raise OSError(f"getaddrinfo failed: {error.strerror}") from None
        family, _, _, _, place = found[0]
        is_v6 = family == socket.AF_INET6
        packed = socket.inet_pton(family, str(place[0]))
        return _ADDRESS.pack(6 if is_v6 else 4, port, place[-1] if is_v6 else 0, packed)

    def open_port(self, tag: int, address: bytes) -> tuple[int, tuple[str, int]]:
        """Open a port, and return its family and its (host, port). Raises `OSError`."""
        error, bound = self._ask(_ADD, tag, address)
        self.exchange.check()
        if error:
            raise OSError(error, os.strerror(error))
        return _unpack(bound)

    def aim(self, tag: int, address: bytes) -> None:
        """Send the packets of a port to this address from now on."""
        error, _ = self._ask(_AIM, tag, address)
        if error:
            self.exchange.check()
            raise RuntimeError("channel is no longer present")

    def close_port(self, tag: int) -> None:
        """Close a port. If the request fails, its worker has ended."""
        with contextlib.suppress(Exception):
            self._ask(_REMOVE, tag, b"")

    def _ask(self, op: int, tag: int, address: bytes) -> tuple[int, bytes]:
        """Return errno and shm_addr_t of the worker's mux_reply_t. tag: see mux_tag."""
        try:
            reply = self.request(_REQUEST.pack(op, tag & 0xFFFF, tag >> 16, address))
        except Exception:
            self.exchange.check()
            raise
        error, _, bound = _REPLY.unpack(reply)
        return error, bound

    def close(self) -> None:
        """Close all ports. Any thread may call it, repeatedly. Returns when it is done."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._channel.close()

    def join(self, until: float) -> None:
        """Wait for the thread, at most until that time of `time.monotonic`."""
        self._thread.join(max(0.0, until - time.monotonic()))

    def _serve(self) -> None:
        self.exchange.run()
        with contextlib.suppress(shmring.ShmringError):
            self.close()


def open_mux() -> Mux:
    """Make the channel of a new server. Raises `RuntimeError`."""
    try:
        return Mux()
    except (shmring.ShmringError, OSError) as error:
        raise RuntimeError(f"RtpServer cannot start: {error}") from error


def _family(given: object) -> int:
    if given is None:
        return socket.AF_UNSPEC
    if not isinstance(given, (str, int)):
        raise TypeError("bind_family must be an int, str, or None")
    if given in _FAMILIES:
        return _FAMILIES[given]
    if isinstance(given, str):
        raise ValueError("bind_family string must be one of: auto, ipv4, ipv6")
    if not -(2**63) <= given < 2**63:
        raise OverflowError("Python int too large to convert to C long")
    raise ValueError("bind_family must be one of: 0, 4, 6, AF_UNSPEC, AF_INET, AF_INET6")


def _unpack(address: bytes) -> tuple[int, tuple[str, int]]:
    version, port, _, ip = _ADDRESS.unpack(address)
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    return family, (socket.inet_ntop(family, ip if version == 6 else ip[:4]), port)


@functools.cache
def _watch_exit() -> None:
    """Register once there is a pool: exit handlers run in reverse, so threads end before the
    pool."""
    atexit.register(_end_all)


def _end_all() -> None:
    """End the threads before the interpreter ends, because they may not call back afterwards.

    A callback that does not return in time is left behind, as any daemon thread is.
    """
    muxes = list(_live)
    for mux in muxes:
        mux.exchange.stop()
    until = time.monotonic() + EXIT_TIMEOUT_S
    for mux in muxes:
        mux.join(until)


def _forget_all() -> None:
    for mux in list(_live):
        mux.exchange.forget()
    _live.clear()


os.register_at_fork(after_in_child=_forget_all)
