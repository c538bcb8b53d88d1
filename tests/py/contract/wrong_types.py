"""What type checkers must refuse. Each line marked ``# E`` is an error for mypy and for pyright,
and no other line is. `test_types.py` has both read it. Nothing here is run.
"""

from __future__ import annotations

from asyncio import DatagramProtocol

import shmring
from shmring import tap, udt
from shmring.pytest_plugin import ChannelFactory, PlcFactory
from shmring.testing.netns import NetHost
from shmring.testing.plc import Siemens
from shmring.types import Late


def words(pool: shmring.Pool) -> None:
    pool.open("ctl", late="drop", reading="shared", clock="tai", reports="off")
    pool.open("ctl", late="dorp")  # E
    pool.open("ctl", direction="both")  # E
    pool.open("ctl", rx_stamp="software")  # E
    pool.open("ctl", profile="fast")  # E
    shmring.open("ctl", overflow="newest")  # E
    shmring.attach("ctl", reading="all")  # E
    shmring.Pool(policy="rr")  # E
    shmring.Pool(profile="spin")  # E
    shmring.Rtp(codec="opus")  # E
    shmring.Netflux(on_stale="hold")  # E
    udt.connect(("127.0.0.1", 9000), congestion="cubic")  # E
    tap.open("ctl", "ctl.pcapng", direction="duplex")  # E
    chosen: Late = "send"
    pool.open("ctl", late=chosen)


def fixtures(left: NetHost, pair: ChannelFactory, plc_sim: PlcFactory) -> None:
    left.open("ctl", late="drop").send(b"x")
    left.open("ctl", late="dorp")  # E
    left.open("ctl", engine=shmring.Cyclic(period_ns=10**6)).update(b"x")
    left.open("ctl").update(b"x")  # E
    pair("ctl", here={"held": True}, capacity=8)
    pair("ctl", here={"hold": True})  # E
    pair("ctl", capacities=8)  # E
    print(plc_sim(Siemens(confirm_scans=3), loss=0.1).partner.init_status)
    plc_sim(Siemens(confirm=3))  # E
    plc_sim(Siemens(), lost=0.1)  # E
    plc_sim("siemens")  # E


async def endpoints() -> None:
    await shmring.create_datagram_endpoint(DatagramProtocol, ("127.0.0.1", 0), late="drop")
    await shmring.create_datagram_endpoint(DatagramProtocol, ("127.0.0.1", 0), late="dorp")  # E


def names(pool: shmring.Pool) -> None:
    pool.open("ctl", lat="drop")  # E
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


def timeouts(ch: shmring.Channel, rtp: shmring.RtpChannel, sock: udt.UdtSocket) -> None:
    ch.recv(timeout=0.1)
    ch.end(linger=None)
    sock.recv(1024, timeout=0.1)
    ch.recv(1024)  # E
    ch.recv(timeout="1")  # E
    ch.flush(1)  # E
    rtp.recv(0.1)  # E
    rtp.send(b"x", marked=True)  # E
    sock.recv(1024, 0.1)  # E
    sock.send("text")  # E
