"""send_many and recv_many: every way to cut a buffer, and views of what arrived."""

import array
import ctypes
import mmap
import time

import numpy as np
import pytest
from kit.waiting import until

import shmring
from shmring.batch import PacketBatch, ReportBatch

MS = 1_000_000


def longs(*values):
    return array.array("q", values)


def receive(ch, count):
    got = []
    while len(got) < count:
        got += [bytes(p.data) for p in ch.recv_many(timeout=20)]
    return got


def test_a_sequence_of_packets(loop):
    ch = loop()
    packets = [b"", b"a", bytearray(b"bb"), memoryview(b"ccc")]
    assert ch.send_many(packets, to=ch.home) == 0
    assert ch.send_many((bytes([i]) for i in range(3)), to=ch.home) == 4
    assert receive(ch, 7) == [b"", b"a", b"bb", b"ccc", b"\0", b"\1", b"\2"]


@pytest.mark.parametrize(
    ("buffer", "options"),
    [
        (b"aabbcc", {"size": 2}),
        (b"aabbcc", {"sizes": [2, 2, 2]}),
        (b"aabbcc", {"sizes": array.array("H", [2, 2, 2])}),
        (b"aabbcc", {"sizes": np.array([2, 9, 2, 9, 2, 9], np.uint8)[::2]}),
        (b"-aa-bb-cc", {"offsets": np.array([1, 4, 7], np.uint32), "size": 2}),
        (b"-aa-bb-cc", {"offsets": longs(1, 4, 7), "sizes": [2, 2, 2]}),
        (np.frombuffer(b"aabbcc", np.uint8).reshape(3, 2), {}),
        (np.frombuffer(b"aabbcc", np.uint16).reshape(3, 1), {}),
        (memoryview(b"aabbcc").cast("B", (3, 2)), {}),
        (np.frombuffer(b"aa-bb-cc-", np.uint8).reshape(3, 3)[:, :2], {}),
        (np.frombuffer(b"aa-bb-cc-", np.uint8).reshape(3, 3), {"size": 2}),
        (np.frombuffer(b"aa-bb-cc-", np.uint8).reshape(3, 3), {"sizes": np.array([2, 2, 2])}),
        (np.frombuffer(b"aa.bb.cc.", np.uint8).reshape(3, 3)[:, :2], {"sizes": [2, 2, 2]}),
        # ctypes gives buffers without strides.
        (b"aabbcc", {"sizes": (ctypes.c_uint32 * 3)(2, 2, 2)}),
        (b"-aa-bb-cc", {"offsets": (ctypes.c_uint16 * 3)(1, 4, 7), "size": 2}),
        ((ctypes.c_uint8 * 2 * 3).from_buffer_copy(b"aabbcc"), {}),
        ((ctypes.c_uint8 * 3 * 3).from_buffer_copy(b"aa-bb-cc-"), {"size": 2}),
    ],
)
def test_one_buffer_cut_into_packets(loop, buffer, options):
    ch = loop()
    ch.send_many(buffer, to=ch.home, **options)
    assert receive(ch, 3) == [b"aa", b"bb", b"cc"]


