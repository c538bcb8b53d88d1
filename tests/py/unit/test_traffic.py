"""What generated flows are going to send, before anything is opened."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from shmring.errors import BadAddress
from shmring.net import traffic

HERE = "127.0.0.1"


def planned(*flows: traffic.Flow, to: str | None = HERE, **how: Any) -> traffic.PlannedFlow:
    how.setdefault("seconds", 10)
    (flow,) = traffic.Generator(to, flows, **how).flows
    return flow


@pytest.mark.parametrize(
    ("flow", "packets"),
    [
        (traffic.Flow(pps=1000), 10_000),
        (traffic.Flow(pps=1 / 3), 4),
        (traffic.Flow(pps=1000, burst=7), 10_003),
        (traffic.Flow(pps=traffic.ramp(1000, 3000, seconds=10)), 20_000),
        (traffic.Flow(pps=traffic.ramp(1000, 3000, seconds=5)), 25_000),
        (traffic.Flow(pps=traffic.steps([100, 200, 0], seconds=2)), 600),
        (traffic.Flow(pps=traffic.on_off(1000, 0.1, 0.3)), 2500),
        (traffic.Flow(pps=1000, pattern="poisson"), 10_000),
        (traffic.Flow(pps=1000, count=17), 17),
        (traffic.Flow(pps=1000, seconds=2), 2000),
        (traffic.Flow(bps=1e6, size=972), 1250),
    ],
)
def test_packets_that_are_expected(flow: traffic.Flow, packets: int) -> None:
    assert planned(flow).packets == pytest.approx(packets, abs=0.01)


def test_the_plan_of_a_flow() -> None:
    flow = planned(traffic.Flow(pps=1000, size=(100, 200), after_s=1))
    assert flow.to == (HERE, 862)
    assert (flow.pps, flow.payload_bytes, flow.after_s, flow.seconds) == (1000, 150, 1, 10)
    assert flow.bps == 1000 * 8 * 178
    endless = planned(traffic.Flow(), seconds=math.inf)
    assert endless.to_dict()["packets"] is None
    assert endless.pps == 1000


def test_imix_counts_frames_on_the_wire() -> None:
    lanes = [1, 2]
    assert [traffic.Flow(size="imix").sizes(lane) for lane in lanes] == [
        [(18, 18, 7), (548, 548, 4), (1472, 1472, 1)],
        [(16, 16, 7), (528, 528, 4), (1452, 1452, 1)],
    ]


def test_the_memory_of_large_bursts_is_bounded() -> None:
    def ring_bytes(size: int) -> int:
        burst = traffic.Flow(burst=65536, size=size, pps=10)
        return size * traffic.Generator("10.0.0.7", burst, count=1)._wanted()

    assert ring_bytes(100) == 100 * 65536
    assert ring_bytes(65507) <= 64 << 20


def test_destinations() -> None:
    to = [None, ":5004", "10.0.0.8", "10.0.0.8:5005", "[::1]:9", ("10.0.0.9", 1)]
    flows = traffic.Generator("10.0.0.7:6", [traffic.Flow(to=each) for each in to], count=1).flows
    assert [flow.to for flow in flows] == [
        ("10.0.0.7", 6),
        ("10.0.0.7", 5004),
        ("10.0.0.8", 6),
        ("10.0.0.8", 5005),
        ("::1", 9),
        ("10.0.0.9", 1),
    ]


@pytest.mark.parametrize(
    ("flow", "how", "message"),
    [
        ({"pps": -1}, {}, "pps is -1: it must be 0 to 1000000000 packets a second"),
        ({"pps": math.nan}, {}, "pps is nan"),
        ({"pps": "1"}, {}, "pps is '1': it must be a number"),
        ({"bps": "1"}, {}, "bps is '1': it must be a number"),
        ({"pps": 2e9}, {}, "pps is 2000000000.0"),
        ({"pps": 0}, {}, "the rate is 0 all the time"),
        ({"bps": 0}, {}, "bps is 0: it must be above 0"),
        ({"pps": traffic.Rate(())}, {}, "0 phases: it must have 1 to 64"),
        ({"pps": traffic.ramp(1, 2, seconds=0)}, {}, "seconds of a phase is 0: it must be above 0"),
        ({"pps": traffic.steps([1] * 65, seconds=1)}, {}, "65 phases: it must have 1 to 64"),
        ({"size": 8}, {}, "size is 8 bytes: at least 16"),
        ({"size": 70000}, {}, "size is 70000 bytes: a UDP datagram has at most 65507"),
        ({"size": (200, 100)}, {}, "from 200 to 100 bytes: swap them"),
        ({"size": -5}, {}, "size is -5"),
        ({"size": {}}, {}, "0 sizes"),
        ({"size": {64: 0}}, {}, "weight of a size is 0"),
        ({"size": "jumbo"}, {}, "size is 'jumbo': it must be bytes"),
        ({"pattern": "fractal"}, {}, "pattern is 'fractal'"),
        ({"burst": 0}, {}, "burst is 0 packets"),
        ({"burst": 2, "spacing_ns": 2_000_000}, {}, "spacing is 2000000 ns"),
        ({"after_s": -1}, {}, "after_s is -1: it must be 0 to 31536000 s"),
        ({"count": 0}, {}, "count is 0: it must be 1 packet or more"),
        ({}, {"seconds": 0}, "seconds is 0: it must be above 0"),
        ({}, {"seconds": 1e9}, "seconds is 1000000000.0"),
        ({}, {"seconds": None}, "give seconds or count"),
        ({}, {"to": None}, "to is None: name a destination"),
        ({}, {"to": "nonsense"}, "'nonsense' is not a numeric address"),
        ({}, {"seed": -1}, "seed is -1"),
        ({}, {"padding": "x"}, "padding is 'x'"),
        ({}, {"stamp": "x"}, "stamp is 'x'"),
    ],
)
def test_what_is_refused(flow: dict[str, Any], how: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        planned(traffic.Flow(**flow), **how)


def test_an_error_names_its_flow() -> None:
    with pytest.raises(ValueError, match="flow 2: size is 8 bytes"):
        traffic.Generator(HERE, [traffic.Flow(), traffic.Flow(size=8)], seconds=1)
    with pytest.raises(ValueError, match="flow 2: pps is -1"):
        traffic.Generator(HERE, [traffic.Flow(), traffic.Flow(pps=-1)], seconds=1)
    with pytest.raises(BadAddress, match="port is '99999'"):
        traffic.Generator("127.0.0.1:99999", seconds=1)
