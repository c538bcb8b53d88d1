"""Replies of a socket that is bound to all addresses leave from the address that was asked."""

from __future__ import annotations

import asyncio
import errno
import os
import pickle
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import shmring
from rtpsynth.RtpServer import RtpServer
from shmring import netflux, observe, rtp, udt
from shmring.net import probes, tap, traffic
from shmring.types import Verdict

SECOND = 1_000_000_000
ASKED = "127.0.0.2"
TIMEOUT = 20.0

Client = Callable[..., socket.socket]


@pytest.fixture
def client() -> Iterator[Client]:
    """Open sockets of other programs."""
    opened: list[socket.socket] = []

    def open_one(host: str = "127.0.0.1") -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM)
        made.settimeout(TIMEOUT)
        made.bind((host, 0))
        opened.append(made)
        return made

    yield open_one
    for each in opened:
        each.close()


def port_of(channel: Any) -> int:
    local = channel.local
    assert local is not None
    return int(local[1])


WILDCARDS = [
    # bound to, asked, as the channel names it
    ("0.0.0.0", "127.0.0.2", "127.0.0.2"),
    ("0.0.0.0", "127.0.0.1", "127.0.0.1"),
    ("::", "::1", "::1"),
    ("::", "127.0.0.2", "::ffff:127.0.0.2"),
]


@pytest.mark.parametrize(("bound", "asked", "seen"), WILDCARDS)
def test_a_reply_leaves_from_the_address_that_was_asked(
    shmring_pool: shmring.Pool, client: Client, bound: str, asked: str, seen: str
) -> None:
    channel = shmring_pool.open("ctl", local=(bound, 0))
    port = port_of(channel)
    asker = client("::1" if ":" in asked else "127.0.0.1")
    asker.sendto(b"a question", (asked, port))
    packet = channel.recv(timeout=TIMEOUT)
    assert packet.local == (seen, port)
    assert pickle.loads(pickle.dumps(packet)) == packet
    assert pickle.loads(pickle.dumps(packet)).local == packet.local
    for send in (channel.send, channel.try_send):
        send(b"a reply", to=packet.source, source=packet.local)
        assert asker.recvfrom(100)[1][:2] == (asked, port)
    channel.send_many([b"two", b"more"], to=packet.source, source=packet.local)
    assert [asker.recvfrom(100)[1][:2] for _ in range(2)] == [(asked, port)] * 2


def test_a_channel_with_one_address_names_none(shmring_pool: shmring.Pool, client: Client) -> None:
    channel = shmring_pool.open("ctl", local=("127.0.0.2", 0))
    asker = client()
    home = channel.local
    assert home is not None
    asker.sendto(b"a question", home)
    packet = channel.recv(timeout=TIMEOUT)
    assert packet.local is None
    channel.send(b"a reply", to=packet.source, source=packet.local)
    assert asker.recvfrom(100)[1] == home
    asker.sendto(b"another", home)
    (record,) = channel.recv_many(timeout=TIMEOUT).array
    assert (record["local_family"], record["local_port"], record["local_scope"]) == (0, 0, 0)
    assert not any(record["local_ip"])


def test_batches_have_the_addresses(shmring_pool: shmring.Pool, client: Client) -> None:
    channel = shmring_pool.open("ctl", local=("0.0.0.0", 0))
    port = port_of(channel)
    asker = client()
    asked = ["127.0.0.2", "127.0.0.1", "127.0.0.3", "127.0.0.2"]
    for host in asked:
        asker.sendto(host.encode(), (host, port))
    locals_: list[Any] = []
    sources: list[Any] = []
    while len(locals_) < 2:
        with channel.loan_many(2 - len(locals_), timeout=TIMEOUT) as loan:
            locals_ += loan.locals
            sources += loan.sources
    while len(locals_) < 4:
        batch = channel.recv_many(timeout=TIMEOUT)
        locals_ += batch.locals
        sources += batch.sources
    assert locals_ == [(host, port) for host in asked]
    channel.send_many(
        b"".join(bytes([i]) for i in range(4)),
        size=1,
        to=shmring.batch.pack_addresses(sources),
        source=shmring.batch.pack_addresses([*locals_[:3], None]),
    )
    replies = dict(asker.recvfrom(10) for _ in range(4))
    assert [replies[bytes([i])][0] for i in range(4)] == [*asked[:3], "127.0.0.1"]


