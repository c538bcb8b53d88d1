"""What late packets have in common, what else happened then, and the conclusion: pure functions.

A spell is a sequence of late packets with less than a second between any two of them. A cause gets
one spell with the events of its time, and returns the conclusion in plain words, or nothing. The
first row of `CAUSES` that returns something decides. The trouble ``late`` takes its fix from the
same rows.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from rtstat.timeline import due_mono_ns, producer_text
from rtworkers.owner import process_id, process_text
from rtworkers.page import PageFacts
from shmring.observe import Event, LateChannel, LatePacket, WorkerRecord
from shmring.observe.engines import repeats
from shmring.types import Verdict
from shmring_cli.output import duration

if TYPE_CHECKING:
    from rtstat.views import ChannelView

_GAP_NS = 1_000_000_000
_MARGIN_NS = 20_000_000
_MISSED_NS = 1_000_000

_BESIDE_THE_POINT = ("late_packets", "client_attached", "client_detached", "client_hung_up")


@dataclass(frozen=True, slots=True)
class Case:
    """One spell of late packets of one channel."""

    channel: str
    packets: tuple[LatePacket, ...]
    """The late packets, oldest first, at least one."""
    events: tuple[Event, ...]
    """The events that the worker recorded in that time."""
    worker: PageFacts | None
    stands_still: bool = False
    """Whether the worker has had no heartbeat for a second now. It recorded nothing since then."""

    @property
    def first_mono_ns(self) -> int:
        """When the first of the packets was due."""
        return min(map(due_mono_ns, self.packets))

    @property
    def last_mono_ns(self) -> int:
        """When the last of the packets got its verdict."""
        return max(packet.noted_mono_ns for packet in self.packets)

    @property
    def verdicts(self) -> Counter[str]:
        return Counter(packet.verdict.value for packet in self.packets)

    @property
    def producers(self) -> Counter[str]:
        return Counter(map(producer_text, self.packets))

    @property
    def worst_ns(self) -> int:
        return max(packet.late_ns for packet in self.packets)

    @property
    def median_ns(self) -> int:
        return int(median(packet.late_ns for packet in self.packets))

    def mostly(self, *verdicts: Verdict) -> bool:
        """Return whether more than half of the packets have one of these verdicts."""
        return 2 * sum(packet.verdict in verdicts for packet in self.packets) > len(self.packets)

    def noted(self, *kinds: str) -> list[Event]:
        """Return the events of these kinds in the spell's time."""
        return [event for event in self.events if event.kind in kinds]

    def longest(self, kind: str, number: str) -> int:
        return max((event.numbers.get(number, 0) for event in self.noted(kind)), default=0)

    @property
    def away_ns(self) -> int:
        """How long the worker was not on its core at most, by the events of that time."""
        return max(map(_away_ns, self.noted("missed_wake", "long_loop")), default=0)

    @property
    def away_meanwhile_ns(self) -> int:
        """How much of such an absence lies between the first deadline and the last verdict."""
        absences = self.noted("missed_wake", "long_loop")
        return max((self._overlap_ns(event, _away_ns(event)) for event in absences), default=0)

    def _overlap_ns(self, event: Event, away_ns: int) -> int:
        begin = max(self.first_mono_ns, event.mono_ns - away_ns)
        return max(0, min(away_ns, min(self.last_mono_ns, event.last_mono_ns) - begin))


def _away_ns(event: Event) -> int:
    """Return how long the worker was not on its core, before the time of this event."""
    return event.numbers.get("off_cpu_ns" if event.kind == "long_loop" else "late_ns", 0)


def spells(
    channel: str,
    packets: Sequence[LatePacket],
    events: Sequence[Event],
    worker: PageFacts | None = None,
    *,
    stands_still: bool = False,
) -> list[Case]:
    """Return the spells, latest first, each with the events of its time.

    stands_still: whether the worker has had no heartbeat for a second now.
    """
    found: list[list[LatePacket]] = []
    for packet in sorted(packets, key=lambda packet: packet.noted_mono_ns):
        if not found or packet.noted_mono_ns - found[-1][-1].noted_mono_ns > _GAP_NS:
            found.append([])
        found[-1].append(packet)
    cases = (Case(channel, tuple(spell), (), worker, stands_still) for spell in reversed(found))
    return [_with_events(case, events) for case in cases]


def of_channel(channel: LateChannel, records: Sequence[WorkerRecord]) -> list[Case]:
    """Return the spells of a channel, with what the workers of its pool recorded."""
    return spells(
        channel.name,
        channel.packets,
        [event for record in records for event in record.events],
        next((record.facts for record in records if record.slot == channel.worker_slot), None),
        stands_still=channel.stands_still,
    )