@pytest.mark.parametrize(
    ("buffer", "options", "error", "words"),
    [
        (b"aabb", {}, TypeError, "split into packets"),
        (b"aabb", {"offsets": longs(0)}, TypeError, "split into packets"),
        (b"aabbc", {"size": 2}, ValueError, "not a multiple of size="),
        (b"aabb", {"size": 0}, ValueError, "not a multiple of size="),
        (b"aabb", {"sizes": [2, 3]}, ValueError, "add up to 5"),
        (b"aabb", {"sizes": np.array([2.0, 2.0])}, TypeError, "use integers"),
        (
            b"aabb",
            {"offsets": longs(0, 3), "size": 2},
            ValueError,
            "packet 1 is not",
        ),
        (b"aabb", {"offsets": longs(-1), "size": 2}, ValueError, "packet 0 is not"),
        (
            b"aabb",
            {"offsets": longs(0), "sizes": [1, 1]},
            ValueError,
            "1 entries for 2",
        ),
        (b"aabb", {"size": 2, "at": [1]}, ValueError, "1 entries for 2"),
        (b"aabb", {"size": 2, "at": [1, True]}, TypeError, "nanoseconds"),
        (b"aabb", {"size": 2, "at": 1.5}, TypeError, "nanoseconds"),
        (b"aabb", {"size": 2, "at": [1, -1]}, ValueError, "below 0"),
        (b"aabb", {"size": 2, "interval_ns": 5}, TypeError, "needs at="),
        (b"aabb", {"size": 2, "at": [1, 2], "interval_ns": 5}, TypeError, "goes with at=start"),
        (b"aabb", {"size": 2, "spread_ns": 5}, TypeError, "spread_ns needs at="),
        (b"aabb", {"size": 2, "at": [1, 2], "spread_ns": 5}, TypeError, "spread_ns goes with"),
        (b"aabb", {"size": 2, "at": 1, "interval_ns": 5, "spread_ns": 5}, TypeError, "leave out"),
        (b"aabb", {"size": 2, "at": 1, "spread_ns": -1}, ValueError, "spread_ns is -1"),
        (b"aabb", {"size": 2, "at": 1, "spread_ns": 1.5}, TypeError, "spread_ns"),
        (b"aabb", {"size": 2, "sequences": bytearray(15)}, ValueError, "8 each"),
        (np.zeros((2, 3), np.uint8), {"sizes": [3]}, ValueError, "1 entries for 2"),
        (np.zeros((2, 3), np.uint8), {"sizes": [3, 4]}, ValueError, "entry 1 is 4, a row has 3"),
        (np.zeros((2, 3), np.uint8), {"sizes": [-1, 3]}, ValueError, "entry 0 is -1"),
        (np.zeros((2, 3), np.uint8), {"size": 4}, ValueError, "size is 4: it must be 0 to 3"),
        (np.zeros((2, 3), np.uint8)[::-1], {}, BufferError, "rows are contiguous"),
        (np.zeros((2, 6), np.uint8)[:, ::2], {}, BufferError, "rows are contiguous"),
        (np.zeros(6, np.uint8)[::2], {"size": 1}, BufferError, "C-contiguous"),
        (np.zeros((2, 3), np.uint8)[:, :2], {"offsets": longs(0), "size": 1}, BufferError, "rows"),
        ([b"a"], {"size": 2}, TypeError, "sequence of packets"),
        ([b"a", "b"], {}, TypeError, None),
        ([], {}, ValueError, "no packets"),
        (b"", {"size": 1}, ValueError, "no packets"),
        (7, {}, TypeError, None),
    ],
)
def test_what_cannot_be_cut_or_timed(loop, buffer, options, error, words):
    ch = loop()
    with pytest.raises(error, match=words):
        ch.send_many(buffer, to=ch.home, **options)


@pytest.mark.parametrize("kind", [list, np.array, lambda values: longs(*values)])
def test_each_packet_at_its_own_time(loop, kind):
    ch = loop()
    start = time.monotonic_ns() + 1000 * MS  # what is late when it is queued leaves in that order
    times = [start + 3 * MS, start, start + 6 * MS]
    ch.send_many(b"abc", size=1, at=kind(times), to=ch.home)
    packets = [ch.recv(timeout=20) for _ in range(3)]
    assert [p.data for p in packets] == [b"b", b"a", b"c"]
    assert all(p.timestamp_ns >= at for p, at in zip(packets, sorted(times), strict=True))


@pytest.mark.parametrize("packets", [b"abc", [b"a", b"b", b"c"]])
def test_a_start_and_an_interval(loop, packets):
    ch = loop()
    start = time.monotonic_ns() + 2 * MS
    size = 1 if isinstance(packets, bytes) else None
    ch.send_many(packets, size=size, at=start, interval_ns=2 * MS, to=ch.home)
    assert receive(ch, 3) == [b"a", b"b", b"c"]
    ch.flush(timeout=20)
    assert [r.scheduled_ns for r in ch.reports(timeout=0)] == [
        start,
        start + 2 * MS,
        start + 4 * MS,
    ]


