"""What counts as a trouble: the rules alone, on made-up views, and their list."""

from __future__ import annotations

from typing import Any

import pytest
from rtstat_views import MS, NOW, OPENER, READER, WORKER, channel, pool, worker

from rtstat import evidence, troubles
from rtstat.clocks import Clocks
from rtstat.numbers import CHANNEL_WORDS, ENGINE_WORDS, NS_PER_S
from rtstat.progress import SENT, Stood, advance
from rtstat.table import FIELD
from rtstat.trouble_text import WIDTH, headline, line, paragraphs
from rtstat.troubles import RULES, Recent, judge, verdict
from rtstat.views import ChannelView, PoolView, Unreadable, WorkerView
from rtworkers import layout
from rtworkers.history import Event
from shmring.observe import event_kinds

STILL = {"heartbeat_mono_ns": NOW - 5 * NS_PER_S}
GONE = {"opener": "gone"}
NOBODY = {"producers": 0}
LINK = {"watch_ns": 50 * MS, "timeouts": 2, "last_accepted_mono_ns": NOW - 3 * NS_PER_S}
SLOW = (0, READER, 100, 50, 7000)
AGO = NOW - 3 * NS_PER_S
FULL = {"tx_waiting": 64, "tx_next_sequence": 100}
STALLED = {"data_ns": 3 * NS_PER_S, "flight_packets": 9, "unsent_bytes": 70_000}
CONNECTED = STALLED | {"state": layout.UDT_STATE["connected"]}

TROUBLED: dict[str, tuple[Any, list[str]]] = {
    "worker_dead": (worker(STILL, worker="Z"), ["dead for 5", "rtstat errors"]),
    "worker_stopped": (worker(STILL, worker="T"), ["stopped", "kill -CONT 10"]),
    "worker_stalled": (worker(STILL), ["no sign of life", "shmring doctor"]),
    "worker_restarted": (
        worker({"restarts": 2, "started_mono_ns": NOW - 9 * NS_PER_S}),
        ["9.00 s ago. This has happened 2 times"],
    ),
    "pool_stopped": (
        pool(worker(), state="stopped"),
        ["process 5 has been stopped", "nobody can open or close a channel", "kill -CONT 5"],
    ),
    "pool_gone": (
        pool(worker(), state="dead"),
        ["process is dead", "shmring up plant/line"],
    ),
    "unreadable": (Unreadable("plant", "ctl", "channel", "cut short", True), ["cut short", "gc"]),
    "channel_failed": (channel({"state": 4}, failure="no such device"), ["no such device"]),
    "channel_unserved": (channel(STILL), ["served it for 5.00 s"]),
    "no_producer": (
        channel(NOBODY, engine="cyclic", part={"updates": 1}, readers=SLOW, states=GONE),
        ["process 20, which opened it, is dead", "fail-safe values", "shmring end plant/ctl"],
    ),
    "orphaned": (channel(NOBODY, states=GONE, direction="rx"), ["no process is attached"]),
    "late": (
        channel(
            {"tx_enqueued_late": 8_000_250, "tx_on_time": 750}, {"tx_enqueued_late": 8_000_000}
        ),
        ["25.0 % of the packets", "250 packets", "8.00 M in total", "rtstat why plant/ctl"],
    ),
    "dropped_late": (channel({"tx_dropped_late": 7}), ["7 packets dropped", 'late="send"']),
    "send_failed": (channel({"tx_failed": 1}), ["refused 1 packet within", "why plant/ctl"]),
    "send_ring_full": (
        channel(FULL | {"tx_retries": 9}, FULL, stood={SENT: (36, AGO)}, tx_capacity=64),
        ["100 % full with 64 packets", "the kernel has taken none for at least 3.00 s", "tc -s"],
    ),
    "kernel_drops": (
        channel({"rx_kernel_drops": 100, "rx_received": 9_900, "rx_bytes": 9_900 * 180}),
        [
            "dropped 100 packets",
            "Socket(rcvbuf_bytes=2097152), which net.core.rmem_max must allow: that holds",
        ],
    ),
    "never_read": (
        channel(
            {"rx_received": 1000, "rx_overwritten": 40},
            readers=(0, READER, 0, 40, 300),
            readers_before=(0, READER, 0, 10, 300),
        ),
        ["process 30 (python3) attached and has never read", "300 packets wait", "40 packets were"],
    ),
    "overwritten": (
        channel(
            {"rx_received": 1000, "rx_overwritten": 40},
            readers=SLOW,
            readers_before=(0, READER, 90, 10, 0),
            rx_capacity=300,
        ),
        ["40 packets", "process 30 (python3) is 7000 packets behind", "rx=1024 (now 300)"],
    ),
    "reader_stuck": (
        channel(
            {"rx_unread_bytes": 65000},
            readers=SLOW,
            stood={SLOW[:2]: (100, AGO)},
            overflow="wait",
        ),
        ["process 30 (python3) has taken nothing for at least 3.00 s", 'overflow="oldest"'],
    ),
    "link_silent": (channel(engine="netflux", part=LINK), ["silent for 3.00 s", "2 times"]),
    "rtp_loss": (
        channel(
            engine="rtp",
            part={"lost": 30, "delivered": 70, "concealed_ns": 600 * MS},
            part_before={"delivered": 0},
        ),
        ["30.0 % of the frames", "600 ms of media", "nack=Nack()"],
    ),
    "rtp_loss_there": (
        channel(engine="rtp", part={"reported_fraction_lost": 64, "report_mono_ns": NOW - MS}),
        ["25.0 % of our packets", "1.00 ms ago"],
    ),
    "values_stale": (
        channel(engine="cyclic", part={"stale": 3, "sent_failsafe": 12}),
        ["12 packets with old or fail-safe", "3 times"],
    ),
    "not_heard": (
        channel(engine="netflux", part=LINK | {"alive": 1, "hear_ns": 100 * MS, "unheard": 1}),
        ["not acknowledged our packets for 100 ms", "tap plant/ctl"],
    ),
    "ports_lost": (channel(engine="mux", part={"lost": 2}), ["2 ports could not"]),
    "flows_refused": (
        channel(engine="proxy", part={"flows": 64, "forward_no_flow": 9}),
        ["9 packets of new clients got no flow", "beside 64 flows", "Proxy(flows=...)"],
    ),
    "connection_lost": (channel(engine="udt", part={"state": 6}), ["is lost", "connect again"]),
    "connection_stalled": (
        channel(engine="udt", part={"state": 2, **STALLED}, part_before=STALLED),
        ["nothing was acknowledged", "70.0 kB"],
    ),
}


