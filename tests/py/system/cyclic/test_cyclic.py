"""Cyclic channels with real processes: what is sent while programs update, stop, hang and die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from kit.wire import udp

import shmring
from shmring.errors import BadConfig

PATIENCE_S = 20.0
PERIOD_NS = 2_000_000
FAILSAFE = b"brake"

UPDATER = """
import sys, shmring
channel = shmring.attach("cyc")
channel.update(sys.argv[1].encode())
print("done", flush=True)
sys.stdin.read()
"""


class Partner:
    """A socket that receives the cycles."""

    def __init__(self) -> None:
        self.socket = udp()
        self.address: tuple[str, int] = self.socket.getsockname()

    def recv_until(self, payload: bytes) -> list[bytes]:
        """All that comes, up to the first with this payload."""
        got = [self.socket.recv(65536)]
        while got[-1] != payload:
            assert len(got) < 20_000, f"{payload!r} does not come, but {got[-1]!r}"
            got.append(self.socket.recv(65536))
        return got

    def is_silent(self, seconds: float) -> bool:
        """Whether nothing comes for this time. Waits for that."""
        until = time.monotonic() + PATIENCE_S
        self.socket.settimeout(seconds)
        try:
            while time.monotonic() < until:
                self.socket.recv(65536)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(PATIENCE_S)
        return False


@pytest.fixture
def partner() -> Iterator[Partner]:
    made = Partner()
    yield made
    made.socket.close()


Updater = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def updater(shmring_namespace: str) -> Iterator[Updater]:
    """Starts processes that update the channel ``cyc`` once and then hang."""
    running: list[subprocess.Popen[str]] = []

    def start(payload: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", UPDATER, payload],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def opened(pool: shmring.Pool, partner: Partner, **options: object) -> shmring.cyclic.Channel:
    engine = shmring.Cyclic(**({"period_ns": PERIOD_NS} | options))  # type: ignore[arg-type]
    return pool.open("cyc", engine, local=("127.0.0.1", 0), remote=partner.address)


def test_the_newest_payload_is_sent_until_the_end(
    shmring_pool: shmring.Pool, partner: Partner
) -> None:
    with opened(shmring_pool, partner, payload=b"first", phase_ns=300_000) as channel:
        for payload in (b"first", b"", b"x" * channel.max_payload, b"last"):
            channel.update(payload)
            partner.recv_until(payload)
        reports = [report for report in channel.reports(timeout=0) if report.sent_ns]
        assert {report.scheduled_ns % PERIOD_NS for report in reports} == {300_000}
        for report in reports:
            assert report.sequence * PERIOD_NS + 300_000 == report.scheduled_ns
        stats = channel.stats()
        assert stats.engine.fresh
        assert stats.engine.updates >= 4
        assert stats.lateness.count >= len(reports)
        assert stats.engine == channel.cyclic_stats() or channel.cyclic_stats().sent > 0
    assert partner.is_silent(0.05)


def test_any_process_updates_and_a_killed_one_is_followed_by_the_failsafe_payload(
    shmring_pool: shmring.Pool, partner: Partner, updater: Updater
) -> None:
    with opened(shmring_pool, partner, payload=b"mine", on_stale=FAILSAFE) as channel:
        partner.recv_until(b"mine")
        process = updater("theirs")
        partner.recv_until(b"theirs")
        process.send_signal(signal.SIGKILL)
        process.wait()
        # The worker learns of it at once: at most the cycles that were on their way come before.
        came = partner.recv_until(FAILSAFE)
        assert set(came) <= {b"theirs", FAILSAFE}
        assert channel.cyclic_stats().stale == 1
        channel.update(b"mine again")
        partner.recv_until(b"mine again")
        assert channel.cyclic_stats().fresh


@pytest.mark.parametrize("on_stale", ["stop", "continue"])
def test_a_killed_process_is_followed_by_what_was_chosen(
    shmring_pool: shmring.Pool, partner: Partner, updater: Updater, on_stale: str
) -> None:
    with opened(shmring_pool, partner, on_stale=on_stale) as channel:
        assert partner.is_silent(0.02)
        process = updater("theirs")
        partner.recv_until(b"theirs")
        process.kill()
        process.wait()
        if on_stale == "stop":
            assert partner.is_silent(0.2)
        else:
            until = time.monotonic() + PATIENCE_S
            while not channel.cyclic_stats().sent_stale and time.monotonic() < until:
                partner.recv_until(b"theirs")
            assert channel.cyclic_stats().sent_stale


def test_a_hanging_process_is_stale_by_age(
    shmring_pool: shmring.Pool, partner: Partner, updater: Updater
) -> None:
    age_ns = 50_000_000
    with opened(shmring_pool, partner, on_stale=FAILSAFE, stale_after_ns=age_ns) as channel:
        updater("theirs")
        partner.recv_until(FAILSAFE)
        now = channel.cyclic_stats()
        assert now.updated_mono_ns is not None
        assert time.monotonic_ns() - now.updated_mono_ns >= age_ns
        assert not now.fresh


def test_a_killed_worker_is_replaced_on_the_same_grid(
    shmring_pool: shmring.Pool, partner: Partner
) -> None:
    with opened(shmring_pool, partner, payload=b"go", on_stale=FAILSAFE) as channel:
        partner.recv_until(b"go")
        before = channel.cyclic_stats()
        (worker,) = shmring_pool.workers()
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        until = time.monotonic() + PATIENCE_S
        while channel.stats().epoch == 1 and time.monotonic() < until:
            time.sleep(0.01)
        partner.recv_until(b"go")
        after = channel.cyclic_stats()
        assert after.origin_mono_ns == before.origin_mono_ns
        counted = after.sent + after.failed + after.missed
        assert counted >= after.number - before.number  # quickly replaced, it may miss none
        channel.update(b"on")
        assert FAILSAFE not in partner.recv_until(b"on")


def test_datagrams_arrive_as_in_a_plain_channel(
    shmring_pool: shmring.Pool, partner: Partner
) -> None:
    with opened(shmring_pool, partner, payload=b"go") as channel:
        assert channel.local is not None
        partner.socket.sendto(b"hello", channel.local)
        packet = channel.recv(timeout=PATIENCE_S)
        assert (packet.data, packet.source) == (b"hello", partner.address)
        assert channel.try_recv() is None


def test_without_a_remote_every_process_gets_each_cycle(shmring_pool: shmring.Pool) -> None:
    engine = shmring.Cyclic(period_ns=PERIOD_NS, phase_ns=0, max_payload=0)
    with shmring_pool.open("cyc", engine) as channel:
        with shmring.attach("cyc") as other:
            assert isinstance(other, shmring.cyclic.Channel)
            first = channel.recv(timeout=PATIENCE_S)
            then = [channel.recv(timeout=PATIENCE_S) for _ in range(5)]
            theirs = [other.recv(timeout=PATIENCE_S).timestamp_ns for _ in range(3)]
        assert first.data == b""
        assert first.timestamp_ns % PERIOD_NS == 0
        assert then[0].timestamp_ns > first.timestamp_ns
        assert {at % PERIOD_NS for at in theirs} == {0}
        assert channel.stats().tx_sent >= 6


def test_what_cannot_be_is_refused(shmring_pool: shmring.Pool, partner: Partner) -> None:
    def refused(words: str, kind: type[Exception] = BadConfig, **options: object) -> None:
        with pytest.raises(kind, match=words):
            opened(shmring_pool, partner, **options)

    with pytest.raises(BadConfig, match="period_ns is not given"):
        shmring_pool.open("cyc", shmring.Cyclic(), remote=partner.address)
    refused("period_ns is 1; it must be between 100000", period_ns=1)
    refused(f"phase_ns is {PERIOD_NS}; it must be between 0 and", phase_ns=PERIOD_NS)
    refused("on_stale is 'go on': use .*, or a bytes-like", on_stale="go on")
    refused("on_stale must be a bytes-like object", TypeError, on_stale=3)
    refused("payload has 1473 bytes, but max_payload is 1472", payload=bytes(1473))
    refused("on_stale has 1473 bytes", on_stale=bytes(1473))
    engine = shmring.Cyclic(period_ns=PERIOD_NS)
    refused("txtime cannot be used with Cyclic: the newest", socket=shmring.Socket(txtime="off"))
    with pytest.raises(shmring.ShmringError, match="local cannot be used"):
        shmring_pool.open("cyc", engine, local=("127.0.0.1", 0))
    with opened(shmring_pool, partner) as channel:
        with pytest.raises(shmring.errors.PayloadTooLarge, match="takes at most 1472"):
            channel.update(bytes(1473))
        with pytest.raises(shmring.errors.BadConfig, match="period_ns is given"):
            shmring.attach("cyc", engine)
        with (
            shmring.attach("cyc", readonly=True) as tap,
            pytest.raises(shmring.errors.NoPermission),
        ):
            tap.update(b"x")
