"""The network as a whole: socket buffers, receive queues, features of UDP."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from rtworkers.examine import Examination, Feature
from shmring_doctor.finding import Check, Finding, Fix, command, hint, sysctl
from shmring_doctor.host import Host

RMEM = Check(
    "network.rmem_max",
    "receive buffers",
    "Packets wait in the socket's buffer until they are read. When it is full, packets are lost. "
    "Without CAP_NET_ADMIN a socket gets at most net.core.rmem_max.",
)
WMEM = Check(
    "network.wmem_max",
    "send buffers",
    "A burst that does not fit in the socket's send buffer waits in the ring, and is late.",
)
BUDGET = Check(
    "network.netdev_budget",
    "receive budget",
    "One run of the receiving softirq handles this many packets, or lasts this many microseconds. "
    "It leaves the rest to ksoftirqd, an ordinary process that waits for its turn.",
)
BACKLOG = Check(
    "network.netdev_backlog",
    "receive backlog",
    "Packets that one core passes to another, also on loopback and veth, wait in this queue. "
    "Packets that do not fit are dropped without a message.",
)
GSO = Check(
    "network.gso",
    "UDP GSO",
    "Packets due together are sent in one call: 15 million a second instead of 0.3.",
)
GRO = Check(
    "network.gro",
    "UDP GRO",
    "Consecutive packets are received in one call. It is the receiving side of GSO.",
)
RX_STAMPS = Check(
    "network.rx_stamps",
    "kernel arrival stamps",
    "The kernel's timestamp is the arrival of a packet. Without it, the time is that of reading.",
)
TX_STAMPS = Check(
    "network.tx_stamps",
    "kernel departure stamps",
    'They prove when a packet left, and align="wire" learns from them.',
)
IPV6 = Check("network.ipv6", "IPv6", "Channels with IPv6 addresses need it.")
CHECKS = (RMEM, WMEM, BUDGET, BACKLOG, GSO, GRO, RX_STAMPS, TX_STAMPS, IPV6)

BUFFER_ENOUGH = 4 << 20
BUDGET_ENOUGH = 300
BUDGET_ENOUGH_US = 2000
BACKLOG_ENOUGH = 1000


@dataclass(frozen=True, slots=True)
class Facts:
    """Values from /proc/sys/net and a worker. None: hidden."""

    rmem_max: int | None = None
    wmem_max: int | None = None
    budget: int | None = None
    budget_us: int | None = None
    backlog: int | None = None
    backlog_drops: int | None = None
    """Since the machine started, over all cores."""
    squeezed: int | None = None
    """How often the budget was too small, in the same time."""
    beyond: bool = False
    """Whether a worker gets larger buffers than the limits, through CAP_NET_ADMIN."""
    features: Mapping[str, Feature] = field(default_factory=dict)


def gather(host: Host, examination: Examination) -> Facts:
    """Read the limits and counters."""
    core = "/proc/sys/net/core"
    drops, squeezed = _softnet(host.read("/proc/net/softnet_stat"))
    buffers = examination.features.get("buffers")
    return Facts(
        rmem_max=host.number(f"{core}/rmem_max"),
        wmem_max=host.number(f"{core}/wmem_max"),
        budget=host.number(f"{core}/netdev_budget"),
        budget_us=host.number(f"{core}/netdev_budget_usecs"),
        backlog=host.number(f"{core}/netdev_max_backlog"),
        backlog_drops=drops,
        squeezed=squeezed,
        beyond=buffers is not None and buffers.works,
        features=examination.features,
    )


def _softnet(text: str | None) -> tuple[int | None, int | None]:
    """Return drops and squeezes of /proc/net/softnet_stat: hexadecimal, one line per core."""
    rows = [line.split() for line in (text or "").splitlines()]
    if not rows or not all(
        re.fullmatch(r"[0-9a-f]+( [0-9a-f]+){2,}", " ".join(row)) for row in rows
    ):
        return None, None
    return sum(int(row[1], 16) for row in rows), sum(int(row[2], 16) for row in rows)


def judge(facts: Facts) -> list[Finding]:
    """All findings of this room."""
    return [
        _buffer(RMEM, "net.core.rmem_max", facts.rmem_max, facts),
        _buffer(WMEM, "net.core.wmem_max", facts.wmem_max, facts),
        _budget(facts),
        _backlog(facts),
        _feature(GSO, "gso", facts),
        _feature(GRO, "gro", facts),
        _feature(RX_STAMPS, "rx_stamps", facts),
        _feature(TX_STAMPS, "tx_stamps", facts),
        _feature(IPV6, "ipv6", facts),
    ]


def _buffer(check: Check, key: str, limit: int | None, facts: Facts) -> Finding:
    if limit is None:
        # Absent in the network namespaces of containers before Linux 6.15.
        return check.hidden(f"{key} is not shown here", command(f"sysctl -n {key}"))
    text = f"{limit} bytes at most"
    check = check.about({"limit_bytes": limit})
    if limit >= BUFFER_ENOUGH:
        return check.ok(text)
    if facts.beyond:
        return check.ok(f"{text}; workers may exceed it through CAP_NET_ADMIN")
    return check.limits(text, *sysctl(key, BUFFER_ENOUGH))


def _budget(facts: Facts) -> Finding:
    if facts.budget is None or facts.budget_us is None:
        return BUDGET.hidden("net.core.netdev_budget is not shown here")
    text = f"{facts.budget} packets, {facts.budget_us} us"
    if facts.squeezed:
        text += f"; too small {facts.squeezed} times since the start"
    check = BUDGET.about(
        {"budget": facts.budget, "budget_us": facts.budget_us, "squeezed": facts.squeezed}
    )
    fixes: list[Fix] = []
    if facts.budget < BUDGET_ENOUGH:
        fixes += sysctl("net.core.netdev_budget", BUDGET_ENOUGH)
    if facts.budget_us < BUDGET_ENOUGH_US:
        fixes += sysctl("net.core.netdev_budget_usecs", 8000)
    return check.limits(text, *fixes) if fixes else check.ok(text)


def _backlog(facts: Facts) -> Finding:
    if facts.backlog is None:
        return BACKLOG.hidden("net.core.netdev_max_backlog is not shown here")
    check = BACKLOG.about({"backlog": facts.backlog, "drops": facts.backlog_drops})
    text = f"{facts.backlog} packets"
    if facts.backlog_drops:
        return check.limits(
            f"{text}; {facts.backlog_drops} dropped since the start",
            *sysctl("net.core.netdev_max_backlog", max(10_000, 2 * facts.backlog)),
        )
    if facts.backlog < BACKLOG_ENOUGH:
        return check.limits(text, *sysctl("net.core.netdev_max_backlog", 10_000))
    return check.ok(text)


def _feature(check: Check, name: str, facts: Facts) -> Finding:
    feature = facts.features.get(name)
    if feature is None:
        return check.hidden("no worker could be asked")
    if feature.works:
        return check.about({"works": True}).ok("works: tried over loopback")
    fix = (
        sysctl("net.ipv6.conf.all.disable_ipv6", 0)
        if name == "ipv6"
        else (command("sudo ip link set lo up"), hint("else a newer kernel"))
    )
    return check.about({"works": False}).limits(feature.reason or "does not work", *fix)
