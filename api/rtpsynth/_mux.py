"""The channel of an `RtpServer`, with many UDP ports in the worker, and its thread.

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
from typing import Any

import shmring
from rtpsynth._server import Exchange, shared_bytes
from shmring.engine import MAX_RECORD_BYTES, Engine, EngineConfig, Start
from shmring.engine_channel import EngineChannel

PLACES = 16384
"""Maximum number of simultaneous ports of one server."""

QUEUED_BYTES = 8 << 20
ARRIVED_BYTES = 4 << 20
EXIT_PATIENCE_S = 1.0

_CONFIG = struct.Struct("=II")  # mux_config_t
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
        self._channel = pool.open(name, engine=MuxEngine())
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
            self._channel.end()
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

    def close(self) -> None:
        """Close all ports. Any thread may call it, repeatedly. Returns when it is done."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._channel.end()

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


def try_bind(address: tuple[str, int]) -> None:
    """Raise the error of binding a socket to this address."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind(address)


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
    until = time.monotonic() + EXIT_PATIENCE_S
    for mux in muxes:
        mux.join(until)


def _forget_all() -> None:
    for mux in list(_live):
        mux.exchange.forget()
    _live.clear()


os.register_at_fork(after_in_child=_forget_all)
