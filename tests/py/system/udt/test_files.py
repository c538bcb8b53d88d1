"""Files over streams: parts of them, kinds of files, the callback, and what goes wrong."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import udt4
from shmring import udt

HERE = "127.0.0.1"
PATIENCE_S = 20.0
DATA = bytes(range(256)) * 4000

Pair = tuple[udt.UdtSocket, udt.UdtSocket]


class ReadOnly:
    """A file that can do no more than the least."""

    def __init__(self, data: Any) -> None:
        self._data = data

    def seekable(self) -> bool:
        return False

    def read(self, size: int) -> Any:
        if isinstance(self._data, OSError):
            raise self._data
        part, self._data = self._data[:size], self._data[size:]
        return part


def test_parts_of_files_and_the_callback(pair: Pair, tmp_path: Path) -> None:
    client, server = pair
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(DATA)
    target.write_bytes(b"-" * 20)
    sent: list[tuple[int, int | None]] = []
    got: list[tuple[int, int | None]] = []

    def note(steps: list[tuple[int, int | None]]) -> Callable[[int, int | None], None]:
        return lambda done, size: steps.append((done, size))

    assert udt.sendfile(client, source, 5, 100_000, block=30_000, progress=note(sent)) == 100_000
    assert udt.recvfile(server, target, 10, 100_000, progress=note(got)) == 100_000
    assert sent == [(30_000, 100_000), (60_000, 100_000), (90_000, 100_000), (100_000, 100_000)]
    assert got[-1] == (100_000, 100_000)
    assert [done for done, _ in got] == sorted(done for done, _ in got)
    assert target.read_bytes() == b"-" * 10 + DATA[5:100_005]
    # To its end, and until the stream ends: then nobody knows the size.
    sent.clear()
    got.clear()
    assert udt.sendfile(client, source, len(DATA) - 7, progress=note(sent)) == 7
    client.close()
    assert udt.recvfile(server, tmp_path / "rest", progress=note(got)) == 7
    assert sent == got[-1:] == [(7, None)]


def test_kinds_of_files(pair: Pair, tmp_path: Path) -> None:
    client, server = pair
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with open(path, "rb") as file:
        file.seek(4)
        assert udt.sendfile(client, file, None, 3) == 3  # from where it stands
        assert udt.sendfile(client, file.fileno(), 8) == 2
        assert not file.closed
    assert udt.sendfile(client, str(path), 0, 1) == 1
    assert udt.sendfile(client, io.BytesIO(b"abc"), 1) == 2
    assert udt.sendfile(client, ReadOnly(b"def")) == 3  # type: ignore[arg-type]
    assert udt.sendfile(client, path, 100) == 0  # behind its end
    reading, writing = os.pipe()
    os.write(writing, b"ghi")
    os.close(writing)
    assert udt.sendfile(client, reading) == 3
    os.close(reading)
    into = io.BytesIO()
    assert udt.recvfile(server, into, 0, 14) == 14
    assert into.getvalue() == b"456890bcdefghi"


def test_what_is_no_file(pair: Pair, tmp_path: Path) -> None:
    client, _ = pair
    for wrong in (True, 1.5, None):
        with pytest.raises((TypeError, AttributeError, udt.UdtError)):
            udt.sendfile(client, wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="binary"):
        udt.sendfile(client, ReadOnly("text"))  # type: ignore[arg-type]
    with pytest.raises(udt.UdtError) as caught:
        udt.sendfile(client, ReadOnly(OSError(5, "broken disk")))  # type: ignore[arg-type]
    assert caught.value.code == udt.Code.ERDPERM
    with pytest.raises(udt.UdtError) as caught:
        udt.sendfile(client, ReadOnly(b""), 5)  # type: ignore[arg-type]
    assert caught.value.code == udt.Code.EINVRDOFF
    with pytest.raises(FileNotFoundError):
        udt.sendfile(client, tmp_path / "nothing")
    for bad in ({"offset": -1}, {"size": -1}, {"block": 0}):
        with pytest.raises(ValueError, match="must be"):
            udt.sendfile(client, tmp_path, **bad)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="integer"):
        udt.sendfile(client, tmp_path, "0")  # type: ignore[arg-type]


def test_a_disk_that_is_full_is_told_to_the_sender(pair: Pair) -> None:
    client, server = pair
    client.sendall(b"x")
    with pytest.raises(udt.UdtError) as caught:
        udt.recvfile(server, "/dev/full", None, 1)
    assert caught.value.code == udt.Code.EWRPERM

    def send_on() -> None:
        while True:
            client.sendall(b"x", timeout=PATIENCE_S)
            time.sleep(0.001)

    with pytest.raises(udt.UdtPeerError):  # when it has arrived; once
        send_on()
    client.sendall(b"x", timeout=PATIENCE_S)


def test_the_drop_in_has_parts_and_the_callback(shmring_namespace: str, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(DATA)
    steps: dict[str, list[tuple[int, int | None]]] = {"sent": [], "got": []}
    with udt4.UdtSocket() as server, udt4.UdtSocket() as client:
        server.bind((HERE, 0))
        server.listen(1)
        client.connect(server.getsockname())
        accepted, _ = server.accept()
        with accepted:
            sending = threading.Thread(
                target=udt4.sendfile,
                args=(client.UDTSOCKET, source, 3, 50_000, 20_000),
                kwargs={"progress": lambda *step: steps["sent"].append(step)},
            )
            sending.start()
            count = accepted.recvfile(
                target, 0, 50_000, progress=lambda *step: steps["got"].append(step)
            )
            sending.join(PATIENCE_S)
    assert count == 50_000
    assert steps["sent"] == [(20_000, 50_000), (40_000, 50_000), (50_000, 50_000)]
    assert steps["got"][-1] == (50_000, 50_000)
    assert target.read_bytes() == DATA[3:50_003]
