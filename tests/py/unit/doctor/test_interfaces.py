"""Interfaces: what the kernel answers, as bytes, and what is said about it."""

import dataclasses
import socket
import struct

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from rtworkers.examine import Feature
from shmring_doctor import ethtool, interfaces, netlink
from shmring_doctor.container import Surroundings
from shmring_doctor.ethtool import Coalescing, PhcReading, Stamps
from shmring_doctor.finding import Status
from shmring_doctor.netlink import Link, Qdisc

ROOT = 0xFFFFFFFF
STAMPS = Stamps(True, True, True, True, True, 0)
KERNEL_STAMPS = Stamps(False, False, False, True, True, None)
CARD = interfaces.Interface(
    Link(2, "eth0", up=True, loopback=False, mtu=1500),
    driver="igc",
    stamps=STAMPS,
    phc=PhcReading(offset_ns=37_000_000_123, width_ns=900),
    coalescing=Coalescing(rx_us=3, tx_us=3, adaptive_rx=False),
    root=(Qdisc(2, 0x10000, ROOT, "fq", horizon_us=10_000_000),),
    queues=(Qdisc(2, 0x10000, ROOT, "fq", horizon_us=10_000_000),),
)


def received(kind, body):
    """The message as pyroute2 decodes it from the kernel's bytes."""
    netlink.know_launchers()
    message = kind(struct.pack("=IHHII", 16 + len(body), 0, 0, 0, 0) + body)
    message.decode()
    return message


def attribute(kind, data):
    raw = struct.pack("=HH", 4 + len(data), kind) + data
    return raw + bytes(-len(raw) % 4)


def qdisc_message(ifindex, handle, parent, kind, options=b""):
    head = struct.pack("=BxxxiIII", 0, ifindex, handle, parent, 0)
    return head + attribute(1, kind.encode() + b"\0") + attribute(2, options)


def test_an_interface_as_the_kernel_tells():
    head = struct.pack("=BxHiII", 0, 1, 7, 0x1, 0)
    kind = attribute(1, b"veth\0")
    message = head + attribute(3, b"ctl0\0") + attribute(4, struct.pack("=I", 1400))
    message += attribute(5, struct.pack("=I", 9)) + attribute(18, kind) + attribute(10, b"\2\0\0\0")
    assert netlink.link_of(received(ifinfmsg, message)) == Link(
        7, "ctl0", True, False, 1400, "veth", 9, True
    )


def test_etf_as_the_kernel_tells():
    parameters = attribute(1, struct.pack("=iiI", 300_000, 11, 0x2))
    qdisc = netlink.qdisc_of(
        received(tcmsg, qdisc_message(2, 0x80010000, 0x10001, "etf", parameters))
    )
    assert (qdisc.kind, qdisc.clock, qdisc.delta_ns, qdisc.offload) == ("etf", "tai", 300_000, True)


def test_fq_as_the_kernel_tells():
    horizon = attribute(1, struct.pack("=I", 10_000)) + attribute(14, struct.pack("=I", 2_000_000))
    qdisc = netlink.qdisc_of(received(tcmsg, qdisc_message(2, 0x10000, ROOT, "fq", horizon)))
    assert (qdisc.kind, qdisc.horizon_us) == ("fq", 2_000_000)


def test_a_broken_answer_is_read_as_far_as_it_goes():
    short = qdisc_message(2, 0, ROOT, "etf", attribute(1, b"\0\0"))
    assert netlink.qdisc_of(received(tcmsg, short)).clock is None


def test_what_packets_meet_below_a_root_that_spreads():
    root = Qdisc(2, 0x80010000, ROOT, "taprio")
    one, two = Qdisc(2, 0x80020000, 0x80010001, "etf"), Qdisc(2, 0x80030000, 0x80010002, "etf")
    other = Qdisc(3, 0, ROOT, "fq")
    assert netlink.effective([root, one, two, other], 2) == ([root], [one, two])
    assert netlink.effective([root, other], 2) == ([root], [root])
    assert netlink.effective([other], 2) == ([], [])
    # fq_codel has no queues below it that others could replace.
    plain = Qdisc(2, 0x10000, ROOT, "fq_codel")
    assert netlink.effective([plain, Qdisc(2, 0, 0x10001, "x")], 2) == ([plain], [plain])


