"""What type checkers must refuse. Each line marked ``# E`` is an error for mypy and for pyright,
and no other line is. `test_types.py` has both read it. Nothing here is run.
"""

from __future__ import annotations

from asyncio import DatagramProtocol

import shmring
from shmring import udt
from shmring.net import tap
from shmring.pytest_plugin import ChannelFactory, PlcFactory
from shmring.testing.netns import NetHost
from shmring.testing.plc import Siemens
from shmring.types import Late


def words(pool: shmring.Pool) -> None:
    pool.open("ctl", shmring.Udp(late="drop", reading="shared", clock="tai", reports="off"))
    pool.open("ctl", shmring.Udp(late="dorp"))  # E
    pool.open("ctl", shmring.Udp(direction="both"))  # E
    pool.open("ctl", shmring.Udp(socket=shmring.Socket(rx_stamp="software")))  # E
    pool.open("ctl", profile="fast")  # E
    shmring.open("ctl", shmring.Udp(overflow="newest"))  # E
    shmring.attach("ctl", reading="all")  # E
    shmring.Pool(policy="rr")  # E
    shmring.Pool(profile="spin")  # E
    shmring.Rtp(codec="opus")  # E
    shmring.Rtp(playout=shmring.rtp.Playout(delivery="now"))  # E
    shmring.Netflux(on_stale="hold")  # E
    udt.connect(("127.0.0.1", 9000), congestion="cubic")  # E
    tap.open("ctl", "ctl.pcapng", direction="duplex")  # E
    chosen: Late = "send"
    pool.open("ctl", shmring.Udp(late=chosen))


def fixtures(left: NetHost, pair: ChannelFactory, plc_sim: PlcFactory) -> None:
    left.open("ctl", shmring.Udp(late="drop")).send(b"x")
    left.open("ctl", shmring.Udp(late="dorp"))  # E
    left.open("ctl", shmring.Cyclic(period_ns=10**6)).update(b"x")
    left.open("ctl").update(b"x")  # E
    pair("ctl", shmring.Udp(tx=8), here={"held": True}, there={"engine": shmring.Udp(rx=8)})
    pair("ctl", here={"hold": True})  # E
    pair("ctl", capacity=8)  # E
    print(plc_sim(Siemens(confirm_scans=3), loss=0.1).partner.init_status)
    plc_sim(Siemens(confirm=3))  # E
    plc_sim(Siemens(), lost=0.1)  # E
    plc_sim("siemens")  # E


async def endpoints() -> None:
    here = ("127.0.0.1", 0)
    late = shmring.Udp(late="drop")
    await shmring.create_datagram_endpoint(DatagramProtocol, here, engine=late)
    await shmring.create_datagram_endpoint(DatagramProtocol, here, engine=shmring.Rtp())  # E
    await shmring.create_datagram_endpoint(DatagramProtocol, here, late="drop")  # E


