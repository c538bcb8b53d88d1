"""Programs written for asyncio's datagram endpoints, over channels."""

from __future__ import annotations

import asyncio
import errno
import functools
import operator
import socket
import threading
import time
import warnings

import pytest

import shmring
from shmring._datagram import WATCH_PAUSE_S, Answers, socket_address

HERE = "127.0.0.1"
PATIENCE_S = 20.0

pytestmark = pytest.mark.usefixtures("own_pool")


@pytest.fixture
def own_pool(shmring_namespace):
    """The default pool lacks privileges here, which is not of interest."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", shmring.errors.RealtimeWarning)
        yield


class EchoServer(asyncio.DatagramProtocol):
    """As in the documentation of asyncio."""

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)


class Client(asyncio.DatagramProtocol):
    """Notes what it is told."""

    def __init__(self, message=None):
        self.message = message
        self.told = []
        self.got = asyncio.Queue()
        self.lost = asyncio.get_running_loop().create_future()
        self.failed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.told.append("made")
        self.transport = transport
        if self.message is not None:
            transport.sendto(self.message)

    def datagram_received(self, data, addr):
        self.got.put_nowait((data, addr))

    def error_received(self, exc):
        if not self.failed.done():
            self.failed.set_result(exc)

    def pause_writing(self):
        self.told.append("pause")

    def resume_writing(self):
        self.told.append("resume")

    def connection_lost(self, exc):
        self.lost.set_result(exc)


def test_the_echo_of_the_documentation(serve):
    async def main():
        server, _ = await shmring.create_datagram_endpoint(EchoServer, local_addr=(HERE, 0))
        address = server.get_extra_info("sockname")
        transport, client = await shmring.create_datagram_endpoint(
            lambda: Client(b"Hello World!"), remote_addr=address
        )
        assert await client.got.get() == (b"Hello World!", address)
        assert transport.get_extra_info("peername") == address
        assert transport.get_extra_info("socket").getpeername() == address
        assert transport.get_extra_info("socket").family == socket.AF_INET
        assert transport.get_extra_info("nothing", 7) == 7
        assert transport.get_protocol() is client
        assert isinstance(transport, asyncio.Transport)
        assert not transport.is_closing()
        transport.close()
        transport.close()
        assert transport.is_closing()
        assert transport.sendto(b"too late") is None
        assert await client.lost is None
        assert client.told == ["made"]
        server.close()
        with pytest.raises(ValueError, match="addr is"):
            (await connected(address)).sendto(b"x", ("127.0.0.2", 9))

    serve(main)


async def connected(address):
    transport, _ = await shmring.create_datagram_endpoint(Client, remote_addr=address)
    transport.abort()
    return transport


def test_ipv6_addresses_have_four_parts(serve):
    async def main():
        server, _ = await shmring.create_datagram_endpoint(EchoServer, local_addr=("::1", 0))
        transport, client = await shmring.create_datagram_endpoint(Client, local_addr=("::1", 0))
        address = server.get_extra_info("sockname")
        assert len(address) == 4
        transport.sendto(b"x", address)
        assert await client.got.get() == (b"x", address)
        transport.close()
        server.close()
        await client.lost

    serve(main)


def test_a_socket_and_a_plain_peer(serve):
    async def main():
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0))
        port = sock.getsockname()[1]
        transport, client = await shmring.create_datagram_endpoint(Client, sock=sock)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind((HERE, 0))
            peer.sendto(b"to both", (HERE, port))
            data, address = await client.got.get()
            assert (data, address[0]) == (b"to both", f"::ffff:{HERE}")
            transport.sendto(b"back", address)
            peer.settimeout(PATIENCE_S)
            assert peer.recv(100) == b"back"
        transport.abort()
        assert await client.lost is None
        assert sock.fileno() == -1

    serve(main)


def test_a_given_socket_takes_all_options(serve):
    """As mDNS needs it: aioice joins its group when it sends for the first time."""
    group = "239.255.77.1"

    async def main():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("", 0))
        port = sock.getsockname()[1]
        transport, client = await shmring.create_datagram_endpoint(Client, sock=sock)
        shown = transport.get_extra_info("socket")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            here = socket.inet_aton(HERE)
            peer.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
            for data, option in (
                (b"before", None),
                (b"member", socket.IP_ADD_MEMBERSHIP),
                (b"after", socket.IP_DROP_MEMBERSHIP),
            ):
                if option is not None:
                    shown.setsockopt(socket.IPPROTO_IP, option, socket.inet_aton(group) + here)
                peer.sendto(data, (group, port))
            peer.sendto(b"end", (HERE, port))
        assert [(await client.got.get())[0] for _ in range(2)] == [b"member", b"end"]
        shown.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 7)
        assert shown.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 7
        transport.abort()
        assert await client.lost is None

    serve(main)


def bound():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((HERE, 0))
    return sock


@pytest.mark.parametrize(
    "how",
    [{"reuse_address": True}, {"engine": shmring.Udp(socket=shmring.Socket(reuse=True))}],
    ids=["argument", "engine"],
)
def test_endpoints_share_a_port(serve, how):
    async def main():
        with bound() as other:
            transport, client = await shmring.create_datagram_endpoint(
                Client, local_addr=other.getsockname(), **how
            )
            assert transport.get_extra_info("sockname") == other.getsockname()
        transport.abort()
        await client.lost

    serve(main)


@pytest.mark.parametrize(("allow", "broadcast"), [(None, True), (True, True), (False, False)])
def test_an_argument_goes_before_the_engine(serve, allow, broadcast):
    async def main():
        engine = shmring.Udp(socket=shmring.Socket(broadcast=True))
        transport, client = await shmring.create_datagram_endpoint(
            Client, (HERE, 0), allow_broadcast=allow, engine=engine
        )
        channel = transport.get_extra_info("shmring_channel")
        assert channel._endpoint.mapped().config.broadcast == broadcast
        transport.abort()
        await client.lost

    serve(main)


def test_the_socket_that_is_shown_takes_wishes_for_buffers(serve):
    async def main():
        transport, client = await shmring.create_datagram_endpoint(Client, local_addr=(HERE, 0))
        shown = transport.get_extra_info("socket")
        shown.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # as aioice does
        assert shown.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) > 0
        assert shown.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) > 0
        with pytest.raises(OSError, match="sock=") as refused:
            shown.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 7)
        assert refused.value.errno == errno.ENOPROTOOPT
        transport.abort()
        await client.lost

    serve(main)


def test_packets_have_deadlines_and_verdicts(serve):
    async def main():
        transport, client = await shmring.create_datagram_endpoint(
            Client,
            local_addr=(HERE, 0),
            name="timed",
            engine=shmring.Udp(late="drop", tolerance_ns=5_000_000_000),
        )
        channel = transport.get_extra_info("shmring_channel")
        assert channel.name == "timed"
        due = channel.now_ns() + 20_000_000
        sequence = transport.sendto(b"x", channel.local, at=due)
        assert (await channel.aio.verdict(sequence)).sent_ns >= due
        assert (await client.got.get())[0] == b"x"
        gone = transport.sendto(b"x", channel.local, at=due - 10_000_000_000)
        assert (await channel.aio.verdict(gone)).verdict is shmring.Verdict.DROPPED_LATE
        transport.close()
        await client.lost

    serve(main)


def test_a_full_channel_pauses_the_protocol(serve):
    async def main():
        transport, client = await shmring.create_datagram_endpoint(
            Client,
            remote_addr=(HERE, 9),
            engine=shmring.Udp(tx=shmring.Queue(4, 100)),
        )
        channel = transport.get_extra_info("shmring_channel")
        transport.set_write_buffer_limits(high=1000)
        assert transport.get_write_buffer_limits() == (250, 1000)
        channel.hold()
        for _ in range(30):
            transport.sendto(bytes(100))
        assert transport.get_write_buffer_size() > 1000
        assert client.told == ["made", "pause"]
        channel.release()
        while client.told[-1] != "resume":
            await asyncio.sleep(0.001)
        transport.close()
        assert await client.lost is None
        assert transport.get_write_buffer_size() == 0
        assert client.told == ["made", "pause", "resume"]
        with pytest.raises(ValueError, match="low 5"):
            transport.set_write_buffer_limits(high=1, low=5)

    serve(main)


def test_a_protocol_that_sends_again_at_once_goes_on(serve):
    class Flood(Client):
        """Sends until it is told to pause, in a task that resume_writing wakes."""

        def __init__(self):
            super().__init__()
            self.may_send = asyncio.Event()
            self.may_send.set()

        def pause_writing(self):
            self.may_send.clear()

        def resume_writing(self):
            self.may_send.set()

    async def main():
        transport, client = await shmring.create_datagram_endpoint(
            Flood,
            remote_addr=(HERE, 9),
            engine=shmring.Udp(tx=shmring.Queue(4, 100)),
        )
        transport.set_write_buffer_limits(high=300)
        for _ in range(500):
            await client.may_send.wait()
            transport.sendto(bytes(100))
        transport.close()
        assert await client.lost is None

    serve(main)


@pytest.mark.check
def test_an_endpoint_without_room_ends(serve):
    async def main():
        for end in ("abort", "close"):
            transport, client = await shmring.create_datagram_endpoint(
                Client,
                remote_addr=(HERE, 9),
                engine=shmring.Udp(tx=shmring.Queue(4, 100)),
            )
            channel = transport.get_extra_info("shmring_channel")
            late = channel.now_ns() + 3600 * 10**9
            for _ in range(10):
                transport.sendto(bytes(100), at=late)
            assert transport.sendto(bytes(100), at=-1) is None  # kept, and not checked yet
            await asyncio.sleep(0.05)  # the task that sends waits for room
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", shmring.errors.UnsentWarning)
                getattr(transport, end)()
                assert await client.lost is None

    serve(main)


def test_closing_sends_what_was_kept_and_aborting_does_not(serve):
    async def main():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
            sink.bind((HERE, 0))
            sink.settimeout(0.2)
            for end, count in (("close", 30), ("abort", 0)):
                transport, client = await shmring.create_datagram_endpoint(
                    Client,
                    remote_addr=sink.getsockname(),
                    engine=shmring.Udp(tx=shmring.Queue(4, 100)),
                )
                channel = transport.get_extra_info("shmring_channel")
                channel.hold()
                for i in range(30):
                    transport.sendto(b"%d" % i)
                getattr(transport, end)()
                if end == "close":
                    channel.release()
                assert await client.lost is None
                got = []
                while True:
                    try:
                        got.append(sink.recv(100))
                    except TimeoutError:
                        break
                assert got == [b"%d" % i for i in range(count)]

    serve(main)


def test_an_abort_ends_a_close_that_lingers(serve):
    async def main():
        for pause_s in (0, 0.05):
            transport, client = await shmring.create_datagram_endpoint(
                Client,
                remote_addr=(HERE, 9),
                engine=shmring.Udp(tx=shmring.Queue(4, 100)),
            )
            channel = transport.get_extra_info("shmring_channel")
            for _ in range(10):
                transport.sendto(bytes(100), at=channel.now_ns() + 3600 * 10**9)
            transport._linger = PATIENCE_S  # a loaded machine may take the usual second
            transport.close()
            await asyncio.sleep(pause_s)
            began = time.monotonic()
            transport.abort()
            assert await client.lost is None
            assert time.monotonic() - began < PATIENCE_S / 2

    serve(main)


def test_errors_reach_the_protocol(serve):
    async def main():
        transport, client = await shmring.create_datagram_endpoint(Client, (HERE, 0))
        assert transport.sendto(bytes(65507 + 1), (HERE, 9)) is None
        assert (await client.failed).errno == errno.EMSGSIZE
        for all_hosts in ("255.255.255.255", "<broadcast>"):
            client.failed = asyncio.get_running_loop().create_future()
            transport.sendto(b"to all", (all_hosts, 9))  # without allow_broadcast
            assert isinstance(await client.failed, PermissionError)
        client.failed = asyncio.get_running_loop().create_future()
        assert transport.sendto(b"an answer to a forged source", (HERE, 0)) is None
        assert (await client.failed).errno == errno.EINVAL
        transport.abort()
        await client.lost

    serve(main)


def test_an_end_by_others_is_told(serve, shmring_pool):
    def by_the_pool(transport):
        shmring_pool.end("ends")

    def by_a_thread(transport):
        thread = threading.Thread(target=transport.get_extra_info("shmring_channel").close)
        thread.start()
        thread.join()

    async def main():
        for end in (by_a_thread, by_the_pool):
            transport, client = await shmring.create_datagram_endpoint(
                Client, local_addr=(HERE, 0), pool=shmring_pool, name="ends"
            )
            end(transport)
            assert isinstance(await client.lost, shmring.ChannelClosed)
            assert transport.is_closing()
            shmring_pool.end("ends")

    serve(main)


def test_an_endpoint_that_another_one_closes_hears_no_more(serve, eventually):
    """Also if the loop looks for packets of both, because it is awake."""

    class Closing(Client):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            for transport in both:
                transport.abort()

    both = []

    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(2):
            transport, _ = await shmring.create_datagram_endpoint(Closing, (HERE, 0))
            both.append(transport)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            for transport in both:
                other.sendto(b"x", transport.get_extra_info("sockname"))
        for transport in both:
            endpoint = transport.get_extra_info("shmring_channel")._endpoint
            eventually(lambda it=endpoint: it.rx_waiting)
            answers = Answers.of(loop, endpoint)
            answers._polled[transport] = endpoint
        answers._next.until_ns = time.monotonic_ns() + 10**12
        answers._stay(loop)
        answers._next.until_ns = 0
        clients = [transport.get_protocol() for transport in both]
        for client in clients:
            await client.lost
        assert sum(client.got.qsize() for client in clients) == 1

    serve(main)


def test_a_round_trip_leaves_the_loop_as_it_was(serve):
    async def main():
        loop = asyncio.get_running_loop()
        registered, scheduled = [], []
        add_reader, call_soon = loop.add_reader, loop.call_soon
        loop.add_reader = lambda *args: (registered.append(args), add_reader(*args))[1]
        loop.call_soon = lambda *args, **how: (scheduled.append(args), call_soon(*args, **how))[1]
        server, _ = await shmring.create_datagram_endpoint(EchoServer, local_addr=(HERE, 0))
        transport, client = await shmring.create_datagram_endpoint(
            Client, remote_addr=server.get_extra_info("sockname")
        )
        transport.sendto(b"x")
        await client.got.get()
        await asyncio.sleep(2 * WATCH_PAUSE_S)  # failures are looked for, at first
        registered.clear()
        began = loop.time()
        for _ in range(200):
            transport.sendto(b"x")
            await client.got.get()
        looks = (loop.time() - began) / WATCH_PAUSE_S  # for failures, of each endpoint
        assert len(registered) < 20 + 4 * looks
        await asyncio.sleep(2 * WATCH_PAUSE_S)
        scheduled.clear()
        await asyncio.sleep(0.1)  # nothing polls
        assert len(scheduled) < 10
        for end in (transport, server):
            end.close()
        await client.lost

    serve(main)


def test_a_protocol_that_raises_goes_on(serve):
    caught = []

    class Fragile(Client):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            raise KeyError(data)

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: caught.append(context))
        transport, client = await shmring.create_datagram_endpoint(Fragile, local_addr=(HERE, 0))
        for _ in range(2):
            transport.sendto(b"x", transport.get_extra_info("sockname"))
            await client.got.get()
        transport.close()
        await client.lost

    serve(main)
    assert [type(context["exception"]) for context in caught] == [KeyError, KeyError]


def test_what_cannot_be_is_refused(serve, shmring_namespace):
    async def main():
        make = shmring.create_datagram_endpoint
        with pytest.raises(ValueError, match="family is 0"):
            await make(Client)
        with pytest.raises(ValueError, match="sock is given"), socket.socket() as sock:
            await make(Client, local_addr=(HERE, 0), sock=sock)
        with pytest.raises(ValueError, match="UDP socket"), socket.socket() as sock:
            await make(Client, sock=sock)
        with pytest.raises(ValueError, match="no addresses of the same family"):
            await make(Client, local_addr=("::1", 0), remote_addr=(HERE, 9))
        with pytest.raises(shmring.errors.BadConfig, match="direction is 'rx', but"):
            await make(Client, (HERE, 0), engine=shmring.Udp(direction="rx"))
        existing = shmring.Udp(socket=shmring.Socket(existing=3))
        with pytest.raises(shmring.errors.BadConfig, match="give the socket as sock="):
            await make(Client, (HERE, 0), engine=existing)
        with pytest.raises(shmring.errors.BadConfig, match="no remote"):
            await make(Client, (HERE, 0), engine=shmring.Udp(socket=shmring.Socket(connect=True)))
        with pytest.raises(TypeError, match="capasity"):
            await make(Client, local_addr=(HERE, 0), capasity=1)
        with pytest.raises(KeyError):
            await make(lambda: {}["x"], (HERE, 0), name="made")
        assert "made" not in [info.name for info in shmring.channels(namespace=shmring_namespace)]

    serve(main)


def test_an_interface_that_has_gone_has_the_scope_zero():
    assert socket_address(("fe80::1%no-such-if", 9)) == ("fe80::1", 9, 0, 0)
    assert socket_address(("fe80::1%lo", 9)) == ("fe80::1", 9, 0, socket.if_nametoindex("lo"))


def test_a_callback_without_a_name_that_fails_is_reported(shmring_namespace):
    reported = []

    class Failing(asyncio.DatagramProtocol):
        connection_made = staticmethod(functools.partial(operator.truediv, 1))

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, what: reported.append(what))
        transport, _ = await shmring.create_datagram_endpoint(Failing, ("127.0.0.1", 0))
        transport.close()
        await asyncio.sleep(0.1)

    asyncio.run(main())
    assert "truediv" in reported[0]["message"]
    assert isinstance(reported[0]["exception"], TypeError)


@pytest.mark.parametrize("where", ["connection_made", "datagram_received", "error_received"])
@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_callback_may_end_the_endpoint(serve, where, end):
    async def main():
        def ending(self, *args):
            getattr(Client, where)(self, *args)
            getattr(self.transport, end)()
            self.transport.close()

        kind = type("Ending", (Client,), {where: ending})
        transport, client = await shmring.create_datagram_endpoint(kind, local_addr=(HERE, 0))
        here = transport.get_extra_info("sockname")
        for _ in range(20):
            transport.sendto(b"x", here)
        transport.sendto(bytes(65508), here)
        assert await client.lost is None
        assert client.got.qsize() <= (1 if where == "datagram_received" else 20)
        assert transport.sendto(b"x", here) is None

    serve(main)


def test_a_port_that_nobody_has_is_no_end(serve):
    async def main():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind((HERE, 0))
            address = peer.getsockname()
        transport, client = await shmring.create_datagram_endpoint(Client, remote_addr=address)
        for _ in range(20):
            transport.sendto(b"x")
            await asyncio.sleep(0.001)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(address)
            peer.sendto(b"back", transport.get_extra_info("sockname"))
            assert (await client.got.get())[0] == b"back"
        transport.close()
        assert await client.lost is None

    serve(main)
