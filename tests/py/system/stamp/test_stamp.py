"""The reflector and the comparison of clocks, over loopback and between two namespaces."""

from __future__ import annotations

import contextlib
import math
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shmring
from shmring.net import probes
from shmring.testing.netns import NetHost

PATIENCE_S = 60.0
NTP_1970_S = 2_208_988_800
HERE = ("127.0.0.1", 0)


def request(sequence: int, size: int = 44, error: int = 1, ssid: int = 0, t1: float = 0.0) -> bytes:
    """A Session-Sender packet, written down from RFC 8762 section 4.2.1."""
    seconds = int(t1)
    fraction = int((t1 - seconds) * 2**32)
    head = struct.pack("!IIIHH", sequence, seconds + NTP_1970_S, fraction, error, ssid)
    return (head + bytes(28) + b"p" * (size - 44))[:size]


def fields(reply: bytes) -> dict[str, Any]:
    """The fields of a Session-Reflector packet, from section 4.3.1."""
    names = "sequence t3_s t3_frac error ssid t2_s t2_frac sequence1 t1_s t1_frac error1 zero ttl"
    found = dict(zip(names.split(), struct.unpack("!IIIHHIIIIIHHB", reply[:41]), strict=True))
    for name in ("t1", "t2", "t3"):
        found[name] = found[f"{name}_s"] - NTP_1970_S + found[f"{name}_frac"] / 2**32
    return found


@pytest.fixture
def reflecting(shmring_pool: shmring.Pool) -> Iterator[Callable[..., probes.Reflector]]:
    """Reflectors that answer in threads of their own."""
    with contextlib.ExitStack() as stack:

        def begin(local: tuple[str, int] = HERE, **options: Any) -> probes.Reflector:
            made = stack.enter_context(probes.Reflector(local, pool=shmring_pool, **options))
            thread = threading.Thread(target=made.serve)
            thread.start()
            stack.callback(thread.join)
            stack.callback(made.stop)
            return made

        yield begin


@pytest.fixture
def sender() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(HERE)
        sock.settimeout(PATIENCE_S)
        yield sock


def ask(sock: socket.socket, to: tuple[str, int], packet: bytes) -> bytes:
    sock.sendto(packet, to)
    return sock.recv(65536)


def test_a_reply(reflecting: Callable[..., probes.Reflector], sender: socket.socket) -> None:
    reflector = reflecting()
    before = time.time()
    asked = request(7, 100, error=0x0F84, ssid=0x1234, t1=before)
    raw = ask(sender, reflector.local, asked)
    after = time.time()
    got = fields(raw)
    assert len(raw) == 100
    assert raw[44:] == asked[44:]
    assert (got["sequence"], got["sequence1"], got["ssid"]) == (7, 7, 0x1234)
    assert raw[28:38] == asked[4:14]
    assert (got["zero"], got["ttl"], raw[41:44]) == (0, 255, bytes(3))
    assert before - 1e-3 <= got["t2"] <= got["t3"] <= after + 1e-3
    report = reflector.report()
    assert (report.fates.answered, report.failed, report.not_queued) == (1, 0, 0)
    assert report.local == reflector.local
    assert report.to_dict()["fates"]["answered"] == 1


@pytest.mark.parametrize("size", [41, 43, 1400])
def test_a_reply_is_as_long_as_its_request(
    reflecting: Callable[..., probes.Reflector], sender: socket.socket, size: int
) -> None:
    """41 bytes are a symmetric request of TWAMP Light."""
    assert len(ask(sender, reflecting().local, request(1, size))) == size


def test_ptp_timestamps(reflecting: Callable[..., probes.Reflector], sender: socket.socket) -> None:
    now_ns = time.clock_gettime_ns(time.CLOCK_TAI)
    packet = struct.pack("!IIIHH", 1, *divmod(now_ns, 10**9), 0x4001, 0) + bytes(28)
    raw = ask(sender, reflecting().local, packet)
    error, t2_s, t2_ns = struct.unpack_from("!12xHxxII", raw)
    assert error & 0x4000
    assert 0 <= t2_s * 10**9 + t2_ns - now_ns < PATIENCE_S * 1e9


