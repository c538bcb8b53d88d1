"""Files over UDT streams: plain bytes without a header, as in libudt's sendfile and recvfile."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from shmring.udt.errors import Code, UdtError, udt_error
from shmring.udt.socket import UdtSocket

BLOCK_BYTES = 1 << 18

AnyFile = str | os.PathLike[str] | int | IO[bytes]
Progress = Callable[[int, int | None], object]
"""Called with the number of bytes moved so far and the requested number (None: to the end)."""


def sendfile(
    sock: UdtSocket,
    file: AnyFile,
    offset: int | None = 0,
    size: int | None = None,
    *,
    block: int = BLOCK_BYTES,
    progress: Progress | None = None,
) -> int:
    """Send a file, or `size` bytes of it from `offset` on, and return how many bytes.

    file: path, descriptor, or an open binary file. offset: None: from its current position. size:
    None: to its end. It never reads beyond the end. block: number of bytes read at once.

    Raises the errors of `UdtSocket.send`, and `UdtError` with `Code.EINVRDOFF`, `Code.ERDPERM`.
    """
    _check(offset, size, block)
    done = 0
    with _opened(file, "rb") as source:
        _seek(source, offset, Code.EINVRDOFF)
        buffer = bytearray(block)
        while size is None or done < size:
            want = block if size is None else min(block, size - done)
            got = _read(source, memoryview(buffer)[:want])
            if got == 0:
                break
            sock.sendall(memoryview(buffer)[:got], timeout=None)
            done += got
            if progress is not None:
                progress(done, size)
    return done


def recvfile(
    sock: UdtSocket,
    file: AnyFile,
    offset: int | None = 0,
    size: int | None = None,
    *,
    block: int = BLOCK_BYTES,
    progress: Progress | None = None,
) -> int:
    """Write `size` bytes of the stream to a file, from `offset` on, and return how many.

    file: path (created if missing, never truncated), descriptor, or a writable binary file. offset:
    None: from its current position. size: None: until the stream ends. An end before `size` is not
    an error, and the returned number shows it. block: number of bytes written at once.

    If a write fails, the peer is told, and `UdtError` with `Code.EWRPERM` is raised. Also raises
    the errors of `UdtSocket.recv`, and `UdtError` with `Code.EINVWROFF`.
    """
    _check(offset, size, block)
    done = 0
    with _opened(file, "r+b") as target:
        _seek(target, offset, Code.EINVWROFF)
        buffer = bytearray(block)
        while size is None or done < size:
            want = block if size is None else min(block, size - done)
            try:
                got = sock.recv_into(memoryview(buffer)[:want], timeout=None)
            except UdtError as caught:
                if caught.code != Code.ECONNLOST:
                    raise
                break
            _write(sock, target, memoryview(buffer)[:got])
            done += got
            if progress is not None:
                progress(done, size)
        flush = getattr(target, "flush", None)
        if flush is not None:
            flush()
    return done


def _check(offset: int | None, size: int | None, block: int) -> None:
    for name, value, least in (("offset", offset, 0), ("size", size, 0), ("block", block, 1)):
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an integer, not {value!r}")
        if value < least:
            raise ValueError(f"{name} is {value}: it must be {least} or more")


@contextlib.contextmanager
def _opened(file: AnyFile, mode: str) -> Iterator[Any]:
    """A binary file to read or write. It is closed only if it was opened here."""
    if isinstance(file, bool):
        raise TypeError("file must be a path, a descriptor or an open file, not a bool")
    if isinstance(file, (str, os.PathLike)):
        if mode != "rb":
            Path(file).touch()
        with open(file, mode, buffering=0) as made:
            yield made
    elif isinstance(file, int):
        with open(file, mode, buffering=0, closefd=False) as made:
            yield made
    else:
        yield file


def _seek(file: Any, offset: int | None, code: Code) -> None:
    if offset is None:
        return
    try:
        if offset == 0 and not file.seekable():
            return
        file.seek(offset)
    except (OSError, ValueError, AttributeError) as caught:
        raise udt_error(code, f"offset {offset}: {caught}") from caught


def _read(file: Any, view: memoryview) -> int:
    try:
        if hasattr(file, "readinto"):
            return file.readinto(view) or 0
        data = file.read(len(view))
    except (OSError, ValueError) as caught:
        raise udt_error(Code.ERDPERM, str(caught)) from caught
    if isinstance(data, str):
        raise TypeError('the file gives text: open it in binary mode, "rb"')
    view[: len(data)] = data
    return len(data)


def _write(sock: UdtSocket, file: Any, view: memoryview) -> None:
    try:
        done = 0
        while done < len(view):
            wrote = file.write(view[done:])
            done += len(view) - done if wrote is None else wrote
    except (OSError, ValueError) as caught:
        with contextlib.suppress(UdtError, OSError):
            sock.report_error()
        raise udt_error(Code.EWRPERM, str(caught)) from caught