def find(view: Any, *others: ChannelView) -> tuple[troubles.Trouble, ...]:
    of = {WorkerView: 0, ChannelView: 1, PoolView: 2, Unreadable: 3}
    given: list[list[Any]] = [[], list(others), [], []]
    given[of[type(view)]].append(view)
    return judge(*given)


def test_each_rule_has_a_case() -> None:
    assert set(TROUBLED) == {rule.name for rule in RULES}
    assert [rule.severity for rule in RULES] == sorted(rule.severity for rule in RULES)


@pytest.mark.parametrize("name", TROUBLED)
def test_a_rule_finds_its_trouble_and_no_other_does(name: str) -> None:
    view, words = TROUBLED[name]
    (found,) = find(view)
    (rule,) = (rule for rule in RULES if rule.name == name)
    assert (found.name, found.severity, found.view) == (name, rule.severity, view)
    said = f"{found.text} -> {found.fix}"
    for word in words:
        assert word in said, said
    assert found.figure > 0 or name in ("channel_failed", "pool_stopped", "pool_gone")


WELL: dict[str, Any] = {
    "nothing": channel(),
    "worker": worker(),
    "pool": pool(worker()),
    "a pool in another pid namespace": pool(worker(worker="gone"), state="dead"),
    "a worker in another pid namespace": worker(worker="gone"),
    "an opener in another pid namespace": channel(NOBODY, states=GONE | {"worker": "gone"}),
    "the opener is dead, and another sends": channel(states=GONE),
    "a grid of ticks whose opener is dead": channel(
        NOBODY, engine="cyclic", readers=SLOW, states=GONE
    ),
    "an old restart": worker({"restarts": 1}),
    "a file of another user": Unreadable("plant", "ctl", "channel", "denied", False),
    "few late": channel({"tx_woke_late": 9, "tx_on_time": 991}),
    "a bulk sender without deadlines": channel({"tx_queued_behind": 900, "tx_immediate": 1000}),
    "timed packets beside bulk": channel(
        {"tx_queued_behind": 900, "tx_immediate": 900}, timed=((900, 100),)
    ),
    "two late of many": channel({"tx_woke_late": 2, "tx_on_time": 48}),
    "what does not grow": channel(
        *[{"tx_woke_late": 9, "tx_failed": 9, "rx_kernel_drops": 9, "rx_overwritten": 9}] * 2
    ),
    "a sender as fast as it can be": channel(
        FULL | {"tx_retries": 9}, FULL, stood={SENT: (36, NOW - 200 * MS)}, tx_capacity=64
    ),
    "a ring of packets queued ahead": channel(
        *[FULL | {"scheduled": 64}] * 2, stood={SENT: (36, AGO)}, tx_capacity=64
    ),
    "a ring that the worker has not seen yet": channel(
        FULL, FULL | {"scheduled": 64}, stood={SENT: (36, AGO)}, tx_capacity=64
    ),
    "a reader that is merely slow": channel(
        {"rx_unread_bytes": 65000},
        readers=SLOW,
        readers_before=SLOW,
        stood={SLOW[:2]: (100, NOW - 200 * MS)},
        overflow="wait",
    ),
    "a link that has just been opened": channel(
        {"opened_mono_ns": NOW - MS}, engine="netflux", part={"watch_ns": 50 * MS}
    ),
    "a link that is held": channel(
        {"state": layout.CHANNEL_STATE["held"]}, engine="netflux", part=LINK
    ),
    "a link without a watchdog": channel(engine="netflux"),
    "a link that is heard": channel(engine="netflux", part=LINK | {"alive": 1}),
    "values that are fresh again": channel(engine="cyclic", part={"stale": 3, "fresh": 1}),
    "values that never were": channel(engine="cyclic"),
    "an old report": channel(
        engine="rtp", part={"reported_fraction_lost": 64, "report_mono_ns": NS_PER_S}
    ),
    "a connection at rest": channel(engine="udt", part={"state": 2}),
    "lost frames of before": channel(engine="rtp", part={"lost": 9}, part_before={"lost": 9}),
}


