"""What is queued for the worker, and what is made of what it gives out."""

from __future__ import annotations

import pickle
import struct
from typing import Any

import numpy as np
import pytest

import shmring
from shmring import errors
from shmring._ring import ffi, lib
from shmring.batch import PacketBatch
from shmring.rtp import audio
from shmring.rtp.extension import ONE_BYTE, TWO_BYTE, build, elements
from shmring.rtp.frames import HEAD, parse
from shmring.rtp.options import TX_HEAD_BYTES
from shmring.rtp.records import BYE, RecordMaker


def maker(max_payload: int = 1000, **options: Any) -> RecordMaker:
    config = ffi.new("shm_rtp_config_t *")
    engine = shmring.Rtp(**options).prepare({}).config
    assert engine
    raw = engine.config
    ffi.memmove(config, raw, len(raw))
    codec = audio.CODECS[options["codec"]] if "codec" in options else None
    return RecordMaker("mic", config, codec, max_payload)


def head_of(record: bytes) -> Any:
    head = ffi.new("shm_rtp_tx_t *")
    ffi.memmove(head, record, TX_HEAD_BYTES)
    return head


# --- frames that are queued -----------------------------------------------------------------------


def test_a_frame_asks_for_nothing_special() -> None:
    record = maker().frame(b"abc")
    head = head_of(record)
    assert record[TX_HEAD_BYTES:] == b"abc"
    assert (head.what, head.marker) == (lib.SHM_RTP_FRAME, lib.SHM_RTP_MARKER_AUTO)
    assert (head.payload_type, head.flags) == (lib.SHM_RTP_DEFAULT_PT, 0)
    assert (head.samples, head.bytes_per_packet) == (0, 0)


@pytest.mark.parametrize(
    ("how", "field", "value"),
    [
        ({"marker": True}, "marker", lib.SHM_RTP_MARKER_SET),
        ({"marker": False}, "marker", lib.SHM_RTP_MARKER_CLEAR),
        ({"payload_type": 101}, "payload_type", 101),
        ({"samples": 320}, "samples", 320),
        ({"same_time": True}, "flags", lib.SHM_RTP_SAME_TIME),
        ({"elements": [(1, b"x")]}, "flags", lib.SHM_RTP_EXTENSION),
    ],
)
def test_what_a_frame_may_ask_for(how: dict[str, Any], field: str, value: int) -> None:
    assert getattr(head_of(maker().frame(b"abc", **how)), field) == value


def test_the_packets_of_a_picture_share_its_time() -> None:
    heads = [head_of(record) for record in maker().frames([b"a", b"b", b"c"], 100)]
    assert [head.offset_ns for head in heads] == [0, 33, 66]
    assert [head.flags for head in heads] == [lib.SHM_RTP_SAME_TIME] * 2 + [0]
    no, yes = lib.SHM_RTP_MARKER_CLEAR, lib.SHM_RTP_MARKER_SET
    assert [head.marker for head in heads] == [no, no, yes]
    unmarked = maker().frames([b"a", b"b"], 2**32 - 1, marker=False)
    assert [head_of(record).marker for record in unmarked] == [no, no]
    assert head_of(unmarked[1]).offset_ns == 2**31 - 1
    assert maker().frames([], 100) == []


def test_an_extension_stands_in_front_of_the_payload() -> None:
    record = maker().frame(b"abc", elements=[(3, b"\x11\x22")])
    assert record[TX_HEAD_BYTES:] == b"\xbe\xde\0\1\x31\x11\x22\0abc"


def test_samples_become_a_payload() -> None:
    mic = maker(codec="pcmu")
    pcm = np.zeros(160, np.int16)
    assert mic.frame(pcm)[TX_HEAD_BYTES:] == b"\xff" * 160
    assert head_of(mic.frame(pcm)).samples == 0
    assert head_of(mic.frame(pcm[:80])).samples == 80
    assert head_of(mic.frame(pcm[:80], samples=7)).samples == 7
    event = mic.frame(b"\1\2\3", payload_type=101)
    assert event[TX_HEAD_BYTES:] == b"\1\2\3"
    assert head_of(event).samples == 0


