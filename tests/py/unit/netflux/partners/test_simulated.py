"""A partner on a real socket: addresses, power, time, and how it ends."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time

import pytest
from kit.wire import udp

from shmring import Impairment
from shmring.errors import BadConfig
from shmring.testing.plc import PARTNERS, Codesys4, Codesys5, PythonPartner, Siemens, SimulatedPlc

MS = 1_000_000


@pytest.fixture
def pc():
    with udp() as sock:
        yield sock


def open_files():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def drain(sock):
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.recv(2048)
    sock.settimeout(20)


@pytest.mark.parametrize("kind", PARTNERS)
def test_it_sends_to_its_remote_unasked(kind, plc_sim, pc):
    plc = plc_sim(PARTNERS[kind](remote=pc.getsockname(), send=3, cycle_ns=MS))
    data, source = pc.recvfrom(2048)
    assert source == plc.address
    assert data == bytes([0 if kind == "siemens" else 1, 0]) + bytes(3)


def test_without_a_remote_it_sends_to_where_the_first_datagram_comes_from(plc_sim, pc):
    plc = plc_sim(PythonPartner())
    assert plc.partner.sent == 0
    pc.sendto(b"x", plc.address)
    pc.recv(2048)
    assert plc.partner.remote == pc.getsockname()
    with udp() as other:
        plc.aim(other.getsockname())
        other.recv(2048)


def test_power(plc_sim, pc):
    plc = plc_sim(PythonPartner(remote=pc.getsockname(), cycle_ns=MS))
    plc.wait_for(lambda partner: partner.sent > 10)
    plc.power_off()
    with plc.held() as partner:
        sent = partner.sent
    pc.sendto(bytes([1, 0]) + bytes(20), plc.address)
    plc.wait_for(lambda _: plc._to_plc.counts.passed == 1)
    drain(pc)
    time.sleep(0.05)
    assert (plc.partner.sent, plc.partner.taken) == (sent, 0)
    plc.power_on()
    assert pc.recv(2048)[0] == 1, "numbers begin anew"
    plc.wait_for(lambda partner: partner.sent > sent)
    assert plc.restarts == 1
    assert plc.partner.taken == 0, "what came meanwhile was thrown away"


def test_a_restart_takes_its_time(plc_sim, pc):
    plc = plc_sim(PythonPartner(remote=pc.getsockname(), cycle_ns=MS))
    plc.wait_for(lambda partner: partner.sent > 10)
    before_ns = time.monotonic_ns()
    plc.restart(off_ns=500 * MS)
    assert not plc.partner.on
    plc.wait_for(lambda partner: partner.on)
    assert time.monotonic_ns() - before_ns >= 500 * MS
    plc.restart()
    assert plc.partner.on
    assert plc.restarts == 2


def test_power_cycles_of_its_own(plc_sim):
    plc = plc_sim(Siemens(), restart_every_ns=20 * MS, restart_off_ns=5 * MS, seed=1)
    plc.wait_for(lambda _: plc.restarts >= 5)
    plc.power_off()
    restarts = plc.restarts
    time.sleep(0.1)
    assert (plc.restarts, plc.partner.on) == (restarts, False)


def test_the_networks_are_those_asked_for(plc_sim, pc):
    partner = PythonPartner(remote=pc.getsockname(), cycle_ns=MS)
    plc = plc_sim(partner, from_plc=Impairment(loss=1.0))
    pc.sendto(bytes([1, 0]) + bytes(20), plc.address)
    plc.wait_for(lambda partner: partner.sent > 20 and partner.taken == 1)
    pc.setblocking(False)
    with pytest.raises(BlockingIOError):
        pc.recv(2048)

    deaf = plc_sim(PythonPartner(remote=pc.getsockname()), to_plc=Impairment(loss=1.0))
    pc.settimeout(20)
    pc.sendto(bytes([1, 0]) + bytes(20), deaf.address)
    pc.recv(2048)
    assert deaf.partner.taken == 0


def test_a_delay_is_kept(plc_sim, pc):
    plc = plc_sim(PythonPartner(cycle_ns=MS), delay_ns=100 * MS)
    before_ns = time.monotonic_ns()
    pc.sendto(bytes([1, 0]) + bytes(20), plc.address)
    pc.recv(2048)
    assert time.monotonic_ns() - before_ns >= 200 * MS


def test_what_never_comes_is_told_with_the_state_of_the_partner(plc_sim):
    plc = plc_sim(Codesys4())
    with pytest.raises(TimeoutError, match=r"condition not met in 0\.1 s: .*'timeouts': 0"):
        plc.wait_for(lambda partner: partner.taken, timeout_s=0.1)


def test_a_program_that_fails_is_told_at_once(plc_sim):
    plc = plc_sim(Siemens(program=lambda plc: 1 / 0))
    with pytest.raises(ZeroDivisionError):
        plc.wait_for(lambda partner: False)


def test_a_port_in_use(pc):
    threads = threading.active_count()
    files = open_files()
    with pytest.raises(OSError, match="in use"):
        SimulatedPlc(PythonPartner(), local=pc.getsockname())
    assert threading.active_count() <= threads
    assert open_files() <= files


def test_networks_out_of_range():
    with pytest.raises(BadConfig, match="loss is 2"):
        SimulatedPlc(PythonPartner(), to_plc=Impairment(loss=2.0))


def test_it_leaves_nothing_open():
    files = open_files()
    threads = threading.active_count()
    with SimulatedPlc(Codesys5()) as plc:
        plc.close()
    plc.close()
    assert open_files() <= files
    assert threading.active_count() <= threads