@pytest.mark.parametrize("what", WELL)
def test_what_is_no_trouble(what: str) -> None:
    assert find(WELL[what]) == ()


LATE_20 = {"tx_woke_late": 20, "tx_on_time": 80}
FIFO = {"sched_policy": 1}
BULK = {"tx_queued_behind": 900, "tx_immediate": 900}
QUEUED = NOBODY | {"tx_next_sequence": 5}
RING = {"rx_unread_bytes": 65000, "rx_unread": 70}
TWO = (0, OPENER, 9, 0, 0, 1, READER, 9, 0, 0)
SHARED = {"reading": "shared", "overflow": "wait"}
HELD = FULL | {"state": layout.CHANNEL_STATE["held"]}
GIVE_CLASS = "-> give the workers real-time priority: shmring doctor realtime. For details: "
SPIN = '-> let the worker spin: profile="latency". For details: '

VARIANTS: dict[str, tuple[Any, dict[str, list[str]]]] = {
    "the only packet": (channel({"tx_woke_late": 1}), {"late": ["100 % of"]}),
    "no real-time class": (channel(LATE_20), {"late": [GIVE_CLASS]}),
    "a real-time class": (channel(LATE_20 | FIFO), {"late": [SPIN]}),
    "nothing is queued, and no real-time class": (
        channel({"tx_enqueued_late": 20, "tx_on_time": 80}, engine="cyclic"),
        {"late": [GIVE_CLASS]},
    ),
    "nothing is queued": (
        channel({"tx_enqueued_late": 20, "tx_on_time": 80} | FIFO, engine="cyclic"),
        {"late": [SPIN]},
    ),
    "beside packets without a deadline": (
        channel(BULK, timed=((900, 80), (MS, 20))),
        {"late": ["20.0 % of the packets", "20 packets ->"]},
    ),
    "a reader that never read beside a slow one": (
        channel(
            {"rx_received": 1000, "rx_overwritten": 80},
            readers=(*SLOW, 1, OPENER, 0, 40, 300),
            readers_before=(0, READER, 90, 10, 0, 1, OPENER, 0, 0, 300),
        ),
        {
            "never_read": ["process 20 (python3) attached and has never read"],
            "overwritten": ["process 30 (python3) is 7000 packets behind"],
        },
    ),
    "a reader that never read holds up the worker": (
        channel(
            {"rx_unread_bytes": 65000},
            readers=(0, READER, 0, 0, 7000),
            stood={(0, READER): (0, AGO)},
            overflow="wait",
        ),
        {"reader_stuck": ["process 30 (python3) attached and has never read"]},
    ),
    "a ring full of packets rather than bytes": (
        channel(
            {"rx_unread_bytes": 640, "rx_unread": 64},
            **{"readers": SLOW, "stood": {SLOW[:2]: (100, AGO)}},
            **{"overflow": "wait", "rx_capacity": 64},
        ),
        {"reader_stuck": []},
    ),
    "shared readers, one takes packets": (
        channel(RING, readers=TWO, stood={TWO[:2]: (9, AGO), TWO[5:7]: (9, NOW - MS)}, **SHARED),
        {},
    ),
    "shared readers that are all stuck": (
        channel(RING, readers=TWO, stood={TWO[:2]: (9, AGO), TWO[5:7]: (9, AGO)}, **SHARED),
        {"reader_stuck": []},
    ),
    "a full ring that is held": (
        channel(HELD, HELD, tx_capacity=64),
        {"send_ring_full": ["release it: shmring release plant/ctl"]},
    ),
    "a full ring of a local channel": (
        channel(FULL, FULL, stood={SENT: (36, AGO)}, engine="local", tx_capacity=64),
        {"send_ring_full": ["its readers have taken none for at least 3.00 s"]},
    ),
    "some wait for their time, and sends are retried": (
        channel(
            FULL | {"scheduled": 64, "tx_retries": 9},
            FULL,
            **{"stood": {SENT: (36, AGO)}, "engine": "local", "tx_capacity": 64},
        ),
        {"send_ring_full": ["its readers have taken none for at least 3.00 s"]},
    ),
    "a cyclic channel that was never fed": (
        channel(NOBODY, engine="cyclic", states=GONE),
        {"orphaned": []},
    ),
    "a link whose opener is dead": (
        channel(NOBODY, engine="netflux", part={"sent": 1}, states=GONE),
        {"no_producer": []},
    ),
    "a link that was never fed": (
        channel(NOBODY, engine="netflux", states=GONE),
        {"orphaned": []},
    ),
    "a program that queued packets and ended": (
        channel(QUEUED | {"tx_waiting": 3}, states=GONE),
        {"orphaned": [" to send. 3 packets still to be sent ->"]},
    ),
    "a program that queued packets and ended, and readers": (
        channel(QUEUED | {"tx_waiting": 3}, states=GONE, readers=SLOW),
        {"orphaned": [" to send. 3 packets still to be sent ->"]},
    ),
    "a program that has ended": (
        channel(QUEUED, states=GONE),
        {"orphaned": ["is dead, and no process is attached ->"]},
    ),
    "a program that has ended, and readers": (
        channel(QUEUED, states=GONE, readers=SLOW),
        {"orphaned": ["Nothing is sent on it"]},
    ),
    "a process that is not seen": (
        worker(STILL, worker="gone"),
        {
            "worker_dead": [
                "last heartbeat was 5.00 s ago, and process 10 is not seen from here",
                "dead, or stands still in another pid namespace",
            ]
        },
    ),
    "a first restart": (
        worker({"restarts": 1, "started_mono_ns": NOW - 9 * NS_PER_S}),
        {"worker_restarted": ["it was restarted 9.00 s ago -> "]},
    ),
    "frames that come too late": (
        channel(
            engine="rtp",
            part={"late": 50, "delivered": 900, "delay_ns": 40 * MS, "jitter_ns": 5 * MS},
        ),
        {"rtp_loss": ["Playout(min_delay_ns=60_000_000)"]},
    ),
    "a peer that does not read": (
        channel(engine="udt", part=CONNECTED, part_before=CONNECTED),
        {"connection_stalled": ["its program must read"]},
    ),
    "figures of the past": (
        channel(STILL | {"tx_failed": 9, "rx_overwritten": 9}, engine="netflux", part=LINK),
        {"channel_unserved": []},
    ),
}