def test_packets_that_wait_keep_their_source(shmring_pool: shmring.Pool, client: Client) -> None:
    channel = shmring_pool.open("ctl", local=("0.0.0.0", 0))
    asker = client()
    to = asker.getsockname()
    later = channel.now_ns() + 3600 * SECOND
    old = channel.send(b"old", later, to=to)
    new = channel.replace(old, b"new", later, to=to, source=(ASKED, 0))
    channel.replace(new, b"newest", channel.now_ns(), to=to, source=(ASKED, 0))
    assert asker.recvfrom(100) == (b"newest", (ASKED, port_of(channel)))


def test_a_successor_sends_from_the_source(
    shmring_pool: shmring.Pool, client: Client, eventually: Any
) -> None:
    channel = shmring_pool.open("ctl", local=("0.0.0.0", 0))
    asker = client()
    port = port_of(channel)
    asker.sendto(b"before", (ASKED, port))
    eventually(lambda: channel.stats().rx_received == 1)
    channel.send(b"a reply", channel.now_ns() + SECOND, to=asker.getsockname(), source=(ASKED, 0))
    pid = channel.stats().worker_pid
    os.kill(pid, signal.SIGKILL)
    asker.sendto(b"after", ("127.0.0.3", port))
    assert channel.recv(timeout=TIMEOUT).local == (ASKED, port)
    assert channel.recv(timeout=TIMEOUT).local == ("127.0.0.3", port)
    assert asker.recvfrom(100) == (b"a reply", (ASKED, port))


def test_an_impaired_path_keeps_the_addresses(shmring_pool: shmring.Pool, client: Client) -> None:
    path = shmring.Impairment(delay_ns=1_000_000)
    channel = shmring_pool.open("ctl", local=("0.0.0.0", 0), impair=path, impair_rx=path)
    asker = client()
    asker.sendto(b"a question", (ASKED, port_of(channel)))
    packet = channel.recv(timeout=TIMEOUT)
    assert packet.local == (ASKED, port_of(channel))
    channel.send(b"a reply", to=packet.source, source=packet.local)
    assert asker.recvfrom(100) == (b"a reply", packet.local)


def test_a_tap_shows_the_addresses(
    shmring_pool: shmring.Pool, client: Client, tmp_path: Path, eventually: Any
) -> None:
    channel = shmring_pool.open("ctl", local=("0.0.0.0", 0))
    asker = client()
    path = tmp_path / "ctl.pcapng"
    with tap.open("ctl", path) as running:
        asker.sendto(b"a question", (ASKED, port_of(channel)))
        packet = channel.recv(timeout=TIMEOUT)
        channel.send(b"a reply", to=packet.source, source=packet.local)
        asker.recvfrom(100)
        eventually(lambda: running.stats().written >= 2)
    captured = path.read_bytes()
    asked, here = socket.inet_aton(ASKED), socket.inet_aton("127.0.0.1")
    assert here + asked in captured  # source and destination of the question
    assert asked + here in captured


# --- what cannot be a source ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (("::1", 0), 'source is of family IPv6, but channel "ctl" is IPv4'),
        (("0.0.0.0", 0), "wildcard, multicast or broadcast"),
        (("224.0.0.1", 0), "wildcard, multicast or broadcast"),
        (("127.0.0.1", 1), "source has port 1"),
        (("localhost", 0), "source: 'localhost' is not a numeric address"),
    ],
)
def test_a_wrong_source_is_refused(
    shmring_pool: shmring.Pool, source: tuple[str, int], text: str
) -> None:
    channel = shmring_pool.open("ctl", local=("0.0.0.0", 0))
    with pytest.raises(shmring.errors.BadAddress, match=text):
        channel.send(b"x", to=("127.0.0.1", 9), source=source)
    assert channel.stats().tx_failed == 0


