"""udt4.pyudt.UdtSocket: what it adds to the functions."""

from __future__ import annotations

import asyncio
import ipaddress
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import udt4
from udt4.pyudt import UdtSocket

pytestmark = pytest.mark.usefixtures("shmring_namespace")

HERE = "127.0.0.1"
TIMEOUT_S = 20.0
Pair = tuple[UdtSocket, UdtSocket]


def connected(kind: int) -> Iterator[Pair]:
    with UdtSocket(type=kind) as server, UdtSocket(socket.AF_INET, kind, 0) as client:
        server.bind((HERE, 0))
        server.listen(5)
        assert client.connect(server.getsockname()) is None
        accepted, address = server.accept()
        assert address == (HERE, client.getsockname()[1])
        with accepted:
            accepted.settimeout(-1, int(TIMEOUT_S * 1000))
            yield client, accepted


@pytest.fixture
def streams() -> Iterator[Pair]:
    yield from connected(socket.SOCK_STREAM)


@pytest.fixture
def messages() -> Iterator[Pair]:
    yield from connected(socket.SOCK_DGRAM)


def read(sock: UdtSocket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        got += sock.recv(count - len(got))
    return got


def test_what_it_is() -> None:
    with UdtSocket(socket.AF_INET, socket.SOCK_DGRAM, 3) as sock:
        assert (sock.family, sock.type, sock.proto) == (2, 2, 3)
        assert type(sock.UDTSOCKET) is udt4.UDTSOCKET
        assert sock.fileno() == sock.UDTSOCKET.UDTSOCKET == sock.fileno(False)
        assert sock.getsockstate() == udt4.UDTSTATUS_INIT
        assert "state 1" in repr(sock)
        for name in ("family", "type", "proto", "UDTSOCKET"):
            with pytest.raises(AttributeError):
                setattr(sock, name, 1)
    with pytest.raises(TypeError, match="_sock"):
        UdtSocket(_sock=7)  # type: ignore[arg-type]


def test_the_same_socket_twice() -> None:
    with UdtSocket() as sock, UdtSocket() as other:
        again = sock.dup()
        assert again == sock
        assert hash(again) == hash(sock)
        assert again is not sock
        assert again.UDTSOCKET is sock.UDTSOCKET
        assert other != sock
        assert sock != 7


def test_names(streams: Pair) -> None:
    client, accepted = streams
    assert client.getpeername() == accepted.getsockname()
    assert client.getsockopt(udt4.UDT_MSS) == 1500
    assert client.setsockopt(udt4.UDT_SNDTIMEO, 5) is None
    assert client.getsockopt(udt4.UDT_SNDTIMEO) == 5


def test_timeouts_and_waiting() -> None:
    with UdtSocket() as sock:
        assert sock.gettimeout() == (-1, -1)
        sock.settimeout(5)
        assert sock.gettimeout() == (5, 5)
        sock.settimeout(5, 7)
        assert sock.gettimeout() == (5, 7)
        sock.setblocking(False)
        assert not sock.getsockopt(udt4.UDT_SNDSYN)
        assert not sock.getsockopt(udt4.UDT_RCVSYN)
        sock.setblocking(True, False)
        assert sock.getsockopt(udt4.UDT_SNDSYN)
        assert not sock.getsockopt(udt4.UDT_RCVSYN)


def test_connect_ex() -> None:
    with UdtSocket() as server, UdtSocket() as client, UdtSocket(type=2) as other:
        server.bind((HERE, 0))
        server.listen(1)
        assert other.connect_ex(server.getsockname()) == udt4.ECONNREJ
        assert client.connect_ex(server.getsockname()) == 0
        with pytest.raises(TypeError, match="address"):
            client.connect("x")  # type: ignore[arg-type]


def test_addresses_as_programs_have_them() -> None:
    """A port from sys.argv is text, and whatever prints as an address is one."""
    with UdtSocket() as first, UdtSocket() as server, UdtSocket() as client:
        first.bind((HERE, "0"))  # type: ignore[arg-type]
        port = first.getsockname()[1]
        first.close()
        server.bind([ipaddress.ip_address(HERE), str(port)])  # type: ignore[arg-type]
        server.listen(Count(1))  # type: ignore[arg-type]
        assert server.getsockname() == (HERE, port)
        client.connect((ipaddress.ip_address(HERE), str(port), 0, 0))  # type: ignore[arg-type]
        accepted, _ = server.accept()
        with accepted:
            assert udt4.send(client.UDTSOCKET, b"abc", Count(2)) == 2  # type: ignore[arg-type]
            assert accepted.recv(Count(9)) == b"ab"  # type: ignore[arg-type]
    for bad in ((HERE, "port"), (HERE, ""), ("localhost", 1), (HERE, 65536), (HERE, -1)):
        with UdtSocket() as sock, pytest.raises(ValueError, match=r"port|int|IPv4"):
            sock.bind(bad)  # type: ignore[arg-type]
    for bad in ((HERE,), HERE[:1], None, 7, (HERE, None)):
        with UdtSocket() as sock, pytest.raises(TypeError):
            sock.bind(bad)  # type: ignore[arg-type]


class Count:
    """A number that is no int, as those of NumPy."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


def test_binding_to_a_socket_of_the_system() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        UdtSocket() as sock,
        UdtSocket() as client,
    ):
        udp.bind((HERE, 0))
        sock.bind(udp)
        assert sock.getsockname() == udp.getsockname()
        sock.listen(1)
        client.connect(sock.getsockname())
        client.send("over it")
        assert read(sock.accept()[0], 7) == b"over it"


def test_streams(streams: Pair) -> None:
    client, accepted = streams
    assert client.send("text", 6) == 6
    assert client.write(b"bytes") == 5
    assert client.sendall(bytearray(b"array"), 0) == 5
    assert read(accepted, 16) == b"text\0\0bytesarray"
    client.send(b"once more")
    assert len(accepted.read(4)) in range(1, 5)


def test_sendall_sends_all(streams: Pair) -> None:
    client, accepted = streams
    data = bytes(range(256)) * 20_000
    thread = threading.Thread(target=client.sendall, args=(data,))
    thread.start()
    assert read(accepted, len(data)) == data
    thread.join(TIMEOUT_S)


def test_recv_into(streams: Pair) -> None:
    client, accepted = streams
    client.send(b"abcdef")
    room = bytearray(10)
    assert accepted.recv_into(room, 2) == 2
    assert accepted.recv_into(memoryview(room)[2:]) in range(1, 5)
    assert room.startswith(b"abc")
    with pytest.raises(BufferError):
        accepted.recv_into(b"fixed")
    with pytest.raises(ValueError, match="nbytes"):
        accepted.recv_into(room, -1)


def test_messages(messages: Pair) -> None:
    client, accepted = messages
    assert client.sendmsg("text", 6, ttl=1000, inorder=True) == 6
    assert client.sendto(b"to", 3) == 3
    assert accepted.recvmsg(100) == b"text\0\0"
    assert accepted.recvfrom(100) == b"to\0"


def test_files_by_the_names_of_the_original(streams: Pair, tmp_path: Path) -> None:
    client, accepted = streams
    (tmp_path / "sent").write_bytes(b"contents")
    assert client.sendfile(fd=tmp_path / "sent") == 8
    assert accepted.recvfile(fd=tmp_path / "got", size=8) == 8
    assert (tmp_path / "got").read_bytes() == b"contents"


def test_files(streams: Pair, tmp_path: Path) -> None:
    client, accepted = streams
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"0123456789")
    assert client.sendfile(source, 2, 5) == 5
    with target.open("wb") as opened:
        assert accepted.recvfile(opened, size=5) == 5
    assert target.read_bytes() == b"23456"


def test_perfmon(streams: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    info = streams[0].perfmon()
    assert type(info) is udt4.TRACEINFO
    udt4.dump_perfmon(info)
    assert "msRTT" in capsys.readouterr().out


def test_makefile(streams: Pair) -> None:
    client, accepted = streams
    with client.makefile("w", encoding="utf-8") as writer:
        writer.write("first line\nstra\u00dfe\n")
        writer.flush()
    reader = accepted.makefile(encoding="utf-8")
    assert reader.readline() == "first line\n"
    assert reader.readline() == "stra\u00dfe\n"
    both = client.makefile("rwb")
    both.write(b"raw")
    both.flush()
    client.close()
    assert reader.read() == "raw"
    assert accepted.getsockstate() == udt4.UDTSTATUS_BROKEN


def test_makefile_refuses(streams: Pair) -> None:
    client, _ = streams
    for mode in ("a", "x", "b", ""):
        with pytest.raises(ValueError, match="mode"):
            client.makefile(mode)
    with pytest.raises(ValueError, match="unbuffered"):
        client.makefile("r", 0)
    assert client.makefile("rb", 0).fileno() == client.fileno()


def test_makefile_without_waiting(streams: Pair) -> None:
    """As files of the system: None says that there is nothing, or no room."""
    client, accepted = streams
    for sock in streams:
        sock.setblocking(False)
    with accepted.makefile("rb", 0) as reading, client.makefile("wb", 0) as writing:
        assert reading.read(10) is None
        while writing.write(bytes(1 << 20)) is not None:
            pass


def test_shutdown_warns(streams: Pair) -> None:
    with pytest.warns(UserWarning, match="close"):
        streams[0].shutdown(2)


def test_the_descriptor_works_with_select(streams: Pair) -> None:
    client, accepted = streams
    assert select.select([accepted], [], [], 0.01)[0] == []
    client.send(b"x")
    assert select.select([accepted], [], [], TIMEOUT_S)[0] == [accepted]
    accepted.recv(1)
    accepted.setblocking(False)
    give_up = time.monotonic() + TIMEOUT_S
    readable = [accepted]
    while readable:  # an acknowledgement that arrives makes it readable, too, until the next call
        with pytest.raises(udt4.UDTException):
            accepted.recv(1)
        readable = select.select([accepted], [], [], 0.01)[0]
        assert time.monotonic() < give_up


def test_the_descriptor_works_with_asyncio(streams: Pair) -> None:
    client, accepted = streams

    async def wait() -> bytes:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(accepted.fileno(), ready.set)
        try:
            client.send(b"x")
            await asyncio.wait_for(ready.wait(), TIMEOUT_S)
        finally:
            loop.remove_reader(accepted.fileno())
        return accepted.recv(1)

    assert asyncio.run(wait()) == b"x"


def test_names_when_the_peer_has_left(streams: Pair) -> None:
    client, accepted = streams
    name = client.getsockname()
    accepted.close()
    with pytest.raises(udt4.UDTException):
        client.recv(1)
    assert client.getsockname() == name
    with pytest.raises(udt4.UDTException) as caught:
        client.getpeername()
    assert caught.value.code == udt4.ENOCONN
    with pytest.raises(udt4.UDTException) as caught:
        client.setsockopt(udt4.UDT_LINGER, (0, 0))
    assert caught.value.code == udt4.ECONNLOST


def test_closing() -> None:
    sock = UdtSocket()
    sock.bind((HERE, 0))
    assert sock.close() is None
    assert sock.close() is None
    assert sock.getsockstate() == udt4.UDTSTATUS_CLOSED
