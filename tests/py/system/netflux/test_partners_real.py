"""Links against each partner on real sockets: what the rules come to when a worker sends.

The rules themselves are tested in virtual time. Here any process may stand still for a while at any
time, so a watchdog may run out where no test wants it.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass

import pytest
from kit.waiting import until

import shmring
from shmring.netflux.records import DINT, INT, REAL, Codec
from shmring.testing.plc import PARTNERS, State

KINDS = ("codesys5", "codesys4", "siemens", "python")
MS = 1_000_000
SECOND = 1000 * MS
SIZE = 8

PLC_SAYS = b"from plc"
WE_SAY = b"from us!"


@pytest.fixture
def plc_of(plc_sim):
    """Start a partner that is ready to receive."""

    def start(kind, path=None, **options):
        options = {"receive": SIZE, "send": SIZE, "cycle_ns": 2 * MS} | options
        plc = plc_sim(PARTNERS[kind](**options), **(path or {}))
        if kind == "codesys5":
            plc.wait_for(lambda partner: partner.state is State.RUNNING)
        return plc

    return start


@pytest.fixture
def link_to(shmring_pool):
    """Open a link to a partner."""

    def start(plc, rx=8192, rcvbuf_bytes=None, **options):
        own = {
            "send": SIZE,
            "receive": SIZE,
            "values": WE_SAY,
            "cycle_ns": 2 * MS,
            "watchdog_ns": 30 * MS,
        }
        return shmring_pool.open(
            "link",
            shmring.Netflux(
                rx=rx, socket=shmring.Socket(rcvbuf_bytes=rcvbuf_bytes), **own | options
            ),
            local=("127.0.0.1", 0),
            remote=plc.address,
        )

    return start


@pytest.mark.parametrize("kind", KINDS)
def test_values_go_both_ways(kind, plc_of, link_to, eventually):
    plc = plc_of(kind)
    plc.partner.put(PLC_SAYS)
    link = link_to(plc)
    plc.wait_for(lambda partner: partner.received == WE_SAY)
    eventually(lambda: (seen := link.snapshot()) and seen.values == PLC_SAYS)
    eventually(lambda: link.link().alive and link.link().heard)
    link.update(b"another.")
    plc.wait_for(lambda partner: partner.received == b"another.")
    with plc.held() as partner:
        partner.put(b"from PLC")
    eventually(lambda: link.snapshot().values == b"from PLC")
    assert link.netflux_stats().rtt.count > 0


@pytest.mark.check
@pytest.mark.parametrize("kind", KINDS)
def test_all_that_each_sends_is_taken(kind, plc_of, link_to, eventually):
    """More than two rounds of numbers; 0 as the first of them, from siemens, is no exception."""
    plc = plc_of(kind, cycle_ns=0)
    plc.power_off()
    link = link_to(plc, watchdog_ns=0, rcvbuf_bytes=1 << 20)
    plc.aim(link.local)
    sent = plc.partner.sent
    plc.power_on()
    plc.wait_for(lambda partner: partner.sent > 600)
    plc.power_off()
    eventually(lambda: link.link().accepted == plc.partner.sent - sent)
    found = link.link()
    assert (found.partner_lost, found.rejected, found.firsts) == (0, 0, 1)
    first = link.recv(timeout=20)
    assert isinstance(first, shmring.netflux.Event)
    first = link.recv(timeout=20)
    assert (first.first, first.number) == (True, 0 if kind == "siemens" else 1)


@pytest.mark.check
@pytest.mark.parametrize("kind", ["codesys5", "siemens", "python"])
def test_each_takes_what_a_link_sends(kind, plc_of, link_to):
    """Codesys4 is deaf for most of the time, see below."""
    plc = plc_of(kind)
    link_to(plc)
    plc.wait_for(lambda partner: partner.taken > 600)
    plc.wait_for(lambda partner: not partner.error)


@pytest.mark.check
def test_codesys4_hears_again_behind_each_wrap(plc_of, link_to):
    plc = plc_of("codesys4")
    link = link_to(plc)
    plc.wait_for(lambda partner: partner.timeouts >= 2 and partner.accepted_number < 250)
    assert plc.partner.refused > 100
    link.update(b"is heard")
    plc.wait_for(lambda partner: partner.received == b"is heard")


@pytest.mark.check
@pytest.mark.parametrize("kind", KINDS)
def test_a_partner_without_power_is_missed_and_comes_back(kind, plc_of, link_to, eventually):
    plc = plc_of(kind)
    plc.partner.put(PLC_SAYS)
    link = link_to(plc)
    eventually(lambda: link.link().alive)
    plc.power_off()
    eventually(lambda: not link.link().alive)
    seen = link.snapshot()
    assert (seen.values, seen.void) == (bytes(SIZE), True)
    accepted_ns = None
    timeout = None
    while timeout is None or timeout.timestamp_ns != seen.timestamp_ns:
        item = link.recv(timeout=20)
        if isinstance(item, shmring.netflux.Values):
            accepted_ns = item.timestamp_ns
        elif item.kind == "timeout":
            timeout = item
    assert timeout.timestamp_ns - accepted_ns == 30 * MS, "to the nanosecond"
    eventually(lambda: not link.link().heard)
    plc.power_on()
    eventually(lambda: link.link().alive and link.link().heard)
    eventually(lambda: link.snapshot().values == PLC_SAYS)


@pytest.mark.check
@pytest.mark.parametrize("kind", KINDS)
def test_a_quick_restart_costs_half_a_round_at_most(kind, plc_of, link_to, eventually):
    plc = plc_of(kind, cycle_ns=0)
    link = link_to(plc, watchdog_ns=0)
    eventually(lambda: link.link().accepted > 50)
    with plc.held() as partner:
        partner.to_send = PLC_SAYS
        plc.restart()
    eventually(lambda: link.snapshot().values == PLC_SAYS)
    found = link.link()
    assert found.rejected_old + found.rejected_repeated <= 129
    assert found.timeouts == 0


@pytest.mark.check
@pytest.mark.parametrize("kind", ["codesys4", "siemens"])
def test_who_watches_the_feedback_misses_a_link_that_is_silent(kind, plc_of, link_to):
    plc = plc_of(kind)
    link = link_to(plc)
    plc.wait_for(lambda partner: partner.taken > 10)
    link.configure(sending=False)
    plc.wait_for(lambda partner: partner.error and partner.received == bytes(SIZE))
    link.configure(sending=True)
    plc.wait_for(lambda partner: not partner.error and partner.received == WE_SAY)


@pytest.mark.check
def test_codesys5_misses_it_after_a_second_and_keeps_its_values(plc_of, link_to):
    plc = plc_of("codesys5")
    link = link_to(plc)
    plc.wait_for(lambda partner: partner.connected and partner.received == WE_SAY)
    link.configure(sending=False)
    plc.wait_for(lambda partner: not partner.connected)
    assert plc.partner.received == WE_SAY
    link.configure(sending=True)
    plc.wait_for(lambda partner: partner.connected)


@pytest.mark.check
def test_python_misses_it_after_its_hundred_milliseconds(plc_of, link_to):
    plc = plc_of("python")
    link = link_to(plc)
    plc.wait_for(lambda partner: partner.received == WE_SAY)
    link.configure(sending=False)
    plc.wait_for(lambda partner: partner.watchdog_timeout)
    assert plc.partner.error_message == "Watchdog timeout (0.03s)"
    assert plc.partner.received == bytes(SIZE)


def test_siemens_and_a_record(plc_of, link_to, eventually):
    @dataclass
    class Axis:
        position: REAL = 0.0
        number: DINT = 0
        mode: INT = 0

    codec = Codec(Axis, order="big")
    plc = plc_of("siemens", send=codec, receive="fih")
    plc.partner.put(Axis(1.5, -2, 3))
    link = link_to(plc, send=codec, receive=codec, values=Axis(-2.5, 7, 11))
    eventually(lambda: (seen := link.snapshot()) and seen.values == Axis(1.5, -2, 3))
    plc.wait_for(lambda partner: partner.values == (-2.5, 7, 11))


def test_a_stranger_is_not_heard(plc_of, link_to, eventually):
    plc = plc_of("codesys5")
    plc.partner.put(PLC_SAYS)
    link = link_to(plc)
    stranger = plc_of("python", remote=link.local)
    stranger.wait_for(lambda partner: partner.sent > 20)
    eventually(lambda: link.link().rejected_foreign > 10)
    eventually(lambda: link.snapshot().values == PLC_SAYS)
    while (item := link.try_recv()) is not None:
        if isinstance(item, shmring.netflux.Values):
            assert (item.source, item.values) == (plc.address, PLC_SAYS)


@pytest.mark.check
def test_codesys5_answers_to_strangers_as_well(plc_of, link_to, eventually):
    plc = plc_of("codesys5")
    link = link_to(plc)
    stranger = plc_of("python", remote=plc.address)
    stranger.wait_for(lambda partner: partner.taken > 10)
    before = link.link().accepted
    eventually(lambda: link.link().accepted > before + 10)


@pytest.mark.check
@pytest.mark.parametrize("kind", KINDS)
def test_values_never_go_back(kind, plc_of, link_to, eventually):
    """Losses, copies, delays and power cycles, all at once. The order of the network is kept."""
    counter = itertools.count(1)

    def program(plc):
        plc.to_send = struct.pack("<Q", next(counter))

    plc = plc_of(
        kind,
        {
            "loss": 0.1,
            "duplicate": 0.1,
            "delay_ns": 3 * MS,
            "jitter_ns": 2 * MS,
            "restart_every_ns": 400 * MS,
            "restart_off_ns": 60 * MS,
            "seed": 1,
        },
        program=program,
    )
    link = link_to(plc)
    plc.wait_for(lambda _: plc.restarts >= 3, timeout_s=30)
    eventually(lambda: link.link().accepted > 100)
    plc.power_off()
    eventually(lambda: not link.link().alive)
    values = []
    while (item := link.try_recv()) is not None:
        if isinstance(item, shmring.netflux.Values):
            values.append(struct.unpack("<Q", item.values)[0])
    assert len(values) > 100
    assert all(a < b for a, b in itertools.pairwise(values))
    found = link.link()
    assert found.rejected_repeated > 0
    assert found.partner_lost > 0


@pytest.mark.check
def test_what_a_link_measures_is_what_the_network_was_set_to(shmring_pool):
    """Within 5 %: losses by counts, which are large and, by the seed, nearly always the same; round
    trips by their median, which no pause of the machine moves; the partner's interval by what it
    knows itself."""
    loss, delay_ns = 0.2, 100 * MS
    network = shmring.Impairment(loss=loss, delay_ns=delay_ns, seed=7)
    engine = shmring.Netflux(
        send=SIZE,
        receive=SIZE,
        values=bytes(SIZE),
        watchdog_ns=0,
        cycle_ns=MS,
        socket=shmring.Socket(rcvbuf_bytes=1 << 20),
    )
    common = {"local": ("127.0.0.1", 0), "engine": engine}
    there = shmring_pool.open("there", **common)
    here = shmring_pool.open(
        "here", remote=there.local, impair=network, impair_rx=network, **common
    )
    there.aim(here.local)
    until(lambda: here.link().accepted >= 6000)
    stats = here.stats()
    found = stats.engine
    lost = found.partner_lost / (found.partner_lost + found.accepted)
    assert lost == pytest.approx(loss, rel=0.05)
    assert found.partner_lost == pytest.approx(stats.impair_rx_lost, rel=0.05)
    assert found.rtt.percentile(50) == pytest.approx(2 * delay_ns, rel=0.05)
    real_ns = there.netflux_stats().own_interval.mean
    assert found.partner_interval.mean == pytest.approx(real_ns, rel=0.05)
