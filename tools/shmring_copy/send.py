"""`shmring udt send`: the end that has the files."""

from __future__ import annotations

import argparse
import contextlib
import os
import stat
from collections import deque
from collections.abc import Sequence
from typing import Any

from shmring import udt
from shmring.errors import ShmringError
from shmring.udt import UdtError, UdtSocket, connecting
from shmring_cli.common import FAILED, FINE, describe
from shmring_cli.output import JsonRows
from shmring_copy import files, plain, protocol
from shmring_copy.identity import Memory
from shmring_copy.meter import Line, Meter, accept, interrupted
from shmring_copy.options import (
    SocketOptions,
    address,
    pool_of,
    secret_of,
    show,
    socket_options,
)
from shmring_copy.protocol import Sender, TransferError, Want

READ_BYTES = protocol.MAX_DATA
CLOSE_S = 5.0


def run(arguments: argparse.Namespace) -> int:
    options = socket_options(arguments)
    secret = secret_of(arguments)
    where = connecting.resolve(address(arguments.host))
    if arguments.plain:
        return _serve_plain(arguments, where, options)
    if arguments.keep:
        raise ValueError("--keep needs an end that listens: recv, or send --plain")
    sources, left_out = files.scan(arguments.files)
    sender = Sender([source.entry for source in sources], secret)
    meter = Meter(f"to {show(where)}", sending=True, rows=arguments.rows)
    for name in left_out:
        meter.warn(f"{name}: left out, neither a file nor a folder")
    meter.row("left_out", paths=left_out)
    with pool_of(arguments) as pool:
        sock = udt.begin_connect(
            where,
            pool=pool,
            namespace=arguments.namespace,
            timeout=min(arguments.patience, 10.0),
            **options,
        )
        line = Line(sock, meter, arguments.patience, arguments.told)
        try:
            line.wait_connected()
        except BaseException:
            sock.close(linger=0)
            raise
        meter.row("connected", peer=list(where))
        memory = Memory(where, arguments.files)
        if arguments.any_receiver:
            memory.forget()
        job = _Sending(sock, sender, sources, meter, line, memory)
        try:
            job.run()
        except BaseException as caught:
            job.give_up(caught)
            meter.end(describe(caught))
            if isinstance(caught, UdtError) and interrupted(caught):
                raise ConnectionError(
                    f"{describe(caught)} The same command continues from here."
                ) from caught
            raise
        meter.look()
        sock.close(linger=CLOSE_S)
        return FINE if meter.end() else FAILED


def _short(identity: bytes | None) -> str:
    return (identity or b"").hex()[:8]


class _Sending:
    """The operations of one protocol."""

    def __init__(
        self,
        sock: UdtSocket,
        sender: Sender,
        sources: Sequence[files.Source],
        meter: Meter,
        line: Line,
        memory: Memory,
    ) -> None:
        self._memory = memory
        self._sock = sock
        self._sender = sender
        self._sources = sources
        self._meter = meter
        self._line = line
        self._events: deque[Any] = deque()
        self._digests: dict[int, tuple[bytes, int]] = {}
        self._room = memoryview(bytearray(READ_BYTES))
        # One call sends a frame's header and its contents.
        self._frame = memoryview(bytearray(protocol.HEAD_BYTES + READ_BYTES))
        meter.total_bytes = sum(entry.size for entry in sender.entries)

    def run(self) -> None:
        """Raises `TransferError`, `UdtError`, `OSError`."""
        listing = list(self._sender.listing())
        self._line.send(self._sender.greeting())
        self._meet()
        for block in listing:
            self._line.send(block)
        while True:
            while self._events:
                event = self._events.popleft()
                if isinstance(event, protocol.Done):
                    self._memory.forget()
                    return
                self._handle(event)
            self._events.extend(self._take())

    def _meet(self) -> None:
        """Wait for the receiver's greeting. It learns nothing about the files before, because it
        may be another one than that with which the transfer began."""
        while self._sender.peer is None:
            self._events.extend(self._take())
        known = self._memory.recall()
        if known not in (None, self._sender.peer):
            raise TransferError(
                "another receiver listens there now: this transfer began with receiver "
                f"{_short(known)}, and this is {_short(self._sender.peer)}. Nothing was sent to "
                "it. Start the first one again, or send to another port. With --any-receiver the "
                "transfer begins anew there"
            )
        self._line.send(self._sender.proof(self._memory.token(self._sender.peer)))
        while not self._sender.met:
            self._events.extend(self._take())
            while self._events:
                self._handle(self._events.popleft())
        self._meter.start()

    def give_up(self, error: BaseException) -> None:
        """Tell the peer why, if it is still there, and close."""
        self._meter.look()
        with contextlib.suppress(ShmringError, OSError):
            if isinstance(error, TransferError) and self._sock.connected:
                self._sock.sendall(protocol.abort(f"the sender gave up: {error}"), timeout=0.5)
                self._sock.close(linger=1.0)
        self._sock.close(linger=0)

    def _take(self) -> list[Any]:
        got = self._line.recv_into(self._room)
        return list(self._sender.feed(self._room[:got]))

    def _handle(self, event: Any) -> None:
        if isinstance(event, protocol.Abort):
            raise TransferError(f"the receiver gave up: {event.text}")
        if isinstance(event, protocol.Token) and self._sender.peer is not None:
            self._memory.keep(self._sender.peer, event.token)
        elif isinstance(event, Want):
            try:
                self._send_file(event)
            except UdtError:
                self._find_reason()
                raise
        elif isinstance(event, protocol.Result):
            entry = self._sender.entries[event.index]
            digest, kept = self._digests.pop(event.index, (b"", 0))
            self._meter.file(entry.path, entry.size, kept=kept, digest=digest, error=event.text)

    def _find_reason(self) -> None:
        """The connection ended during a send. The last frame from the peer may say why."""
        with contextlib.suppress(UdtError):
            while True:
                for event in self._take():
                    if isinstance(event, protocol.Abort):
                        raise TransferError(f"the receiver gave up: {event.text}")

    def _send_file(self, want: Want) -> None:
        source = self._sources[want.index]
        try:
            file = files.open_source(source)
        except OSError as caught:
            self._line.send(self._sender.unreadable(want.index, str(caught.strerror)))
            return
        try:
            text = self._send_opened(file, source.entry.size, want)
        finally:
            os.close(file)
        if text:
            self._line.send(self._sender.unreadable(want.index, text))

    def _send_opened(self, file: int, size: int, want: Want) -> str:
        """Send what the peer lacks. Return the reason if that is not possible."""
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return "it is no longer a file"
        try:
            at, state = files.match(file, want.checkpoints, self._line.alive)
        except OSError as caught:
            return str(caught.strerror)
        kept = at
        self._meter.kept_bytes += at
        self._line.send(self._sender.begin(want.index, at))
        head = protocol.HEAD_BYTES
        while at < size:
            length = min(READ_BYTES, size - at)
            try:
                got = os.preadv(file, [self._frame[head : head + length]], at)
            except OSError as caught:
                return str(caught.strerror)
            if got == 0:
                return f"it became shorter while it was sent: {at} bytes of {size}"
            self._frame[:head] = self._sender.data_head(got)
            state.update(self._frame[head : head + got])
            self._line.send(self._frame[: head + got])
            at += got
            self._meter.moved_bytes += got
        self._digests[want.index] = (state.digest(), kept)
        self._line.send(self._sender.end(state.digest()))
        return ""