@pytest.mark.parametrize("what", VARIANTS)
def test_what_is_said_of(what: str) -> None:
    view, wanted = VARIANTS[what]
    found = {trouble.name: f"{trouble.text} -> {trouble.fix}" for trouble in find(view)}
    assert found.keys() == wanted.keys()
    for name, words in wanted.items():
        assert all(word in found[name] for word in words), found[name]


MIXED = {"tx_queued_behind": 900, "tx_immediate": 900}


@pytest.mark.parametrize(
    ("grown", "timed", "late", "share"),
    [
        ({}, (), 0, None),
        ({"tx_woke_late": 20, "tx_on_time": 60, "tx_dropped_late": 20}, (), 40, 0.4),
        ({"tx_immediate": 900, "tx_on_time": 1000}, ((900, 100),), 0, 0.0),
        ({"tx_immediate": 900, "tx_on_time": 900}, (), 0, None),
        (MIXED, (), 0, None),
        (MIXED | {"tx_on_time": 100}, ((900, 100),), 0, 0.0),
        (MIXED | {"tx_woke_late": 20, "tx_on_time": 80}, ((900, 80), (MS, 20)), 20, 0.2),
        (MIXED | {"tx_dropped_late": 50, "tx_on_time": 50}, ((900, 50),), 50, 0.5),
    ],
)
def test_only_packets_with_a_deadline_are_late(
    grown: dict[str, int], timed: tuple[tuple[int, int], ...], late: int, share: float | None
) -> None:
    view = channel(grown, timed=timed)
    assert (view.late_delta, view.late_pps, view.late_share) == (late, late, share)
    assert (FIELD["channel", "late_share"].get(view)) == share