def test_sequences_of_sessions(
    reflecting: Callable[..., probes.Reflector], sender: socket.socket
) -> None:
    reflector = reflecting(stateful=True)
    to = reflector.local
    assert [fields(ask(sender, to, request(n)))["sequence"] for n in (5, 9, 11)] == [0, 1, 2]
    assert fields(ask(sender, to, request(12, ssid=2)))["sequence"] == 0
    assert fields(ask(sender, to, request(13)))["sequence"] == 3
    report = reflector.report()
    assert (report.sessions, report.session_total) == (2, 2)


def test_what_is_hostile_is_counted_and_not_answered(
    reflecting: Callable[..., probes.Reflector], sender: socket.socket
) -> None:
    reflector = reflecting()
    a_reply = ask(sender, reflector.local, request(1))
    for packet in (b"", request(1, 40), request(1, error=0), a_reply):
        sender.sendto(packet, reflector.local)
    assert fields(ask(sender, reflector.local, request(2)))["sequence"] == 2  # the next that comes
    fates = reflector.report().fates
    assert (fates.answered, fates.too_short, fates.corrupt, fates.reply) == (2, 2, 1, 1)


def test_two_reflectors_do_not_answer_each_other(
    reflecting: Callable[..., probes.Reflector],
) -> None:
    first, second = reflecting(), reflecting(stateful=True)
    first._channel.send(request(1, t1=time.time()), to=second.local)  # as a forged source would
    until = time.monotonic() + PATIENCE_S
    while not first.report().fates.reply and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.2)
    assert first.report().fates.reply == 1
    assert (second.report().fates.answered, second.report().fates.reply) == (1, 0)


def test_other_networks_and_too_many_are_refused(
    reflecting: Callable[..., probes.Reflector], sender: socket.socket
) -> None:
    closed = reflecting(allow=["10.0.0.0/8", "::1"])
    slow = reflecting(max_pps=10, allow="127.0.0.0/8")  # one at once
    sender.sendto(request(1), closed.local)
    assert fields(ask(sender, slow.local, request(2)))["sequence"] == 2
    for number in range(20):
        sender.sendto(request(number), slow.local)
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        fates = slow.report().fates
        if fates.answered + fates.rate_limited == 21 and closed.report().fates.not_allowed:
            break
        time.sleep(0.01)
    assert fates.rate_limited > 0
    assert closed.report().fates.answered == 0


def test_both_ip_versions(shmring_pool: shmring.Pool) -> None:
    with probes.Reflector(("", 0), pool=shmring_pool) as reflector:
        thread = threading.Thread(target=reflector.serve)
        thread.start()
        try:
            for host in ("127.0.0.1", "::1") if socket.has_ipv6 else ("127.0.0.1",):
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                with socket.socket(family, socket.SOCK_DGRAM) as sock:
                    sock.settimeout(PATIENCE_S)
                    assert len(ask(sock, (host, reflector.local[1]), request(3))) == 44
        finally:
            reflector.stop()
            thread.join()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"allow": "10.0.0.1/8"}, "allow: 10.0.0.1/8 has host bits set"),
        ({"allow": ["10.0.0.0/8"] * 65}, "allow has 65 networks: at most 64"),
        ({"max_pps": 0}, "max_pps is 0: it must be above 0, or None"),
        ({"sessions": 0}, "sessions is 0: it must be 1 to 1048576"),
        ({"idle_s": 0}, "idle_s is 0: it must be above 0"),
        ({"hold_ns": -1}, "hold_ns is -1: it must be 0 to 500000000"),
    ],
)
def test_wrong_options_of_a_reflector(options: dict[str, Any], words: str) -> None:
    with pytest.raises(shmring.errors.BadConfig, match=words):
        probes.Reflector(HERE, **options)


def test_reflect_for_no_time(reflecting: Callable[..., probes.Reflector]) -> None:
    with pytest.raises(shmring.errors.BadConfig, match="seconds is nan: it must be 0 or more"):
        probes.Reflector.serve(reflecting(), math.nan)


