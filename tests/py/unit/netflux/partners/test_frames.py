"""Sizes and bytes: what each end makes of datagrams that are short, long, and just right."""

from __future__ import annotations

import struct

import pytest

KINDS = ("codesys5", "codesys4", "siemens", "python")
ENDS = (*KINDS, "ours")
MS = 1_000_000


@pytest.mark.parametrize("kind", ENDS)
def test_a_datagram_is_number_feedback_and_payload(kind, bench):
    end = bench(kind)
    end.end.to_send = bytes(range(20))
    end.wait(100 * MS)
    assert end.sent
    assert {data[2:] for _, data in end.sent} == {bytes(range(20))}
    assert set(end.feedbacks()) == {0}, "nothing was received"
    assert set(end.to) == {end.HERE}


@pytest.mark.parametrize(
    ("kind", "longest"),
    [("codesys5", 1499), ("codesys4", 1459), ("siemens", 1461), ("python", 1458)],
)
def test_the_longest_payload(kind, longest, bench):
    payload = bytes(i % 251 + 1 for i in range(longest))
    end = bench(kind, receive=longest)
    assert end.takes(1, 1, payload)
    assert end.end.received == payload
    if kind == "codesys5":
        return
    beyond = bench(kind, receive=longest + 1)
    took = beyond.takes(1, 1, payload + b"x")
    if kind == "python":
        assert (took, beyond.end.total_packets_rejected) == (False, 1), "cut, so too short"
    else:
        assert beyond.end.received == payload + b"\0", "what was cut off is missing"


def test_no_payload_is_longer_than_a_datagram_of_theirs(bench):
    for kind in KINDS:
        with pytest.raises(ValueError, match="send has 1500 bytes: a payload has at most 1499"):
            bench(kind, send=1500)


def test_ours_takes_the_longest_there_is(bench):
    end = bench("ours", receive=1499)
    assert end.takes(1, 1, b"x" * 1499)
    with pytest.raises(ValueError, match="rx_payload_bytes is 1500; a datagram carries at most"):
        bench("ours", receive=1500)


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("surplus", [1, 100, 2000])
def test_what_is_longer_than_agreed_is_ignored(kind, surplus, bench):
    end = bench(kind)
    assert end.takes(1, 1, bytes(range(20)) + b"x" * surplus)
    assert end.end.received == bytes(range(20))
    if kind == "ours":
        assert end.end.count("oversize") == 1


@pytest.mark.parametrize("kind", ["python", "ours"])
@pytest.mark.parametrize("size", [0, 1, 2, 21])
def test_what_is_shorter_than_agreed_is_refused(kind, size, bench):
    end = bench(kind)
    assert end.takes(1, 1, b"a" * 20)
    end.arrive_raw(bytes([2, 1]).ljust(22, b"b")[:size])
    assert end.end.received == b"a" * 20
    if kind == "ours":
        assert end.end.count("rejected_short") == 1
        assert end.end.gauge("partner_number") == 1
    else:
        assert end.end.total_packets_rejected == 1
        assert end.end.partner_seq_number == 1
    assert end.takes(2, 1), "and changes nothing"


@pytest.mark.parametrize(("size", "counts"), [(0, False), (1, False), (2, True), (21, True)])
def test_codesys5_takes_the_header_of_a_short_datagram(size, counts, bench):
    end = bench("codesys5")
    assert end.takes(7, 3, b"a" * 20)
    end.arrive_raw(bytes([9, 4]).ljust(22, b"b")[:size])
    end.look()
    assert end.end.received == b"a" * 20
    assert end.end.last_partner_number == (9 if counts else 7)
    assert end.end.feedback == (4 if counts else 3)
    assert end.end.rx_count == (2 if counts else 1)
    assert end.end.packets_per_cycle == counts


@pytest.mark.parametrize("kind", ["codesys4", "siemens"])
def test_the_older_blocks_copy_what_was_there_before(kind, bench):
    end = bench(kind)
    assert end.takes(1, 1, b"a" * 20)
    assert end.takes(2, 2, b"bbbb")
    assert end.end.received == b"bbbb" + b"a" * 16
    end.arrive_raw(b"\x03")
    end.look()
    assert end.end.accepted_number == 3
    assert end.end.feedback == 2, "what was there before as well"
    end.arrive_raw(b"")
    end.look()
    assert end.end.accepted_number == 3


@pytest.mark.parametrize(
    ("kind", "order"),
    [("codesys5", "<"), ("codesys4", "<"), ("siemens", ">"), ("python", "<")],
)
def test_the_order_of_bytes_is_the_partners(kind, order, bench):
    end = bench(kind, receive="fH", send="dI")
    assert end.takes(1, 1, struct.pack(order + "fH", 1.5, 0x1234))
    assert end.end.values == (1.5, 0x1234)
    end.end.put((-2.25, 0x01020304))
    end.wait(100 * MS)
    assert end.sent[-1][1][2:] == struct.pack(order + "dI", -2.25, 0x01020304)
