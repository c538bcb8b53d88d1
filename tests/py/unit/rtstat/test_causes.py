"""What rtstat makes of late packets and events: numbers in, words out."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from rtstat import causes, timeline
from rtstat.clocks import Clocks
from rtworkers.page import PageFacts
from shmring.observe import DistinctError, Event, LatePacket, event_kinds
from shmring.types import Stamp, Verdict

US = 1_000
MS = 1_000_000
S = 1_000_000_000
T = 1_000 * S

CLOCKS = Clocks(T, 1_700_000_000 * S)


def packet(verdict: Verdict = Verdict.WOKE_LATE, *, due: int = T, **changes: Any) -> LatePacket:
    fields: dict[str, Any] = {
        "sequence": 7,
        "verdict": verdict,
        "scheduled_ns": due,
        "enqueued_ns": due - 20 * MS,
        "woken_ns": due + 5 * MS,
        "sent_ns": due + 5 * MS,
        "handed_ns": due + 6 * MS,
        "stamped_ns": 0,
        "stamp": Stamp.NONE,
        "error": 0,
        "batch": 1,
        "noted_mono_ns": due + 6 * MS,
        "producer_slot": 1,
        "producer_pid": 4242,
    }
    return LatePacket(**(fields | changes))


def event(kind: str, at: int = T, *, count: int = 1, channel: str | None = None, **n: int) -> Event:
    row = next(row for row in event_kinds() if row.name == kind)
    numbers = {name: n.get(name, 0) for name in row.numbers if name}
    return Event(kind, row.text, at, at, count, numbers, channel, 0, "plant", "line-1", 0, 99)


def worker(policy: str = "fifo") -> PageFacts:
    named = (99, "line-1", "plant", 1, 1, policy, 80, True, "balanced")
    return PageFacts(*named, *([0] * 12), True, 0)


def explain(packets: list[LatePacket], *events: Event, policy: str = "fifo") -> causes.Finding:
    case = causes.spells("ctl", packets, events, worker(policy))[0]
    return causes.explain(case)


QUEUED_LATE = {"enqueued_ns": T + 4 * MS, "woken_ns": T + 5 * MS}
SENDER = packet(Verdict.ENQUEUED_LATE, **QUEUED_LATE)
SLOWLY = packet(Verdict.ENQUEUED_LATE, enqueued_ns=T + 4 * MS, woken_ns=T + 90 * MS)
ALONE = packet(Verdict.ENQUEUED_LATE, enqueued_ns=T + 4 * MS)
AWAY = event("missed_wake", late_ns=5 * MS)
AWAY_MEANWHILE = event("missed_wake", T + 5 * MS, late_ns=5 * MS)
LONG_MEANWHILE = event("long_loop", T + 5 * MS, took_ns=9 * MS, off_cpu_ns=4 * MS)
NO_CLASS = "any other process may have its core -> give the workers real-time priority: shmring"

SPELLS: list[tuple[str, list[LatePacket], list[Event], str]] = [
    ("worker_restart", [packet()], [event("channel_taken_over", channel="ctl")], "post-mortem"),
    ("held", [packet()], [event("channel_released", channel="ctl")], "after its release"),
    ("failed", [packet(Verdict.FAILED, error=errno.ENETUNREACH)], [], "ip route"),
    ("failed", [packet(Verdict.FAILED, error=errno.EPERM)], [], os.strerror(errno.EPERM)),
    ("failed", [packet(Verdict.FAILED, error=9999)], [], "errno 9999"),
    ("sender_late", [ALONE], [], "the sender was late, not the worker (process 4242)"),
    ("sender_late", [packet(Verdict.DROPPED_LATE, enqueued_ns=T + 4 * MS)], [], "not the worker"),
    ("no_room", [packet(Verdict.SEND_SLOW)], [event("send_no_room", errno=11)], "1 times"),
    ("stopped", [packet()], [AWAY], "it came back 5.00 ms late"),
    ("stopped", [packet()], [event("long_loop", took_ns=6 * MS, off_cpu_ns=5 * MS)], "SIGSTOP"),
    ("busy", [packet()], [event("long_loop", took_ns=6 * MS, off_cpu_ns=0)], "took 6.00 ms"),
    ("throttled", [packet()], [event("forced_rest", rest_ns=30 * US, count=70)], "70 times"),
    ("woke_late", [packet()], [], 'profile="latency"'),
    ("queued_behind", [packet(Verdict.QUEUED_BEHIND)], [], "Pool(cpus=[...])"),
    ("producer_halted", [packet(Verdict.PRODUCER_HALTED)], [], "in the middle of a send"),
    ("send_slow", [packet(Verdict.SEND_SLOW)], [], "up to 1.00 ms for one send call"),
    ("send_slow", [packet(Verdict.SEND_SLOW, handed_ns=0)], [], "the kernel was slow ->"),
    ("dropped", [packet(Verdict.DROPPED_LATE)], [], 'late="drop"'),
    ("mixed", [packet(), packet(Verdict.SEND_SLOW)], [], "woke_late (1), send_slow (1)"),
    # what happened an age before or after, to another channel, or too little to matter
    ("woke_late", [packet()], [event("missed_wake", T - S, late_ns=5 * MS)], ""),
    ("woke_late", [packet()], [event("missed_wake", T + S, late_ns=5 * MS)], ""),
    ("woke_late", [packet()], [event("channel_taken_over", channel="other")], ""),
    ("woke_late", [packet(sent_ns=T + 80 * MS)], [event("missed_wake", late_ns=2 * MS)], ""),
    ("sender_late", [ALONE], [AWAY], "not the worker"),
    # a sender is not blamed while the worker stood still
    ("stopped", [SENDER], [AWAY_MEANWHILE], "They were also queued late, by 4.00 ms"),
    ("stopped", [SENDER], [LONG_MEANWHILE], "They were also queued late"),
    ("sender_late", [SENDER], [event("missed_wake", T + 5 * MS, late_ns=US)], "not the worker"),
    ("sender_late", [SENDER], [event("missed_wake", T - 2 * MS, late_ns=9 * MS)], "not the worker"),
    ("sender_late", [SLOWLY], [], "the worker took them up 86.0 ms after that"),
]


@pytest.mark.parametrize(("cause", "packets", "events", "words"), SPELLS)
def test_the_cause(cause: str, packets: list[LatePacket], events: list[Event], words: str) -> None:
    found = explain(packets, *events)
    assert found.cause == cause
    assert words in f"{found.conclusion} -> {'; '.join(found.advice)}"
    assert found.advice
    assert ("not the worker" in found.conclusion) <= (cause == "sender_late")


def test_each_cause_has_a_case() -> None:
    without_class = {"preempted"}
    assert {row.name for row in causes.CAUSES} == {row[0] for row in SPELLS} | without_class


@pytest.mark.parametrize(("cause", "events"), [("preempted", [AWAY]), ("woke_late", [])])
def test_without_a_real_time_class_that_is_the_first_thing_to_mend(
    cause: str, events: list[Event]
) -> None:
    found = explain([packet()], *events, policy="other")
    assert found.cause == cause
    assert NO_CLASS in f"{found.conclusion} -> {found.advice[0]}"


def test_the_worker_is_acquitted_only_if_it_ran() -> None:
    (case,) = causes.spells("ctl", [SENDER], [], worker(), stands_still=True)
    said = causes.explain(case).conclusion
    assert "before the worker came to its standstill" in said
    assert "not the worker" not in said


def test_a_late_sender_is_told_by_how_much() -> None:
    packets = [
        packet(Verdict.ENQUEUED_LATE, enqueued_ns=T + late * MS, sequence=late)
        for late in (1, 2, 30)
    ]
    found = explain(packets)
    assert "2.00 ms (median) after they were due, 30.0 ms at most" in found.conclusion
    assert "process 4242" in found.conclusion
    assert "at least 30.0 ms" in found.advice[0]


def test_spells_are_parted_by_a_second_of_quiet() -> None:
    dues = [T, T + MS, T + 3 * S, T + 3 * S + MS, T + 9 * S]
    packets = [packet(due=due, sequence=i) for i, due in enumerate(dues)]
    found = causes.spells("ctl", packets[::-1], [])
    assert [[p.sequence for p in case.packets] for case in found] == [[4], [2, 3], [0, 1]]
    assert causes.spells("ctl", [], []) == []


def test_a_spell_knows_the_events_of_its_time_only() -> None:
    events = [event("forced_rest", T + at, rest_ns=1) for at in (-S, 0, 5 * MS, S)]
    (case,) = causes.spells("ctl", [packet()], events)
    assert [e.mono_ns for e in case.events] == [T, T + 5 * MS]


def test_what_they_have_in_common() -> None:
    packets = [packet(sequence=i, batch=3) for i in range(3)]
    (case,) = causes.spells("ctl", packets, [])
    said = "\n".join(causes.common(case))
    for words in (
        "3 packets",
        "the same verdict: woke_late",
        "queued by the same: process 4242",
        "same time",
        "up to 3 left in one call",
        "5.00 ms (median)",
    ):
        assert words in said
    assert causes.common_facts(case)["verdicts"] == {"woke_late": 3}
    packets[1] = packet(Verdict.SEND_SLOW, due=T + MS, producer_pid=17)
    (case,) = causes.spells("ctl", packets, [])
    said = "\n".join(causes.common(case))
    assert "verdicts: woke_late (2), send_slow (1)" in said
    assert "process 17 (1)" in said
    assert "same time" not in said


def test_a_line_of_time_is_relative_to_the_deadline() -> None:
    late = packet(stamped_ns=T + 7 * MS, stamp=Stamp.KERNEL)
    assert timeline.relative(late) == {
        "enqueued_ns": -20 * MS,
        "woken_ns": 5 * MS,
        "sent_ns": 5 * MS,
        "handed_ns": 6 * MS,
        "wire_ns": 7 * MS,
    }
    text = timeline.packet_table([late], CLOCKS)
    assert "-20.0 ms" in text
    assert "+7.00 ms (kernel)" in text
    assert "process 4242" in text
    dropped = packet(Verdict.DROPPED_LATE, sent_ns=0, handed_ns=0, producer_pid=0)
    text = timeline.packet_table([dropped], CLOCKS)
    assert timeline.relative(dropped)["sent_ns"] is None
    assert "slot 1, gone since" in text


def test_the_channels_clock_is_joined_to_the_recorders() -> None:
    tai = 37 * S
    late = packet(due=T + tai, noted_mono_ns=T + 6 * MS)
    assert timeline.due_mono_ns(late) == T
    (case,) = causes.spells("ctl", [late], [event("forced_rest", T, rest_ns=1)])
    assert len(case.events) == 1


def test_a_packet_without_a_deadline_is_due_when_it_is_queued() -> None:
    late = packet(scheduled_ns=0, enqueued_ns=T - MS)
    assert late.late_ns == 6 * MS
    assert timeline.relative(late)["enqueued_ns"] == 0
    assert "(at once)" in timeline.packet_table([late], CLOCKS)


def test_events_in_words() -> None:
    burst = event("missed_wake", count=4, late_ns=5 * MS, asked_mono_ns=17)
    assert timeline.event_text(burst) == "the worker woke up late (late 5.00 ms at most), 4 times"
    late = event("late_packets", verdict=2, late_ns=MS, sequence=7)
    assert timeline.event_text(late) == "packets were late: woke_late (late 1.00 ms, sequence 7)"
    assert "on any core" in timeline.event_text(event("worker_started", cpu=-1))
    failed = event("channel_failed", errno=errno.ENOMEM)
    assert os.strerror(errno.ENOMEM) in timeline.event_text(failed)
    for row in event_kinds():
        assert timeline.event_text(event(row.name))


def test_errors_in_words() -> None:
    names = ("send_failed", "refused", "", "errno", errno.EPERM, 3, T, T, None)
    problem = DistinctError(*names, "plant", "line-1", 0, "worker")
    assert timeline.error_text(problem) == f"refused: {os.strerror(errno.EPERM)}"
    assert "worker 0" in timeline.error_table([problem], CLOCKS)


@pytest.mark.parametrize("mono_ns", [-(2**63), -1, 0, T, 2**63 - 1])
def test_any_time_can_be_said(mono_ns: int) -> None:
    assert CLOCKS.wall(mono_ns)
    assert CLOCKS.ago(mono_ns)
