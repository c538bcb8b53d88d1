"""Each interface: timestamps, clock, launch times, interrupts, packet sizes."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

from rtworkers.examine import Examination, Feature, examine
from shmring_doctor import ethtool, netlink
from shmring_doctor.container import Surroundings
from shmring_doctor.ethtool import Coalescing, PhcReading, Stamps
from shmring_doctor.finding import (
    Check,
    Finding,
    Fix,
    Status,
    Value,
    command,
    file_line,
    hint,
)
from shmring_doctor.netlink import Link, Qdisc

LINK = Check(
    "interface.link",
    "link",
    "Packets leave and arrive here. Behind a veth, a bridge or a tunnel there is another interface "
    "that decides.",
)
STAMPS = Check(
    "interface.stamps",
    "stamps",
    "A card's timestamps say to nanoseconds when a packet was on the wire. The kernel's timestamps "
    "differ from that by up to tens of microseconds.",
)
PHC = Check(
    "interface.phc",
    "card's clock",
    "A card takes timestamps with its own clock. The worker converts them with the uncertainty of "
    "the reading. A clock that follows PTP makes times of several hosts comparable.",
)
QDISC = Check(
    "interface.qdisc",
    "launch times",
    "fq (monotonic clock) and etf (TAI) launch a packet at its time, so that the worker need not "
    "spin. Other queueing disciplines ignore the time (SO_TXTIME).",
)
COALESCING = Check(
    "interface.coalescing",
    "interrupt coalescing",
    "A card that collects packets before it interrupts delays each by up to that time.",
)
MTU = Check(
    "interface.mtu",
    "MTU",
    "A datagram that does not fit is sent in fragments. If one is lost, all are lost.",
)
CHECKS = (LINK, STAMPS, PHC, QDISC, COALESCING, MTU)

COALESCING_MOST_US = 20
MTU_USUAL = 1500
UDP_IPV4_HEADERS = 28
PHC_NEAR_NS = 1_000_000
ETF_DELTA_NS = 300_000
# Interfaces without their own card: their timestamps and queues matter little.
_BEHIND = ("veth", "bridge", "vlan", "macvlan", "ipvlan", "bond", "team", "tun", "wireguard")


@dataclass(frozen=True, slots=True)
class Interface:
    """The facts about one interface."""

    link: Link
    driver: str | None = None
    stamps: Stamps | None = None
    phc: PhcReading | None = None
    coalescing: Coalescing | None = None
    root: tuple[Qdisc, ...] = ()
    queues: tuple[Qdisc, ...] = ()
    """The qdiscs that packets pass: the root, or those below it if the root only distributes."""
    launch: Feature | None = None
    """What a worker reports about launch times here. None: it was not asked."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The checked interfaces, and the facts that their findings depend on."""

    interfaces: tuple[Interface, ...]
    surroundings: Surroundings
    missing: tuple[str, ...] = ()
    """Requested interfaces that do not exist."""
    tai_offset_s: int | None = None
    net_admin: bool | None = None
    error: str = ""
    """Why no interfaces are listed."""
    lacking: bool = False
    """Whether pyroute2 is not installed."""


def gather(names: Sequence[str], examination: Examination, surroundings: Surroundings) -> Facts:
    """Ask the kernel. `names` empty: all that are up, except loopback and ports of bridges."""
    setup, clock = examination.setup, examination.clock
    if importlib.util.find_spec("pyroute2") is None:
        return Facts((), surroundings, lacking=True)
    error = ""
    try:
        links, qdiscs = netlink.links(), netlink.qdiscs()
    except OSError as caught:
        links, qdiscs, error = [], [], caught.strerror or str(caught)
    chosen = [link for link in links if (link.name in names if names else _matters(link))]
    known = {link.name for link in links}
    return Facts(
        interfaces=tuple(_look(link, qdiscs) for link in chosen),
        surroundings=surroundings,
        missing=() if error else tuple(name for name in names if name not in known),
        tai_offset_s=None if clock is None else clock.tai_offset_s,
        net_admin=None if setup is None else "cap_net_admin" in setup.capabilities,
        error=error,
    )


def _matters(link: Link) -> bool:
    return link.up and not link.loopback and not link.enslaved


def _look(link: Link, qdiscs: list[Qdisc]) -> Interface:
    roots, queues = netlink.effective(qdiscs, link.index)
    found = Interface(link, root=tuple(roots), queues=tuple(queues))
    try:
        stamps = ethtool.stamps(link.name)
        return Interface(
            link,
            driver=ethtool.driver(link.name),
            stamps=stamps,
            phc=None
            if stamps is None or stamps.phc_index is None
            else ethtool.read_phc(stamps.phc_index),
            coalescing=ethtool.coalescing(link.name),
            root=found.root,
            queues=found.queues,
            launch=_try_launch(link.name, queues),
        )
    except OSError:
        return found  # it has just disappeared


