"""What a tap writes, compared with what sender and receiver were told."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import time
from pathlib import Path
from typing import Any

import pytest

import shmring
from shmring.net import tap

MS = 1_000_000
WAIT_S = 20.0


def written(t: tap.Tap, count: int, eventually: Any) -> None:
    eventually(lambda: t.stats().written >= count)


def read_by_libpcap(path: Path) -> int:
    """Return how many packets libpcap, and so tcpdump, finds. It raises an error at damage."""
    library = ctypes.CDLL(ctypes.util.find_library("pcap"))
    library.pcap_open_offline.restype = ctypes.c_void_p
    library.pcap_geterr.restype = ctypes.c_char_p
    told = ctypes.create_string_buffer(256)
    file = ctypes.c_void_p(library.pcap_open_offline(bytes(path), told))
    assert file, told.value
    head, data = ctypes.c_void_p(), ctypes.c_void_p()
    found = 0
    while (rc := library.pcap_next_ex(file, ctypes.byref(head), ctypes.byref(data))) == 1:
        found += 1
    assert rc == -2, library.pcap_geterr(file)  # the end
    library.pcap_close(file)
    return found


@pytest.mark.needs("libpcap")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_libpcap_reads_both_directions(
    shmring_pool: shmring.Pool, eventually: Any, tmp_path: Path, host: str
) -> None:
    """Of a channel with one IP version."""
    path = tmp_path / "ctl.pcapng"
    there = shmring_pool.open("there", local=(host, 0))
    here = shmring_pool.open("ctl", local=(host, 0), remote=there.local)
    with tap.open("ctl", path, not_sent=True) as t:
        here.send(b"out")
        there.send(b"back", to=here.local)
        assert here.recv(timeout=WAIT_S).data == b"back"
        written(t, 2, eventually)
    assert read_by_libpcap(path) == 2


def test_times_comments_and_directions_are_right_to_the_ns(
    shmring_open: Any,
    eventually: Any,
    tmp_path: Path,
    tshark: Any,
    capinfos: Any,
    real_offset_ns: Any,
) -> None:
    here, there = shmring_open(
        name="ctl",
        here={"engine": shmring.Udp(reports="all", socket=shmring.Socket(stamp_every=1))},
    )
    path = tmp_path / "ctl.pcapng"
    with tap.open("ctl", path) as t:
        for number in range(40):
            here.send(b"out %d" % number, at=time.monotonic_ns() + MS)
            there.send(b"back %d" % number)
        here.flush(timeout=WAIT_S)
        got = [here.recv(timeout=WAIT_S) for _ in range(40)]
        written(t, 80, eventually)
    assert (t.ended, t.stats().written, t.stats().lost) == ("stopped", 80, 0)
    offset_ns = real_offset_ns(path)
    assert abs(offset_ns - (time.time_ns() - time.monotonic_ns())) < 1000 * MS
    seen = tshark(path)
    assert {packet.sums for packet in seen} == {("1", "1")}
    out = [packet for packet in seen if packet.interface == "ctl tx"]
    back = [packet for packet in seen if packet.interface == "ctl rx"]
    reports = sorted(here.reports(timeout=0))
    assert len(out) == len(back) == len(reports) == 40
    for packet, report in zip(out, reports, strict=True):
        assert packet.direction == 2
        assert packet.payload == b"out %d" % report.sequence
        assert report.stamp == "kernel"
        assert packet.time_ns - offset_ns == report.stamped_ns
        facts = packet.facts
        assert (facts["seq"], facts["verdict"]) == (str(report.sequence), report.verdict.value)
        assert int(facts["due_ns"]) == report.scheduled_ns
        assert int(facts["enqueued_ns"]) == report.enqueued_ns
        assert int(facts["sent_ns"]) == report.sent_ns
        assert int(facts["handed_ns"]) == report.handed_ns
        assert int(facts["wire_ns"]) == report.stamped_ns
        assert int(facts["late_ns"]) == report.late_ns
        assert int(facts["wire_late_ns"]) == report.wire_error_ns
        assert (packet.source, packet.target) == (here.local, there.local)
    for packet, arrived in zip(back, got, strict=True):
        assert packet.direction == 1
        assert packet.payload == bytes(arrived.data)
        assert packet.time_ns - offset_ns == arrived.timestamp_ns
        assert int(packet.facts["seq"]) == arrived.sequence
        assert packet.facts["stamp"] == arrived.stamp.value
        assert (packet.source, packet.target) == (there.local, here.local)
    said = capinfos(path)
    for part in ("Number of packets:   80", "precision:  nanoseconds (9)", "Name = ctl tx"):
        assert part in said


@pytest.mark.check
def test_start_of_the_send_call_where_not_every_packet_is_stamped(
    shmring_open: Any, eventually: Any, tmp_path: Path, tshark: Any, real_offset_ns: Any
) -> None:
    here, _ = shmring_open(
        name="ctl",
        here={"engine": shmring.Udp(reports="all", socket=shmring.Socket(stamp_every=4))},
    )
    paths = {times: tmp_path / f"{times}.pcapng" for times in ("auto", "wire")}
    taps = [tap.open("ctl", path, direction="tx", times=times) for times, path in paths.items()]
    for number in range(30):
        here.send(b"%d" % number)
    here.flush(timeout=WAIT_S)
    for t in taps:
        written(t, 30, eventually)
        t.close()
    reports = sorted(here.reports(timeout=0))
    offset_ns = real_offset_ns(paths["auto"])
    sent = [packet.time_ns - offset_ns for packet in tshark(paths["auto"])]
    assert sent == [report.sent_ns for report in reports]
    offset_ns = real_offset_ns(paths["wire"])
    wire = [packet.time_ns - offset_ns for packet in tshark(paths["wire"])]
    assert wire == [report.stamped_ns or report.sent_ns for report in reports]
    assert any(report.stamped_ns for report in reports)


@pytest.mark.needs("ipv6")
def test_ipv6_and_long_and_cut_and_empty_datagrams(
    shmring_pool: shmring.Pool, eventually: Any, tmp_path: Path, tshark: Any
) -> None:
    there = shmring_pool.open("there", shmring.Udp(direction="rx"), local=("::1", 0))
    here = shmring_pool.open(
        "here",
        shmring.Udp(tx=shmring.Queue(16, 65000)),
        local=("::1", 0),
        remote=there.local,
    )
    whole, cut = tmp_path / "whole.pcapng", tmp_path / "cut.pcapng"
    bodies = [b"", b"odd", os.urandom(60000), b"\xff" * 1200]
    with tap.open("here", whole) as t, tap.open("here", cut, snap=10) as short:
        for body in bodies:
            here.send(body)
        written(t, 4, eventually)
        written(short, 4, eventually)
    seen = tshark(whole)
    assert [packet.payload for packet in seen] == bodies
    assert {packet.sums[1] for packet in seen} == {"1"}
    assert {packet.source for packet in seen} == {("::1", here.local[1])}
    raw = cut.read_bytes()
    assert bodies[2][:10] in raw
    assert bodies[2][:11] not in raw


@pytest.mark.check
def test_only_the_direction_that_was_asked_for(
    shmring_open: Any, eventually: Any, tmp_path: Path, tshark: Any
) -> None:
    here, there = shmring_open(name="ctl")
    paths = {way: tmp_path / f"{way}.pcapng" for way in ("tx", "rx")}
    with (
        tap.open("ctl", paths["tx"], direction="tx") as out,
        tap.open("ctl", paths["rx"], direction="rx") as back,
    ):
        here.send(b"out")
        there.send(b"back")
        written(out, 1, eventually)
        written(back, 1, eventually)
    for way, body in (("tx", b"out"), ("rx", b"back")):
        (packet,) = tshark(paths[way])
        assert (packet.interface, packet.payload) == (f"ctl {way}", body)


@pytest.mark.check
def test_packets_that_were_not_sent_have_an_interface_of_their_own(
    shmring_open: Any, eventually: Any, tmp_path: Path, decoded: Any
) -> None:
    here, _ = shmring_open(name="ctl", here={"engine": shmring.Udp(late="drop", tolerance_ns=1000)})
    path = tmp_path / "ctl.pcapng"
    with tap.open("ctl", path, not_sent=True, direction="tx") as t:
        here.send(b"much too late", at=time.monotonic_ns() - 1000 * MS)
        sequence = here.send(b"never", at=time.monotonic_ns() + 3600_000 * MS)
        here.cancel(sequence)
        written(t, 2, eventually)
        assert t.stats().late == 1
    fields = ("frame.interface_name", "frame.comment", "frame.len", "frame.cap_len")
    late, cancelled = sorted(decoded(path, here.local[1], "data", *fields), key=lambda row: row[1])
    assert late[0] == cancelled[0] == "ctl not sent"
    assert "verdict=dropped_late" in late[1]
    assert f"seq={sequence} verdict=cancelled" in cancelled[1]
    assert (late[2], late[3]) == (str(28 + 13), "28")


@pytest.mark.check
def test_the_emulated_link_counts_as_the_network(
    shmring_pool: shmring.Pool, eventually: Any, tmp_path: Path, tshark: Any
) -> None:
    there = shmring_pool.open(
        "there",
        shmring.Udp(direction="rx"),
        local=("127.0.0.1", 0),
        impair_rx=shmring.Impairment(delay_ns=5 * MS),
    )
    here = shmring_pool.open(
        "here",
        local=("127.0.0.1", 0),
        remote=there.local,
        impair=shmring.Impairment(loss=1.0),
    )
    direct = shmring_pool.open("direct", local=("127.0.0.1", 0), remote=there.local)
    path, arrived = tmp_path / "here.pcapng", tmp_path / "there.pcapng"
    with tap.open("here", path) as t, tap.open("there", arrived) as r:
        here.send(b"lost behind the tap")
        direct.send(b"late before the tap")
        packet = there.recv(timeout=WAIT_S)
        written(t, 1, eventually)
        written(r, 1, eventually)
    assert [seen.payload for seen in tshark(path)] == [b"lost behind the tap"]
    (seen,) = tshark(arrived)
    assert seen.payload == b"late before the tap"
    assert int(seen.facts["arrived_ns"]) == packet.timestamp_ns
    assert int(seen.facts["seq"]) == packet.sequence


@pytest.mark.check
def test_a_wildcard_address_is_replaced_by_the_one_that_leads_there(
    shmring_pool: shmring.Pool, eventually: Any, tmp_path: Path, tshark: Any
) -> None:
    here = shmring_pool.open("here", local=("0.0.0.0", 0))
    path = tmp_path / "here.pcapng"
    with tap.open("here", path) as t:
        here.send(b"to myself", to=("127.0.0.1", here.local[1]))
        written(t, 2, eventually)
    for packet in tshark(path):
        assert packet.source == packet.target == ("127.0.0.1", here.local[1])
        assert packet.sums == ("1", "1")


@pytest.mark.check
def test_a_name_may_begin_with_its_namespace(shmring_open: Any, tmp_path: Path) -> None:
    ch, _ = shmring_open(name="ctl")
    with tap.open(f"{ch.namespace}/ctl", tmp_path / "all", namespace="elsewhere"):
        assert tap.trigger(f"{ch.namespace}/ctl", "now") == 1


@pytest.mark.check
def test_several_taps_and_no_more_than_that(shmring_open: Any, tmp_path: Path) -> None:
    shmring_open(name="ctl")
    taps = [tap.open("ctl", tmp_path / f"{number}") for number in range(4)]
    with pytest.raises(shmring.errors.NoSpace, match="has 4 taps, the limit"):
        tap.open("ctl", tmp_path / "5")
    for t in taps:
        t.close()


@pytest.mark.check
def test_what_cannot_be_tapped_is_told(shmring_open: Any, tmp_path: Path) -> None:
    shmring_open(name="ctl")
    with pytest.raises(shmring.ChannelNotFound, match="'nobody' is not open"):
        tap.open("nobody", tmp_path / "x")
    for wrong in (
        {"direction": "up"},
        {"keep": -1.0},
        {"times": "real"},
        {"snap": -1},
        {"count": 0},
        {"keep": 1.0, "triggers": ("never",)},
        {"buffer_bytes": 4096},
    ):
        with pytest.raises(ValueError, match=r"one of|at least|must be|use late|give it"):
            tap.open("ctl", tmp_path / "x", **wrong)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        tap.open("ctl", tmp_path / "no folder" / "x")
