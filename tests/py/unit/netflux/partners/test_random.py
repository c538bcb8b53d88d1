"""Links of all kinds, partners that come and go: what holds whatever happens.

Each value is a count that only grows, so that an older one is seen by its size.
"""

from __future__ import annotations

import itertools
import random
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from netflux_session import Session

from shmring import Impairment
from shmring.testing import Exchange, Link
from shmring.testing.plc import PARTNERS

pytestmark = pytest.mark.check

KINDS = ("codesys5", "codesys4", "siemens", "python")
MS = 1_000_000
SECOND = 1000 * MS
PC, PLC = ("192.0.2.1", 2000), ("192.0.2.2", 2000)
SIZE = 8

QUICK = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

# The order is kept by delay and jitter, broken by reorder. What is held back stays below half a
# round of numbers and below the watchdog, or the protocol could not tell old from new.
networks = st.builds(
    Impairment,
    loss=st.sampled_from([0.0, 0.01, 0.1, 0.4]),
    duplicate=st.sampled_from([0.0, 0.1]),
    reorder=st.sampled_from([0.0, 0.1]),
    delay_ns=st.integers(0, 30 * MS),
    jitter_ns=st.integers(0, 10 * MS),
    seed=st.integers(0, 2**32),
)
orderly = networks.map(
    lambda n: Impairment(
        loss=n.loss, duplicate=n.duplicate, delay_ns=n.delay_ns, jitter_ns=n.jitter_ns, seed=n.seed
    )
)
cycles = st.sampled_from([MS // 4, MS, 2 * MS, 5 * MS])
scans = st.sampled_from([MS // 4, MS])


class World:
    """Ours and a partner, and all that each took."""

    def __init__(self, kind, to_ours, to_plc, cycle_ns, plc_cycle_ns, scan_ns, watch_ns, seed):
        self.ours = Session(
            remote=PLC, receive=SIZE, send=SIZE, cycle_ns=cycle_ns, watch_ns=watch_ns
        )
        controller = {} if kind == "python" else {"scan_ns": scan_ns}
        self.plc = PARTNERS[kind](
            remote=PC,
            receive=SIZE,
            send=SIZE,
            cycle_ns=plc_cycle_ns,
            program=self.program,
            seed=seed,
            **controller,
        )
        self.ours.at_send = self.count
        self.written = {"ours": 0, "plc": 0}
        self.taken = {"ours": [], "plc": []}
        self.arrived = {"ours": 0, "plc": 0}
        self._taken_before = {"ours": 0, "plc": 0}
        self.verdicts = []
        arrive = self.ours.arrive

        def arrive_ours(data, source, now_ns):
            verdict = arrive(data, source, now_ns)
            self.verdicts.append(verdict)
            if verdict in ("first", "accepted"):
                self.taken["ours"].append((now_ns, verdict, struct.unpack("<Q", data[2:])[0]))

        self.ours.arrive = arrive_ours
        self.plc.power_on(0)
        self.link = Exchange(
            self.ours, self.plc, to_a=to_ours, to_b=to_plc, address_a=PC, address_b=PLC
        )

    def program(self, plc):
        if plc.taken != self._taken_before["plc"]:
            self._taken_before["plc"] = plc.taken
            self.taken["plc"].append(struct.unpack("<Q", plc.received)[0])
        self.written["plc"] += 1
        plc.to_send = struct.pack("<Q", self.written["plc"])

    def count(self, ours):
        self.written["ours"] += 1
        ours.to_send = struct.pack("<Q", self.written["ours"])


def is_rising(values):
    return all(a < b for a, b in itertools.pairwise(values))


@pytest.mark.parametrize("kind", KINDS)
@QUICK
@given(
    to_ours=networks,
    to_plc=networks,
    cycle_ns=cycles,
    plc_cycle_ns=cycles,
    scan_ns=scans,
    seed=st.integers(0, 1000),
)
def test_no_old_values_are_news(kind, to_ours, to_plc, cycle_ns, plc_cycle_ns, scan_ns, seed):
    world = World(kind, to_ours, to_plc, cycle_ns, plc_cycle_ns, scan_ns, 30 * MS, seed)
    world.link.run(SECOND)
    ours = world.ours
    assert is_rising([value for _, _, value in world.taken["ours"]])
    refused = sum(ours.count(f"rejected_{why}") for why in ("short", "repeated", "old", "foreign"))
    assert ours.count("accepted") == len(world.taken["ours"]) == ours.taken
    assert ours.count("accepted") + refused == world.link.to_a.counts.passed
    assert ours.count("sent") == world.link.to_b.counts.offered
    assert ours.count("firsts") == sum(event.what == "alive" for event in ours.events)
    alternating = [event.what for event in ours.events if event.what in ("alive", "timeout")]
    assert alternating == ["alive", "timeout"] * (len(alternating) // 2) + ["alive"] * (
        len(alternating) % 2
    )
    gaps = world.ours.durations("gap")
    if gaps.samples:
        assert gaps.max_ns <= 30 * MS, "what is longer is a time-out"


@pytest.mark.parametrize("kind", ["siemens", "python"])
@QUICK
@given(to_plc=networks, cycle_ns=st.sampled_from([MS, 2 * MS]), seed=st.integers(0, 1000))
def test_partners_with_a_window_take_no_old_values_either(kind, to_plc, cycle_ns, seed):
    """While ours is heard; and what a scan does not look at is not seen here."""
    world = World(kind, Impairment(), to_plc, cycle_ns, MS, MS // 4, 30 * MS, seed)
    world.plc.watch_ns = SECOND
    world.plc.power_on(0)
    world.link.run(SECOND)
    assert is_rising(world.taken["plc"])


def test_codesys5_takes_old_values():
    world = World(
        "codesys5", Impairment(), Impairment(reorder=0.1, seed=1), MS, MS, MS // 4, 30 * MS, 0
    )
    world.link.run(SECOND)
    assert not is_rising(world.taken["plc"])


@pytest.mark.parametrize("kind", KINDS)
@QUICK
@given(
    to_ours=orderly,
    to_plc=orderly,
    cycle_ns=cycles,
    seed=st.integers(0, 2**32),
    watch_ns=st.sampled_from([0, 30 * MS]),
)
def test_partners_that_come_and_go(kind, to_ours, to_plc, cycle_ns, seed, watch_ns):
    """In order, with power cycles: what is refused for its number is a partner's second life."""
    chance = random.Random(seed)
    world = World(kind, to_ours, to_plc, cycle_ns, MS, MS // 4, watch_ns, seed)
    restarts = 0
    for _ in range(5):
        world.link.run(chance.randrange(400 * MS))
        world.plc.power_off()
        world.link.run(chance.choice([0, 5 * MS, 29 * MS, 100 * MS]))
        world.plc.power_on(world.link.now_ns)
        restarts += 1
    world.link.run(400 * MS)
    ours = world.ours
    assert is_rising([value for _, _, value in world.taken["ours"]])
    assert ours.count("rejected_old") <= restarts * 129 * (1 + to_ours.duplicate * 3)
    assert ours.count("accepted") == len(world.taken["ours"])
    if to_ours.loss <= 0.1 and to_plc.loss <= 0.1:
        assert ours.gauge("alive") == 1
        assert ours.gauge("heard") == 1


@pytest.mark.parametrize("kind", KINDS)
@settings(QUICK, max_examples=8)
@given(
    loss=st.floats(0.02, 0.3),
    delay_ns=st.integers(40 * MS, 80 * MS),
    cycle_ns=st.sampled_from([MS, 2 * MS]),
    plc_cycle_ns=st.sampled_from([MS // 2, MS]),
    seed=st.integers(0, 2**32),
)
def test_what_ours_measures_is_what_the_link_was_set_to(
    kind, loss, delay_ns, cycle_ns, plc_cycle_ns, seed
):
    to_ours = Impairment(loss=loss, delay_ns=delay_ns, seed=seed)
    to_plc = Impairment(delay_ns=delay_ns, seed=seed + 1)
    world = World(kind, to_ours, to_plc, cycle_ns, plc_cycle_ns, MS // 5, 0, seed)
    world.link.run(5 * SECOND)
    ours, counts = world.ours, world.link.to_a.counts
    lost = ours.count("partner_lost")
    assert lost == pytest.approx(counts.lost, rel=0.05, abs=10), "those at the ends are not seen"
    assert ours.durations("partner_interval").mean_ns == pytest.approx(
        world.plc.period_ns, rel=0.05
    )
    assert ours.durations("own_interval").mean_ns == pytest.approx(cycle_ns, rel=0.0005)
    assert ours.durations("rtt").mean_ns == pytest.approx(2 * delay_ns, rel=0.05)


@settings(max_examples=100, deadline=None)
@given(network=networks, seed=st.integers(0, 1000))
def test_links_lose_nothing_but_what_they_count(network, seed):
    chance = random.Random(seed)
    link = Link(network)
    taken = []
    now_ns = 0
    for number in range(300):
        link.offer(struct.pack("<I", number), PC if number % 3 else PLC, now_ns)
        now_ns += chance.randrange(2 * MS)
        taken += link.take(now_ns)
    assert link.deadline_ns > now_ns
    taken += link.take(now_ns + SECOND)
    counts = link.counts
    assert counts.offered == 300
    assert counts.passed == len(taken) == 300 + counts.duplicated - counts.lost
    numbers = [struct.unpack("<I", data)[0] for data, _ in taken]
    assert all(
        source == (PC if n % 3 else PLC) for n, (_, source) in zip(numbers, taken, strict=True)
    )
    if network.reorder == 0:
        assert numbers == sorted(numbers)


def test_an_exchange_repeats_itself():
    def run():
        world = World(
            "python",
            Impairment(loss=0.1, jitter_ns=3 * MS, delay_ns=5 * MS, seed=1),
            Impairment(duplicate=0.1, seed=2),
            MS,
            2 * MS,
            MS,
            30 * MS,
            3,
        )
        world.link.run(SECOND)
        return world.taken, world.verdicts, world.ours.events

    assert run() == run()
