"""Send reports and statistics."""

import dataclasses
import pickle
import queue
import threading
import time

import pytest

import shmring


def test_a_report_tells_the_whole_story(loop):
    ch = loop()
    at = time.monotonic_ns() + 500_000_000  # far enough for a machine that is busy
    ch.send(b"x", at=at, to=ch.home)
    ch.flush(timeout=20)
    (report,) = ch.reports(timeout=0)
    assert report.scheduled_ns == at
    assert report.enqueued_ns < at <= report.sent_ns <= report.handed_ns
    assert report.late_ns == report.sent_ns - at
    assert report.verdict in tuple(shmring.Verdict)
    assert report.batch == 1
    assert list(ch.reports(timeout=0)) == []


def test_a_packet_without_a_deadline_is_not_late(loop):
    ch = loop()
    ch.send(b"x", to=ch.home)
    ch.flush(timeout=20)
    (report,) = ch.reports(timeout=0)
    assert report.scheduled_ns == 0
    assert report.late_ns is None
    assert report.wire_error_ns is None


def test_a_packet_that_was_due_already_says_so(loop):
    ch = loop()
    ch.send(b"x", at=time.monotonic_ns() - 10**9, to=ch.home)
    ch.flush(timeout=20)
    (report,) = ch.reports(timeout=0)
    assert report.verdict is shmring.Verdict.ENQUEUED_LATE
    assert report.late_ns >= 10**9
    assert f"late_ns={report.late_ns})" in repr(report)


def test_reports_in_pieces_and_as_a_table(loop):
    ch = loop()
    ch.send_many(bytes(10), size=1, to=ch.home)
    ch.flush(timeout=20)
    assert [r.sequence for r in ch.reports(max=3, timeout=0)] == [0, 1, 2]
    batch = ch.reports().read(4)
    assert len(batch) == 4
    assert batch.array["sequence"].tolist() == [3, 4, 5, 6]
    assert batch[0].sequence == 3
    assert batch[-1] == list(batch)[3]
    assert [r.sequence for r in ch.reports(timeout=0)] == [7, 8, 9]
    assert ch.reports().lost == 0


def test_iterating_waits_and_ends_with_the_channel(loop):
    ch = loop()
    logger = shmring.attach(ch.name)
    found = queue.SimpleQueue()

    def log():
        for report in logger.reports():
            found.put(report)
        found.put("over")

    thread = threading.Thread(target=log, daemon=True)
    thread.start()
    for _ in range(3):
        sequence = ch.send(b"x", to=ch.home)
        assert found.get(timeout=20).sequence == sequence
    ch.send(b"x", at=ch.now_ns() + 3600 * 10**9, to=ch.home)
    ch.close(linger=0)
    assert found.get(timeout=20).verdict is shmring.Verdict.CANCELLED
    assert found.get(timeout=20) == "over"
    assert list(logger.reports()) == []  # also when it began after the end


def test_iterating_ends_after_a_time_or_when_this_end_is_closed(loop):
    ch = loop()
    ch.send(b"x", to=ch.home)
    ch.flush()
    assert [r.sequence for r in ch.reports(timeout=0.5)] == [0]
    ch.send_many(bytes(5), size=1, to=ch.home)
    assert [r.sequence for r in ch.reports(5)] == [1, 2, 3, 4, 5]
    threading.Timer(0.2, ch.close).start()
    assert list(ch.reports()) == []


def test_a_tap_reads_reports_of_others(loop):
    ch = loop()
    tap = shmring.attach(ch.name, readonly=True)
    ch.send(b"x", to=ch.home)
    ch.flush(timeout=20)
    assert len(list(tap.reports(timeout=0))) == len(list(ch.reports(timeout=0))) == 1


def test_lost_reports_are_counted(loop):
    ch = loop(report_capacity=8)
    ch.send_many(bytes(20), size=1, to=ch.home)
    ch.flush(timeout=20)
    assert [r.sequence for r in ch.reports(timeout=0)] == list(range(12, 20))
    assert ch.reports().lost == 12


@pytest.mark.parametrize("options", [{"reports": "off"}, {"report_capacity": 0}])
def test_a_channel_without_reports_says_so(loop, options):
    with pytest.raises(shmring.errors.BadConfig, match="no send reports"):
        list(loop(**options).reports())


def test_stats_of_a_channel(loop, shmring_pool, settle):
    ch = loop()
    ch.send(b"four", to=ch.home)
    ch.send(b"", at=time.monotonic_ns() + 1_000_000, to=ch.home)
    ch.flush(timeout=20)
    ch.recv(timeout=20)
    ch.recv(timeout=20)
    settle(ch)
    now = ch.stats()
    assert (now.tx_sent, now.tx_bytes, now.tx_immediate, now.tx_requested) == (2, 4, 1, 2)
    assert (now.rx_received, now.rx_bytes) == (2, 4)
    assert now.local == ch.home
    assert now.state is shmring.State.OPEN
    assert now.worker_pid == shmring_pool.workers()[0].pid
    assert now.heartbeat_age_ns < 10**10
    assert (now.producers, len(now.readers)) == (1, 1)
    assert now.readers[0].taken == 2
    (worker,) = shmring_pool.workers()
    assert (now.policy, now.cpu) == (worker.policy, worker.cpu) == ("other", None)
    assert now.rcvbuf_bytes > 0
    assert (now.lateness.count, now.immediate.count) == (1, 1)
    assert now.send_call.min <= now.send_call.percentile(50) <= now.send_call.max
    ch.reset_stats()
    again = ch.stats()
    assert again.tx_sent == 0
    assert again.send_call.count == 0
    assert again.reset_ns > 0


def test_stats_travel_between_processes(loop, settle):
    ch = loop()
    ch.send(b"x", to=ch.home)
    ch.flush(timeout=20)
    settle(ch)
    stats = ch.stats()
    copy = pickle.loads(pickle.dumps(stats))
    assert copy.to_dict() == stats.to_dict()
    assert copy.immediate.buckets() == stats.immediate.buckets()
    assert dataclasses.asdict(stats)["tx_sent"] == 1


def test_a_histogram_by_its_buckets(loop, settle):
    ch = loop()
    ch.send_many(bytes(50), size=1, to=ch.home)
    ch.flush(timeout=20)
    settle(ch)
    hist = ch.stats().immediate
    buckets = hist.buckets()
    assert sum(count for _, count in buckets) == hist.count == 50
    assert buckets == sorted(buckets)
    assert hist.mean * 50 == pytest.approx(hist.sum)
    assert hist.percentile(0) <= hist.percentile(100) <= hist.max
    with pytest.raises(ValueError, match="0 to 100"):
        hist.percentile(101)
    assert "50" in repr(hist)
