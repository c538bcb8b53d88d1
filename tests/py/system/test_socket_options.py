"""Options of a channel as they arrive at sockets that are not ours."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

import shmring

LOOPBACK = ("127.0.0.1", 0)
IP_RECVTTL = 12  # linux/in.h; the socket module has no name for it


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    """An ordinary socket on all addresses that also says how packets came."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        sock.settimeout(20)
        sock.bind(("0.0.0.0", 0))
        yield sock


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def test_class_of_service_and_hops(shmring_pool: shmring.Pool, peer: socket.socket) -> None:
    channel = shmring_pool.open(
        "ctl",
        shmring.Udp(socket=shmring.Socket(dscp=46, ttl=3)),
        remote=("127.0.0.1", port_of(peer)),
    )
    channel.send(b"marked")
    data, ancillary, _, _ = peer.recvmsg(100, 100)
    found = {kind: value[0] for _, kind, value in ancillary}
    assert data == b"marked"
    assert found == {socket.IP_TOS: 46 << 2, socket.IP_TTL: 3}


def test_class_of_service_is_received(shmring_pool: shmring.Pool) -> None:
    there = shmring_pool.open("there", shmring.Udp(direction="rx"), local=LOOPBACK)
    here = shmring_pool.open(
        "here",
        shmring.Udp(direction="tx", socket=shmring.Socket(dscp=10)),
        remote=there.local,
    )
    here.send(b"x")
    assert there.recv(timeout=20).tos == 10 << 2


def test_broadcast_needs_to_be_allowed(shmring_pool: shmring.Pool, peer: socket.socket) -> None:
    everybody = ("127.255.255.255", port_of(peer))
    shy = shmring_pool.open("shy", shmring.Udp(direction="tx"))
    sequence = shy.send(b"no", to=everybody)
    shy.flush(timeout=20)
    (report,) = shy.reports(timeout=0)
    assert (report.sequence, report.verdict, report.sent_ns) == (sequence, "failed", 0)
    shmring_pool.open(
        "loud", shmring.Udp(direction="tx", socket=shmring.Socket(broadcast=True))
    ).send(b"yes", to=everybody)
    assert peer.recv(100) == b"yes"


def test_multicast(shmring_pool: shmring.Pool) -> None:
    member = shmring_pool.open(
        "member",
        shmring.Udp(
            socket=shmring.Socket(multicast=shmring.Multicast(groups=[("239.255.7.7", "lo")]))
        ),
        local=("0.0.0.0", 0),
    )
    assert member.local is not None
    sender = shmring_pool.open(
        "sender",
        shmring.Udp(
            direction="tx",
            socket=shmring.Socket(multicast=shmring.Multicast(interface="lo", ttl=2)),
        ),
        remote=("239.255.7.7", member.local[1]),
    )
    sender.send(b"for all who joined")
    assert member.recv(timeout=20).data == b"for all who joined"


def test_connected_channels_hear_their_remote_only(
    shmring_pool: shmring.Pool, peer: socket.socket
) -> None:
    remote = ("127.0.0.1", port_of(peer))
    channel = shmring_pool.open(
        "ctl",
        shmring.Udp(socket=shmring.Socket(connect=True)),
        local=LOOPBACK,
        remote=remote,
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"from elsewhere", channel.local)
    peer.sendto(b"from the remote", channel.local)
    assert channel.recv(timeout=20).data == b"from the remote"


def test_what_the_kernel_really_gave(shmring_pool: shmring.Pool) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
        (given,) = struct.unpack("i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4))
    stats = shmring_pool.open(
        "ctl",
        shmring.Udp(socket=shmring.Socket(rcvbuf_bytes=100_000, device="lo", priority=5)),
        local=LOOPBACK,
    ).stats()
    assert stats.rcvbuf_bytes in (given, given // 2)
    assert stats.sndbuf_bytes > 0
    assert stats.interface == "lo"
    assert stats.txtime or stats.txtime_reason