def engines(pool: shmring.Pool) -> None:
    """What an engine does not obey is not one of its fields."""
    pool.open("ctl", late="drop")  # E
    pool.open("ctl", capacity=8)  # E
    pool.open("ctl", readers=8)  # E
    shmring.Udp(lat="drop")  # E
    shmring.Udp(capacity=8)  # E
    shmring.Udp(8)  # E
    shmring.Udp(tx="8")  # E
    shmring.Udp(socket={"dscp": 46})  # E
    shmring.Local(socket=shmring.Socket())  # E
    shmring.Local(direction="tx")  # E
    shmring.Local(align="wire")  # E
    shmring.Cyclic(period_ns=10**6, late="drop")  # E
    shmring.Cyclic(period_ns=10**6, catch_up=2.0)  # E
    shmring.Cyclic(period_ns=10**6, clock="tai")  # E
    shmring.Cyclic(period_ns=10**6, tx=8)  # E
    shmring.Cyclic(period_ns=10**6, direction="rx")  # E
    shmring.Netflux(send=8, tx=8)  # E
    shmring.Netflux(send=8, rx=shmring.Queue(8, 64))  # E
    shmring.Netflux(send=8, max_payload=64)  # E
    shmring.Netflux(send=8, overflow="wait")  # E
    shmring.Netflux(send=8, late="drop")  # E
    shmring.Netflux(send=8, catch_up=2.0)  # E
    shmring.Netflux(send=8, align="wire")  # E
    shmring.Netflux(send=8, clock="tai")  # E
    shmring.Netflux(send=8, reports="off")  # E
    shmring.Proxy(to=("127.0.0.1", 9))  # E
    shmring.Proxy(forward=shmring.Impairment())  # E
    shmring.Proxy(tx=8)  # E
    shmring.Proxy(max_payload=64)  # E
    shmring.Proxy(reading="shared")  # E
    shmring.Proxy(overflow="wait")  # E
    shmring.Proxy(late="drop")  # E
    shmring.Proxy(align="wire")  # E
    shmring.Proxy(clock="tai")  # E
    shmring.Proxy(reports="off")  # E
    shmring.Proxy(tolerance_ns=5)  # E
    shmring.Proxy(catch_up=2.0)  # E
    shmring.Proxy(direction="tx")  # E
    shmring.Rtp(overflow="wait")  # E
    shmring.Rtp(nack=True)  # E
    shmring.Rtp(rtcp="mux")  # E
    shmring.Udp().late = "drop"  # E


def names(pool: shmring.Pool) -> None:
    pool.open("ctl", helt=True)  # E
    shmring.attach("ctl", mode="r")  # E
    shmring.opne("ctl")  # E
    udt.listen(("127.0.0.1", 0), mms=1500)  # E


def payloads(ch: shmring.Channel) -> None:
    ch.send(b"x")
    ch.send(bytearray(1), at=ch.now_ns())
    ch.send_many([b"a", memoryview(b"b")])
    ch.send_many(b"ab", size=1)
    ch.send("text")  # E
    ch.try_send(7)  # E
    ch.send_many(["text"])  # E
    ch.send_many("text")  # E
    ch.send(b"x", at=0.5)  # E
    ch.send(b"x", to="127.0.0.1")  # E
    ch.send(b"x", None, ("127.0.0.1", 9))  # E
    ch.recv_into("text")  # E


async def tasks(
    ch: shmring.Channel, rtp: shmring.rtp.Channel, sock: udt.UdtSocket, pool: shmring.Pool
) -> None:
    """The calls for tasks have the signatures of those that block."""
    packet = await ch.aio.recv(timeout=0.1)
    print(packet.data, (await ch.aio.recv_many(8, out=bytearray(9))).lengths)
    await ch.aio.send_many([b"a"], at=ch.now_ns(), interval_ns=5, timeout=1)
    await rtp.aio.send(b"x", marker=True, timeout=1)
    (await pool.aio.open("ctl", shmring.Rtp())).sdp()
    await ch.aio.send("text")  # E
    await ch.aio.send(b"x", at=0.5)  # E
    await ch.aio.send_many([b"a"], every_ns=5)  # E
    await ch.aio.recv(1024)  # E
    await ch.aio.flush(1)  # E
    await rtp.aio.send(b"x", marked=True)  # E
    await rtp.aio.recv_into(bytearray(9))  # E
    await sock.aio.recv(1024, 0.1)  # E
    await pool.aio.open("ctl", helt=True)  # E
    (await pool.aio.open("ctl")).sdp()  # E
    await ch.recv_async()  # E


def timeouts(ch: shmring.Channel, rtp: shmring.rtp.Channel, sock: udt.UdtSocket) -> None:
    ch.recv(timeout=0.1)
    ch.close(linger=None)
    sock.recv(1024, timeout=0.1)
    ch.recv(1024)  # E
    ch.recv(timeout="1")  # E
    ch.flush(1)  # E
    rtp.recv(0.1)  # E
    rtp.send(b"x", marked=True)  # E
    sock.recv(1024, 0.1)  # E
    sock.send("text")  # E