def test_a_wrong_source_in_a_batch_is_refused(shmring_pool: shmring.Pool) -> None:
    channel = shmring_pool.open("ctl", local=("0.0.0.0", 0), remote=("127.0.0.1", 9))
    sources = shmring.batch.pack_addresses([None, ("::1", 0)])
    with pytest.raises(ValueError, match=r"source is of family IPv6.*packet 1; 1 were queued"):
        channel.send_many(b"xy", size=1, source=sources)


def test_a_channel_without_addresses_has_no_source(shmring_pool: shmring.Pool) -> None:
    channel = shmring_pool.open("ctl", shmring.Local())
    with pytest.raises(shmring.errors.BadAddress, match="leave out source"):
        channel.send(b"x", source=("127.0.0.1", 0))


@pytest.mark.parametrize(
    ("bound", "to", "source"),
    [
        ("0.0.0.0", "127.0.0.1", "203.0.113.7"),
        ("::", "::1", "2001:db8::7"),
        ("::", "::ffff:127.0.0.1", "::ffff:203.0.113.7"),
    ],
)
def test_a_source_of_another_host_fails(
    shmring_pool: shmring.Pool, bound: str, to: str, source: str
) -> None:
    channel = shmring_pool.open("ctl", local=(bound, 0))
    sequence = channel.send(b"x", to=(to, 9), source=(source, 0))
    report = channel.verdict(sequence)
    assert report is not None
    assert (report.verdict, report.error) == (Verdict.FAILED, errno.EADDRNOTAVAIL)
    assert report.error_text == "the source is not an address of the worker's host"
    assert channel.stats().tx_failed == 1


def test_the_log_names_a_source_of_another_host(shmring_pool: shmring.Pool) -> None:
    channel = shmring_pool.open("ctl", local=("0.0.0.0", 0))
    channel.verdict(channel.send(b"x", to=("127.0.0.1", 9), source=("203.0.113.7", 0)))
    details = [error.detail for error in observe.errors(shmring_pool.name)]
    told = f'source 203.0.113.7:{port_of(channel)} is not an address of this host: see "ip address"'
    assert told in details


# --- engines and drop-ins ---------------------------------------------------------------------


def test_a_datagram_endpoint_replies_from_the_address_that_was_asked(client: Client) -> None:
    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.sendto(data, addr)

    async def run(host: str, asked: str) -> None:
        transport, _ = await shmring.create_datagram_endpoint(Echo, local_addr=(host, 0))
        port = transport.get_extra_info("sockname")[1]
        asker = client("::1" if ":" in asked else "127.0.0.1")
        for _ in range(2):
            asker.sendto(b"a question", (asked, port))
            came = await asyncio.to_thread(asker.recvfrom, 100)
            assert (came[0], came[1][:2]) == (b"a question", (asked, port))
        own = "127.0.0.3" if host == "0.0.0.0" else asked
        transport.sendto(b"x", asker.getsockname()[:2], source=(own, 0))
        came = await asyncio.to_thread(asker.recvfrom, 100)
        assert came[1][0] == own
        transport.close()

    asyncio.run(run("0.0.0.0", ASKED))
    asyncio.run(run("::", "::1"))


def test_a_reflector_replies_from_the_address_that_was_asked(shmring_pool: shmring.Pool) -> None:
    with probes.Reflector(("0.0.0.0", 0), pool=shmring_pool) as reflector:
        thread = threading.Thread(target=reflector.serve, daemon=True)
        thread.start()
        flow = traffic.Flow(pps=1000, count=50)
        asked = (ASKED, reflector.local[1])
        report = probes.measure(asked, flow, late_ns=SECOND, pool=shmring_pool)
        reflector.stop()
        thread.join(TIMEOUT)
    assert report.received == 50


def test_a_connection_of_udt_has_the_address_that_was_asked(shmring_namespace: str) -> None:
    with (
        udt.listen(("0.0.0.0", 0)) as listener,
        udt.connect((ASKED, listener.local[1]), timeout=TIMEOUT) as there,
        listener.accept(timeout=TIMEOUT)[0] as here,
    ):
        there.sendall(b"a question")
        assert here.recv(100, timeout=TIMEOUT) == b"a question"
        here.sendall(b"a reply")
        assert there.recv(100, timeout=TIMEOUT) == b"a reply"


