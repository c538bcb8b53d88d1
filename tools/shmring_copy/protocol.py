"""Transfers of files and folders over a stream: the protocol, without sockets and without files.

Both ends prove what they know: a secret of both users, and the token of a transfer that was
interrupted. Then the sender lists its files. The receiver asks for one file after the other and
says which part of it it already has. The sender sends the rest.

Each end makes frames with its methods, and `feed` returns the meaning of the peer's bytes. All data
from the peer is checked before use, and the memory that a peer can make this end use is bounded:
`MAX_ENTRIES`, `MAX_MANIFEST_BYTES`, `MAX_FRAME`, `MAX_WANTED`.
"""

from __future__ import annotations

import collections
import enum
import hashlib
import hmac
import secrets
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from shmring.errors import ShmringError

MAGIC = b"shmr-udt"
VERSION = 3
OLDEST_VERSION = 3

IDENTITY_BYTES = 16
NONCE_BYTES = 16
TOKEN_BYTES = 16
PROOF_BYTES = 32
DIGEST_BYTES = 32
MAX_PATH = 4096
MAX_NAME = 255
MAX_FILE_BYTES = 2**62
MAX_ENTRIES = 1_000_000
MAX_MANIFEST_BYTES = 64 << 20
MAX_CHECKPOINTS = 64
MAX_TEXT = 1024
MAX_WANTED = 64
"""How many files a receiver may have requested and not completely received."""
MAX_FRAME = 64 << 10
MAX_DATA = 256 << 10
"""Longest payload of a frame with a file's bytes. `MAX_FRAME` is the limit of all others."""
CHECKPOINT_BYTES = 1 << 20
"""Checkpoints are at multiples of this, and at the end."""

_GREETING = struct.Struct(">8sHH")
_HEAD = struct.Struct(">B3xI")
_ENTRY = struct.Struct(">BHqQH")
_COUNT = struct.Struct(">IQ")
_BEGIN = struct.Struct(">IQ")
_WANT = struct.Struct(">IB")
_CHECKPOINT = struct.Struct(f">Q{DIGEST_BYTES}s")
_RESULT = struct.Struct(">IB")
_INDEX = struct.Struct(">I")

HEAD_BYTES = _HEAD.size
_PERMISSIONS = 0o777


class TransferError(ShmringError, ValueError):
    """The peer violated the protocol, or cannot do what was requested."""


class Frame(enum.IntEnum):
    """Types of frames."""

    ENTRIES = 1
    MANIFEST_END = 2
    BEGIN = 3
    DATA = 4
    END = 5
    UNREADABLE = 6
    PROOF = 7
    WANT = 16
    RESULT = 17
    DONE = 18
    TOKEN = 19
    BUSY = 32
    ABORT = 33


_KNOWN = frozenset(Frame)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder. path: relative, ``/`` between names. size: bytes, 0 for a folder. mode:
    permission bits. mtime_ns: since 1970."""

    path: bytes
    size: int = 0
    mtime_ns: int = 0
    mode: int = 0o644
    is_folder: bool = False


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Hash of the first `offset` bytes of a file."""

    offset: int
    digest: bytes


# What `feed` tells.


@dataclass(frozen=True, slots=True)
class Proof:
    """The sender knows the secret, and perhaps the token of an earlier transfer."""

    _peer: _End
    _proof: bytes

    def knows(self, token: bytes) -> bool:
        return hmac.compare_digest(self._proof, self._peer.prove(b"token", token))


@dataclass(frozen=True, slots=True)
class Token:
    """The receiver knows the secret. The token continues this transfer if it is interrupted."""

    token: bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that the sender has, each folder before its contents."""

    entries: tuple[Entry, ...]

    @property
    def total_bytes(self) -> int:
        return sum(entry.size for entry in self.entries)


@dataclass(frozen=True, slots=True)
class Begin:
    """The bytes of a file follow, from `offset` on."""

    index: int
    offset: int


@dataclass(frozen=True, slots=True)
class Data:
    """Some bytes of the current file, valid until the next call of `feed`."""

    view: memoryview


@dataclass(frozen=True, slots=True)
class End:
    """The file is complete. digest: of the whole file."""

    index: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The sender cannot send this file."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Want:
    """Send this file. The checkpoints say what the receiver already has."""

    index: int
    checkpoints: tuple[Checkpoint, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a file. text: why it failed, empty if it succeeded."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The receiver wants nothing more."""