def test_samples_of_two_channels() -> None:
    mic = maker(codec="l16", audio_channels=2)
    assert head_of(mic.frame(bytes(40 * 4))).samples == 40


def test_pause_and_goodbye_carry_nothing() -> None:
    for made, what in ((maker().pause(None), lib.SHM_RTP_PAUSE), (BYE, lib.SHM_RTP_BYE)):
        assert len(made) == TX_HEAD_BYTES
        assert (head_of(made).what, head_of(made).samples) == (what, 0)
    assert head_of(maker().pause(800)).samples == 800


def test_a_block_is_cut_between_packets() -> None:
    data = bytes(range(256)) * 9
    records, part = maker(max_payload=1000).block(data, marker=True)
    assert part == 960  # six packets of 160
    assert b"".join(record[TX_HEAD_BYTES:] for record in records) == data
    assert [len(record) - TX_HEAD_BYTES for record in records] == [960, 960, 384]
    markers = [head_of(record).marker for record in records]
    assert markers == [lib.SHM_RTP_MARKER_SET] + [lib.SHM_RTP_MARKER_AUTO] * 2
    assert {head_of(record).what for record in records} == {lib.SHM_RTP_BLOCK}


def test_a_block_of_samples_counts_its_own_bytes() -> None:
    pcm = np.zeros(2000, np.int16)
    records, part = maker(max_payload=1000, codec="pcma").block(pcm)
    assert (len(records), part) == (3, 1920)
    assert maker(max_payload=4000, codec="l16").block(pcm)[1] == 3528


