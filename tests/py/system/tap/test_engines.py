"""Every engine shows its real datagrams; Wireshark knows the protocols."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from kit.wire import udp

import shmring
from shmring import udt
from shmring.net import tap
from shmring.rtp import Rtcp

HERE = "127.0.0.1"
WAIT_S = 20.0
RTCP = Rtcp(port="next_port", interval_ns=50_000_000, bandwidth_bps=1e6)


def named(namespace: str, engine: str) -> list[str]:
    return [info.name for info in shmring.channels(namespace) if info.engine == engine]


@pytest.mark.check
def test_rtp_and_rtcp(
    shmring_pool: shmring.Pool, eventually: Any, tmp_path: Path, decoded: Any
) -> None:
    there = shmring_pool.open(
        "there",
        shmring.Rtp(playout=shmring.rtp.Playout(delivery="as_arrived"), rtcp=RTCP),
        local=(HERE, 0),
    )
    here = shmring_pool.open(
        "here",
        shmring.Rtp(ptime_ns=5_000_000, rtcp=RTCP),
        local=(HERE, 0),
        remote=there.local,
    )
    out, arrived = tmp_path / "here.pcapng", tmp_path / "there.pcapng"
    with tap.open("here", out) as t, tap.open("there", arrived) as r:
        here.send_many([b"%3d" % number * 10 for number in range(20)], timeout=WAIT_S)
        here.flush(timeout=WAIT_S)
        # Both taps also count RTCP, so the number written does not tell that the last frame came.
        eventually(lambda: there.stats().engine.received >= 20)
        for tapped in (t, r):
            eventually(lambda tapped=tapped: tapped.stats().written >= 21)
    port = there.local[1]
    for path, way in ((out, "here tx"), (arrived, "there rx")):
        rows = decoded(path, port, "rtp", "frame.interface_name", "rtp.seq", "rtp.ssrc")
        media = [row for row in rows if row[0] == way and row[1]]
        numbers = [int(row[1]) for row in media]
        assert len(media) == 20
        assert numbers == [(numbers[0] + i) % 65536 for i in range(20)]
        control = decoded(path, port + 1, "rtcp", "rtcp.pt", "frame.interface_name")
        assert any(row[0].startswith(("200", "201")) for row in control)


@pytest.mark.check
def test_netflux(shmring_pool: shmring.Pool, eventually: Any, tmp_path: Path, tshark: Any) -> None:
    with udp() as partner:
        link = shmring_pool.open(
            "plc",
            shmring.Netflux(cycle_ns=5_000_000, send=8, receive=4),
            local=(HERE, 0),
            remote=partner.getsockname(),
        )
        path = tmp_path / "plc.pcapng"
        with tap.open("plc", path) as t:
            link.update(b"setpoint")
            partner.sendto(bytes((7, 0)) + b"actu", link.local)
            eventually(lambda: t.stats().written >= 5)
    seen = tshark(path)
    sent = [packet.payload for packet in seen if packet.direction == 2]
    assert {body[2:] for body in sent} == {b"setpoint"}
    numbers = [body[0] for body in sent]
    assert numbers == [(numbers[0] + i) % 256 for i in range(len(numbers))]
    assert [packet.payload[2:] for packet in seen if packet.direction == 1] == [b"actu"]


@pytest.mark.check
def test_udt_by_connection_and_by_port(
    shmring_namespace: str, eventually: Any, tmp_path: Path, decoded: Any
) -> None:
    with udt.listen((HERE, 0)) as listener:
        client = udt.connect(listener.local)
        server, _ = listener.accept(timeout=WAIT_S)
        ports, connections = named(shmring_namespace, "udt-port"), named(shmring_namespace, "udt")
        names = [*ports, *connections]
        assert (len(ports), len(connections)) == (2, 2)
        paths = {name: tmp_path / f"{name}.pcapng" for name in names}
        taps = [tap.open(name, path) for name, path in paths.items()]
        client.sendall(b"some bytes " * 2000)
        got = b""
        while len(got) < 22000:
            got += server.recv(timeout=WAIT_S)
        for t in taps:
            eventually(lambda t=t: t.stats().written > 20)
        time.sleep(0.1)
        for t in taps:
            t.close()
        client.close()
        server.close()
        for name in names:
            rows = decoded(
                paths[name], listener.local[1], "udt",
                "frame.packet_flags_direction", "udt.seqno", "udt.iscontrol",
            )  # fmt: skip
            data = [row for row in rows if row[1]]
            assert len({row[0] for row in data}) == 1  # who sends, sends; the other receives
            assert len({row[1] for row in data}) >= 22000 // 1456
            assert {row[0] for row in rows if not row[1]}


def test_many_ports_of_one_channel(
    shmring_namespace: str, eventually: Any, tmp_path: Path, tshark: Any
) -> None:
    rtpsynth = pytest.importorskip("rtpsynth.RtpServer")
    got: list[bytes] = []
    server = rtpsynth.RtpServer()
    with udp() as peer:
        channels = [
            server.create_channel(
                lambda pkt, address, rtime: got.append(pkt), bind_host=HERE, bind_port=0
            )
            for _ in range(2)
        ]
        (name,) = named(shmring_namespace, "mux")
        path = tmp_path / "mux.pcapng"
        with tap.open(name, path) as t:
            for number, channel in enumerate(channels):
                channel.set_target(*peer.getsockname())
                channel.send_pkt(b"out %d" % number)
                peer.sendto(b"back %d" % number, channel.local_addr)
            eventually(lambda: t.stats().written >= 4)
        ports = [channel.local_addr[1] for channel in channels]
        server.shutdown()
    seen = tshark(path)
    assert {packet.payload for packet in seen} == {b"out 0", b"out 1", b"back 0", b"back 1"}
    for packet in seen:
        mine = packet.source[1] if packet.direction == 2 else packet.target[1]
        assert mine == ports[int(packet.payload[-1:])]
        assert "seq" in packet.facts