def _with_events(bare: Case, events: Sequence[Event]) -> Case:
    begin, end = bare.first_mono_ns - _MARGIN_NS, bare.last_mono_ns + _MARGIN_NS
    during = tuple(
        event
        for event in events
        if event.kind not in _BESIDE_THE_POINT
        and event.channel in (None, bare.channel)
        and event.mono_ns <= end
        and event.last_mono_ns >= begin
    )
    return replace(bare, events=during)


# --- what they have in common ---------------------------------------------------------------------


def common(case: Case) -> list[str]:
    """Return sentences about what the packets of a spell have in common."""
    count = len(case.packets)
    if count == 1:
        return ["it is a single packet"]
    lasted = case.last_mono_ns - case.first_mono_ns
    said = [f"{count} packets, all within {duration(lasted)}"]
    for counter, same, different in (
        (case.verdicts, "the same verdict", "verdicts"),
        (case.producers, "queued by the same", "queued by"),
    ):
        parts = [f"{name} ({times})" for name, times in counter.most_common()]
        if len(parts) == 1:
            said.append(f"{same}: {next(iter(counter))}")
        else:
            said.append(f"{different}: {', '.join(parts)}")
    instants = len({packet.due_ns for packet in case.packets})
    if instants == 1:
        said.append("due at the same time")
    batch = max(packet.batch for packet in case.packets)
    if batch > 1:
        said.append(f"up to {batch} left in one call")
    said.append(f"late by {duration(case.median_ns)} (median), {duration(case.worst_ns)} at most")
    return said


def common_facts(case: Case) -> dict[str, Any]:
    """Return the spell for JSON."""
    return {
        "packets": len(case.packets),
        "first_mono_ns": case.first_mono_ns,
        "last_mono_ns": case.last_mono_ns,
        "verdicts": dict(case.verdicts),
        "producers": dict(Counter(packet.producer_pid for packet in case.packets)),
        "same_instant": len({packet.due_ns for packet in case.packets}) == 1,
        "late_median_ns": case.median_ns,
        "late_max_ns": case.worst_ns,
    }


# --- what follows ---------------------------------------------------------------------------------


class Finding(NamedTuple):
    """A cause of lateness, and what to do about it."""

    cause: str
    """A name for programs, that of a row of `CAUSES`."""
    conclusion: str
    advice: tuple[str, ...]


class Cause(NamedTuple):
    """A row of `CAUSES`."""

    name: str
    counter: str
    """The counter of the verdict that this cause usually has. Empty: none."""
    realtime: bool | None
    """Whether it holds for workers with a real-time class. None: for all."""
    advice: tuple[str, ...]
    find: Callable[[Case], str | Finding | None]
    """Returns the conclusion, or also another advice."""


CAUSES: list[Cause] = []
"""The first that applies to a spell decides."""


def explain(case: Case) -> Finding:
    """Return what the first cause that applies says."""
    realtime = case.worker is None or case.worker.policy == "fifo"
    for cause in CAUSES:
        found = cause.find(case) if cause.realtime in (None, realtime) else None
        if isinstance(found, str):
            return Finding(cause.name, found, cause.advice)
        if found is not None:
            return found
    raise AssertionError("the last cause always applies")


def fix_of(counter: str, channel: ChannelView) -> str:
    """Return what to do about packets that were late with the verdict of this counter."""
    if repeats(channel.engine) and counter == "tx_enqueued_late":
        counter = "tx_woke_late"  # nothing is queued there
    realtime = channel.policy == "fifo"
    rows = (row for row in CAUSES if row.counter == counter and row.realtime in (None, realtime))
    return next(rows).advice[0]


def _cause(
    name: str, *advice: str, counter: str = "", realtime: bool | None = None
) -> Callable[[Callable[[Case], Any]], Callable[[Case], Any]]:
    def add(find: Callable[[Case], Any]) -> Callable[[Case], Any]:
        CAUSES.append(Cause(name, counter, realtime, advice, find))
        return find

    return add


_SPREAD = "spread the channels over more cores: Pool(cpus=[...])"
_GIVE_CLASS = "give the workers real-time priority: shmring doctor realtime"
_DOCTOR = "shmring doctor tells whether this machine can meet such deadlines"
_NO_CLASS = "It runs without a real-time class, so any other process may have its core"
_ERRNO_ADVICE = {
    1: "a firewall rule refuses them (nft list ruleset, iptables -L OUTPUT)",
    13: "for a broadcast address, open it with Socket(broadcast=True), else check the firewall",
    22: "the kernel refuses such a packet: check address, size, and the options of the channel",
    90: "too long for the path and dont_fragment is set: send shorter packets",
    99: "their source is not an address of the worker's host: ip address",
    101: "there is no route to that address: ip route get ADDRESS",
    113: "the network has no such host: ip neigh",
    130: "the process that queued them, or the worker that sent them, died: see the events",
}