def test_a_dead_worker_of_a_dead_pool_can_be_taken_over() -> None:
    dead = worker(STILL, worker="gone")
    (found,) = judge([dead], [], [pool(dead, state="dead")])
    assert "shmring up plant/line" in found.fix


def test_what_a_channel_suffers_from_its_worker_is_the_workers_trouble() -> None:
    stopped = worker(STILL, worker="T")
    waiting = channel(STILL | {"tx_waiting": 12})
    (found,) = judge([stopped], [waiting])
    assert found.name == "worker_stopped"
    assert "1 channel without a worker, 12 packets not sent" in found.text
    assert troubles.concerns(found, waiting)


def test_progress_is_remembered_over_any_number_of_snapshots() -> None:
    def seen(before: Stood, waiting: int, queued: int, taken: int, at: int) -> Stood:
        numbers = {"tx_waiting": waiting, "tx_next_sequence": queued}
        now = channel(numbers, readers=(0, READER, taken, 0, 5), overflow="wait").now
        return advance(before, now, "udp", waits=True, mono_ns=at)

    first = seen({}, 5, 10, 7, 1)
    assert first == {SENT: (5, 1), (0, READER): (7, 1)}
    second = seen(first, 8, 13, 9, 2)
    assert second == {SENT: (5, 1), (0, READER): (9, 2)}
    assert seen(second, 0, 13, 9, 3) == {(0, READER): (9, 2)}


OF_THEIR_OWN: dict[str, ChannelView] = {
    "channel_failed": channel(STILL | {"state": 4, "error": 19}),
    "no_producer": channel(STILL | NOBODY, engine="cyclic", part={"updates": 1}, states=GONE),
    "orphaned": channel(STILL | NOBODY, states=GONE),
    "connection_lost": channel(STILL, engine="udt", part={"state": 6}),
    "ports_lost": channel(STILL, engine="mux", part={"lost": 2}),
}


@pytest.mark.parametrize("name", OF_THEIR_OWN)
def test_a_worker_that_stands_still_hides_no_trouble_of_another_cause(name: str) -> None:
    found = judge([worker(STILL, worker="T")], [OF_THEIR_OWN[name]])
    assert {trouble.name for trouble in found} == {"worker_stopped", name}


def test_the_order_is_severity_rule_size_subject() -> None:
    late = {"tx_woke_late": 40, "tx_on_time": 60}
    channels = [
        channel(late, name="b"),
        channel(late, name="a"),
        channel({"tx_woke_late": 3, "tx_on_time": 97}, name="0"),
        channel({"rx_kernel_drops": 5}, name="z"),
        channel({"state": 4, "error": 19}, name="y"),
    ]
    found = judge([], channels)
    assert [trouble.subject[-1] for trouble in found] == ["y", "z", "a", "b", "0"]
    assert verdict(found) == "broken"
    assert verdict(found[1:]) == "troubled"
    assert verdict(()) == "ok"


def test_what_grew_within_a_minute_stays_and_what_stood_does_not() -> None:
    recent = Recent()
    grew, stood = judge([], [channel({"rx_kernel_drops": 5})]), judge([], [channel(STILL)])
    assert recent.add((*stood, *grew), NOW) == (*stood, *grew)
    (kept,) = recent.add((), NOW + 12 * NS_PER_S)
    assert kept.text == f"{grew[0].text}. The latest 12 s ago"
    assert recent.add(grew, NOW + 20 * NS_PER_S) == grew
    assert recent.add((), NOW + 79 * NS_PER_S)
    assert recent.add((), NOW + 81 * NS_PER_S) == ()