@pytest.mark.parametrize("packets", [{"packets": b"abc", "size": 1}, {"packets": [b"a"] * 3}])
def test_a_batch_is_spread_without_a_remainder(loop, packets):
    ch = loop()
    start = time.monotonic_ns() + 2 * MS
    ch.send_many(**packets, at=start, spread_ns=5 * MS + 2, to=ch.home)
    receive(ch, 3)
    ch.flush(timeout=20)
    due = [start, start + (5 * MS + 2) // 3, start + 2 * (5 * MS + 2) // 3]
    assert [r.scheduled_ns for r in ch.reports(timeout=0)] == due


@pytest.mark.parametrize("packets", [{"packets": b"abcd", "size": 1}, {"packets": [b"a"] * 4}])
def test_sequences_are_written_to_a_buffer(loop, packets):
    ch = loop()
    sequences = np.zeros(4, np.uint64)
    first = ch.send_many(**packets, sequences=sequences, to=ch.home)
    assert sequences.tolist() == [first, first + 1, first + 2, first + 3]


@pytest.mark.parametrize("packets", [{"packets": bytes(10), "size": 1}, {"packets": [b"a"] * 10}])
def test_a_full_ring_says_how_many_were_queued(loop, packets):
    ch = loop(held=True, tx=4)
    sequences = np.full(10, 7, np.uint64)
    with pytest.raises(shmring.RingFull) as caught:
        ch.send_many(**packets, to=ch.home, sequences=sequences, timeout=0)
    assert (caught.value.sent, caught.value.first_sequence) == (4, 0)
    assert sequences.tolist()[:4] == [0, 1, 2, 3]
    with pytest.raises(shmring.errors.SendTimeout) as caught:
        ch.send_many(**packets, to=ch.home, timeout=0.01)
    assert (caught.value.sent, caught.value.first_sequence) == (0, None)


@pytest.mark.parametrize("as_list", [False, True])
def test_more_packets_than_the_ring_holds(loop, as_list):
    ch = loop(rcvbuf_bytes=1 << 22, tx=64, rx=shmring.Queue(20_000, 8))
    numbers = np.arange(5000, dtype=np.uint32)
    packets = [n.tobytes() for n in numbers] if as_list else numbers.reshape(-1, 1)
    ch.send_many(packets, to=ch.home, timeout=20)
    got = b"".join(receive(ch, 5000))
    assert np.array_equal(np.frombuffer(got, np.uint32), numbers)


def test_views_of_a_batch(loop):
    ch = loop()
    ch.send_many([b"a", b"bbb", b"cc"], to=ch.home)
    until(lambda: ch.rx_waiting >= 3)
    batch = ch.recv_many()
    assert len(batch) == 3
    assert batch.payload == b"abbbcc"
    assert list(batch.offsets) == [0, 1, 4]
    assert list(batch.lengths) == [1, 3, 2]
    assert list(batch.sequences) == [0, 1, 2]
    assert batch.sources == [ch.home] * 3
    assert [tuple(shmring.types.Stamp)[i] for i in batch.stamps] == [p.stamp for p in batch]
    assert np.asarray(batch.timestamps_ns).tolist() == [p.timestamp_ns for p in batch]
    assert not np.asarray(batch.timestamps_ns).flags.owndata
    table = batch.array
    assert table["length"].tolist() == [1, 3, 2]
    assert table["source_port"].tolist() == [ch.home[1]] * 3
    assert table["source_ip"][0][:4].tolist() == [127, 0, 0, 1]
    assert batch[-1].data == b"cc"
    assert [p.data for p in batch[:2]] == [b"a", b"bbb"]
    with pytest.raises(IndexError):
        batch[3]
    # What was received can be sent on as it is.
    ch.send_many(batch.payload, offsets=batch.offsets, sizes=batch.lengths, to=ch.home)
    assert receive(ch, 3) == [b"a", b"bbb", b"cc"]


def test_max_and_out_leave_the_rest(loop):
    ch = loop()
    ch.send_many([bytes([i]) * 10 for i in range(6)], to=ch.home)
    until(lambda: ch.rx_waiting >= 6)
    assert [p.data[0] for p in ch.recv_many(2)] == [0, 1]
    out = bytearray(25)
    batch = ch.recv_many(out=out)
    assert [p.data[0] for p in batch] == [2, 3]
    assert bytes(out[:20]) == bytes([2]) * 10 + bytes([3]) * 10
    with pytest.raises(shmring.errors.PayloadTooLarge, match="10 bytes, the buffer 5"):
        ch.recv_many(out=bytearray(5))
    assert ch.recv().data[0] == 4
    assert [p.data[0] for p in ch.recv_many()] == [5]


@pytest.mark.parametrize(
    "out",
    [
        bytearray(40),
        memoryview(bytearray(40))[8:],
        array.array("H", [0] * 20),
        np.zeros(10, np.float32),
        np.zeros(5, [("a", "u4"), ("b", ">u4")]),
        mmap.mmap(-1, 40),
    ],
    ids=lambda out: type(out).__name__,
)
def test_any_writable_buffer_gets_the_payloads(loop, out):
    ch = loop()
    ch.send_many([b"aaaa", b"bbbb", b"cccc"], to=ch.home)
    until(lambda: ch.rx_waiting >= 3)
    batch = ch.recv_many(out=out)
    assert [p.data for p in batch] == [b"aaaa", b"bbbb", b"cccc"]
    assert bytes(batch.payload) == b"aaaabbbbcccc" == bytes(memoryview(out).cast("B")[:12])


def test_each_packet_gets_a_row_of_a_matrix(loop):
    ch = loop()
    ch.send_many([b"aa", b"", b"bbb", b"cccc", b"dd"], to=ch.home)
    until(lambda: ch.rx_waiting >= 5)
    out = np.zeros((10, 3), np.uint8)
    batch = ch.recv_many(out=out)  # the packet of 4 bytes fits into no row
    assert [p.data for p in batch] == [b"aa", b"", b"bbb"]
    assert list(batch.offsets) == [0, 3, 6]
    assert out[:3].tobytes() == b"aa\0\0\0\0bbb"
    assert len(batch.payload) == 9
    with pytest.raises(shmring.errors.PayloadTooLarge, match="4 bytes, the buffer 3"):
        ch.recv_many(out=out)
    assert [p.data for p in ch.recv_many(out=np.zeros((1, 4), np.uint8))] == [b"cccc"]
    # What came in rows goes out from rows.
    ch.send_many(out, sizes=[2, *[0] * 9], to=ch.home)
    until(lambda: ch.rx_waiting >= 11)
    assert [p.data for p in ch.recv_many()][:3] == [b"dd", b"aa", b""]


def test_a_buffer_that_cannot_be_used_costs_no_packet(loop):
    ch = loop()
    ch.send(b"kept", to=ch.home)
    until(lambda: ch.rx_waiting >= 1)
    with pytest.raises(BufferError, match="read-only"):
        ch.recv_many(out=b"no")
    with pytest.raises((BufferError, ValueError), match="contiguous"):
        ch.recv_many(out=np.zeros((4, 4), np.uint8)[:, :2])
    assert ch.recv().data == b"kept"


def test_records_somebody_scribbled_over():
    report = ReportBatch(b"\xff" * 64, 1)[0]
    assert (report.verdict, report.stamp) == (shmring.Verdict.FAILED, shmring.types.Stamp.NONE)
    assert PacketBatch(b"", bytes(28) + b"\xff" + bytes(51), 1)[0].stamp is shmring.types.Stamp.NONE
