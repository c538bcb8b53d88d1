"""UDT in asyncio: readers, writers, servers, messages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shmring import udt

HERE = "127.0.0.1"
PATIENCE_S = 20.0

pytestmark = pytest.mark.usefixtures("shmring_namespace")
Main = Callable[[], Awaitable[None]]


def run(main: Main) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(2 * PATIENCE_S):
            await main()

    asyncio.run(bounded())


def test_streams() -> None:
    async def echo(reader: udt.UdtReader, writer: udt.UdtWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    async def main() -> None:
        async with await udt.start_server(echo, (HERE, 0)) as server:
            assert server.sockets[0].getsockname() == server.local
            reader, writer = await udt.open_connection(*server.local)
            async with writer:
                assert writer.get_extra_info("peername") == server.local
                assert writer.get_extra_info("socket") is writer.socket
                assert writer.get_extra_info("sockname") == writer.socket.local
                assert writer.get_extra_info("nothing", 7) == 7
                assert not writer.can_write_eof()
                writer.write(b"first line\nsecond")
                writer.writelines([b" line\n", b"exactly", b"until;"])
                await writer.drain()
                assert await reader.readline() == b"first line\n"
                assert await reader.readline() == b"second line\n"
                assert await reader.readexactly(7) == b"exactly"
                assert await reader.readuntil(b";") == b"until;"
                assert await reader.read(0) == b""
            assert writer.is_closing()
        assert server.sockets == ()

    run(main)


def test_the_end_of_a_stream() -> None:
    async def serve(reader: udt.UdtReader, writer: udt.UdtWriter) -> None:
        writer.write(b"a line\nno end")

    async def main() -> None:
        async with await udt.start_server(serve, (HERE, 0)) as server:
            reader, writer = await udt.open_connection(*server.local)
            assert [line async for line in reader] == [b"a line\n", b"no end"]
            with pytest.raises(asyncio.IncompleteReadError):
                await reader.readexactly(1)
            with pytest.raises(udt.UdtClosed):
                writer.write(b"x")
            writer.close()
            await writer.wait_closed()

    run(main)


def test_lines_have_a_limit() -> None:
    async def serve(reader: udt.UdtReader, writer: udt.UdtWriter) -> None:
        writer.write(b"x" * 1000)
        await reader.read()

    async def main() -> None:
        async with await udt.start_server(serve, (HERE, 0)) as server:
            reader, writer = await udt.open_connection(*server.local, limit=100)
            async with writer:
                with pytest.raises(ValueError, match="100"):
                    await reader.readline()
                with pytest.raises(asyncio.LimitOverrunError):
                    await reader.readuntil(b";")

    run(main)


def test_messages() -> None:
    async def serve(reader: udt.UdtReader, writer: udt.UdtWriter) -> None:
        async for message in reader:
            await writer.send_message(message.upper(), in_order=True)

    async def main() -> None:
        async with await udt.start_server(serve, (HERE, 0), messages=True) as server:
            reader, writer = await udt.open_connection(*server.local, messages=True)
            async with writer:
                for message in (b"one", b"two", b"x" * 3_000_000):
                    await writer.send_message(message, in_order=True)
                for message in (b"ONE", b"TWO", b"X" * 3_000_000):
                    assert await reader.message() == message

    run(main)


def test_sockets() -> None:
    async def main() -> None:
        with udt.listen((HERE, 0)) as listener:
            client = await asyncio.to_thread(udt.connect, listener.local)
            server, _ = await listener.aio.accept()
            with client, server:
                await client.aio.sendall(b"x" * 5_000_000)
                got = 0
                async for data in server:
                    got += len(data)
                    if got == 5_000_000:
                        break

    run(main)


def test_cancelling_loses_nothing() -> None:
    async def main() -> None:
        with udt.listen((HERE, 0)) as listener, udt.connect(listener.local) as client:
            server, _ = listener.accept(timeout=PATIENCE_S)
            with server:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await server.aio.recv()
                client.sendall(b"kept")
                assert await server.aio.recv() == b"kept"

    run(main)


def test_a_message_whose_sending_is_cancelled_goes_out_whole() -> None:
    how: udt.UdtOptions = {
        "messages": True, "ring_bytes": 1 << 16, "send_bytes": 1 << 20, "receive_packets": 1024,
    }  # fmt: skip

    def content(number: int) -> bytes:
        return b"%04d" % number * 200_000

    async def main() -> None:
        with udt.listen((HERE, 0), **how) as listener, udt.connect(listener.local, **how) as client:
            server, _ = await listener.aio.accept()
            sent = 0

            async def send_on() -> None:
                nonlocal sent
                while True:
                    await client.aio.sendmsg(content(sent), in_order=True)
                    sent += 1

            with server:
                # Nobody reads, so that it stops in the middle of one.
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(send_on(), 0.3)
                last = asyncio.create_task(client.aio.sendmsg(b"end", in_order=True))
                got = []
                while (message := await server.aio.recvmsg()) != b"end":
                    got.append(message)
                await last
            assert got == [content(number) for number in range(len(got))]
            assert sent <= len(got) <= sent + 1

    run(main)


def test_a_full_path_stops_senders_but_not_the_loop() -> None:
    small: udt.UdtOptions = {"ring_bytes": 1 << 16, "send_bytes": 1 << 16, "receive_packets": 64}

    async def main() -> None:
        with udt.listen((HERE, 0), **small) as listener:
            client = await asyncio.to_thread(udt.connect, listener.local, **small)
            server, _ = await listener.aio.accept()
            writer = udt.UdtWriter(client)
            reader = udt.UdtReader(server)
            with server:
                writer.writelines([bytes(500_000), bytes(500_000)])
                draining = asyncio.create_task(writer.drain())
                for _ in range(50):  # the loop turns
                    await asyncio.sleep(0.002)
                assert not draining.done()
                writer.close()
                assert len(await reader.read(-1)) == 1_000_000
                assert reader.at_eof()
                await writer.wait_closed()
                await draining

    run(main)


def test_ends_of_lines_and_of_servers() -> None:
    async def serve(reader: udt.UdtReader, writer: udt.UdtWriter) -> None:
        writer.write(await reader.readuntil(b"--"))
        writer.write(await reader.readexactly(3))

    async def main() -> None:
        server = await udt.start_server(serve, (HERE, 0))
        forever = asyncio.create_task(server.serve_forever())
        reader, writer = await udt.open_connection(*server.local)
        async with writer:
            writer.write(b"up to here--abc")
            assert await reader.readexactly(15) == b"up to here--abc"
            with pytest.raises(asyncio.IncompleteReadError) as caught:
                await reader.readexactly(1)
            assert caught.value.partial == b""
            assert await reader.read() == await reader.readline() == b""
        for bad in (reader.readexactly(-1), reader.readuntil(b"")):
            with pytest.raises(ValueError, match=r"must be|empty"):
                await bad
        server.close()
        await forever
        await server.wait_closed()

    run(main)


def test_connect_in_a_task() -> None:
    async def main() -> None:
        with udt.listen((HERE, 0), messages=True) as listener:
            sock = await udt.aio.connect(("localhost", listener.local[1]), messages=True)
            server, _ = await listener.aio.accept()
            with sock, server:
                await sock.aio.sendmsg(b"hello")
                async for message in server:
                    assert message == b"hello"
                    break

    run(main)


def test_connect_async_to_nobody() -> None:
    async def main() -> None:
        with pytest.raises(udt.UdtTimeout):
            await udt.aio.connect((HERE, 9), timeout=0.1)

    run(main)
