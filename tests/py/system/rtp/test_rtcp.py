"""RTCP between two RTP channels, and with a peer by hand: reports, goodbyes, repair."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import shmring
from shmring.rtp import Bye, Frame, Nack, Rtcp

MS = 1_000_000
STEP = 40
PTIME_S = 0.005
WAIT_S = 20.0

Pair = Callable[..., tuple[shmring.rtp.Channel, shmring.rtp.Channel]]
RTCP = Rtcp(interval_ns=50 * MS, bandwidth_bps=1e6)


def speak(ch: shmring.rtp.Channel, count: int) -> None:
    ch.send_many([b"%d" % number for number in range(count)], timeout=WAIT_S)


def heard(got: list[Any]) -> list[int]:
    return [int(item.data) for item in got if isinstance(item, Frame)]


# --- RTCP -----------------------------------------------------------------------------------------


@pytest.mark.check
@pytest.mark.parametrize("port", ["mux", "next_port"])
def test_reports_say_how_the_other_side_hears_us(
    pair: Pair, port: Any, eventually: Any, items: Any
) -> None:
    here, there = pair(
        here={"rtcp": replace(RTCP, port=port, cname="here@test")},
        there={"rtcp": replace(RTCP, port=port, cname="there@test")},
    )
    speak(here, 400)
    speak(there, 400)
    for ch, other, name in ((here, there, "there@test"), (there, here, "here@test")):
        stats = eventually(
            lambda ch=ch: (
                (s := ch.stats().engine).rtt_ns is not None
                and s.remote_cname
                and (s.members, s.senders) == (2, 2)
                and s
            )
        )
        assert 0 <= stats.rtt_ns < 5_000 * MS
        assert stats.remote_cname == name
        assert stats.reported_fraction_lost is not None
        assert stats.reported_fraction_lost < 0.5
        assert stats.remote_ssrc == other.ssrc
        assert stats.rtcp_sent >= 1
        assert stats.rtcp_received >= 1
        assert stats.rtcp_malformed == 0
        assert stats.sr_ntp is not None
        seconds = (stats.sr_ntp >> 32) - 2_208_988_800
        assert abs(seconds - time.time()) < 60
    assert sum(1 for _ in items(here)) >= 399


@pytest.mark.check
def test_no_reports_without_rtcp(pair: Pair, items: Any) -> None:
    here, there = pair()
    speak(here, 100)
    list(items(there))
    for ch in (here, there):
        stats = ch.stats().engine
        assert (stats.rtcp_sent, stats.rtcp_received, stats.rtt_ns) == (0, 0, None)


def test_lost_packets_are_reported_to_their_sender(pair: Pair, eventually: Any) -> None:
    lossy = shmring.Impairment(loss=0.3, seed=4)
    here, there = pair(rtcp=replace(RTCP, port="next_port"), there={"impair_rx": lossy})
    speak(here, 240)
    stats = eventually(lambda: (s := here.stats().engine).reported_lost > 10 and s)
    assert stats.reported_lost <= 120
    assert stats.report_mono_ns is not None
    eventually(lambda: there.stats().engine.cumulative_lost > 10)


def test_goodbye(pair: Pair, eventually: Any, items: Any) -> None:
    here, there = pair(rtcp=RTCP)
    speak(here, 100)
    here.bye()
    got = list(items(there, quiet_s=2.0))
    byes = [item for item in got if isinstance(item, Bye)]
    assert [bye.ssrc for bye in byes] == [here.ssrc]
    assert len(there.pcm(byes[0])) == 0
    assert not any(isinstance(item, Frame) for item in got[got.index(byes[0]) :])
    stats = eventually(lambda: (s := there.stats().engine).bye_mono_ns is not None and s)
    assert stats.rtcp_bye_received == 1


def test_rtcp_of_a_foreign_sender(mic: Callable[..., Any], peer: Any, eventually: Any) -> None:
    ch = mic(rtcp=RTCP)
    ch.send_many([bytes(STEP)] * 100)
    ntp = (int(time.time()) + 2_208_988_800) << 32 | 0x80000000
    report = struct.pack(">BBHI", 0x80, 200, 6, 0x5EED) + struct.pack(">QIII", ntp, 7, 3, 480)
    sdes = struct.pack(">BBHI", 0x81, 202, 3, 0x5EED) + b"\1\4them\0\0"
    for number in range(20):
        peer.send(number, number * STEP, b"x")
        time.sleep(PTIME_S)
    peer.send_raw(report + sdes)
    stats = eventually(lambda: (s := ch.stats().engine).sr_octets == 480 and s)
    assert stats.remote_cname == "them"
    assert (stats.sr_packets, stats.sr_octets, stats.sr_rtp_ts) == (3, 480, 7)
    assert stats.sr_ntp == ntp
    raw = peer.recv_raw(lambda kind: kind in (200, 201))
    assert raw[0] >> 6 == 2
    assert struct.unpack_from(">I", raw, 4)[0] == ch.ssrc


@pytest.mark.check
def test_garbage_beside_the_media(mic: Callable[..., Any], peer: Any, eventually: Any) -> None:
    ch = mic(rtcp=RTCP)
    ch.send_many([bytes(STEP)] * 20)
    report = struct.pack(">BBHI", 0x80, 201, 1, 0x5EED)
    hostile = [
        b"\x80\xc8\0\xff" + bytes(8),  # longer than the datagram
        b"\x81\xc9\0\1" + bytes(4),  # a report that is not there
        b"\x80\xc8\0\1" + bytes(4),  # a sender's report without its sender's part
        report + b"\x81\xca\0\1" + bytes(4) + b"\1",  # names that are cut
        report + struct.pack(">BBHI", 0x9F, 203, 1, 1),  # a goodbye of 31 sources, one there
        report + struct.pack(">BBHII", 0x81, 205, 2, 1, ch.ssrc),  # asks for nothing
        *(report + struct.pack(">BBHII", 0x81, 205, n, 1, ch.ssrc) for n in (0, 3, 500)),
    ]
    for raw in hostile:
        peer.send_raw(raw)
    everything = struct.pack(">HH", 0, 65535) * 300
    peer.send_raw(report + struct.pack(">BBHII", 0x81, 205, 302, 1, ch.ssrc) + everything)
    peer.send_raw(report)
    stats = eventually(lambda: (s := ch.stats().engine).rtcp_received >= 2 and s)
    assert stats.rtcp_malformed >= 6
    assert ch.state == "open"
    assert ch.stats().epoch == 1


# --- repair ---------------------------------------------------------------------------------------


@pytest.mark.check
def test_nack_repairs_a_lossy_link(pair: Pair, eventually: Any, items: Any) -> None:
    lossy = shmring.Impairment(loss=0.1, delay_ns=2 * MS, seed=6)
    here, there = pair(
        rtcp=replace(RTCP, nack=Nack(), reduced_size=True),
        here={"impair": lossy},
        there={"min_delay_ns": 800 * MS, "first_delay_ns": 800 * MS},
    )
    speak(here, 300)
    got = list(items(there))
    frames = heard(got)
    recovered = [item for item in got if isinstance(item, Frame) and item.recovered]
    stats = there.stats().engine
    assert stats.nack_requested >= stats.nack_recovered >= 10
    assert len(recovered) >= 10
    assert len(frames) > 290
    assert stats.lost < 5
    sender = here.stats().engine
    assert sender.nack_heard >= 10
    assert sender.nack_resent >= 10
    assert sender.sent == 300


def test_nack_by_hand(mic: Callable[..., Any], peer: Any) -> None:
    ch = mic(first_sequence=100, rtcp=replace(RTCP, nack=Nack()))
    ch.send_many([b"%d" % i for i in range(20)])
    first = peer.recv_all(20)
    receiver = struct.pack(">BBHI", 0x80, 201, 1, 0x5EED)
    nack = struct.pack(">BBHIIHH", 0x81, 205, 3, 0x5EED, ch.ssrc, 105, 0b1)
    peer.send_raw(receiver + nack)
    assert peer.recv_all(2) == first[5:7]