def _try_launch(name: str, queues: list[Qdisc]) -> Feature | None:
    """Let a worker open a socket for launch times, if the queueing discipline supports them."""
    if not {qdisc.kind for qdisc in queues} & {"fq", "etf"}:
        return None
    (told,) = examine([None], device=name)
    return told.features.get("txtime")


def judge(facts: Facts) -> list[Finding]:
    """All findings of this room."""
    if facts.lacking:
        return [LINK.hidden("pyroute2 is not installed", command('pip install "shmring[doctor]"'))]
    if facts.error:
        return [LINK.hidden(f"the kernel lists no interfaces: {facts.error}")]
    findings = [
        LINK.about(subject=name).unfit("there is no such interface", command("ip -brief link"))
        for name in facts.missing
    ]
    for interface in facts.interfaces:
        findings += [
            _link(interface),
            _stamps(interface),
            _phc(interface, facts),
            _qdisc(interface, facts),
            _coalescing(interface),
            _mtu(interface),
        ]
    if not findings:
        findings.append(
            LINK.limits(
                "no interface is up but loopback: packets stay on this host",
                command("sudo ip link set eth0 up"),
            )
        )
    return findings


def _behind(interface: Interface) -> bool:
    return interface.link.kind in _BEHIND


def _link(interface: Interface) -> Finding:
    link = interface.link
    kind = link.kind or interface.driver or ("loopback" if link.loopback else "unknown driver")
    check = LINK.about(
        {"up": link.up, "kind": link.kind or None, "driver": interface.driver}, link.name
    )
    if not link.up:
        return check.limits(f"{kind}, down", command(f"sudo ip link set {link.name} up"))
    if _behind(interface):
        return check.hidden(
            f"{kind}: another interface decides",
            hint("run shmring doctor --interface for that one, for a container on the host"),
        )
    return check.ok(f"{kind}, up")


def _stamps(interface: Interface) -> Finding:
    name, stamps = interface.link.name, interface.stamps
    if stamps is None:
        return STAMPS.about(subject=name).hidden("the driver does not tell")
    check = STAMPS.about(
        {
            "tx_hardware": stamps.tx_hardware,
            "rx_hardware": stamps.rx_hardware,
            "rx_all": stamps.rx_all,
            "tx_software": stamps.tx_software,
            "rx_software": stamps.rx_software,
        },
        name,
    )
    tx = "card" if stamps.tx_hardware else "kernel" if stamps.tx_software else "none"
    rx_card = stamps.rx_hardware and stamps.rx_all
    rx = "card" if rx_card else "kernel" if stamps.rx_software else "none"
    text = f"sent: {tx}, received: {rx}"
    if stamps.rx_hardware and not stamps.rx_all:
        text += " (the card stamps PTP packets only)"
    if interface.link.loopback:
        return check.ok(f"{text}; loopback has no wire")
    if _behind(interface):
        return STAMPS.about(subject=name).hidden(f"{text}; the card behind it is not visible")
    if tx == "card" and rx == "card":
        return check.ok(text)
    return check.limits(
        text,
        hint("a card with PTP timestamps of all packets (such as Intel i210, i225, E810)"),
        command(f"ethtool -T {name}"),
    )


def _phc(interface: Interface, facts: Facts) -> Finding:
    name, stamps, phc = interface.link.name, interface.stamps, interface.phc
    if interface.link.loopback:
        return PHC.about(subject=name).ok("loopback needs none")
    if stamps is None or _behind(interface):
        return PHC.about(subject=name).hidden("the driver does not tell")
    if stamps.phc_index is None or phc is None:
        return PHC.about(subject=name).limits("none", hint("a card with a PTP clock"))
    device = f"/dev/ptp{stamps.phc_index}"
    if phc.offset_ns is None or phc.width_ns is None:
        return PHC.about({"index": stamps.phc_index}, name).hidden(
            phc.error,
            command(f"sudo chgrp realtime {device}"),
            command(f"sudo chmod g+r {device}"),
            file_line(
                "/etc/udev/rules.d/90-shmring-ptp.rules",
                'SUBSYSTEM=="ptp", GROUP="realtime", MODE="0640"',
            ),
        )
    check = PHC.about(
        {"index": stamps.phc_index, "offset_ns": phc.offset_ns, "width_ns": phc.width_ns}, name
    )
    text = f"{device}, {_signed(phc.offset_ns)} from CLOCK_REALTIME, +-{phc.width_ns / 2000:.2g} us"
    tai_ns = (facts.tai_offset_s or 0) * 1_000_000_000
    if abs(phc.offset_ns) <= PHC_NEAR_NS:
        return check.ok(f"{text}: follows it")
    if tai_ns and abs(phc.offset_ns - tai_ns) <= PHC_NEAR_NS:
        return check.ok(f"{text}: counts TAI")
    return check.limits(
        f"{text}: follows nothing",
        command(f"sudo ptp4l -i {name} -m"),
        command("sudo phc2sys -a -r -m"),
    )