def test_stamps_as_the_driver_tells():
    answer = struct.pack("=IIiI12xI12x", 0x41, 0x5F, 3, 3, 0x3)
    assert ethtool.parse_stamps(answer) == Stamps(True, True, True, True, True, 3)
    ptp_only = struct.pack("=IIiI12xI12x", 0x41, 0x5F, 3, 3, 0x1 | 1 << 12)
    assert not ethtool.parse_stamps(ptp_only).rx_all
    none = struct.pack("=IIiI12xI12x", 0x41, 0x18, -1, 0, 0)
    assert ethtool.parse_stamps(none).phc_index is None


def test_a_clocks_reading_is_the_tightest_bracket():
    second = 1_000_000_000

    def row(before, card, after):
        return b"".join(struct.pack("=qI4x", *divmod(t, second)) for t in (before, card, after))

    data = struct.pack("=I12x", 3)
    data += row(100 * second, 137 * second + 9000, 100 * second + 20_000)
    data += row(101 * second, 138 * second + 500, 101 * second + 1000)
    data += row(102 * second, 139 * second, 102 * second - 5)  # stepped back: not a reading
    reading = ethtool.parse_phc(data.ljust(16 + 25 * 48, b"\0"))
    assert reading == PhcReading(offset_ns=37 * second, width_ns=1000)
    nothing = struct.pack("=I12x", 1) + row(second, 0, 0)
    assert ethtool.parse_phc(nothing).offset_ns is None


def test_this_machines_interfaces_are_listed():
    links = {link.name: link for link in netlink.links()}
    assert set(links) == {name for _, name in socket.if_nameindex()}
    assert links["lo"].loopback
    assert ethtool.stamps("lo") is None or ethtool.stamps("lo").phc_index is None
    with pytest.raises(OSError, match="device"):
        ethtool.driver("no-such-if")


@pytest.fixture
def judged(by_id):
    def judge(tai_offset_s=37, net_admin=True, container=None, **changes):
        facts = interfaces.Facts(
            (dataclasses.replace(CARD, **changes),),
            Surroundings(container=container),
            tai_offset_s=tai_offset_s,
            net_admin=net_admin,
        )
        return by_id(interfaces.judge(facts))

    return judge


def qdiscs(*kinds, root=None, **facts):
    queues = tuple(Qdisc(2, 0x10000, ROOT, kind, **facts) for kind in kinds)
    return {"root": (Qdisc(2, 0x10000, ROOT, root),) if root else queues[:1], "queues": queues}


def link(**changes):
    return dataclasses.replace(CARD.link, **changes)


def test_a_fit_card(judged):
    found = judged()
    assert {name: f.status for name, f in found.items()} == {
        check.id: Status.OK for check in interfaces.CHECKS
    }
    assert {f.subject for f in found.values()} == {"eth0"}
    assert "counts TAI" in found["interface.phc"].measured
    assert "10 s ahead" in found["interface.qdisc"].measured


def test_a_card_without_a_clock(judged):
    found = judged(stamps=KERNEL_STAMPS, phc=None)
    assert found["interface.stamps"].status is Status.LIMITS
    assert found["interface.phc"].status is Status.LIMITS
    assert found["interface.stamps"].values["tx_software"] is True


PTP_ONLY = {"stamps": dataclasses.replace(STAMPS, rx_all=False)}
DENIED = {"phc": PhcReading(error="/dev/ptp0: Permission denied")}
ETF = qdiscs("etf", root="taprio", clock="tai", delta_ns=300_000, offload=True)
WORKS, REFUSED = Feature("txtime", True, ""), Feature("txtime", False, "SO_TXTIME: No")
LOOPBACK = {"link": link(name="lo", loopback=True, mtu=65536)}
SLOW = {"coalescing": Coalescing(rx_us=125, tx_us=125, adaptive_rx=True)}
SMALL = {"link": link(mtu=1400, up=False)}
USE_FQ = "sudo tc qdisc replace dev eth0 root fq"