# --- for libudt's recvfile ------------------------------------------------------------------------


def _serve_plain(
    arguments: argparse.Namespace, where: tuple[str, int], options: SocketOptions
) -> int:
    names: dict[bytes, str] = {}
    for path in arguments.files:
        if not os.path.isfile(path):
            raise ValueError(f"{path} is not a file: --plain cannot send folders")
        names[os.fsencode(path)] = path
        names[os.fsencode(os.path.basename(path))] = path
    left = set(arguments.files)
    failures = 0
    with (
        pool_of(arguments) as pool,
        udt.listen(where, pool=pool, namespace=arguments.namespace, **options) as listener,
    ):
        _say_listening(arguments.rows, listener.local)
        while left or arguments.keep:
            sock, peer = accept(listener, arguments.told)
            meter = Meter(f"to {show(peer)}", sending=True, rows=arguments.rows)
            meter.row("connected", peer=list(peer))
            try:
                line = Line(sock, meter, arguments.patience, arguments.told)
                left.discard(_give_plain(sock, names, meter, line, arguments.patience))
            except (ShmringError, OSError) as caught:
                failures += 1
                meter.end(describe(caught))
                meter.warn(f"shmring udt: {show(peer)}: {describe(caught)}")
            finally:
                sock.close(linger=0)
    return FAILED if failures and not arguments.keep else FINE


def _give_plain(
    sock: UdtSocket, names: dict[bytes, str], meter: Meter, line: Line, patience_s: float
) -> str:
    """Serve one connection. Return the file that was given."""
    length = plain.name_length(line.recv_exactly(plain.NAME_LENGTH.size))
    name = line.recv_exactly(length)
    path = names.get(name)
    if path is None:
        line.send(plain.SIZE.pack(plain.NO_FILE))
        sock.close(linger=CLOSE_S)
        raise FileNotFoundError(f"the peer asked for {protocol.show(name)}, which is not offered")
    state = protocol.new_hash()
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        meter.total_bytes = size
        line.send(plain.SIZE.pack(size))
        room = memoryview(bytearray(READ_BYTES))
        while meter.moved_bytes < size:
            got = file.readinto(room[: min(READ_BYTES, size - meter.moved_bytes)])
            if not got:
                raise OSError(f"{path} became shorter while it was sent")
            state.update(room[:got])
            line.send(room[:got])
            meter.moved_bytes += got
    _await_receiver(sock, line)
    meter.look()
    sock.close(linger=patience_s)
    meter.file(os.fsencode(path), size, digest=state.digest())
    meter.end(all_of_it="sent")
    meter.fingerprint(os.fsencode(path), state.digest())
    return path


def _await_receiver(sock: UdtSocket, line: Line) -> None:
    """Wait until the receiver has acknowledged everything, or has left.

    The protocol has no answer from it. A receiver that has everything may leave before it says so,
    and this looks like one that left too early.
    """
    with contextlib.suppress(udt.UdtClosed):
        while sock.connected and sock.stats().unsent_bytes:
            with contextlib.suppress(udt.UdtTimeout):
                sock.flush(timeout=0.2)
            line.tick()


def _say_listening(rows: JsonRows, local: tuple[str, int]) -> None:
    meter = Meter("", sending=True, rows=rows)
    meter.row("listening", local=list(local))
    meter.warn(f"listening at {show(local)}")
