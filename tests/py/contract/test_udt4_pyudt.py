"""udt4.pyudt.UdtSocket: what it adds to the functions. test_udt4_connected.py has more."""

from __future__ import annotations

import asyncio
import ipaddress
import select
import threading
import time
from collections.abc import Iterator

import pytest
from kit.calls import Index
from kit.udt import HERE, connection, read

import udt4
from udt4.pyudt import UdtSocket

pytestmark = pytest.mark.usefixtures("shmring_namespace")

TIMEOUT_S = 20.0
Pair = tuple[UdtSocket, UdtSocket]


@pytest.fixture
def streams() -> Iterator[Pair]:
    with connection() as (client, accepted):
        yield UdtSocket(_sock=client), UdtSocket(_sock=accepted)


def test_addresses_as_programs_have_them() -> None:
    """A port from sys.argv is text, and whatever prints as an address is one."""
    with UdtSocket() as first, UdtSocket() as server, UdtSocket() as client:
        first.bind((HERE, "0"))  # type: ignore[arg-type]
        port = first.getsockname()[1]
        first.close()
        server.bind([ipaddress.ip_address(HERE), str(port)])  # type: ignore[arg-type]
        server.listen(Index(1))  # type: ignore[arg-type]
        assert server.getsockname() == (HERE, port)
        client.connect((ipaddress.ip_address(HERE), str(port), 0, 0))  # type: ignore[arg-type]
        accepted, _ = server.accept()
        with accepted:
            assert udt4.send(client.UDTSOCKET, b"abc", Index(2)) == 2  # type: ignore[arg-type]
            assert accepted.recv(Index(9)) == b"ab"  # type: ignore[arg-type]


def test_sendall_sends_all(streams: Pair) -> None:
    client, accepted = streams
    data = bytes(range(256)) * 20_000
    thread = threading.Thread(target=client.sendall, args=(data,))
    thread.start()
    assert read(accepted.UDTSOCKET, len(data)) == data
    thread.join(TIMEOUT_S)


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
