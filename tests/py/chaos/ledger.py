"""The ledger: what was accepted, what was reported, what an independent receiver got.

Every function returns its complaints, a list of sentences, and counts into `sums`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from wire import CANCELLED, DROPPED_LATE, FAILED

MS = 1_000_000
BLOCKED_NS = 100 * MS
SHOWN = 6

Interval = tuple[int, int]


@dataclass
class Sender:
    """What one life of a sender did."""

    life: int
    accepted: Any  # array of ACCEPTED
    attempted: int


@dataclass
class Sums:
    """What all checks of a run have counted."""

    counts: Counter[str] = field(default_factory=Counter)
    delays_ns: list[int] = field(default_factory=list)
    recoveries_ns: list[int] = field(default_factory=list)


def some(numbers: Iterable[Any]) -> str:
    shown = list(numbers)
    text = ", ".join(str(number) for number in shown[:SHOWN])
    return text + (f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else "")


def check_channel(
    name: str,
    senders: Sequence[Sender],
    arrivals: Any,
    reports: Any,
    stats: dict[str, Any],
    sums: Sums,
    *,
    base: int,
    deaths_ns: Sequence[int],
    whole: bool,
) -> list[str]:
    """One channel's ledger since it was opened, when its sequence was `base`.

    `whole`: False if all of its pool died, so that nobody can say what became of the packets that
    waited."""
    found: list[str] = []
    by_life = {sender.life: sender for sender in senders}
    found += _never_twice(name, by_life, arrivals)
    verdicts = dict(zip(reports["sequence"].tolist(), reports["verdict"].tolist(), strict=True))
    if len(verdicts) != len(reports):
        twice = len(reports) - len(verdicts)
        found.append(f"{name}: {twice} packets have more than one report")
    got = {life: set() for life in by_life}  # type: dict[int, set[int]]
    for life, number in zip(arrivals["life"].tolist(), arrivals["number"].tolist(), strict=True):
        got.setdefault(life, set()).add(number)
    reports_lost = stats.get("reports_lost", 0)
    for sender in senders:
        found += _one_sender(
            name,
            sender,
            got[sender.life],
            verdicts,
            sums,
            deaths_ns=deaths_ns,
            judged=whole and not reports_lost,
        )
    if whole:
        found += _sums_agree(name, stats, sums, base)
    return found


def _never_twice(name: str, by_life: dict[int, Sender], arrivals: Any) -> list[str]:
    found = []
    keys, counts = np.unique(arrivals[["life", "number"]], return_counts=True)
    if (counts > 1).any():
        found.append(f"{name}: sent twice (life, number): {some(keys[counts > 1].tolist())}")
    for life, number in keys.tolist():
        sender = by_life.get(life)
        if sender is None or number >= sender.attempted:
            found.append(f"{name}: packet {number} of sender {life} came, and was never sent")
    return found[:SHOWN]


def _one_sender(
    name: str,
    sender: Sender,
    got: set[int],
    verdicts: dict[int, int],
    sums: Sums,
    *,
    deaths_ns: Sequence[int],
    judged: bool,
) -> list[str]:
    found: list[str] = []
    vanished, unsaid, not_sent, refused = [], [], [], []
    for number, (sequence, enqueued, due, _) in enumerate(sender.accepted.tolist()):
        verdict = verdicts.get(sequence)
        came = number in got
        sums.counts["accepted"] += 1
        sums.counts["received"] += came
        if verdict is None and not came:
            vanished.append((number, sequence))
        elif verdict is None:
            if any(-50 * MS < death - max(enqueued, due) < 2000 * MS for death in deaths_ns):
                sums.counts["received_report_died_with_worker"] += 1
            else:
                unsaid.append((number, sequence))
        elif verdict == FAILED:
            sums.counts["failed_received" if came else "failed_not_received"] += 1
        elif verdict in (CANCELLED, DROPPED_LATE):
            if came:
                refused.append((number, sequence))
        elif not came:
            not_sent.append((number, sequence))
    who = f"{name}: of sender {sender.life} (number, sequence)"
    if judged and vanished:
        found.append(f"{who} accepted and vanished without a verdict: {some(vanished)}")
    if judged and unsaid:
        found.append(f"{who} arrived, and have no report: {some(unsaid)}")
    if not_sent:
        found.append(f"{who} reported as sent and never arrived: {some(not_sent)}")
    if refused:
        found.append(f"{who} reported as not sent, and arrived: {some(refused)}")
    return found


def _sums_agree(name: str, stats: dict[str, Any], sums: Sums, base: int) -> list[str]:
    found = []
    if stats["waiting_at_the_end"]:
        found.append(f"{name}: {stats['waiting_at_the_end']} packets wait for ever")
    given = stats["tx_next_sequence"] - base
    difference = stats["requested"] - given
    sums.counts["sequences"] += given
    sums.counts["crossings of 2^32"] += base < 2**32 < base + given
    sums.counts["orphans"] += stats["tx_orphans"]
    if difference:
        found.append(
            f"{name}: {given} numbers were given, and the counters of verdicts add up to "
            f"{stats['requested']}"
        )
    if stats["tx_corrupt"]:
        found.append(f"{name}: {stats['tx_corrupt']} records made no sense to the worker")
    return found


def check_order(
    name: str, lives: Iterable[int], arrivals: Any, reports: Any, accepted: dict[int, Any]
) -> list[str]:
    """Packets of one sender without deadlines leave in the order in which they were sent."""
    found = []
    sent_ns = dict(zip(reports["sequence"].tolist(), reports["sent_ns"].tolist(), strict=True))
    for life in lives:
        numbers = arrivals["number"][arrivals["life"] == life]
        back = np.flatnonzero(np.diff(numbers) < 0)
        for at in back.tolist():
            earlier, later = int(numbers[at]), int(numbers[at + 1])
            if not _network_swapped(accepted[life], sent_ns, earlier, later):
                found.append(f"{name}: sender {life}: {later} arrived behind {earlier}")
    return found[:SHOWN]


def _network_swapped(accepted: Any, sent_ns: dict[int, int], first: int, second: int) -> bool:
    """Whether the reports say that what arrived the wrong way round had left the right way."""
    if max(first, second) >= len(accepted):
        return False
    at_first = sent_ns.get(int(accepted["sequence"][first]))
    at_second = sent_ns.get(int(accepted["sequence"][second]))
    return bool(at_first and at_second and at_second <= at_first)


def check_deadline_order(name: str, reports: Any, returned_ns: dict[int, int]) -> list[str]:
    """A packet that was queued in time leaves before those with later deadlines.

    `returned_ns`: when the call that queued a sequence had returned. Its sender may have been
    stopped in the middle of that call.
    """
    sent = reports[(reports["verdict"] < DROPPED_LATE) & (reports["scheduled_ns"] > 0)]
    sent = sent[np.argsort(sent["sent_ns"], kind="stable")]
    found = []
    latest, holder = 0, None
    for row in sent:
        scheduled = int(row["scheduled_ns"])
        there_ns = returned_ns.get(int(row["sequence"]))
        if scheduled < latest and there_ns and there_ns < int(holder["sent_ns"]) - 2 * MS:
            found.append(_inversion(name, row, holder, there_ns))
        if scheduled > latest:
            latest, holder = scheduled, row
    return ([f"{name}: {len(found)} inversions of deadlines"] if found else []) + found[:2]


def _inversion(name: str, late: Any, early: Any, there_ns: int) -> str:
    ahead = (int(early["scheduled_ns"]) - int(late["scheduled_ns"])) / 1e6
    there = (int(early["sent_ns"]) - there_ns) / 1e6
    return (
        f"{name}: {int(late['sequence'])} was due {ahead:.3f} ms before {int(early['sequence'])}, "
        f"was queued {there:.3f} ms before that left, and left after it"
    )


def overlap_ns(interval: Interval, others: Iterable[Interval]) -> int:
    begin, end = interval
    return sum(max(0, min(end, high) - max(begin, low)) for low, high in others)


def check_delays(
    name: str,
    arrivals: Any,
    allowed: Sequence[Interval],
    still: Sequence[Interval],
    sums: Sums,
    returned_ns: dict[tuple[int, int], int],
) -> list[str]:
    """Packets that are to leave at once do, except at times when they cannot: `allowed` (their
    worker was stopped by us, is being replaced) and `still` (the machine itself stood still).

    `returned_ns`: when the call that queued number n of a life had returned."""
    since = np.array(
        [
            returned_ns.get((life, number), enqueued)
            for life, number, enqueued in arrivals[["life", "number", "enqueued_ns"]].tolist()
        ],
        np.int64,
    )
    delays = arrivals["arrived_ns"] - since
    sums.delays_ns += delays.tolist()
    found = []
    for line, delay in zip(arrivals[delays > BLOCKED_NS], delays[delays > BLOCKED_NS], strict=True):
        interval = (int(line["enqueued_ns"]), int(line["arrived_ns"]))
        rest = int(delay) - overlap_ns(interval, allowed) - overlap_ns(interval, still)
        if rest > BLOCKED_NS:
            found.append(
                f"{name}: packet {int(line['number'])} of sender {int(line['life'])}, queued at "
                f"{interval[0]}, came {delay / 1e6:.1f} ms later; {rest / 1e6:.1f} ms of that are "
                "explained by nothing"
            )
    return (
        [f"{name}: {len(found)} packets blocked for more than 100 ms"] if found else []
    ) + found[:2]


def recovery_ns(arrivals: Any, death_ns: int) -> int | None:
    """How long after the death of a worker the first packet left that was queued after it. None if
    nothing came within 5 s."""
    after = arrivals[
        (arrivals["arrived_ns"] > death_ns + 100_000)
        & (arrivals["enqueued_ns"] < death_ns + 5_000 * MS)
        & (arrivals["enqueued_ns"] > death_ns)
    ]
    if not len(after):
        return None
    return int(after["arrived_ns"].min()) - death_ns


def check_delivered(
    name: str, delivered: Any, injected: dict[int, int], counted_lost: int, sums: Sums
) -> list[str]:
    """Every datagram that was sent to a channel was read by the witness, or was counted as lost."""
    found = []
    for life, total in injected.items():
        numbers = delivered["number"][delivered["life"] == life]
        unique = np.unique(numbers)
        if len(unique) != len(numbers):
            found.append(f"{name}: {len(numbers) - len(unique)} datagrams were delivered twice")
        if (np.diff(numbers) < 0).any():
            found.append(f"{name}: datagrams of one socket were delivered out of order")
        missing = total - len(unique)
        sums.counts["datagrams"] += total
        sums.counts["datagrams_delivered"] += len(unique)
        sums.counts["datagrams_counted_lost"] += counted_lost
        if missing > counted_lost:
            gone = np.setdiff1d(np.arange(total), unique)
            found.append(
                f"{name}: {missing} of {total} datagrams were not delivered, {counted_lost} are "
                f"counted as lost; missing: {some(gone.tolist())}"
            )
    return found