@_cause(
    "worker_restart",
    "see how it ended: rtstat post-mortem",
    'if late packets are useless, drop them: open the channel with late="drop"',
)
def _taken_over(case: Case) -> str | None:
    if not case.noted("channel_taken_over"):
        return None
    return (
        "the worker died and another one took over the channel. Packets due in between waited, "
        f"{duration(case.worst_ns)} at most"
    )


@_cause("held", "hold it when nothing is due, or purge it before the release")
def _held(case: Case) -> str | None:
    if not case.noted("channel_held", "channel_released"):
        return None
    return "the channel was held, and packets due during that time left after its release"


@_cause("failed")
def _failed(case: Case) -> Finding | None:
    if not case.mostly(Verdict.FAILED):
        return None
    numbers = Counter(p.error for p in case.packets if p.verdict is Verdict.FAILED)
    number = numbers.most_common(1)[0][0]
    advice = _ERRNO_ADVICE.get(number, "the error log says when it began: rtstat post-mortem")
    said = f"the packets were not sent: {os.strerror(number)} (errno {number})"
    return Finding("failed", said, (advice,))


@_cause(
    "no_room",
    "send fewer at a time, or enlarge the socket buffer: Socket(sndbuf_bytes=...)",
    "check the interface: tc -s qdisc show, ethtool -S",
)
def _no_room(case: Case) -> str | None:
    noted = case.noted("send_no_room")
    if not noted or not case.mostly(Verdict.SEND_SLOW, Verdict.QUEUED_BEHIND):
        return None
    times = sum(event.count for event in noted)
    return (
        f"the kernel had no room for packets, {times} times: they came faster than the interface, "
        "or its queueing discipline, sends them"
    )


def _off_core(case: Case) -> str | None:
    away_ns, queued_late = case.away_ns, _queued_late(case)
    if queued_late:  # a worker that stood still meanwhile may be why the sender was late
        away_ns = case.away_meanwhile_ns
        if away_ns < max(_MISSED_NS, median(queued_late) / 2):
            return None
    # A short absence does not explain a long delay.
    elif away_ns < _MISSED_NS or 4 * away_ns < case.median_ns:
        return None
    head = (
        f"the worker was not on its core when they were due: it came back {duration(away_ns)} late"
    )
    if queued_late:
        head += f". They were also queued late, by {duration(median(queued_late))} (median)"
    return head


@_cause("preempted", _GIVE_CLASS, realtime=False)
def _preempted(case: Case) -> str | None:
    head = _off_core(case)
    return head and f"{head}. {_NO_CLASS}"


@_cause(
    "stopped",
    "shmring doctor measures how long this machine takes to wake up, and gives the fixes",
    "keep other work and interrupts off the worker's core (isolcpus=, irqaffinity=)",
    realtime=True,
)
def _stopped(case: Case) -> str | None:
    head = _off_core(case)
    return head and (
        f"{head}. It has a real-time class, so it was stopped (SIGSTOP, a debugger), the machine "
        "paused (hypervisor, firmware), or a task of higher priority ran"
    )


@_cause("sender_late", "queue packets earlier than their deadlines", counter="tx_enqueued_late")
def _enqueued_late(case: Case) -> Finding | None:
    late = _queued_late(case)
    if not late:
        return None
    by, most = int(median(late)), max(late)
    who = ", ".join(name for name, _ in case.producers.most_common(3))
    return Finding(
        "sender_late",
        f"they were queued {duration(by)} (median) after they were due, {duration(most)} at most: "
        f"{_blame(case, by)} ({who})",
        (
            f"queue at least {duration(most)} earlier; a deadline far ahead costs nothing",
            "a Python process is delayed by garbage collection, its threads and other processes "
            "on its core: queue many packets in one call (send_many)",
        ),
    )


def _queued_late(case: Case) -> list[int]:
    """Return how long after their deadlines packets were queued, if most of them were."""
    late = [p.enqueued_ns - p.due_ns for p in case.packets if p.enqueued_ns > p.due_ns]
    dropped = case.mostly(Verdict.DROPPED_LATE, Verdict.ENQUEUED_LATE) and 2 * len(late) > len(
        case.packets
    )
    return late if case.mostly(Verdict.ENQUEUED_LATE) or dropped else []