def test_packets_of_a_block_as_asked_for() -> None:
    mic = maker(payload_type=96, clock_rate=48000)
    records, part = mic.block(bytes(500), samples=480, bytes_per_packet=100, payload_type=97)
    head = head_of(records[0])
    assert (head.samples, head.bytes_per_packet, head.payload_type) == (480, 100, 97)
    assert (len(records), part) == (1, 1000)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda m: m.frame(bytes(1001)), errors.PayloadTooLarge, "1001 bytes.* accepts 1000"),
        (lambda m: m.frame(b"", samples=0), errors.BadConfig, "samples is 0"),
        (lambda m: m.frame(b"", payload_type=128), errors.BadConfig, "payload_type is 128"),
        (lambda m: m.frame(b"", marker=1), TypeError, "marker must be True or False"),
        (lambda m: m.frame(b"", same_time=1), TypeError, "same_time must be True or False"),
        (lambda m: m.frame("abc"), TypeError, "bytes-like"),
        (lambda m: m.frames([b""], 2**32), errors.BadConfig, "spread_ns is 4294967296"),
        (lambda m: m.frames([b""], -1), errors.BadConfig, "spread_ns is -1"),
        (lambda m: m.frames([b""], 1, same_time=True), TypeError, "leave out same_time"),
        (lambda m: m.frame(b"", elements=[(0, b"")]), errors.BadConfig, "an id is 0.* 1 and 255"),
        (lambda m: m.frame(b"", elements=[(1, bytes(256))]), errors.BadConfig, "256 bytes"),
        (lambda m: m.block(b""), ValueError, "no samples"),
        (lambda m: m.block(b"x", bytes_per_packet=1001), errors.PayloadTooLarge, "1001 bytes"),
    ],
)
def test_what_cannot_be_queued(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(maker())


def test_what_looks_like_rtcp_on_a_shared_port() -> None:
    assert head_of(maker().frame(b"", payload_type=72)).payload_type == 72
    with pytest.raises(errors.BadConfig, match="payload_type 72 looks like RTCP"):
        maker(rtcp=shmring.rtp.Rtcp()).frame(b"", payload_type=72)


def test_media_time_has_its_limit() -> None:
    assert head_of(maker().frame(b"", samples=86400 * 8000)).samples == 86400 * 8000
    with pytest.raises(errors.BadConfig, match="samples is 691200001"):
        maker().pause(86400 * 8000 + 1)


def test_a_block_needs_to_know_how_long_a_packet_is() -> None:
    with pytest.raises(errors.BadConfig, match="does not determine the packet size: give"):
        maker(payload_type=96, clock_rate=48000).block(b"x")


@pytest.mark.parametrize(
    ("given", "profile"),
    [
        ([(1, b"a")], ONE_BYTE),
        ([(14, bytes(16)), (1, b"x")], ONE_BYTE),
        ([(15, b"a")], TWO_BYTE),
        ([(1, b"")], TWO_BYTE),
        ([(1, bytes(17)), (255, bytes(255))], TWO_BYTE),
    ],
)
def test_elements_come_back_as_they_were_given(given: Any, profile: int) -> None:
    built = build(given)
    assert struct.unpack(">HH", built[:4]) == (profile, (len(built) - 4) // 4)
    assert elements(profile, built[4:]) == tuple(given)


# --- items that are taken -------------------------------------------------------------------------


def record(kind: int, *, flags: int = 0, rest: bytes = b"", **fields: Any) -> bytes:
    head = ffi.new("shm_rtp_rx_t *")
    head.kind, head.flags = kind, flags
    for name, value in fields.items():
        setattr(head, name, value)
    return bytes(ffi.buffer(head)) + rest


FRAME = record(
    lib.SHM_RTP_GOT_FRAME,
    flags=lib.SHM_RTP_RECOVERED,
    rest=b"\0\0\0\7\xff\0\0\1" + b"\x10\xaa\0\0" + b"payload",
    marker=1,
    payload_type=96,
    ssrc=0xCAFE,
    seq=65536 + 9,
    ts=4_000_000_000,
    frames=1,
    extension_profile=ONE_BYTE,
    extension_bytes=4,
    due_ns=77,
    csrc_count=2,
)
ERASURE = record(
    lib.SHM_RTP_GOT_ERASURE, flags=lib.SHM_RTP_DRY, seq=5, ts=800, ts_span=320, frames=2, due_ns=8
)
RESYNC = record(
    lib.SHM_RTP_GOT_RESYNC,
    flags=lib.SHM_RTP_NEW_SOURCE | lib.SHM_RTP_RESTARTED,
    ts_span=-160,
    ssrc=3,
)
GOODBYE = record(lib.SHM_RTP_GOT_BYE, ssrc=3)


def taken(raw: bytes) -> Any:
    return parse(memoryview(raw), 123, shmring.types.Stamp.KERNEL, 8000, ("::1", 9), 4)


def test_a_frame_with_everything() -> None:
    frame = taken(FRAME)
    assert isinstance(frame, shmring.rtp.Frame)
    assert frame.data == b"payload"
    assert (frame.timestamp, frame.sequence) == (4_000_000_000, 65536 + 9)
    assert (frame.due_ns, frame.timestamp_ns, frame.stamp) == (77, 123, "kernel")
    assert (frame.marker, frame.payload_type, frame.ssrc) == (True, 96, 0xCAFE)
    assert frame.csrc == (7, 0xFF000001)
    assert (frame.recovered, frame.new_source) == (True, False)
    assert (frame.source, frame.lost_before) == (("::1", 9), 4)
    assert frame.elements() == ((1, b"\xaa"),)


def test_a_frame_shows_how_long_it_is() -> None:
    raw = HEAD.pack(0, 0, 1, 96, 7, 65537, 320, 0, 1, 0, 0, 9, 0) + bytes(3000)
    text = repr(parse(memoryview(raw), 5, shmring.types.Stamp.KERNEL, 8000))
    assert text.startswith("Frame(data=<3000 bytes>, timestamp=320, sequence=65537, due_ns=9, ")
    assert len(text) < 400


def test_events() -> None:
    gap = taken(ERASURE)
    assert isinstance(gap, shmring.rtp.Erasure)
    assert (gap.sequence, gap.frames, gap.samples, gap.duration_ns) == (5, 2, 320, 40_000_000)
    assert (gap.timestamp, gap.due_ns, gap.dry) == (800, 8, True)
    jump = taken(RESYNC)
    assert isinstance(jump, shmring.rtp.Resync)
    assert (jump.samples, jump.new_source, jump.restarted, jump.ssrc) == (-160, True, True, 3)
    assert taken(GOODBYE) == shmring.rtp.Bye(123, 3, 4)


@pytest.mark.parametrize("raw", [FRAME, ERASURE, RESYNC, GOODBYE])
def test_items_are_pickled(raw: bytes) -> None:
    assert pickle.loads(pickle.dumps(taken(raw))) == taken(raw)


@pytest.mark.parametrize("size", [0, 1, 47, 48, 50, 56, 58, 60])
def test_a_cut_record_does_no_harm(size: int) -> None:
    assert isinstance(taken(FRAME[:size]), shmring.rtp.Frame)
    assert isinstance(batch([FRAME[:size]])[0], shmring.rtp.Frame)
    assert len(batch([FRAME[:size]]).payload) == size


def batch(records: list[bytes]) -> shmring.rtp.Batch:
    """As `recv_many` takes them."""
    rows = ffi.new("packet_record_t[]", len(records))
    at = 0
    for number, (row, raw) in enumerate(zip(rows, records, strict=True)):
        row.sequence, row.timestamp_ns, row.stamp = number, 123, 2
        row.offset, row.length = at, len(raw)
        at += len(raw)
    packets = PacketBatch(b"".join(records), bytes(ffi.buffer(rows)), len(records))
    return shmring.rtp.Batch(packets, 8000)


def test_a_batch_is_the_same_items() -> None:
    raw = [FRAME, ERASURE, RESYNC, GOODBYE, FRAME]
    many = batch(raw)
    expected = [
        item._replace(lost_before=0, **({"source": None} if hasattr(item, "source") else {}))
        for item in map(taken, raw)
    ]
    assert list(many) == expected
    assert [many[i] for i in range(-5, 0)] == many[:] == expected
    assert repr(many) == "<Batch of 5 items, 14 bytes>"


def test_columns_of_a_batch() -> None:
    many = batch([FRAME, ERASURE, FRAME])
    assert many.kinds.tolist() == [0, 1, 0]
    assert many.sequences.tolist() == [65545, 5, 65545]
    assert many.timestamps.tolist() == [4_000_000_000, 800, 4_000_000_000]
    assert many.timestamps_ns.tolist() == [123] * 3
    assert many.due_ns.tolist() == [77, 8, 77]
    assert many.lengths.tolist() == [7, 0, 7]
    assert many.frames.tolist() == [1, 2, 1]
    assert many.ssrcs.tolist() == [0xCAFE, 0, 0xCAFE]
    assert many.payload_types.tolist() == [96, 0, 96]
    assert many.markers.tolist() == [1, 0, 1]
    assert many.stamps.tolist() == [2] * 3
    payloads = [
        many.payload[at : at + size] for at, size in zip(many.offsets, many.lengths, strict=True)
    ]
    assert payloads == [b"payload", b"", b"payload"]


def test_a_batch_is_a_structured_array() -> None:
    array = batch([FRAME, ERASURE]).array
    assert array.dtype.itemsize == ffi.sizeof("rtp_row_t")
    assert array["sequence"].tolist() == [65545, 5]
    assert array["samples"].tolist() == [0, 320]
    assert array["csrc_count"].tolist() == [2, 0]
    assert array["extension_bytes"].tolist() == [4, 0]


def test_the_head_is_that_of_c() -> None:
    fields = HEAD.unpack(FRAME[: HEAD.size])
    assert fields == (0, 1, 1, 96, 0xCAFE, 65545, 4_000_000_000, 0, 1, ONE_BYTE, 4, 77, 2)
