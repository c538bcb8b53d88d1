"""`shmring.net.measure` against a reflector that loses, repeats, reorders, restarts and lies."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pickle
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kit.wire import free_port, udp
from stamp_reflector import NS_PER_S, Reflector, reflecting, reply, request, sequence_of

import shmring
from shmring.net import probes, traffic

COUNT = 240  # so few that all replies fit into a receive buffer, should they come at once
WAIT_S = 1.5  # for replies, where some never come
PPS = 1200.0
LATE_NS = NS_PER_S  # a busy machine is no fault here
HELLO = 6  # sequences that the first exchange may have

pytestmark = pytest.mark.usefixtures("shmring_namespace")


@pytest.fixture
def reflector() -> Iterator[Reflector]:
    with reflecting() as made:
        yield made


def measure(reflector: Reflector, pool: shmring.Pool, **how: Any) -> probes.MeasureReport:
    how.setdefault("timeout", 10.0)  # a busy machine may stop the reflector's thread
    how.setdefault("late_ns", LATE_NS)
    flow = traffic.Flow(pps=PPS, count=COUNT, size=how.pop("size", 44))
    return probes.measure(reflector.address, flow, pool=pool, **how)


def in_run(reflector: Reflector) -> bool:
    """Whether it answers the measurement: the first exchange has few probes."""
    return reflector.number > 2 * HELLO


def test_a_path_without_faults(reflector: Reflector, shmring_pool: shmring.Pool) -> None:
    told: list[probes.MeasureProgress] = []
    report = measure(reflector, shmring_pool, progress=told.append)
    assert (report.sent, report.received, report.lost) == (COUNT, COUNT, 0)
    assert report.reflector_counts
    assert report.round.count == report.forward.count == COUNT - report.late
    assert 0 < report.forward.min_ns <= report.forward.max_ns
    assert report.backward.min_ns > 0
    assert report.round.min_ns >= report.forward.min_ns + report.backward.min_ns - 1
    assert report.clocks.kind == "same"
    assert not report.clocks.contradicted
    assert report.verdict == f"The network lost none of {COUNT} packets"
    assert sum(sample.sent for sample in report.samples) == COUNT
    assert told[-1].share == 1.0
    assert told[-1].sent == COUNT
    assert json.loads(json.dumps(report.to_dict()))["sent"] == COUNT
    assert pickle.loads(pickle.dumps(report)).sent == COUNT
    (flow,) = report.flows
    assert (flow.number, flow.sent) == (0, COUNT)


def test_flows_of_several_patterns(reflector: Reflector, shmring_pool: shmring.Pool) -> None:
    flows = [
        traffic.Flow(pps=1000, count=100, pattern="poisson"),
        traffic.Flow(pps=2000, count=300, burst=10, size=(44, 1400)),
        traffic.Flow(pps=traffic.ramp(100, 2000, 0.5), seconds=0.5, size="imix"),
    ]
    with pytest.raises(ValueError, match="size of flow 3 is imix"):  # an Ethernet frame of 64 bytes
        probes.measure(reflector.address, flows, pool=shmring_pool)
    flows[2] = dataclasses.replace(flows[2], size={100: 1, 200: 1})
    report = probes.measure(reflector.address, flows, late_ns=LATE_NS, pool=shmring_pool)
    one, two, three = report.flows
    assert (one.sent, two.sent) == (100, 300)
    assert 500 < three.sent < 550
    # A reflector that a busy machine keeps from its core for long has no room for all of them.
    assert report.received == one.received + two.received + three.received
    assert report.sent == report.received + report.lost
    assert report.round.count == report.received
    assert min(one.received, two.received, three.received) > 0
    assert not report.reordered


def test_loss_has_a_direction(reflector: Reflector, shmring_pool: shmring.Pool) -> None:
    def behave(self: Reflector, packet: bytes) -> list[bytes]:
        sequence = sequence_of(packet)
        if in_run(self) and sequence % 40 == 20:
            return []  # it never came
        answer = self.answers(packet)
        return [] if in_run(self) and sequence % 100 == 90 else answer

    reflector.behave = behave
    report = measure(reflector, shmring_pool, timeout=WAIT_S)
    assert (report.lost, report.lost_forward, report.lost_backward) == (8, 6, 2)
    assert report.received == COUNT - 8
    assert report.bursts == 8
    assert report.verdict == (
        f"The network lost 8 of {COUNT} packets: 6 toward the reflector, 2 on the way back"
    )


def test_a_stateless_reflector(reflector: Reflector, shmring_pool: shmring.Pool) -> None:
    def behave(self: Reflector, packet: bytes) -> list[bytes]:
        self.answers(packet)
        sequence, now_ns = sequence_of(packet), self.now_ns()
        lost = in_run(self) and 100 <= sequence < 110
        return [] if lost else [reply(packet, sequence, now_ns, now_ns)]

    reflector.behave = behave
    report = measure(reflector, shmring_pool, timeout=WAIT_S)
    assert not report.reflector_counts
    assert (report.lost, report.lost_unplaced, report.longest_burst) == (10, 10, 10)


def test_duplicates_and_reordering(reflector: Reflector, shmring_pool: shmring.Pool) -> None:
    held: list[bytes] = []

    def behave(self: Reflector, packet: bytes) -> list[bytes]:
        answer = self.answers(packet)
        sequence = sequence_of(packet)
        if in_run(self) and sequence % 60 == 50:
            held.extend(answer)  # it is overtaken by three
            return []
        if in_run(self) and sequence % 60 == 53:
            return [*answer, held.pop()]
        if sequence == 190:
            answer += answer  # one reply twice
        if sequence == 220:
            answer += self.answers(packet)  # the probe came twice
        return answer

    reflector.behave = behave
    report = measure(reflector, shmring_pool)
    assert (report.received, report.lost) == (COUNT, 0)
    assert report.duplicates == 2
    assert (report.duplicates_forward, report.duplicates_backward) == (1, 1)
    assert (report.reordered, report.reordered_backward, report.most_extent) == (4, 4, 3)


def test_lies_are_told_apart(reflector: Reflector, shmring_pool: shmring.Pool) -> None:
    def behave(self: Reflector, packet: bytes) -> list[bytes]:
        answer = self.answers(packet)
        sequence, now_ns = sequence_of(packet), self.now_ns()
        number = self.number - 1
        if not in_run(self):
            return answer
        if sequence == 100:  # T3 before T2
            return [reply(packet, number, now_ns, now_ns - 1000)]
        if sequence == 101:  # it kept the probe longer than the round trip took
            return [reply(packet, number, now_ns - NS_PER_S, now_ns)]
        if sequence == 102:  # a probe that was never sent
            return [*answer, reply(struct.pack(">I", 2**31) + packet[4:], number, now_ns, now_ns)]
        if sequence == 103:  # another T1
            return [*answer, reply(packet[:8] + b"\1\2\3\4" + packet[12:], number, now_ns, now_ns)]
        if sequence == 104:  # no STAMP packet, another SSID, nothing
            return [*answer, b"x" * 43, answer[0][:14] + b"\x7f\xff" + answer[0][16:], b""]
        if sequence == 105:  # its own number is anything
            return [reply(packet, 2**32 - 5, now_ns, now_ns)]
        return answer

    reflector.behave = behave
    report = measure(reflector, shmring_pool)
    assert (report.received, report.lost) == (COUNT, 0)
    assert report.impossible == 2
    assert report.foreign == 2
    assert report.strangers == 3
    assert report.round.count == COUNT - 2


@pytest.mark.parametrize("ahead_s", [3, -100_000])
def test_another_clock_is_measured(
    reflector: Reflector, shmring_pool: shmring.Pool, ahead_s: int
) -> None:
    reflector.ahead_ns = ahead_s * NS_PER_S
    report = measure(reflector, shmring_pool)
    clocks = report.clocks
    assert (clocks.kind, clocks.contradicted) == ("measured", False)
    assert clocks.error_ns is not None
    assert abs(clocks.offset_ns - reflector.ahead_ns) <= clocks.error_ns
    assert min(report.forward.min_ns, report.backward.min_ns) >= -clocks.error_ns
    assert "ns ahead" in clocks.text


def test_a_wrong_assumption_is_found(reflector: Reflector, shmring_pool: shmring.Pool) -> None:
    reflector.ahead_ns = -NS_PER_S
    report = measure(reflector, shmring_pool, clock="same")
    assert report.clocks.contradicted
    assert report.forward.negative == report.forward.count
    assert "wrong" in report.clocks.text
    assert report.round.min_ns > 0


def test_a_clock_is_stepped(reflector: Reflector, shmring_pool: shmring.Pool) -> None:
    def behave(self: Reflector, packet: bytes) -> list[bytes]:
        if in_run(self) and sequence_of(packet) == COUNT // 2:
            self.ahead_ns = 5 * NS_PER_S
        return self.answers(packet)

    reflector.behave = behave
    report = measure(reflector, shmring_pool)
    assert report.clocks.contradicted
    assert report.received == COUNT
    assert report.round.max_ns < 5 * NS_PER_S


def test_a_reflector_is_killed_and_restarted(
    reflector: Reflector, shmring_pool: shmring.Pool
) -> None:
    def behave(self: Reflector, packet: bytes) -> list[bytes]:
        sequence = sequence_of(packet)
        if in_run(self) and 100 <= sequence < 200:
            return []
        if in_run(self) and sequence == 200:
            self.number = 0
            self.behave = Reflector.answers
        return self.answers(packet)

    reflector.behave = behave
    report = measure(reflector, shmring_pool, timeout=WAIT_S)
    assert report.restarts == 1
    assert (report.lost, report.lost_forward) == (100, 100)


def test_a_reflector_is_killed_for_good(reflector: Reflector, shmring_pool: shmring.Pool) -> None:
    def behave(self: Reflector, packet: bytes) -> list[bytes]:
        return [] if in_run(self) and sequence_of(packet) >= 140 else self.answers(packet)

    reflector.behave = behave
    report = measure(reflector, shmring_pool, timeout=WAIT_S)
    assert (report.received, report.lost, report.lost_unplaced) == (140, 100, 100)
    assert report.verdict.endswith("in an unknown direction")


def test_what_leaves_late_is_left_out(reflector: Reflector, shmring_pool: shmring.Pool) -> None:
    report = measure(reflector, shmring_pool, late_ns=0)
    assert report.late > 0
    assert report.received == COUNT
    assert report.round.count == COUNT - report.late
    assert "left late here" in report.verdict


def test_a_killed_worker_is_not_the_network(
    reflector: Reflector, shmring_pool: shmring.Pool
) -> None:
    def kill(now: probes.MeasureProgress) -> None:
        if len(killed) < 1:
            (worker,) = shmring_pool.workers()
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
            killed.append(now.sent)

    killed: list[int] = []
    report = probes.measure(
        reflector.address,
        traffic.Flow(pps=500),
        seconds=1.5,
        late_ns=LATE_NS,
        pool=shmring_pool,
        progress=kill,
    )
    assert killed
    assert report.sent + report.not_sent + report.failed + report.unreported >= report.received
    assert report.received > killed[0]
    assert report.received + report.lost == report.sent


def test_it_can_be_stopped(reflector: Reflector, shmring_pool: shmring.Pool) -> None:
    made = probes.Measurement(
        reflector.address,
        seconds=None,
        pool=shmring_pool,
        progress=lambda now: made.stop() if now.received > 50 else None,
    )
    report = made.run()
    assert report.stopped
    assert report.received > 50
    assert report.sent == report.received + report.lost


def test_it_can_be_stopped_while_nobody_answers(shmring_pool: shmring.Pool) -> None:
    with udp() as silent:
        made = probes.Measurement(silent.getsockname(), pool=shmring_pool)
        threading.Timer(0.1, made.stop).start()
        with pytest.raises(shmring.ReceiveTimeout, match="stopped before"):
            made.run()


def test_ipv6(shmring_pool: shmring.Pool) -> None:
    with contextlib.suppress(OSError), reflecting("::1") as reflector:
        report = measure(reflector, shmring_pool)
        assert report.received == COUNT
        with pytest.raises(ValueError, match="both must be IPv4 or both IPv6"):
            measure(reflector, shmring_pool, local=("127.0.0.1", 0))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_nobody_is_there(shmring_pool: shmring.Pool, host: str) -> None:
    port = free_port()
    with pytest.raises(
        shmring.ReceiveTimeout, match="start `shmring reflect --sessions 4096` there"
    ) as failed:
        probes.measure((host, port), pool=shmring_pool)
    assert isinstance(failed.value, TimeoutError)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"flows": traffic.Flow(pps=float("nan"))}, "pps is nan"),
        ({"flows": traffic.Flow(size=43)}, "44 bytes or more"),
        ({"flows": traffic.Flow(to="127.0.0.1")}, "all go to the reflector"),
        ({"seconds": -1}, "seconds is -1"),
        ({"timeout": 0}, "timeout is 0"),
        ({"late_ns": -1}, "late_ns is -1"),
        ({"clock": "mine"}, "clock is 'mine'"),
    ],
)
def test_arguments_are_checked(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        probes.Measurement("127.0.0.1", **how)


@pytest.mark.parametrize("bytes_kept", [41, 44])
def test_a_reflector_that_does_not_echo_the_session(
    reflector: Reflector, shmring_pool: shmring.Pool, bytes_kept: int
) -> None:
    """It knows RFC 8762 alone, or is one of TWAMP, whose replies may have 41 bytes."""

    def forgets(self: Reflector, packet: bytes) -> list[bytes]:
        (made,) = self.answers(packet)
        return [(made[:14] + bytes(2) + made[16:])[:bytes_kept]]

    reflector.behave = forgets
    each = COUNT // 2
    flows = [traffic.Flow(pps=PPS, count=each, size=44, after_s=n * 1e-4) for n in range(2)]
    report = probes.measure(
        reflector.address, flows, pool=shmring_pool, timeout=10, late_ns=LATE_NS
    )
    assert (report.sent, report.received, report.lost) == (COUNT, COUNT, 0)
    assert [flow.received for flow in report.flows] == [each, each]
    assert (report.strangers, report.foreign) == (0, 0)


def test_a_rate_does_not_count_the_time_of_waiting(
    reflector: Reflector, shmring_pool: shmring.Pool
) -> None:
    """The last probes are lost, and their time-out is ten times as long as the sending."""
    last = COUNT - 10
    reflector.behave = lambda self, packet: (
        [] if in_run(self) and sequence_of(packet) >= last else self.answers(packet)
    )
    report = measure(reflector, shmring_pool, timeout=2.0)
    assert report.seconds < 1.5
    assert report.rate_pps > COUNT / 1.5


def test_a_stream_of_somebody_else(shmring_pool: shmring.Pool) -> None:
    port = free_port()
    sent = [*range(50), *range(52, 80), 81, 80, *range(82, 100), 99]  # without 50 and 51

    def send() -> None:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
        ):
            while not told:
                one.sendto(request(0, time.time_ns()), ("127.0.0.1", port))
                time.sleep(0.01)
            for sequence in sent:
                one.sendto(request(sequence, time.time_ns()), ("127.0.0.1", port))
            other.sendto(request(7, time.time_ns()), ("127.0.0.1", port))
            one.sendto(b"no probe", ("127.0.0.1", port))

    told: list[probes.MeasureProgress] = []
    sender = threading.Thread(target=send)
    sender.start()
    report = probes.Listening(
        ("127.0.0.1", port), seconds=1, timeout=0.2, pool=shmring_pool, progress=told.append
    ).run()
    sender.join()
    assert report.listening
    assert (report.sent, report.received, report.lost) == (100, 98, 2)
    assert (report.reordered, report.longest_burst, report.strangers) == (1, 2, 2)
    assert report.duplicates >= 2
    assert report.forward.count == 98
    assert report.forward.min_ns > 0
    assert report.verdict == "The network lost 2 of 100 packets"
    assert report.host[0] == "127.0.0.1"


def test_a_listener_counts_packets_that_are_too_short_to_be_answered(
    shmring_pool: shmring.Pool,
) -> None:
    with udp() as sock:
        place = sock.getsockname()
    listening = probes.Listening(place, seconds=1.5, timeout=1.0, pool=shmring_pool)
    reports: list[probes.MeasureReport] = []
    thread = threading.Thread(target=lambda: reports.append(listening.run()))
    thread.start()
    time.sleep(0.2)
    flow = traffic.Flow(pps=1000, size={16: 1, 43: 1, 44: 1}, count=200)
    shmring.net.generate(place, flow, pool=shmring_pool)
    thread.join()
    report = reports[0]
    assert (report.sent, report.received, report.strangers) == (200, 200, 0)
    assert report.verdict == "The network lost none of 200 packets"


def test_nobody_sends_to_a_listener(shmring_pool: shmring.Pool) -> None:
    listening = probes.Listening(("127.0.0.1", 0), pool=shmring_pool)
    threading.Timer(0.1, listening.stop).start()
    report = listening.run()
    assert (report.received, report.seconds) == (0, 0.0)
    waited = probes.Listening(("127.0.0.1", 0), wait=0.2, pool=shmring_pool).run()
    assert (waited.received, waited.stopped) == (0, False)


def test_who_answers_something_else_is_told_from_silence(
    reflector: Reflector, shmring_pool: shmring.Pool
) -> None:
    reflector.behave = lambda _, packet: [bytes(len(packet))]
    with pytest.raises(shmring.ReceiveTimeout, match=r"\d+ packets came, but they are no STAMP"):
        measure(reflector, shmring_pool)


def test_an_interface_is_the_zone_of_a_link_local_reflector(shmring_pool: shmring.Pool) -> None:
    with pytest.raises(OSError, match="fe80::1%"):
        shmring.net.measure("fe80::1", interface="lo", seconds=0.1, pool=shmring_pool)