@dataclass(frozen=True, slots=True)
class Abort:
    """The peer gives up, and says why."""

    text: str


def new_hash() -> Any:
    """Return the hash of the contents: BLAKE2b, 32 bytes."""
    return hashlib.blake2b(digest_size=DIGEST_BYTES)


def checkpoint_offsets(have_bytes: int) -> list[int]:
    """Return where to hash the first `have_bytes` of a file: at most `MAX_CHECKPOINTS` places,
    evenly spaced, the last one at the end."""
    if have_bytes <= 0:
        return []
    blocks = -(-have_bytes // CHECKPOINT_BYTES)
    step = -(-blocks // MAX_CHECKPOINTS) * CHECKPOINT_BYTES
    return [*range(step, have_bytes, step), have_bytes]


def check_path(path: bytes) -> None:
    """Raises `TransferError` unless it is a relative path that stays below its folder."""
    if not path or len(path) > MAX_PATH:
        raise TransferError(f"a path has {len(path)} bytes: it must have 1 to {MAX_PATH}")
    if b"\0" in path:
        raise TransferError(f"the path {show(path)} has a zero byte")
    for name in path.split(b"/"):
        if name in (b"", b".", b".."):
            raise TransferError(
                f"the path {show(path)} has a name that would lead out of the folder"
            )
        if len(name) > MAX_NAME:
            raise TransferError(f"a name in a path has {len(name)} bytes: at most {MAX_NAME} fit")


def check_entries(entries: Sequence[Entry]) -> None:
    """Raises `TransferError` unless all entries can be created, each folder before its contents."""
    if not entries:
        raise TransferError("there is nothing to send")
    if len(entries) > MAX_ENTRIES:
        raise TransferError(f"{len(entries)} files and folders: send at most {MAX_ENTRIES}")
    folders: dict[bytes, bool] = {}
    for entry in entries:
        check_path(entry.path)
        parent, _, _ = entry.path.rpartition(b"/")
        if entry.path in folders:
            raise TransferError(f"the path {show(entry.path)} occurs twice")
        if parent and not folders.get(parent, False):
            raise TransferError(f"the path {show(entry.path)} comes without its folder before it")
        if not 0 <= entry.size <= MAX_FILE_BYTES or (entry.is_folder and entry.size):
            raise TransferError(f"{show(entry.path)} has a malformed size, {entry.size} bytes")
        folders[entry.path] = entry.is_folder


def show(path: bytes) -> str:
    """Return a path for people. Bytes that would control a terminal are escaped."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def busy() -> bytes:
    """Return a frame that says that this end is still working, for long operations."""
    return _frame(Frame.BUSY)


def abort(text: str) -> bytes:
    """Return a frame that ends the transfer and says why."""
    return _frame(Frame.ABORT, _text(text))


class _End:
    """Parses the peer's bytes."""

    _expected: frozenset[Frame]

    def __init__(
        self, identity: bytes = bytes(IDENTITY_BYTES), secret: bytes | None = None
    ) -> None:
        self._identity = identity
        self._secret = secret
        self._nonces: dict[type[_End], bytes] = {type(self): secrets.token_bytes(NONCE_BYTES)}
        self.met = False
        """Whether both ends have proved what they know."""
        self.peer: bytes | None = None
        """The peer's identity. None: its greeting has not arrived."""
        self._buffer = bytearray()
        self._greeted = False
        self._kind: int | None = None
        self._left = 0

    def greeting(self) -> bytes:
        """Return the greeting. Both ends send it first, without waiting for the peer."""
        nonce = self._nonces[type(self)]
        return _GREETING.pack(MAGIC, VERSION, OLDEST_VERSION) + self._identity + nonce

    def prove(self, what: bytes, key: bytes) -> bytes:
        """Return the proof that somebody knows a key, for this connection only.

        what: the kind of key, and who proves it.
        """
        nonces = self._nonces[Sender] + self._nonces[Receiver]
        key = hashlib.blake2b(key, digest_size=32).digest()
        return hmac.digest(key, b"shmring udt " + what + b"\0" + nonces, "sha256")

    def _prove_secret(self, who: type[_End]) -> bytes:
        if self._secret is None:
            return bytes(PROOF_BYTES)
        return self.prove(who.__name__.encode(), self._secret)

    def _check_secret(self, who: type[_End], proof: bytes) -> None:
        if self._secret is not None and not hmac.compare_digest(proof, self._prove_secret(who)):
            raise TransferError(
                f"the {who.__name__.lower()} does not know the secret of this end: give "
                "--secret-file with the same contents to both ends"
            )

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Any]:
        """Parse bytes of the peer, in pieces of any size, and yield their meaning.

        Iterate to the end before the next call. Raises `TransferError`.
        """
        view = memoryview(data)
        while len(view):
            if self._kind == Frame.DATA:
                piece, view = view[: self._left], view[self._left :]
                self._left -= len(piece)
                if not self._left:
                    self._kind = None
                yield self._take_data(piece)
                continue
            want = self._wanted()
            took = min(want - len(self._buffer), len(view))
            self._buffer += view[:took]
            view = view[took:]
            if len(self._buffer) < want:
                return
            yield from self._take_block()

    def _wanted(self) -> int:
        if not self._greeted:
            return _GREETING.size
        if self.peer is None:
            return IDENTITY_BYTES + NONCE_BYTES
        return HEAD_BYTES if self._kind is None else self._left

    def _take_block(self) -> Iterator[Any]:
        block = bytes(self._buffer)
        self._buffer.clear()
        if not self._greeted:
            self._take_greeting(block)
            return
        if self.peer is None:
            self.peer = block[:IDENTITY_BYTES]
            other = Receiver if isinstance(self, Sender) else Sender
            self._nonces[other] = block[IDENTITY_BYTES:]
            return
        if self._kind is not None:
            kind, self._kind = self._kind, None
            yield from self._take_frame(Frame(kind), block)
            return
        kind, length = _HEAD.unpack(block)
        if kind not in _KNOWN or Frame(kind) not in self._expected:
            raise TransferError(f"the peer sent a frame of type {kind}, which is not allowed here")
        limit = MAX_DATA if kind == Frame.DATA else MAX_FRAME
        if length > limit:
            raise TransferError(f"the peer sent a frame of {length} bytes: at most {limit}")
        if length == 0:
            yield from self._take_frame(Frame(kind), b"")
            return
        self._kind, self._left = kind, length

    def _take_greeting(self, block: bytes) -> None:
        magic, newest, oldest = _GREETING.unpack(block)
        if magic != MAGIC:
            raise TransferError(
                "the peer has another protocol: libudt's sendfile and recvfile need --plain"
            )
        if newest < OLDEST_VERSION or oldest > VERSION:
            raise TransferError(
                f"the peer speaks versions {oldest} to {newest} of the protocol, this end "
                f"{OLDEST_VERSION} to {VERSION}: update the older one"
            )
        self._greeted = True

    def _take_data(self, piece: memoryview) -> Data:
        raise NotImplementedError

    def _take_frame(self, kind: Frame, body: bytes) -> Iterator[Any]:
        if kind == Frame.ABORT:
            yield Abort(_read_text(body))
        elif kind == Frame.BUSY:
            _exactly(body, 0)


class Sender(_End):
    """The end that has the files."""

    _expected = frozenset(
        (Frame.TOKEN, Frame.WANT, Frame.RESULT, Frame.DONE, Frame.BUSY, Frame.ABORT)
    )

    def __init__(self, entries: Sequence[Entry], secret: bytes | None = None) -> None:
        """secret: that the receiver must know, too. None: it need not know any. Raises
        `TransferError` like `check_entries`."""
        super().__init__(secret=secret)
        check_entries(entries)
        self.entries = tuple(entries)
        self._wanted_now = 0
        self._sending = -1
        self._sent: set[int] = set()
        self._open = {index for index, entry in enumerate(entries) if not entry.is_folder}

    def proof(self, token: bytes | None = None) -> bytes:
        """Prove the secret, and the token of an earlier transfer. Call it when the peer's greeting
        has arrived."""
        known = bytes(PROOF_BYTES) if token is None else self.prove(b"token", token)
        return _frame(Frame.PROOF, self._prove_secret(Sender) + known)

    def listing(self) -> Iterator[bytes]:
        """Return the list of files, which is sent when the ends have met."""
        block = b""
        total = 0
        for entry in self.entries:
            packed = _pack_entry(entry)
            total += len(packed)
            if total > MAX_MANIFEST_BYTES:
                raise TransferError(
                    f"the list of files is longer than {MAX_MANIFEST_BYTES} bytes: send fewer files"
                )
            if len(block) + len(packed) > MAX_FRAME:
                yield _frame(Frame.ENTRIES, block)
                block = b""
            block += packed
        yield _frame(Frame.ENTRIES, block)
        yield _frame(
            Frame.MANIFEST_END,
            _COUNT.pack(len(self.entries), sum(entry.size for entry in self.entries)),
        )

    def begin(self, index: int, offset: int) -> bytes:
        """Begin a file, from byte 0 or from one of the checkpoints on."""
        self._sending = index
        return _frame(Frame.BEGIN, _BEGIN.pack(index, offset))

    def data_head(self, length: int) -> bytes:
        """Return the header for `length` bytes of the current file, at most `MAX_DATA`."""
        return _HEAD.pack(Frame.DATA, length)

    def end(self, digest: bytes) -> bytes:
        """End the file. digest: of the whole file, including what the receiver had."""
        self._wanted_now -= 1
        self._sent.add(self._sending)
        return _frame(Frame.END, digest)

    def unreadable(self, index: int, text: str) -> bytes:
        """Say that a wanted file cannot be sent, or not completely."""
        self._wanted_now -= 1
        return _frame(Frame.UNREADABLE, _INDEX.pack(index) + _text(text))

    def _take_frame(self, kind: Frame, body: bytes) -> Iterator[Any]:
        if kind in (Frame.BUSY, Frame.ABORT):
            yield from super()._take_frame(kind, body)
        elif (kind == Frame.TOKEN) is self.met:
            raise TransferError("the peer sent its proof twice, or something else before it")
        elif kind == Frame.TOKEN:
            _exactly(body, PROOF_BYTES + TOKEN_BYTES)
            self._check_secret(Receiver, body[:PROOF_BYTES])
            self.met = True
            yield Token(body[PROOF_BYTES:])
        elif kind == Frame.WANT:
            yield self._take_want(body)
        elif kind == Frame.RESULT:
            yield self._take_result(body)
        elif kind == Frame.DONE:
            _exactly(body, 0)
            if self._open:
                raise TransferError(f"the peer gave no result for {len(self._open)} files")
            yield Done()

    def _take_want(self, body: bytes) -> Want:
        index, count = _WANT.unpack_from(_at_least(body, _WANT.size))
        self._check_index(index)
        self._wanted_now += 1
        if self._wanted_now > MAX_WANTED:
            raise TransferError(f"the peer wants more than {MAX_WANTED} files at a time")
        rest = _exactly(body[_WANT.size :], count * _CHECKPOINT.size)
        found = tuple(Checkpoint(*values) for values in _CHECKPOINT.iter_unpack(rest))
        last = 0
        for checkpoint in found:
            if not last < checkpoint.offset <= self.entries[index].size:
                raise TransferError("the peer sent checkpoints that do not fit this file")
            last = checkpoint.offset
        if count > MAX_CHECKPOINTS:
            raise TransferError(f"the peer sent {count} checkpoints: at most {MAX_CHECKPOINTS}")
        return Want(index, found)

    def _take_result(self, body: bytes) -> Result:
        index, failed = _RESULT.unpack_from(_at_least(body, _RESULT.size))
        self._check_index(index)
        if not failed and index not in self._sent:
            raise TransferError(f"the peer gave a result for file {index}, which was not sent")
        self._open.discard(index)
        text = _read_text(body[_RESULT.size :])
        return Result(index, (text or "no reason given") if failed else "")

    def _check_index(self, index: int) -> None:
        if index >= len(self.entries):
            raise TransferError(f"the peer names file {index} of {len(self.entries)}")
        if self.entries[index].is_folder:
            raise TransferError(f"the peer asked for folder {index} as a file")


class Receiver(_End):
    """The end that asks for files."""

    _expected = frozenset(
        (
            Frame.PROOF,
            Frame.ENTRIES,
            Frame.MANIFEST_END,
            Frame.BEGIN,
            Frame.DATA,
            Frame.END,
            Frame.UNREADABLE,
            Frame.BUSY,
            Frame.ABORT,
        )
    )

    def __init__(
        self, identity: bytes = bytes(IDENTITY_BYTES), secret: bytes | None = None
    ) -> None:
        """identity: differs between receivers, and stays the same when this one starts again.

        secret: that the sender must know, too. None: it need not know any.
        """
        super().__init__(identity, secret)
        self.entries: tuple[Entry, ...] = ()
        self._coming: list[Entry] = []
        self._manifest_bytes = 0
        self._asked: collections.deque[tuple[int, frozenset[int]]] = collections.deque()
        self._position: int | None = None  # in the current file

    @property
    def may_want(self) -> int:
        """Return how many more files may be requested now."""
        return MAX_WANTED - len(self._asked)

    def token(self, token: bytes) -> bytes:
        """Prove the secret, and give the token of this transfer. It answers the sender's proof."""
        self.met = True
        return _frame(Frame.TOKEN, self._prove_secret(Receiver) + token)

    def want(self, index: int, checkpoints: Sequence[Checkpoint] = ()) -> bytes:
        """Ask for a file."""
        self._asked.append((index, frozenset({0, *(mark.offset for mark in checkpoints)})))
        marks = b"".join(_CHECKPOINT.pack(mark.offset, mark.digest) for mark in checkpoints)
        return _frame(Frame.WANT, _WANT.pack(index, len(checkpoints)) + marks)

    def result(self, index: int, text: str = "") -> bytes:
        """Say that a file is there and checked, or why it failed."""
        return _frame(Frame.RESULT, _RESULT.pack(index, bool(text)) + _text(text))

    def done(self) -> bytes:
        """Say that nothing more is wanted."""
        return _frame(Frame.DONE)

    def _take_frame(self, kind: Frame, body: bytes) -> Iterator[Any]:
        if kind in (Frame.BUSY, Frame.ABORT):
            yield from super()._take_frame(kind, body)
        elif not self.met:
            yield self._take_proof(kind, body)
        elif not self.entries:
            yield from self._take_manifest(kind, body)
        elif kind == Frame.BEGIN:
            yield self._take_begin(*_BEGIN.unpack(_exactly(body, _BEGIN.size)))
        elif kind == Frame.END:
            yield self._take_end(_exactly(body, DIGEST_BYTES))
        elif kind == Frame.UNREADABLE:
            (index,) = _INDEX.unpack_from(_at_least(body, _INDEX.size))
            if not self._asked or self._asked[0][0] != index:
                raise TransferError(f"the peer cannot read file {index}, which was not requested")
            self._asked.popleft()
            self._position = None
            yield Unreadable(index, _read_text(body[_INDEX.size :]))
        elif kind != Frame.DATA:
            raise TransferError("the peer sent a second list of files")

    def _take_proof(self, kind: Frame, body: bytes) -> Proof:
        if kind != Frame.PROOF:
            raise TransferError("the peer sent something else before its proof")
        _exactly(body, 2 * PROOF_BYTES)
        self._check_secret(Sender, body[:PROOF_BYTES])
        return Proof(self, body[PROOF_BYTES:])

    def _take_manifest(self, kind: Frame, body: bytes) -> Iterator[Manifest]:
        if kind == Frame.ENTRIES:
            self._manifest_bytes += len(body)
            if self._manifest_bytes > MAX_MANIFEST_BYTES:
                raise TransferError(
                    f"the peer's list of files is longer than {MAX_MANIFEST_BYTES} bytes"
                )
            self._coming.extend(_unpack_entries(body))
            if len(self._coming) > MAX_ENTRIES:
                raise TransferError(f"the peer sends more than {MAX_ENTRIES} files and folders")
            return
        if kind != Frame.MANIFEST_END:
            raise TransferError("the peer sent files before their list")
        count, total = _COUNT.unpack(_exactly(body, _COUNT.size))
        if (count, total) != (len(self._coming), sum(entry.size for entry in self._coming)):
            raise TransferError("the peer's list of files does not match its final count")
        check_entries(self._coming)
        self.entries, self._coming = tuple(self._coming), []
        yield Manifest(self.entries)

    def _take_begin(self, index: int, offset: int) -> Begin:
        if self._position is not None or not self._asked or self._asked[0][0] != index:
            raise TransferError(f"the peer sent file {index} out of order")
        if offset not in self._asked[0][1]:
            raise TransferError(f"the peer sent file {index} from a wrong byte, {offset}")
        self._position = offset
        return Begin(index, offset)

    def _take_data(self, piece: memoryview) -> Data:
        if self._position is None:
            raise TransferError("the peer sent bytes outside of a file")
        self._position += len(piece)
        if self._position > self.entries[self._asked[0][0]].size:
            raise TransferError("the peer sent more bytes of a file than it announced")
        return Data(piece)

    def _take_end(self, digest: bytes) -> End:
        index = self._asked[0][0] if self._asked else -1
        if self._position is None or self._position != self.entries[index].size:
            raise TransferError("the peer ended a file before its end")
        self._asked.popleft()
        self._position = None
        return End(index, digest)


# --- frames and their parts -----------------------------------------------------------------------


def _frame(kind: Frame, body: bytes = b"") -> bytes:
    return _HEAD.pack(kind, len(body)) + body


def _pack_entry(entry: Entry) -> bytes:
    head = _ENTRY.pack(
        entry.is_folder, entry.mode & _PERMISSIONS, entry.mtime_ns, entry.size, len(entry.path)
    )
    return head + entry.path


def _unpack_entries(body: bytes) -> Iterator[Entry]:
    at = 0
    while at < len(body):
        is_folder, mode, mtime_ns, size, length = _ENTRY.unpack(
            _at_least(body[at : at + _ENTRY.size], _ENTRY.size)
        )
        at += _ENTRY.size
        path = _at_least(body[at : at + length], length)
        at += length
        if is_folder > 1:
            raise TransferError(f"the peer sent an entry of unknown kind {is_folder}")
        yield Entry(path, size, mtime_ns, mode & _PERMISSIONS, is_folder == 1)


def _text(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")[:MAX_TEXT]


def _read_text(body: bytes) -> str:
    return show(body[:MAX_TEXT])


def _exactly(body: bytes, size: int) -> bytes:
    if len(body) != size:
        raise TransferError(f"the peer sent a frame of {len(body)} bytes that must have {size}")
    return body


def _at_least(body: bytes, size: int) -> bytes:
    if len(body) < size:
        raise TransferError(f"the peer sent {len(body)} bytes where {size} must be")
    return body