def from_asked(asker: socket.socket, port: int) -> bytes:
    """Return what comes from the address that was asked. Before the question, others may come."""
    for _ in range(100_000):
        data, source = asker.recvfrom(1000)
        if source == (ASKED, port):
            return data
    raise AssertionError("nothing comes from the address that was asked")


def test_a_link_of_netflux_sends_from_where_its_partner_sends_to(
    shmring_pool: shmring.Pool, client: Client, eventually: Any
) -> None:
    asker = client()
    engine = shmring.Netflux(send=4, receive=4, cycle_ns=2_000_000, watchdog_ns=0)
    link = shmring_pool.open("plc", engine, local=("0.0.0.0", 0), remote=asker.getsockname())
    link.update(b"here")
    asker.sendto(b"\1\0back", (ASKED, port_of(link)))
    came = next(item for item in iter(link.recv, None) if isinstance(item, netflux.Values))
    assert came.local == (ASKED, port_of(link))
    assert from_asked(asker, port_of(link))[2:] == b"here"
    os.kill(link.stats().worker_pid, signal.SIGKILL)
    epoch = eventually(lambda: link.stats().epoch > 1)
    assert epoch
    while True:  # what the dead worker sent
        asker.settimeout(0)
        try:
            asker.recv(1000)
        except BlockingIOError:
            break
    asker.settimeout(TIMEOUT)
    assert asker.recvfrom(1000)[1] == (ASKED, port_of(link))


def test_a_server_of_rtpsynth_replies_from_the_address_that_was_asked(
    shmring_namespace: str, client: Client, eventually: Any
) -> None:
    came: list[Any] = []
    server = RtpServer()
    try:
        channel = server.create_channel(
            pkt_in=lambda data, address, _: came.append((data, address)), bind_host="0.0.0.0"
        )
        port = channel.local_addr[1]
        asker = client()
        asker.sendto(b"a question", (ASKED, port))
        eventually(lambda: came)
        channel.set_target(*came[0][1])
        channel.send_pkt(b"a reply")
        assert asker.recvfrom(100) == (b"a reply", (ASKED, port))
    finally:
        server.shutdown()


def stream(asker: socket.socket, to: tuple[str, int], first: int = 0) -> None:
    for number in range(first, first + 10):
        header = struct.pack(">BBHII", 0x80, 0, number, 160 * number, 0x5EED)
        asker.sendto(header + bytes(160), to)


def test_media_of_rtp_leave_from_where_the_remote_sends_to(
    shmring_pool: shmring.Pool, client: Client
) -> None:
    asker, stranger = client(), client("127.0.0.9")
    engine = shmring.Rtp(playout=rtp.Playout(delivery="as_arrived"))
    channel = shmring_pool.open("rtp", engine, local=("0.0.0.0", 0), remote=asker.getsockname())
    port = port_of(channel)
    for first, other, asked, source in (
        (0, stranger, "127.0.0.3", "127.0.0.1"),
        (10, asker, ASKED, ASKED),
    ):
        stream(other, (asked, port), first)
        items = iter(lambda: channel.recv(timeout=TIMEOUT), None)
        assert any(isinstance(one, rtp.Frame) and one.local == (asked, port) for one in items)
        channel.send(bytes(160))
        assert asker.recvfrom(1000)[1] == (source, port)


def test_reports_of_rtcp_leave_from_the_address_that_was_asked(
    shmring_pool: shmring.Pool, client: Client
) -> None:
    asker = client()
    engine = shmring.Rtp(rtcp=shmring.rtp.Rtcp(interval_ns=50_000_000, bandwidth_bps=1e6))
    channel = shmring_pool.open("rtp", engine, local=("0.0.0.0", 0))
    stream(asker, (ASKED, port_of(channel)))
    report = from_asked(asker, port_of(channel))
    assert report[1] == 201  # of a receiver