def test_reflect_for_a_time(shmring_pool: shmring.Pool) -> None:
    report = shmring.net.reflect(HERE, seconds=0.01, pool=shmring_pool)
    assert report.fates.answered == 0
    assert report.seconds >= 0.01


# --- clocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("timestamps", ["ntp", "ptp"])
def test_a_clock_on_this_host_is_ours(
    reflecting: Callable[..., probes.Reflector], shmring_pool: shmring.Pool, timestamps: Any
) -> None:
    reflector = reflecting()
    clock_to = shmring.net.clock_to(
        "localhost" if socket.gethostbyname("localhost") == "127.0.0.1" else "127.0.0.1",
        port=reflector.local[1],
        timestamps=timestamps,
        pps=1000,
        drift_ppm=1,
        timeout=PATIENCE_S,
        pool=shmring_pool,
    )
    truth = 0
    if timestamps == "ptp":
        truth = round((time.clock_gettime_ns(time.CLOCK_TAI) - time.time_ns()) / 1e9) * 10**9
    with clock_to as clock:
        until = time.monotonic() + PATIENCE_S
        now = clock.update()
        while now.answers.exchanges < 200 and time.monotonic() < until:
            now = clock.update(timeout=1.0)
            assert abs(now.offset_ns - truth) <= now.bound_ns
        assert now.answers.exchanges >= 200
        assert now.remote_scale == ("tai" if timestamps == "ptp" else "utc")
        assert now.shortest_round_trip_ns <= now.round_trip_ns
        assert now.sent >= now.answers.exchanges
        assert (now.steps, now.answers.unmatched, now.answers.impossible) == (0, 0, 0)
        assert abs(now.rate_ppm) <= now.rate_bound_ppm + 1e-9 <= 1 + 1e-9
        local_ns = time.time_ns()
        there = clock.to_remote(local_ns)
        assert abs(there.ns - truth - local_ns) <= there.bound_ns
        back = clock.to_local(there.ns)
        assert abs(back.ns - local_ns) <= 2
        assert now.to_dict()["answers"]["exchanges"] == now.answers.exchanges


def test_the_offset_to_a_monotonic_clock(
    reflecting: Callable[..., probes.Reflector], shmring_pool: shmring.Pool
) -> None:
    port = reflecting().local[1]
    with shmring.net.clock_to(
        "127.0.0.1", port=port, clock="monotonic", timeout=PATIENCE_S, pool=shmring_pool
    ) as clock:
        wall_ns, mono_ns = time.time_ns(), time.monotonic_ns()
        found = clock.to_local(wall_ns)
        assert abs(found.ns - mono_ns) <= found.bound_ns + 50_000_000