def _signed(ns: int) -> str:
    if abs(ns) >= 1_000_000_000:
        return f"{ns / 1e9:+.6f} s"
    return f"{ns / 1000:+.3f} us"


def _fq(name: str) -> Fix:
    return command(f"sudo tc qdisc replace dev {name} root fq")


def _qdisc(interface: Interface, facts: Facts) -> Finding:
    name = interface.link.name
    kinds = sorted({qdisc.kind for qdisc in interface.queues})
    root = interface.root[0].kind if interface.root else None
    values: dict[str, Value] = {"root": root, "queues": kinds, "launch_clock": None}
    check = QDISC.about(values, name)
    if root is None:
        return check.hidden("the kernel shows none")
    text = kinds[0] if kinds == [root] else f"{' and '.join(kinds)} below {root}"
    if interface.link.loopback and root == "noqueue":
        return check.ok(f"{text}; loopback delivers at once, workers spin")
    if kinds == ["fq"]:
        values["launch_clock"] = "monotonic"
        if interface.launch is not None and not interface.launch.works:
            return check.limits(
                f"{text}; a worker cannot use it: {interface.launch.reason}",
                hint("a kernel with SO_TXTIME (Linux 4.19)"),
            )
        ahead = [qdisc.horizon_us for qdisc in interface.queues if qdisc.horizon_us]
        far = f", at most {min(ahead) / 1e6:g} s ahead" if ahead else ""
        return check.ok(f"{text}: launches by the monotonic clock{far}")
    if kinds == ["etf"]:
        return _etf(interface, facts, text, values)
    if _behind(interface) and root in ("noqueue", "pfifo_fast"):
        return QDISC.about(subject=name).hidden(f"{text}; the interface behind it decides")
    return check.limits(f"{text}: ignores launch times, workers spin", _fq(name))


def _etf(interface: Interface, facts: Facts, text: str, values: dict[str, Value]) -> Finding:
    name, first = interface.link.name, interface.queues[0]
    values["launch_clock"] = first.clock
    values["offload"] = first.offload
    where = "by the card" if first.offload else "in software"
    text = f"{text}: launches by the {(first.clock or 'unknown').upper()} clock, {where}"
    replace = command(
        f"sudo tc qdisc replace dev {name} root etf clockid CLOCK_TAI delta {ETF_DELTA_NS}"
    )
    trouble, fixes = "", [replace]
    if first.clock != "tai":
        trouble = "workers use etf by TAI only"
    elif facts.tai_offset_s == 0:
        trouble = "the kernel's TAI offset is 0, so TAI channels are refused"
        fixes = [
            file_line("/etc/chrony/chrony.conf", "leapsectz right/UTC"),
            command("sudo systemctl restart chrony"),
        ]
    elif facts.net_admin is False:
        trouble = "a worker needs CAP_NET_ADMIN for that clock: see privileges.net_admin"
        fixes = [_fq(name)]
    elif interface.launch is not None and not interface.launch.works:
        trouble = f"a worker cannot use it: {interface.launch.reason}"
    if trouble:
        return QDISC.about(values, name).finding(Status.LIMITS, f"{text}; {trouble}", *fixes)
    return QDISC.about(values, name).ok(text)


def _coalescing(interface: Interface) -> Finding:
    name, found = interface.link.name, interface.coalescing
    if found is None:
        if interface.link.loopback or interface.link.kind:
            return COALESCING.about(subject=name).ok("none: no card")
        return COALESCING.about(subject=name).hidden("the driver does not tell")
    check = COALESCING.about(
        {"rx_us": found.rx_us, "tx_us": found.tx_us, "adaptive_rx": found.adaptive_rx}, name
    )
    text = f"{found.rx_us} us received, {found.tx_us} us sent"
    if found.adaptive_rx:
        text += ", adaptive"
    if found.rx_us <= COALESCING_MOST_US and not found.adaptive_rx:
        return check.ok(text)
    return check.limits(text, command(f"sudo ethtool -C {name} adaptive-rx off rx-usecs 0"))


def _mtu(interface: Interface) -> Finding:
    name, mtu = interface.link.name, interface.link.mtu
    fits = mtu - UDP_IPV4_HEADERS
    text = f"{mtu} bytes: payloads up to {fits} by IPv4, {fits - 20} by IPv6"
    check = MTU.about({"mtu_bytes": mtu}, name)
    if mtu >= MTU_USUAL:
        return check.ok(text)
    return check.limits(
        text,
        command(f"sudo ip link set {name} mtu {MTU_USUAL}"),
        hint(f"or keep payloads below that (max_payload={fits - 20})"),
    )