def test_a_kept_trouble_does_not_speak_of_the_last_interval() -> None:
    recent = Recent()
    recent.add(judge([], [channel({"tx_failed": 3})]), NOW)
    (kept,) = recent.add((), NOW + 40 * NS_PER_S)
    assert kept.text.startswith("the kernel refused 3 packets within 1.00 s. ")
    assert kept.text.endswith("The latest 40 s ago")


def test_the_text() -> None:
    found = judge([], [channel({"rx_kernel_drops": 5}), channel({"state": 4}, name="x" * 64)])
    assert headline(()) == "OK: no troubles"
    assert headline(found) == "BROKEN: 2 troubles"
    assert headline(found[1:]) == "TROUBLED: 1 trouble"
    assert "\n" not in line(found)
    assert line(found[1:]).startswith("TROUBLED: 1 trouble; plant/ctl kernel_drops: the kernel")
    text = paragraphs(found)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "plant/ctl  kernel_drops" in text
    assert "-> open it with Socket(rcvbuf_bytes=" in text


# --- what they rest on ----------------------------------------------------------------------------

CLOCKS = Clocks(NOW, 1_700_000_000 * NS_PER_S)


def recorded(kind: str, at: int, count: int = 1, channel_id: int = 1) -> Event:
    return Event(kind, kind, at, at, count, {}, "ctl", channel_id, "plant", "line", 0, WORKER)


def rests(view: ChannelView, *events: Event) -> evidence.Evidence:
    (found,) = judge([], [view])
    return evidence.of(found, view, events, CLOCKS)


def test_drops_began_with_the_unbroken_row_of_their_events() -> None:
    view = channel(
        {"rx_kernel_drops": 100, "rx_received": 900, "rcvbuf_bytes": 4096},
        {"rx_kernel_drops": 40},
    )
    times = [NOW - at * NS_PER_S for at in (50, 3, 2, 1)]
    another = recorded("kernel_drops", NOW - 4 * NS_PER_S, channel_id=7)
    found = rests(view, another, *(recorded("kernel_drops", at) for at in times))
    assert found.since_mono_ns == times[1]
    assert len(found.events) == 3
    assert found.counters["rx_kernel_drops"] == 100
    assert found.grown["rx_kernel_drops"] == 60
    assert "rx_kernel_drops 100, of which 60 in 1.00 s" in found.seen
    assert any("buffer holds 3.8" in said for said in found.seen)
    over = [recorded("kernel_drops", times[0])]
    assert evidence.earlier(view, [*over, *found.events, another], [found]) == tuple(over)
    assert rests(view, *over).since_mono_ns == over[0].mono_ns
    assert rests(view, recorded("kernel_drops", NOW - 99 * NS_PER_S)).since_mono_ns is None


def test_a_silent_link_names_its_last_datagram() -> None:
    numbers = LINK | {"received_number": 42}
    found = rests(channel(engine="netflux", part=numbers, part_before=numbers))
    assert found.since_mono_ns == LINK["last_accepted_mono_ns"]
    said = " ".join(found.seen)
    assert "number 42: " in said
    assert "nothing arrives at its port" in said
    refused = channel({"rx_received": 9}, engine="netflux", part=numbers, part_before=numbers)
    assert any("datagrams arrive, and none is accepted" in said for said in rests(refused).seen)


def test_slow_readers_are_named_the_slowest_first() -> None:
    two = (0, OPENER, 990, 0, 10, *SLOW)
    found = rests(channel({"rx_received": 1000, "rx_overwritten": 40}, readers=two))
    first = next(said for said in found.seen if said.startswith("reader"))
    assert first.startswith("reader 0, process 30 (python3), is 7000 packets behind (7.00 s)")


def test_a_connection_stalls_with_the_last_acknowledgement() -> None:
    found = rests(channel(engine="udt", part=CONNECTED, part_before=CONNECTED))
    assert found.since_mono_ns == NOW - 3 * NS_PER_S


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_evidence_of_a_rule_exists(rule: troubles.Rule) -> None:
    for name in rule.counters:
        engine, _, own = name.rpartition(".")
        assert own in (ENGINE_WORDS[engine] if engine else CHANNEL_WORDS)
    assert set(rule.kinds) <= {kind.name for kind in event_kinds()}
