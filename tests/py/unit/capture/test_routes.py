"""Which flows are sent, and where to."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shmring.errors import BadAddress
from shmring.net.capture import Player, address, pacing
from shmring.net.capture.routes import Routes
from shmring.net.lanes import start

ENDS = (("10.0.0.1", 4000), ("239.0.0.1", 5004))
ENDS6 = (("fd00::1", 4000), ("fd00::2", 5004))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, ("239.0.0.1", 5004)),
        ({"to": "10.0.0.7"}, ("10.0.0.7", 5004)),
        ({"to": "10.0.0.7:6000"}, ("10.0.0.7", 6000)),
        ({"to": ("10.0.0.7", 6000)}, ("10.0.0.7", 6000)),
        ({"to": "[fd00::7]:6000"}, ("fd00::7", 6000)),
        ({"to": "fd00::7"}, ("fd00::7", 5004)),
        ({"map": {"239.0.0.1:5004": "10.0.0.9:1"}}, ("10.0.0.9", 1)),
        ({"map": {"239.0.0.1:5005": "10.0.0.9:1"}}, ("239.0.0.1", 5004)),
        ({"map": {"239.0.0.0/8": "10.0.0.9"}, "to": "1.2.3.4"}, ("10.0.0.9", 5004)),
        ({"map": {"10.0.0.0/8": "10.0.0.9"}, "to": "1.2.3.4"}, ("1.2.3.4", 5004)),
        ({"map": {"*:5004": "*:6004"}}, ("239.0.0.1", 6004)),
        ({"flow": "239.0.0.1"}, ("239.0.0.1", 5004)),
        ({"flow": ["1.1.1.1", "*:5004"]}, ("239.0.0.1", 5004)),
        ({"flow": "10.0.0.0/24 > *:5004"}, ("239.0.0.1", 5004)),
        ({"flow": "10.0.0.2>*"}, None),
        ({"flow": "*:5005"}, None),
        ({"flow": "fd00::/8"}, None),
    ],
)
def test_destinations(arguments: Any, expected: tuple[str, int] | None) -> None:
    assert Routes(**arguments).destination(ENDS) == expected


def test_ipv6_patterns_and_zones() -> None:
    assert Routes(flow="[fd00::1]:4000>[fd00::2]:5004").destination(ENDS6) == ENDS6[1]
    local = (("fe80::1", 1), ("ff02::1", 2))
    assert Routes(interface="eth0").destination(local) == ("ff02::1%eth0", 2)
    assert Routes(interface="eth0").destination(ENDS6) == ENDS6[1]


def test_a_port_of_0_cannot_be_sent_to() -> None:
    assert Routes().destination((("10.0.0.1", 1), ("10.0.0.2", 0))) is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"to": "10.0.0.7:70000"},
        {"to": "host.example"},
        {"to": "[::1"},
        {"to": "[::1]9"},
        {"to": "10.0.0.7:"},
        {"flow": "10.0.0.300"},
        {"flow": "*:0"},
        {"map": {"nonsense": "10.0.0.1"}},
        {"map": {"*": "nonsense"}},
    ],
)
def test_wrong_words(arguments: Any) -> None:
    with pytest.raises(BadAddress):
        Routes(**arguments)


def test_addresses() -> None:
    assert address("10.0.0.1") == ("10.0.0.1", 0)
    assert address("[::1]:9") == ("::1", 9)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((1.0, 5.0, 5.0), "give one of them"),
        ((2.0, 5.0, None), "it goes with the times of the file"),
        ((-1.0, None, None), "scale is -1.0"),
        ((float("nan"), None, None), "scale is nan"),
        ((1.0, 0.0, None), "pps is 0.0"),
        ((1.0, None, float("inf")), "bps is inf"),
    ],
)
def test_paces_are_checked(arguments: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pacing.plan(*arguments)


def test_starts() -> None:
    now_ns = 10**18
    assert start.start_ns(None, now_ns) == now_ns + start.LEAD_NS
    assert start.start_ns(now_ns + 5, now_ns) == now_ns + 5
    later = datetime.now(UTC) + timedelta(hours=1)
    ahead_ns = start.start_ns(later, now_ns) - now_ns
    assert 3_500e9 < ahead_ns <= 3_600e9
    with pytest.raises(ValueError, match="it must be in the future"):
        start.start_ns(datetime.fromtimestamp(time.time() - 5), now_ns)
    for far in (now_ns + 400 * 86400 * 10**9, datetime(9999, 12, 31, tzinfo=UTC)):
        with pytest.raises(ValueError, match="at most a year is possible"):
            start.start_ns(far, now_ns)
    assert (start.clock_of(5), start.clock_of(later)) == ("tai", "monotonic")


def test_packets_without_times_have_no_start() -> None:
    with pytest.raises(ValueError, match="with scale=0 packets leave at once"):
        Player("nothing.pcap", scale=0, start=10**18)


@pytest.mark.parametrize("loop", [0, -1, 1.5])
def test_rounds_are_whole(loop: Any) -> None:
    """A fraction would never be reached."""
    with pytest.raises(ValueError, match=f"loop is {loop}"):
        Player("nothing.pcap", loop=loop)


def test_a_start_is_a_datetime_or_an_int() -> None:
    with pytest.raises(TypeError, match=r"start is 1\.5: it must be a datetime"):
        Player("nothing.pcap", start=1.5)  # type: ignore[arg-type]
