"""`shmring udt recv`: the end that receives files."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import time
from collections import deque

from shmring import Pool, udt
from shmring.errors import ShmringError
from shmring.udt import UdtError, UdtSocket, connecting
from shmring_cli.common import FAILED, FINE, describe
from shmring_copy import identity, plain, protocol
from shmring_copy.files import Folder
from shmring_copy.meter import Line, Meter, accept, interrupted
from shmring_copy.options import (
    ANYWHERE,
    DEFAULT_PORT,
    SocketOptions,
    address,
    pool_of,
    secret_of,
    show,
    socket_options,
)
from shmring_copy.protocol import Checkpoint, Entry, Receiver, TransferError

READ_BYTES = 1 << 18
CLOSE_S = 5.0


def run(arguments: argparse.Namespace) -> int:
    options = socket_options(arguments)
    secret = secret_of(arguments)
    if arguments.plain is not None:
        return _ask_plain(arguments, options)
    if arguments.names:
        raise ValueError(
            f"{' '.join([*arguments.names, arguments.folder])}: one DIR is enough; names are for "
            "--plain HOST"
        )
    where = (ANYWHERE, DEFAULT_PORT)
    if arguments.local is not None:
        where = connecting.resolve(address(arguments.local))
    with (
        Folder(arguments.folder, update=arguments.update) as folder,
        pool_of(arguments) as pool,
        _listen(where, pool, arguments.namespace, options) as listener,
    ):
        meter = Meter("", sending=False, rows=arguments.rows)
        meter.row("listening", local=list(listener.local))
        meter.warn(f"listening at {show(listener.local)}")
        while True:
            code = _take_one(arguments, listener, folder, secret)
            if not arguments.keep and code is not None:
                return code


def _listen(
    where: tuple[str, int], pool: Pool | str, namespace: str | None, options: SocketOptions
) -> udt.UdtListener:
    try:
        return udt.listen(where, pool=pool, namespace=namespace, **options)
    except UdtError as caught:
        if caught.errno != errno.EADDRINUSE:
            raise
        raise OSError(
            errno.EADDRINUSE,
            f"{caught}. Senders to that port reach who has it: choose another one with --local "
            ":PORT, and name it in the sender's HOST:PORT",
        ) from caught


def _take_one(
    arguments: argparse.Namespace,
    listener: udt.UdtListener,
    folder: Folder,
    secret: bytes | None,
) -> int | None:
    """Return the exit code of one transfer. None: a stranger who does not know the secret."""
    sock, peer = accept(listener, arguments.told)
    meter = Meter(f"from {show(peer)}", sending=False, rows=arguments.rows)
    meter.row("connected", peer=list(peer))
    protocol_end = Receiver(identity.of_folder(arguments.folder), secret)
    line = Line(sock, meter, arguments.patience, arguments.told)
    job = _Receiving(sock, protocol_end, folder, meter, line)
    try:
        job.run()
    except (ShmringError, OSError) as caught:
        job.give_up(caught)
        text = describe(caught)
        if isinstance(caught, UdtError) and interrupted(caught):
            again = "" if arguments.keep else "Start this command again. "
            text = f"{text} {again}The transfer continues here when the sender asks again."
        meter.end(text)
        meter.warn(f"shmring udt: {show(peer)}: {text}")
        return FAILED if protocol_end.met or secret is None else None
    except BaseException:
        sock.close(linger=0)
        raise
    meter.look()
    sock.close(linger=CLOSE_S)
    return FINE if meter.end() else FAILED


class _Receiving:
    """The operations of one protocol."""

    def __init__(
        self, sock: UdtSocket, peer: Receiver, folder: Folder, meter: Meter, line: Line
    ) -> None:
        self._sock = sock
        self._folder = folder
        self._meter = meter
        self._line = line
        self._peer = peer
        self._to_ask: deque[int] = deque()
        self._asked: set[int] = set()
        self._again: set[int] = set()
        self._now = -1
        self._kept: dict[int, int] = {}

    def run(self) -> None:
        """Raises `TransferError`, `UdtError`, `OSError`."""
        self._line.send(self._peer.greeting())
        room = memoryview(bytearray(READ_BYTES))
        while not self._peer.entries or self._to_ask or self._asked:
            got = self._line.recv_into(room)
            for event in self._peer.feed(room[:got]):
                self._handle(event)
            self._ask()
        self._finish_folders()
        self._folder.end_transfer()
        # Everything is in its place, even if the sender does not learn that.
        with contextlib.suppress(UdtError):
            self._line.send(self._peer.done())
            self._sock.flush(timeout=CLOSE_S)

    def give_up(self, error: Exception) -> None:
        """Tell the peer why, if it is still there, and close. Parts of files stay."""
        self._meter.look()
        for index in self._asked:
            self._folder.give_up(index)
        with contextlib.suppress(ShmringError, OSError):
            if not isinstance(error, UdtError) and self._sock.connected:
                self._sock.sendall(protocol.abort(describe(error)), timeout=0.5)
                self._sock.flush(timeout=1.0)
        self._sock.close(linger=0)

    def _handle(self, event: object) -> None:
        if isinstance(event, protocol.Data):
            try:
                self._folder.write(event.view)
            except OSError as caught:
                path = protocol.show(self._peer.entries[self._now].path)
                raise OSError(caught.errno, f"{path}: {caught.strerror}") from caught
            self._meter.moved_bytes += len(event.view)
        elif isinstance(event, protocol.Proof):
            token = self._folder.begin_transfer(event.knows)
            self._line.send(self._peer.token(token))
        elif isinstance(event, protocol.Manifest):
            self._meter.start()
            self._begin_all(event)
        elif isinstance(event, protocol.Begin):
            self._now = event.index
            self._kept[event.index] = event.offset
            self._meter.kept_bytes += event.offset
            self._folder.begin(event.index, self._peer.entries[event.index], event.offset)
        elif isinstance(event, protocol.End):
            self._end_file(event)
        elif isinstance(event, protocol.Unreadable):
            self._asked.discard(event.index)
            self._folder.give_up(event.index)
            self._fail(event.index, f"the sender cannot read it: {event.text}")
        elif isinstance(event, protocol.Abort):
            raise TransferError(f"the sender gave up: {event.text}")

    def _begin_all(self, manifest: protocol.Manifest) -> None:
        self._meter.total_bytes = manifest.total_bytes
        for index, entry in enumerate(manifest.entries):
            if not entry.is_folder:
                self._to_ask.append(index)
                continue
            try:
                self._folder.make_folder(entry)
            except OSError as caught:
                path = protocol.show(entry.path)
                raise OSError(caught.errno, f"{path}: {caught.strerror}") from caught

    def _ask(self) -> None:
        while self._to_ask and self._peer.may_want:
            index = self._to_ask.popleft()
            marks = self._look(index)
            if marks is not None:
                self._asked.add(index)
                self._line.send(self._peer.want(index, marks))

    def _look(self, index: int) -> list[Checkpoint] | None:
        if index in self._again:
            self._folder.anew(index)
            return []
        try:
            return self._folder.look(index, self._peer.entries[index], self._line.alive)
        except UdtError:
            raise
        except OSError as caught:
            self._folder.give_up(index)
            self._fail(index, str(caught.strerror))
            return None

    def _end_file(self, event: protocol.End) -> None:
        index, entry = event.index, self._peer.entries[event.index]
        self._asked.discard(index)
        try:
            good = self._folder.end(event.digest)
        except OSError as caught:
            self._fail(index, str(caught.strerror))
            return
        kept = self._kept.pop(index, 0)
        if good:
            self._line.send(self._peer.result(index))
            self._meter.file(entry.path, entry.size, kept=kept, digest=event.digest)
        elif index in self._again:
            self._fail(index, "its hash differs from the sender's twice: is it being changed?")
        else:
            self._meter.kept_bytes -= kept
            self._meter.total_bytes += entry.size - kept
            self._again.add(index)
            self._to_ask.appendleft(index)

    def _fail(self, index: int, text: str) -> None:
        entry = self._peer.entries[index]
        self._line.send(self._peer.result(index, text))
        self._meter.file(entry.path, entry.size, error=text)

    def _finish_folders(self) -> None:
        for entry in reversed(self._peer.entries):
            if entry.is_folder:
                self._folder.finish_folder(entry)


# --- from libudt's sendfile -----------------------------------------------------------------------


def _ask_plain(arguments: argparse.Namespace, options: SocketOptions) -> int:
    if not arguments.names:
        raise ValueError("--plain HOST: name at least one file before DIR")
    if arguments.keep or arguments.local is not None:
        raise ValueError("--keep and --local need an end that listens, but --plain HOST connects")
    where = connecting.resolve(address(arguments.plain))
    code = FINE
    with Folder(arguments.folder) as folder, pool_of(arguments) as pool:
        for name in arguments.names:
            meter = Meter(f"from {show(where)}", sending=False, rows=arguments.rows)
            with udt.begin_connect(
                where, pool=pool, namespace=arguments.namespace, **options
            ) as sock:
                line = Line(sock, meter, arguments.patience, arguments.told)
                line.wait_connected()
                error = _take_plain(os.fsencode(name), folder, sock, line, meter)
            if not meter.end(error, all_of_it="complete, by its size"):
                code = FAILED
    return code


def _take_plain(name: bytes, folder: Folder, sock: UdtSocket, line: Line, meter: Meter) -> str:
    """Get one file. Return the reason if that fails."""
    line.send(plain.request(name))
    size = plain.size_of(line.recv_exactly(plain.SIZE.size))
    local = os.path.basename(name.rstrip(b"/"))
    if size is None:
        meter.file(local, 0, error="the sender has no such file")
        return ""
    protocol.check_path(local)
    entry = Entry(local, size, time.time_ns())
    meter.total_bytes = size
    folder.begin_transfer()
    folder.anew(0)
    folder.begin(0, entry, 0)
    room = memoryview(bytearray(READ_BYTES))
    try:
        while meter.moved_bytes < size:
            got = line.recv_into(room[: min(READ_BYTES, size - meter.moved_bytes)])
            folder.write(room[:got])
            meter.moved_bytes += got
    except UdtError as caught:
        folder.give_up(0)
        meter.file(
            local, size, error=f"{meter.moved_bytes} bytes of {size} arrived: {describe(caught)}"
        )
        return ""
    except OSError:
        sock.report_error()
        raise
    digest = folder.digest
    folder.end(digest)
    meter.file(local, size, digest=digest)
    meter.fingerprint(local, digest)
    return ""