class Liar:
    """A reflector whose clock is wrong, written down from the RFC, with answers made by hand."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.copies = 1
        self.lose = False
        self.forge = False
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(HERE)
        self.port: int = self._sock.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            packet, source = self._sock.recvfrom(2048)
            if not packet:
                return
            now = time.time() + self.ahead_s
            at = struct.pack("!II", int(now) + NTP_1970_S, int((now - int(now)) * 2**32))
            head = packet[:4] + at + struct.pack("!HH", 0x8001, 0) + at
            if self.forge:
                packet = packet[:11] + bytes([packet[11] ^ 1]) + packet[12:]
            reply = head + packet[:14] + bytes([0, 0, 64, 0, 0, 0])
            for _ in range(0 if self.lose else self.copies):
                self._sock.sendto(reply, source)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._sock.close()


@pytest.fixture
def liar() -> Iterator[Liar]:
    made = Liar()
    yield made
    made.close()


def exchanged(clock: shmring.net.probes.RemoteClock, more: int) -> shmring.net.probes.ClockEstimate:
    wanted = clock.estimate().answers.exchanges + more
    until = time.monotonic() + PATIENCE_S
    while (now := clock.update(timeout=1.0)).answers.exchanges < wanted:
        assert time.monotonic() < until
    return now


def test_a_step_begins_the_comparison_again(liar: Liar, shmring_pool: shmring.Pool) -> None:
    with shmring.net.clock_to(
        "127.0.0.1", port=liar.port, pps=500, timeout=PATIENCE_S, pool=shmring_pool
    ) as clock:
        first = exchanged(clock, 20)
        assert abs(first.offset_ns) <= first.bound_ns + 1000  # floats have 0.24 us here
        assert first.remote_synchronised
        liar.ahead_s = 5.0
        second = exchanged(clock, 200)
        assert second.steps == 1
        assert abs(second.offset_ns - 5 * 10**9) <= second.bound_ns + 1000


def test_a_step_of_our_own_clock_begins_it_again(
    liar: Liar, shmring_pool: shmring.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shmring.net.clock_to(
        "127.0.0.1", port=liar.port, pps=500, timeout=PATIENCE_S, pool=shmring_pool
    ) as clock:
        assert exchanged(clock, 20).local_steps == 0
        began_ns = clock._state.since_ns
        ours = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: ours() + 7 * 10**9)
        now = exchanged(clock, 20)
        assert (now.local_steps, now.steps) == (1, 0)
        assert abs(now.offset_ns + 7 * 10**9) <= now.bound_ns + 1000
        assert clock._state.since_ns > began_ns


def test_duplicates_and_forged_replies_change_nothing(
    liar: Liar, shmring_pool: shmring.Pool
) -> None:
    liar.copies = 2
    with shmring.net.clock_to(
        "127.0.0.1", port=liar.port, pps=500, timeout=PATIENCE_S, pool=shmring_pool
    ) as clock:
        now = exchanged(clock, 50)
        assert now.answers.unmatched >= 40
        liar.forge, liar.ahead_s = True, 9.0
        until = time.monotonic() + PATIENCE_S
        while (then := clock.update(timeout=1.0)).answers.unmatched < 400:
            assert time.monotonic() < until
        assert then.steps == 0
        assert abs(then.offset_ns) <= then.bound_ns + 1000


def test_no_reflector(liar: Liar, shmring_pool: shmring.Pool) -> None:
    liar.lose = True
    with pytest.raises(shmring.ReceiveTimeout, match="check that `shmring reflect`"):
        shmring.net.clock_to("127.0.0.1", port=liar.port, timeout=0.05, pool=shmring_pool)


def test_replies_that_match_no_request(liar: Liar, shmring_pool: shmring.Pool) -> None:
    liar.forge = True
    with pytest.raises(shmring.ReceiveTimeout, match="packets came, but none repeats the number"):
        shmring.net.clock_to("127.0.0.1", port=liar.port, timeout=2.0, pool=shmring_pool)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"port": 0}, "port is 0: it must be 1 to 65535"),
        ({"clock": "utc"}, "clock is 'utc': use 'realtime'"),
        ({"timestamps": "x"}, "timestamps is 'x': use 'ntp' or 'ptp'"),
        ({"pps": 1e6}, "pps is 1000000.0: it must be above 0, up to 10000"),
        ({"drift_ppm": -1}, "drift_ppm is -1: it must be 0 to 100000"),
    ],
)
def test_wrong_options_of_a_clock(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        shmring.net.clock_to("127.0.0.1", **options)


def test_an_unknown_host() -> None:
    with pytest.raises(shmring.errors.BadAddress, match="no-such-host"):
        shmring.net.clock_to("no-such-host.invalid")


def test_between_two_hosts(shmring_netns: tuple[NetHost, NetHost]) -> None:
    """Both have the clock of this machine, so the truth is 0."""
    left, right = shmring_netns
    with probes.Reflector((right.address, 862), pool=right.pool) as reflector:
        thread = threading.Thread(target=reflector.serve)
        thread.start()
        try:
            with shmring.net.clock_to(
                right.address, pps=1000, drift_ppm=1, timeout=PATIENCE_S, pool=left.pool
            ) as clock:
                for _ in range(20):
                    now = exchanged(clock, 20)
                    assert abs(now.offset_ns) <= now.bound_ns
                assert now.answers.exchanges >= 400
        finally:
            reflector.stop()
            thread.join()