def _blame(case: Case, sender_ns: int) -> str:
    """Return who was late. The worker is acquitted only if it ran, and took them up at once."""
    waited = [p.woken_ns - max(p.enqueued_ns, p.due_ns) for p in case.packets if p.woken_ns]
    waited_ns = int(median(waited)) if waited else 0
    if waited_ns >= max(_MISSED_NS, sender_ns):
        return f"the sender was late, and the worker took them up {duration(waited_ns)} after that"
    if case.stands_still:
        return "the sender was late, before the worker came to its standstill"
    return "the sender was late, not the worker"


@_cause(
    "busy", "open and close channels when nothing is due, or give them another core", _SPREAD
)
def _long_pass(case: Case) -> str | None:
    took = case.longest("long_loop", "took_ns")
    if took < _MISSED_NS or 4 * took < case.median_ns or case.mostly(Verdict.ENQUEUED_LATE):
        return None
    return f"the worker was busy with something else: one pass of its loop took {duration(took)}"


@_cause(
    "throttled",
    _SPREAD,
    "give packets that belong together the same deadline, so that one call sends them",
)
def _forced_rest(case: Case) -> str | None:
    rests = sum(event.count for event in case.noted("forced_rest"))
    if not rests or not case.mostly(Verdict.WOKE_LATE, Verdict.QUEUED_BEHIND, Verdict.DROPPED_LATE):
        return None
    return (
        "the worker had to rest, to stay below the share of a core that the kernel grants to "
        f"real-time tasks: {rests} times about then"
    )


@_cause(
    "woke_late", 'let the worker spin: profile="latency"', counter="tx_woke_late", realtime=True
)
def _woke_late(case: Case) -> str | None:
    if not case.mostly(Verdict.WOKE_LATE):
        return None
    return f"the worker woke up {duration(case.median_ns)} later than its wake margin covers"


@_cause("woke_late", _GIVE_CLASS, counter="tx_woke_late", realtime=False)
def _woke_late_without_class(case: Case) -> str | None:
    # A worker that spins has used up its share when another process wants its core.
    head = _woke_late(case)
    return head and f"{head}. {_NO_CLASS}"


@_cause(
    "queued_behind",
    _SPREAD,
    "spread deadlines by the time of a send call (rtstat show: send_call), or make them equal and "
    "use one destination, so that one call sends the packets (Socket(gso=True))",
    counter="tx_queued_behind",
)
def _queued_behind(case: Case) -> str | None:
    if not case.mostly(Verdict.QUEUED_BEHIND):
        return None
    return "the worker was busy with earlier packets: more were due at a time than one call sends"


@_cause(
    "producer_halted",
    "give the program that sends a core or a priority of its own: a sender that is preempted or "
    "stopped during a send delays the packets after it",
    "keep payloads in resident memory: a file mapping may wait for the disk",
    counter="tx_producer_halted",
)
def _producer_halted(case: Case) -> str | None:
    if not case.mostly(Verdict.PRODUCER_HALTED):
        return None
    pids = {int(event.numbers.get("pid", 0)) for event in case.noted("producer_halted")}
    who = ", ".join(process_text(process_id(pid)) for pid in sorted(pids))
    said = "a client was stopped in the middle of a send, and packets queued behind it waited"
    return f"{said}: {who}" if who else said


@_cause(
    "send_slow",
    "see what slows the kernel's sending: firewall rules, queueing disciplines and captures on "
    "output (tc, nft, tcpdump), interrupts on this core (/proc/interrupts), shmring doctor",
    counter="tx_send_slow",
)
def _send_slow(case: Case) -> str | None:
    if not case.mostly(Verdict.SEND_SLOW):
        return None
    calls = [p.handed_ns - p.sent_ns for p in case.packets if p.handed_ns]
    most = f": up to {duration(max(calls))} for one send call" if calls else ""
    return f"the worker was on time, but the kernel was slow{most}"


@_cause("dropped", _DOCTOR, "a larger tolerance_ns= would send them")
def _dropped(case: Case) -> str | None:
    if not case.mostly(Verdict.DROPPED_LATE):
        return None
    return (
        "they were queued in time, but the worker took them up too late, and the channel drops "
        f'late packets (late="drop"): by {duration(case.median_ns)}'
    )


@_cause("mixed", _DOCTOR)
def _mixed(case: Case) -> str:
    parts = ", ".join(f"{name} ({times})" for name, times in case.verdicts.most_common())
    return f"no single reason: {parts}"