# A finding, its status, what is otherwise on the machine, and what is said.
FINDINGS = [
    ("stamps", "limits", PTP_ONLY, "PTP packets only"),
    ("phc", "ok", {"phc": PhcReading(0, 900)}),
    ("phc", "ok", {"phc": PhcReading(999_999, 900)}),
    ("phc", "ok", {"phc": PhcReading(37_000_000_000, 900)}),
    ("phc", "limits", {"phc": PhcReading(5_000_000, 900)}),
    ("phc", "hidden", DENIED, "sudo chmod g+r /dev/ptp0"),
    *(("qdisc", "limits", qdiscs(k), USE_FQ) for k in ("pfifo_fast", "fq_codel", "noqueue", "mq")),
    ("qdisc", "ok", qdiscs("fq", "fq", root="mq"), "fq below mq"),
    ("qdisc", "limits", qdiscs("fq", "fq_codel", root="mq")),
    ("qdisc", "ok", ETF),
    ("qdisc", "limits", ETF | {"tai_offset_s": 0}, "TAI offset is 0"),
    ("qdisc", "limits", ETF | {"net_admin": False}, "CAP_NET_ADMIN"),
    ("qdisc", "limits", ETF | qdiscs("etf", clock="realtime"), "by TAI only"),
    ("qdisc", "limits", ETF | {"launch": REFUSED}, "SO_TXTIME: No"),
    ("qdisc", "ok", {"launch": WORKS}),  # a worker has tried it
    ("qdisc", "limits", {"launch": REFUSED}, "SO_TXTIME: No"),
    ("qdisc", "ok", LOOPBACK, "launches by"),
    ("coalescing", "limits", SLOW, "sudo ethtool -C eth0 adaptive-rx off rx-usecs 0"),
    ("coalescing", "hidden", {"coalescing": None}),
    ("mtu", "limits", SMALL, "1372 by IPv4, 1352 by IPv6"),
    ("link", "limits", SMALL, "sudo ip link set eth0 up"),
]


@pytest.mark.parametrize("row", FINDINGS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_findings(judged, expect, row):
    check, status, how, *says = row
    finding = judged(**how)[f"interface.{check}"]
    expect(finding, status, says)
    assert finding.fixes or status != "limits"


def test_facts_of_clocks_and_queues(judged):
    assert judged(phc=PhcReading(999_999, 900))["interface.phc"].values["offset_ns"] == 999_999
    assert judged(**qdiscs("mq"))["interface.qdisc"].values["launch_clock"] is None
    assert judged(**ETF)["interface.qdisc"].values == {
        **{"root": "taprio", "queues": ["etf"], "launch_clock": "tai", "offload": True}
    }


def test_a_veth_hides_the_card(judged):
    found = judged(
        link=link(kind="veth", peer=9),
        stamps=KERNEL_STAMPS,
        phc=None,
        coalescing=None,
        container="docker",
        **qdiscs("noqueue"),
    )
    hidden = {name for name, finding in found.items() if finding.status is Status.HIDDEN}
    assert hidden == {f"interface.{name}" for name in ("link", "stamps", "phc", "qdisc")}


def test_loopback_is_as_it_should_be(judged):
    found = judged(
        link=link(name="lo", loopback=True, mtu=65536),
        stamps=KERNEL_STAMPS,
        phc=None,
        coalescing=None,
        **qdiscs("noqueue"),
    )
    assert {finding.status for finding in found.values()} == {Status.OK}


def test_no_interfaces(by_id):
    missing = interfaces.Facts((), Surroundings(), missing=("eth9",))
    (finding,) = interfaces.judge(missing)
    assert (finding.status, finding.subject) == (Status.UNFIT, "eth9")
    (finding,) = interfaces.judge(interfaces.Facts((), Surroundings()))
    assert finding.status is Status.LIMITS
    (finding,) = interfaces.judge(interfaces.Facts((), Surroundings(), error="not permitted"))
    assert finding.status is Status.HIDDEN
    (finding,) = interfaces.judge(interfaces.Facts((), Surroundings(), lacking=True))
    assert finding.status is Status.HIDDEN
    assert finding.fixes[0].text == 'pip install "shmring[doctor]"'
