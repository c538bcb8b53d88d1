"""NetfluxMain on real workers: two of them, one and a socket, one and simulated controllers."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
import time
from dataclasses import dataclass

import pytest

from netflux import (
    NetfluxData,
    NetfluxMain,
    NetfluxReceiver,
    NetfluxSender,
    NetfluxStatisticsTracker,
)
from shmring import Impairment
from shmring.netflux.records import DINT, INT, REAL, Codec
from shmring.testing.plc import PARTNERS, Codesys5

LONG_S = 60.0


@dataclass
class Axis:
    speed: REAL = 1.5
    mode: INT = 3


@dataclass
class Values:
    wanted: REAL = 0.0
    number: DINT = 0


@pytest.fixture
def make(shmring_pool):
    """Make links and start them; they are stopped at the end."""
    made = []

    def start(local_port, remote_port, *, begin=True, kind=NetfluxMain, **options):
        options = {
            "remote_ip": "127.0.0.1",
            "send_interval": 0.002,
            "watch_interval": LONG_S,
            "pool": shmring_pool,
            "verbose": False,
        } | options
        main = kind(local_port=local_port, remote_port=remote_port, **options)
        made.append(main)
        if begin:
            assert main.start(), (main.receiver.error_message, main.sender.error_message)
        return main

    yield start
    for main in made:
        main.stop()


@pytest.fixture
def link(make, partner):
    """One that exchanges NetfluxData with `partner`."""

    def begin(**options):
        main = make(0, partner.port, **options)
        host = "::1" if main.receiver._socket.family == socket.AF_INET6 else "127.0.0.1"
        partner.to = (host, main.receiver._socket.getsockname()[1])
        return main

    return begin


@pytest.fixture
def pair(make, free_port):
    """Two that exchange with each other, on ports they know beforehand."""
    first = make(0, free_port)
    second = make(free_port, first.receiver._socket.getsockname()[1])
    return first, second


# --- two of them ----------------------------------------------------------------------------------


def test_two_exchange_their_data(pair, eventually):
    first, second = pair
    first.set_send_data(value1=3.5, flags=7)
    second.data_send.value3 = 99
    second.data_send = NetfluxData(value3=99, value4=2**32 - 1)
    eventually(lambda: second.data_recv == NetfluxData(value1=3.5, flags=7))
    eventually(lambda: first.data_recv == NetfluxData(value3=99, value4=2**32 - 1))
    for main in pair:
        eventually(lambda main=main: main.partner_hears_us)
        assert not main.receiver.error
        assert not main.sender.error
        assert main.decode_error == ""


def test_statistics_of_two(pair, eventually):
    first = pair[0]
    eventually(lambda: first.statistics.get_stats().avg_rtt > 0)
    eventually(lambda: first.receiver.get_stats().total_packets_received > 300)
    stats = first.statistics.stats
    # Instants that a busy machine missed are not made up for.
    assert 1.9 < stats.avg_own_interval < 50
    assert 1.9 < stats.avg_partner_interval < 50
    assert 0 < stats.min_own_interval <= stats.p50_own_interval <= stats.p99_own_interval * 1.02
    assert stats.p99_partner_interval <= stats.max_partner_interval * 1.02
    assert 0 < stats.last_rtt < 10_000
    assert stats.total_feedback_lost_packets == 0
    look = first.statistics._receiver._look  # a packet may come between two looks
    eventually(lambda: first.sender.partner_seq_number == look().partner_number)

    first.statistics.reset()
    early = first.statistics.get_stats()
    assert early.total_partner_lost_packets == 0
    eventually(lambda: first.statistics.get_stats().avg_own_interval > 0)
    assert first.statistics.get_stats().avg_own_interval < 1000
    for main in pair:
        main.stop()
    kept = first.statistics.get_stats()
    assert kept == first.statistics.get_stats()
    assert kept.avg_own_interval > 0


def test_one_ends_and_the_other_notices(pair, make, eventually):
    first, second = pair
    second.set_send_data(value1=1.0)
    eventually(lambda: first.data_recv.value1 == 1.0)
    second.stop()
    first.watch_interval = 0.03
    eventually(lambda: first.receiver.get_stats().watchdog_timeout)
    assert first.data_recv == NetfluxData()
    assert first.receiver.error
    eventually(lambda: not first.partner_hears_us)
    assert second.start()
    eventually(lambda: first.data_recv.value1 == 1.0)


# --- one, and a socket ----------------------------------------------------------------------------


def test_one_socket_for_both_ways(link, partner, eventually):
    main = link()
    assert main.sender.peer_socket is main.receiver._socket
    number, feedback, payload, port = partner.take()
    assert (number, feedback, payload) == (1, 0, bytes(20))
    assert port == main.receiver._socket.getsockname()[1]


def test_feedback_is_that_of_the_moment(link, partner):
    main = link(send_interval=0.005)
    for number in range(1, 300, 7):
        partner.send(number, bytes(20))
        partner.take_until(lambda taken, number=number: taken[1] == number % 256)
    assert main.receiver.get_stats().total_packets_received == 43


def test_changed_attributes_are_sent(link, partner):
    main = link(send_interval=0.001)
    for value in (1, 2, 3):
        main.data_send.value3 = value
        partner.take_until(lambda taken, value=value: taken[2][8] == value)
    main.data_send = NetfluxData(flags=9)
    partner.take_until(lambda taken: taken[2][16] == 9)


def test_fields_set_together_are_sent_together(link, partner):
    main = link(send_interval=0.0005)
    stopped = threading.Event()

    def count():
        value = 0
        while not stopped.is_set():
            value += 1
            main.set_send_data(value3=value, value4=value, flags=value)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        for _ in range(1000):
            _, _, value3, value4, flags = struct.unpack("<ffIII", partner.take()[2])
            assert value3 == value4 == flags
    finally:
        stopped.set()
        thread.join()


def test_a_value_that_does_not_fit(link, partner, eventually):
    main = link()
    taken = [partner.take()]
    main.set_send_data(value1=2.0, value3=-1)
    assert main.sender.error
    assert main.sender.error_message == (
        "Data provider error: value3 is -1; it must be an integer from 0 to 4294967295"
    )
    taken += partner.drain()
    time.sleep(0.02)
    assert partner.drain() == []
    main.set_send_data(value3=1)
    eventually(lambda: not main.sender.error)
    taken += [partner.take() for _ in range(5)]
    assert [number for number, *_ in taken] == list(range(1, len(taken) + 1))
    assert taken[-1][2] == NetfluxData(2.0, 0.0, 1).to_bytes()


class Hooked(NetfluxMain):
    """As programs of the original extend it."""

    def __init__(self, **options):
        self.taken = []
        self.asked = 0
        super().__init__(**options)

    def _on_data_received(self, data):
        self.taken.append(data)
        if data[0] != 9:
            super()._on_data_received(data)

    def _get_send_data(self):
        self.asked += 1
        return [*super()._get_send_data()[:-1], 77]


def test_a_derived_class_with_hooks_of_its_own(make, partner, eventually):
    main = make(0, partner.port, kind=Hooked)
    partner.to = ("127.0.0.1", main.receiver._socket.getsockname()[1])
    main.set_send_data(value3=5)
    wanted = NetfluxData(value3=5).to_bytes()[:-1] + b"\x4d"
    partner.take_until(lambda taken: taken[2] == wanted)
    eventually(lambda: main.asked > 3)
    first, second = NetfluxData(value3=1).to_bytes(), bytes([9]) * 20
    partner.send(1, first)
    eventually(lambda: main.taken[:1] == [first])
    partner.send(2, second)
    eventually(lambda: main.taken[:2] == [first, second])
    assert main.data_recv == NetfluxData(value3=1)
    main.watch_interval = 0.01
    eventually(lambda: main.taken == [first, second, bytes(20)])
    assert main.data_recv == NetfluxData()


class Sized(NetfluxMain):
    """Makes its own components, for data of another size."""

    def _init_components(self, keep_values_on_timeout):
        assert (self.local_port, self.send_interval, keep_values_on_timeout) == (2000, 0.005, True)
        self.local_port = 0
        self.got = []
        self.receiver = NetfluxReceiver(
            local_port=self.local_port,
            data_callback=self.got.append,
            data_size=3,
            watch_interval=self.watch_interval,
            keep_values_on_timeout=keep_values_on_timeout,
        )
        self.sender = NetfluxSender(
            remote_ip=self.remote_ip,
            remote_port=self.remote_port,
            data_provider=lambda: b"abc",
            data_size=3,
            send_interval=self.send_interval,
            peer_socket=None,
        )
        self.statistics = NetfluxStatisticsTracker(cycle_time_ms=self.send_interval * 1000.0)


def test_a_derived_class_with_components_of_its_own(make, partner, eventually):
    main = make(2000, partner.port, kind=Sized, keep_values_on_timeout=True, send_interval=0.005)
    partner.take_until(lambda taken: taken[2] == b"abc")
    partner.to = ("127.0.0.1", main.receiver._socket.getsockname()[1])
    partner.send(1, b"xyz")
    eventually(lambda: main.got == [b"xyz"])
    # Nobody else drives a tracker of the program.
    eventually(lambda: main.statistics.get_stats().avg_own_interval > 0)


class Adjusted(NetfluxMain):
    """Changes what ours makes, and looks at the link in a loop of its own."""

    def _init_components(self, keep_values_on_timeout):
        super()._init_components(keep_values_on_timeout)
        self.sender.send_interval = 0.002
        self.rounds = []

    def _statistics_loop(self):
        while self._running:
            with self._lock:
                self.rounds.append(self.sender.sequence_number)
            time.sleep(self.send_interval)


def test_a_derived_class_with_a_loop_of_its_own(make, partner, eventually):
    main = make(0, partner.port, kind=Adjusted)
    assert main.send_interval == 0.002
    eventually(lambda: len(set(main.rounds)) > 3)
    main.stop()
    rounds = len(main.rounds)
    assert main.start()
    eventually(lambda: len(main.rounds) > rounds + 3)
    main.stop()
    rounds = len(main.rounds)
    time.sleep(0.05)
    assert len(main.rounds) == rounds


def test_a_hook_that_is_assigned_before_the_rest(make, partner, eventually):
    taken = []

    class Early(NetfluxMain):
        def __init__(self, **options):
            self._on_data_received = taken.append
            super().__init__(**options)

    main = make(0, partner.port, kind=Early)
    partner.to = ("127.0.0.1", main.receiver._socket.getsockname()[1])
    partner.send(1, NetfluxData(value4=4).to_bytes())
    eventually(lambda: taken == [NetfluxData(value4=4).to_bytes()])
    assert main.data_recv == NetfluxData()


def test_a_callback_around_that_of_main(make, partner, eventually):
    main = make(0, partner.port, begin=False)
    before, taken = main.receiver.data_callback, []

    def around(data):
        before(data)
        taken.append(data)

    main.receiver.data_callback = around
    assert main.start()
    partner.to = ("127.0.0.1", main.receiver._socket.getsockname()[1])
    payload = NetfluxData(value4=4).to_bytes()
    partner.send(1, payload)
    eventually(lambda: taken == [payload])
    assert main.data_recv.value4 == 4


def test_nobody_is_called_where_nobody_listens(link):
    main = link()
    assert main.receiver._reader is None
    assert main.receiver.data_callback is not None


def test_records_of_a_siemens_controller(link, partner, eventually):
    main = link(data_class=Codec(Axis, order="big"))
    assert partner.take()[2] == struct.pack(">fh", 1.5, 3)
    assert main.data_recv == Axis()
    partner.send(1, struct.pack(">fh", 2.5, 258))
    eventually(lambda: main.data_recv == Axis(2.5, 258))
    main.set_send_data(mode=40000)
    assert main.sender.error
    assert "mode" in main.sender.error_message
    main.set_send_data(mode=4)
    partner.take_until(lambda taken: taken[2] == struct.pack(">fh", 1.5, 4))


def test_another_class_in_the_other_direction(link, partner, eventually):
    @dataclass
    class Answer:
        position: DINT = 0

    main = link(data_class=Axis, recv_data_class=Answer)
    assert len(partner.take()[2]) == 8
    partner.send(1, struct.pack("<i", -5))
    eventually(lambda: main.data_recv == Answer(-5))
    copy = main.get_recv_data()
    assert copy == main.data_recv
    assert copy is not main.data_recv


def test_a_payload_that_makes_no_sense(link, partner, eventually):
    class Even(NetfluxData):
        @classmethod
        def from_bytes(cls, data):
            if data[8] % 2:
                raise ValueError(f"value3 is {data[8]}, which is odd")
            return super().from_bytes(data)

    main = link(data_class=Even)
    partner.send(1, NetfluxData(value3=2).to_bytes())
    eventually(lambda: main.data_recv.value3 == 2)
    good = main.data_recv
    partner.send(2, NetfluxData(value3=3).to_bytes())
    eventually(lambda: main.data_recv is not good or main.decode_error)
    assert main.data_recv is good
    assert main.decode_error == "value3 is 3, which is odd"
    partner.send(3, NetfluxData(value3=4).to_bytes())
    eventually(lambda: main.data_recv.value3 == 4)
    assert main.decode_error == ""


def test_short_and_old_packets_leave_the_data(link, partner, eventually):
    main = link()
    partner.send(100, NetfluxData(value3=1).to_bytes())
    eventually(lambda: main.data_recv.value3 == 1)
    partner.send(101, b"short")
    partner.send(50, NetfluxData(value3=2).to_bytes())
    partner.send(100, NetfluxData(value3=3).to_bytes())
    eventually(lambda: main.receiver.get_stats().total_packets_repeated == 1)
    assert main.receiver.get_stats().total_packets_rejected == 2
    assert main.data_recv.value3 == 1
    partner.send(102, NetfluxData(value3=4).to_bytes() + b"and more")
    eventually(lambda: main.data_recv.value3 == 4)


def test_a_time_out_clears_the_data(link, partner, eventually):
    main = link(data_class=Axis)
    partner.send(1, struct.pack("<fhxx", 2.5, 258))
    eventually(lambda: main.data_recv == Axis(2.5, 258))
    main.watch_interval = 0.03
    eventually(lambda: main.data_recv == Axis(0.0, 0))
    assert main.receiver.get_stats().watchdog_timeout


def test_a_time_out_that_keeps_the_data(link, partner, eventually):
    main = link(keep_values_on_timeout=True)
    partner.send(1, NetfluxData(value3=1).to_bytes())
    eventually(lambda: main.data_recv.value3 == 1)
    main.watch_interval = 0.03
    eventually(lambda: main.receiver.get_stats().watchdog_timeout)
    assert main.data_recv.value3 == 1


def test_a_stranger_is_ignored_where_that_was_asked_for(link, partner, make_partner, eventually):
    main = link(source_filter=True)
    stranger = make_partner()
    stranger.to = partner.to
    stranger.send(1, NetfluxData(value3=66).to_bytes())
    eventually(lambda: main.receiver.get_stats().total_packets_foreign == 1)
    partner.send(1, NetfluxData(value3=1).to_bytes())
    eventually(lambda: main.data_recv.value3 == 1)
    # Another partner, then: the filter goes with it.
    main.remote_port = stranger.port
    stranger.send(50, NetfluxData(value3=2).to_bytes())
    eventually(lambda: main.data_recv.value3 == 2)
    partner.send(2, NetfluxData(value3=3).to_bytes())
    eventually(lambda: main.receiver.get_stats().total_packets_foreign == 2)
    assert main.data_recv.value3 == 2


def test_anybody_is_heard_by_default(link, partner, make_partner, eventually):
    main = link()
    stranger = make_partner()
    stranger.to = partner.to
    stranger.send(1, NetfluxData(value3=66).to_bytes())
    eventually(lambda: main.data_recv.value3 == 66)


@pytest.mark.needs("ipv6")
def test_ipv6(make, make_partner, eventually):
    partner = make_partner("::1")
    main = make(0, partner.port, remote_ip="::1")
    assert partner.take()[0] == 1
    partner.to = ("::1", main.receiver._socket.getsockname()[1])
    partner.send(1, NetfluxData(value3=6).to_bytes())
    eventually(lambda: main.data_recv.value3 == 6)


@pytest.mark.needs("ipv6")
def test_ipv6_on_one_interface(make, make_partner):
    make_partner("::1")
    main = make(0, 2001, remote_ip="fe80::1%lo")
    assert main.channel.remote == ("fe80::1%lo", 2001)
    without = make(0, 2001, remote_ip="fe80::1", begin=False)
    assert without.start() is False
    assert "needs its interface" in without.sender.error_message
    # Whether the receiver looked once before the sender failed is a matter of time.
    assert "interface" not in without.receiver.error_message


def test_an_address_to_bind_to(link, partner):
    main = link(bind_address="127.0.0.1")
    assert main.receiver._socket.getsockname()[0] == "127.0.0.1"
    assert partner.take()[0] == 1


def test_settings_while_it_runs(link, partner):
    main = link(send_interval=LONG_S)
    partner.take()
    main.send_interval = 0.001
    assert main.statistics.cycle_time_ms == 1.0
    for _ in range(20):
        partner.take()


# --- life -----------------------------------------------------------------------------------------


def test_again_and_again(make, partner, open_files):
    options = {"failsafe": NetfluxData(flags=1), "on_stale": "failsafe"}
    main = make(0, partner.port, begin=False, **options)
    threads = files = 0  # the pool has some, too
    taken = []
    for _ in range(20):
        assert main.start()
        assert main.start()
        main.set_send_data(value3=5)
        taken.append(partner.take())
        main.stop()
        main.stop()
        threads = threads or threading.active_count()
        assert threading.active_count() <= threads
        taken += partner.drain()
        files = files or open_files()
    assert open_files() <= files + 2
    assert [number for number, *_ in taken] == [(1 + i) % 256 for i in range(len(taken))]
    assert main.sender.get_stats().total_packets_sent == len(taken)


def test_a_port_in_use(make, partner, capsys):
    main = make(partner.port, partner.port, begin=False, verbose=True, bind_address="127.0.0.1")
    assert main.start() is False
    text = "Failed to start receiver: [Errno 98] Address already in use"
    assert main.receiver.error_message == text
    assert text in capsys.readouterr().out
    assert not main.receiver.running
    assert not main.sender.running


@pytest.mark.parametrize("wrong", [{"remote_ip": "no such host"}, {"send_interval": 0.00001}])
def test_a_sender_that_fails_stops_the_receiver(make, partner, capsys, wrong):
    main = make(0, partner.port, begin=False, verbose=True, **wrong)
    assert main.start() is False
    assert main.sender.error
    assert main.sender.error_message.startswith("Failed to start sender: ")
    assert main.sender.error_message in capsys.readouterr().out
    assert not main.receiver.running
    main.remote_ip, main.send_interval = "127.0.0.1", 0.002
    assert main.start()
    assert partner.take()[0] == 1


def test_a_child_does_not_disturb_its_parent(link, partner, eventually):
    main = link()
    partner.take()
    child = os.fork()
    if child == 0:
        main.stop()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    partner.drain()
    for _ in range(10):
        partner.take()
    partner.send(1, NetfluxData(value3=5).to_bytes())
    eventually(lambda: main.data_recv.value3 == 5)
    assert not main.receiver.error


def test_what_it_prints(make, partner, capsys):
    main = make(0, partner.port, begin=False, verbose=True, send_interval=0.005, watch_interval=1.0)
    assert main.start()
    main.stop()
    assert capsys.readouterr().out.splitlines() == [
        "Starting Netflux...",
        "  Local port: 0",
        f"  Remote: 127.0.0.1:{partner.port}",
        "  Send interval: 5.0ms",
        "  Watchdog timeout: 1000.0ms",
        "✓ Receiver started",
        "✓ Sender started",
        "✓ Statistics tracker started",
        "",
        "Netflux is running!",
        "",
        "Stopping Netflux...",
        "✓ Sender stopped",
        "✓ Receiver stopped",
        "Netflux stopped.",
    ]


def test_status_of_a_link_that_runs(link, partner, eventually, capsys):
    main = link()
    partner.send(200, NetfluxData(value3=5).to_bytes(), feedback=0)
    eventually(lambda: not main.receiver.error)
    main.print_status()
    lines = capsys.readouterr().out.splitlines()
    assert "  Partner Seq #: 200" in lines
    assert "  Error: False" in lines
    assert not any("Error Message" in line for line in lines)
    assert "  Packets Received: 1" in lines
    assert "  Recv: NetfluxData(value1=0.0, value2=0.0, value3=5, value4=0, flags=0)" in lines


def test_a_worker_that_is_killed(link, partner, shmring_pool, eventually):
    main = link(send_interval=0.001)
    main.set_send_data(value3=5)
    partner.take_until(lambda taken: taken[2][8] == 5)
    partner.send(1, NetfluxData(value3=1).to_bytes())
    eventually(lambda: main.data_recv.value3 == 1)
    (worker,) = shmring_pool.workers()
    os.kill(worker.pid, signal.SIGKILL)
    eventually(lambda: main.channel.stats().epoch == 2)
    main.set_send_data(value3=6)
    partner.take_until(lambda taken: taken[2][8] == 6)
    partner.send(2, NetfluxData(value3=2).to_bytes())
    eventually(lambda: main.data_recv.value3 == 2)
    assert main.receiver.get_stats().total_packets_received == 2
    eventually(lambda: not main.sender.error)


def test_a_pool_that_is_closed(link, partner, shmring_pool, eventually):
    main = link()
    partner.send(1, NetfluxData(value3=1).to_bytes())
    eventually(lambda: main.data_recv.value3 == 1)
    shmring_pool.close()
    assert main.receiver.error_message == "Receive error: the link broke"
    assert main.receiver.error
    eventually(lambda: main.sender.error_message.startswith("Socket send error: "))
    assert main.data_recv.value3 == 1
    assert main.receiver.get_stats().total_packets_received == 1
    main.stop()


def test_other_processes_read_and_write_it(link, partner, python):
    main = link(name="press", stale_interval=0)
    partner.send(1, NetfluxData(value3=5).to_bytes())
    other = python(
        "import shmring\n"
        "link = shmring.attach('press')\n"
        "while link.snapshot() is None: pass\n"
        "print(link.snapshot().values[8])\n"
    )
    assert other.line() == "5"
    assert main.channel.name == "press"


FORGETFUL = """
import netflux
main = netflux.NetfluxMain(0, "127.0.0.1", int(input()), send_interval=0.001, verbose=False)
got = []
receiver = netflux.NetfluxReceiver(0, got.append, 20)
assert main.start() and receiver.start()
main.set_send_data(value3=7)
print(main.receiver._socket.getsockname()[1], flush=True)
input()
"""


def test_a_program_that_ends_without_stop(python, partner, leftovers, eventually):
    program = python(FORGETFUL)
    program.tell(str(partner.port))
    assert program.line()
    partner.take_until(lambda taken: taken[2][8] == 7)
    program.tell()
    assert program.wait() == 0
    eventually(lambda: leftovers() == [])
    partner.drain()
    time.sleep(0.02)
    assert partner.drain() == []


def bind_partner_of_the_demo() -> socket.socket:
    """Bind port 2001 while 2000 is free. Tests of another clone on this machine may have them."""
    give_up = time.monotonic() + LONG_S
    while True:
        partner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            partner.bind(("127.0.0.1", 2001))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind(("", 2000))
            return partner
        except OSError:
            partner.close()
            if time.monotonic() > give_up:
                pytest.skip("port 2000 or 2001 is in use")
            time.sleep(0.1)


def test_the_demo_runs(python, make_partner):
    with bind_partner_of_the_demo() as partner:
        partner.settimeout(20)
        program = python("import netflux_main; netflux_main.main()")
        said = [program.line() for _ in range(13)]
        assert said[0] == "Starting Netflux..."
        assert said[9] == "Netflux is running!"
        assert said[12] == "NETFLUX STATUS"
        assert len(partner.recv(100)) == 22
        os.kill(program.pid, signal.SIGINT)
        assert program.wait() == 0


# --- one, and controllers as they are -------------------------------------------------------------


@pytest.mark.parametrize("kind", PARTNERS)
def test_with_a_controller(make, plc_sim, free_port, eventually, kind):
    plc = plc_sim(PARTNERS[kind](receive="fi", send="fi", remote=("127.0.0.1", free_port)))
    order = "big" if kind == "siemens" else "little"
    main = make(
        free_port, plc.address[1], watch_interval=1.0, data_class=Codec(Values, order=order)
    )
    main.set_send_data(wanted=2.5, number=-3)
    plc.wait_for(lambda partner: partner.values == (2.5, -3))
    with plc.held() as partner:
        partner.put((1.25, 8))
    eventually(lambda: main.data_recv == Values(1.25, 8))
    eventually(lambda: main.partner_hears_us)
    assert main.statistics.get_stats().avg_partner_interval > 0


@pytest.mark.check
def test_what_a_bad_link_shows(make, plc_sim, free_port, eventually):
    plc = plc_sim(
        Codesys5(remote=("127.0.0.1", free_port)),
        from_plc=Impairment(loss=0.2, delay_ns=20_000_000, seed=5),
    )
    main = make(free_port, plc.address[1])
    eventually(lambda: main.receiver.get_stats().total_packets_received >= 300)
    eventually(lambda: main.statistics.get_stats().avg_rtt > 0)
    plc.power_off()
    sent = plc.partner.sent
    time.sleep(0.1)
    received = main.receiver.get_stats().total_packets_received
    stats = main.statistics.get_stats()
    # What was lost before the first that came, and behind the last, nobody knows.
    assert sent - 20 <= received + stats.total_partner_lost_packets <= sent
    assert 0.1 < stats.total_partner_lost_packets / sent < 0.3
    assert stats.min_rtt >= 20.0
    assert stats.p50_partner_interval >= 1.0
