"""NetfluxReceiver on a real worker, against a socket."""

from __future__ import annotations

import math
import threading
import time

import pytest
from kit.wire import udp

from netflux import NetfluxReceiver

ANSWER = b"\x01\x02\x03\x04"
ZEROS = bytes(4)
LONG_S = 60.0


@pytest.fixture
def make(shmring_pool, partner, eventually):
    """Make receivers of 4 bytes that the partner sends to; they are stopped at the end."""
    made = []

    def start(callback=None, watch_interval=LONG_S, keep=False, data_size=4, **options):
        options = {"pool": shmring_pool, "bind_address": partner.host} | options
        receiver = NetfluxReceiver(0, callback, data_size, watch_interval, keep, **options)
        made.append(receiver)
        assert receiver.start(), receiver.error_message
        partner.to = receiver._socket.getsockname()[:2]
        return receiver

    yield start
    for receiver in made:
        receiver.stop()


def seen(receiver):
    """How many packets it has judged."""
    stats = receiver.get_stats()
    return (
        stats.total_packets_received
        + stats.total_packets_rejected
        + stats.total_packets_repeated
        + stats.total_packets_foreign
    )


@pytest.fixture
def offer(partner, eventually):
    """Send a packet and wait until it was judged."""

    def send(receiver, number, payload=ANSWER, feedback=0):
        before = seen(receiver)
        partner.send(number, payload, feedback)
        eventually(lambda: seen(receiver) > before)

    return send


def test_from_start_to_the_first_packet(make, offer, eventually):
    receiver = make()
    assert receiver.error
    assert receiver.error_message in ("", "No valid packet received yet")
    eventually(lambda: receiver.error_message == "No valid packet received yet")
    stats = receiver.get_stats()
    assert not stats.first_packet_received
    assert not stats.watchdog_timeout
    assert stats.last_valid_packet_time == 0.0

    before = time.time()
    offer(receiver, 7, feedback=9)
    assert (receiver.error, receiver.error_message) == (False, "")
    assert (receiver.partner_seq_number, receiver.current_feedback_seq_number) == (7, 9)
    assert receiver.get_last_data() == ANSWER
    stats = receiver.get_stats()
    assert stats.first_packet_received
    assert stats.total_packets_received == 1
    assert before - 0.1 <= stats.last_valid_packet_time <= time.time() + 0.1
    assert receiver.get_stats().last_valid_packet_time == stats.last_valid_packet_time


@pytest.mark.parametrize("first", [0, 1, 127, 128, 255])
def test_any_number_may_be_the_first(make, offer, first):
    receiver = make()
    offer(receiver, first)
    assert receiver.get_stats().total_packets_received == 1


@pytest.mark.parametrize(
    ("distance", "outcome"),
    [
        (0, "repeated"),
        (1, "received"),
        (127, "received"),
        (128, "rejected"),
        (129, "rejected"),
        (255, "rejected"),
    ],
)
@pytest.mark.parametrize("last", [0, 100, 255])
def test_the_window(make, offer, last, distance, outcome):
    receiver = make()
    offer(receiver, last)
    offer(receiver, last + distance, b"next")
    stats = receiver.get_stats()
    assert stats.total_packets_received == 1 + (outcome == "received")
    assert stats.total_packets_rejected == (outcome == "rejected")
    assert stats.total_packets_repeated == (outcome == "repeated")
    assert receiver.get_last_data() == (b"next" if outcome == "received" else ANSWER)
    assert receiver.partner_seq_number == (last + distance) % 256
    assert not receiver.error


def test_short_and_long_packets(make, offer):
    receiver = make()
    offer(receiver, 1)
    offer(receiver, 2, b"abc")
    stats = receiver.get_stats()
    assert (stats.total_packets_received, stats.total_packets_rejected) == (1, 1)
    assert receiver.get_last_data() == ANSWER
    offer(receiver, 3, b"longer")
    stats = receiver.get_stats()
    assert (stats.total_packets_received, stats.total_packets_oversize) == (2, 1)
    assert receiver.get_last_data() == b"long"


@pytest.mark.parametrize("size", [0, 1499])
def test_sizes(make, offer, size):
    received = []
    receiver = make(received.append, data_size=size)
    offer(receiver, 1, bytes(range(256)) * 6)
    assert receiver.get_last_data() == (bytes(range(256)) * 6)[:size]


def test_the_callback_sees_each_packet(make, partner, eventually):
    received = []
    make(received.append)
    payloads = [bytes([i] * 4) for i in range(1, 101)]
    for number, payload in enumerate(payloads, 1):
        partner.send(number, payload)
        time.sleep(0.0005)
    eventually(lambda: len(received) == len(payloads))
    assert received == payloads
    assert {type(data) for data in received} == {bytes}


def test_the_watchdog_clears_values(make, offer, eventually):
    received = []
    receiver = make(received.append, watch_interval=0.05)
    offer(receiver, 100)
    eventually(lambda: receiver.get_stats().watchdog_timeout)
    assert receiver.error
    assert receiver.error_message in (
        *(f"Watchdog timeout (0.{hundredths:02}s)" for hundredths in range(5, 30)),
        "No valid packet received yet",
    )
    eventually(lambda: received == [ANSWER, ZEROS])
    assert receiver.get_last_data() == ZEROS
    stats = receiver.get_stats()
    assert not stats.first_packet_received
    assert stats.total_timeouts == 1
    eventually(lambda: receiver.error_message == "No valid packet received yet")
    assert receiver.get_stats().watchdog_timeout

    offer(receiver, 50, b"anew")
    stats = receiver.get_stats()
    assert (stats.total_packets_received, stats.total_packets_rejected) == (2, 0)
    eventually(lambda: b"anew" in received)


def test_the_watchdog_keeps_values(make, offer, eventually):
    received = []
    receiver = make(received.append, watch_interval=0.05, keep=True)
    offer(receiver, 100)
    eventually(lambda: receiver.get_stats().watchdog_timeout)
    eventually(lambda: receiver.error_message >= "Watchdog timeout (0.2")
    assert receiver.error_message.startswith("Watchdog timeout (")
    assert receiver.get_last_data() == ANSWER
    assert receiver.get_stats().first_packet_received
    assert received == [ANSWER]
    # Numbers are still expected to go on.
    offer(receiver, 50)
    assert receiver.get_stats().total_packets_rejected == 1
    offer(receiver, 101, b"next")
    assert receiver.get_last_data() == b"next"


def test_recovery_clears_the_flag(make, offer, eventually):
    receiver = make(watch_interval=0.5)
    offer(receiver, 1)
    eventually(lambda: receiver.get_stats().watchdog_timeout)
    receiver.watch_interval = LONG_S
    offer(receiver, 2)
    assert not receiver.get_stats().watchdog_timeout
    assert (receiver.error, receiver.error_message) == (False, "")


def test_useless_packets_do_not_feed_the_watchdog(make, offer, partner, eventually):
    receiver = make(watch_interval=0.05)
    offer(receiver, 1)
    stopped = threading.Event()

    def pester():
        while not stopped.wait(0.005):
            partner.send(1, ANSWER)  # again
            partner.send(200, ANSWER)  # old
            partner.send(2, b"")  # short

    thread = threading.Thread(target=pester)
    thread.start()
    try:
        eventually(lambda: receiver.get_stats().total_timeouts)
    finally:
        stopped.set()
        thread.join()


def test_settings_change_at_once(make, offer, eventually):
    receiver = make(watch_interval=LONG_S)
    offer(receiver, 1)
    receiver.keep_values_on_timeout = True
    receiver.watch_interval = 0.05
    assert (receiver.watch_interval, receiver.keep_values_on_timeout) == (0.05, True)
    eventually(lambda: receiver.get_stats().watchdog_timeout)
    assert receiver.get_last_data() == ANSWER
    with pytest.raises(ValueError, match="watch_interval is -1"):
        receiver.watch_interval = -1
    assert receiver.watch_interval == 0.05
    receiver.watch_interval = math.inf
    offer(receiver, 2)
    assert not receiver.error


def test_a_callback_may_ask_for_anything(make, partner, eventually):
    found = []

    def callback(data):
        found.append((receiver.get_stats(), receiver.get_last_data(), receiver.error))
        receiver.watch_interval = LONG_S / 2

    receiver = make(callback)
    partner.send(1, ANSWER)
    eventually(lambda: found)
    stats, data, error = found[0]
    assert stats.total_packets_received == 1
    assert data == ANSWER
    assert not error


def test_a_callback_may_stop_and_start(make, partner, eventually):
    stopped = []

    def callback(data):
        receiver.stop()
        stopped.append(data)

    receiver = make(callback)
    partner.send(1, ANSWER)
    eventually(lambda: stopped)
    assert not receiver.running
    assert receiver.start()
    partner.to = receiver._socket.getsockname()[:2]
    partner.send(2, b"more")
    eventually(lambda: stopped == [ANSWER, b"more"])


@pytest.mark.parametrize("fault", [RuntimeError, SystemExit])
def test_a_callback_that_raises(make, partner, eventually, capsys, fault):
    received = []

    def callback(data):
        received.append(data)
        raise fault("no use for it")

    receiver = make(callback)
    for number in (1, 2):
        partner.send(number, ANSWER)
    eventually(lambda: len(received) == 2)
    printed = ""

    def is_printed():
        nonlocal printed
        printed += capsys.readouterr().out
        return printed.count("no use for it") == 2

    eventually(is_printed)
    receiver.stop()  # nothing is printed behind the end of the test


def test_a_callback_that_comes_later(make, partner, offer, eventually):
    received = []
    receiver = make()
    offer(receiver, 1)
    receiver.data_callback = received.append
    partner.send(2, b"next")
    eventually(lambda: b"next" in received)
    receiver.data_callback = None
    count = len(received)
    offer(receiver, 3)
    offer(receiver, 4)
    assert len(received) == count


def test_a_slow_callback_does_not_hold_up_the_newest(make, offer):
    entered, leave = threading.Event(), threading.Event()

    def callback(data):
        entered.set()
        leave.wait(20)

    receiver = make(callback)
    offer(receiver, 1)
    assert entered.wait(20)
    offer(receiver, 2, b"new!")
    assert receiver.get_last_data() == b"new!"
    leave.set()


def test_what_survives_a_restart(make, offer, eventually):
    receiver = make()
    offer(receiver, 10, feedback=20)
    offer(receiver, 200)
    before = receiver.get_stats()
    receiver.stop()
    assert receiver._socket is None
    assert receiver.channel is None
    for _ in range(2):
        assert receiver.get_stats() == before
        assert receiver.get_last_data() == ANSWER
        assert receiver.partner_seq_number == 200
        assert receiver.current_feedback_seq_number == 20
        assert (receiver.error, receiver.error_message) == (False, "")
        receiver.stop()

    assert receiver.start()
    assert receiver.get_stats() == before
    assert receiver.get_last_data() == ANSWER
    assert receiver.partner_seq_number == 200
    assert receiver.error
    receiver.stop()


def test_values_of_before_a_restart_grow_old(make, offer, eventually):
    received = []
    receiver = make(received.append, watch_interval=1.0)
    offer(receiver, 10)
    eventually(lambda: received)
    receiver.stop()
    assert receiver.start()
    eventually(lambda: receiver.get_stats().watchdog_timeout)
    eventually(lambda: received == [ANSWER, ZEROS])
    assert receiver.get_last_data() == ZEROS
    assert not receiver.get_stats().first_packet_received


def test_counters_go_on_behind_a_restart(make, partner, offer):
    receiver = make()
    offer(receiver, 10)
    receiver.stop()
    assert receiver.start()
    partner.to = receiver._socket.getsockname()[:2]
    offer(receiver, 5)
    offer(receiver, 5)
    stats = receiver.get_stats()
    assert (stats.total_packets_received, stats.total_packets_repeated) == (2, 1)


def test_a_port_in_use(shmring_pool, partner):
    receiver = NetfluxReceiver(partner.port, None, 4, bind_address=partner.host, pool=shmring_pool)
    assert receiver.start() is False
    assert receiver.error
    assert receiver.error_message == ("Failed to start receiver: [Errno 98] Address already in use")
    partner.sock.close()
    assert receiver.start()
    assert receiver.error_message in ("", "No valid packet received yet")
    receiver.stop()


def test_the_port_is_free_behind_stop(make, shmring_pool):
    receiver = make()
    port = receiver._socket.getsockname()[1]
    receiver.stop()
    udp(port=port).close()


def test_a_second_start_does_nothing(make, offer):
    receiver = make()
    sock, channel = receiver._socket, receiver.channel
    assert receiver.start()
    assert (receiver._socket, receiver.channel) == (sock, channel)


def test_all_addresses_by_default(shmring_pool, partner, eventually):
    receiver = NetfluxReceiver(0, None, 4, pool=shmring_pool)
    assert receiver.start()
    assert receiver._socket.getsockname()[0] == "0.0.0.0"
    partner.to = ("127.0.0.1", receiver._socket.getsockname()[1])
    partner.send(1, ANSWER)
    eventually(lambda: not receiver.error)
    receiver.stop()


@pytest.mark.needs("ipv6")
def test_ipv6(shmring_pool, make_partner, eventually):
    partner = make_partner("::1")
    receiver = NetfluxReceiver(0, None, 4, bind_address="::1", pool=shmring_pool)
    assert receiver.start(), receiver.error_message
    partner.to = receiver._socket.getsockname()[:2]
    partner.send(1, ANSWER)
    eventually(lambda: receiver.get_last_data() == ANSWER)
    receiver.stop()


def test_one_source_only(make, partner, make_partner, offer, eventually):
    receiver = make(source=(partner.host, partner.port))
    stranger = make_partner()
    stranger.to = partner.to
    stranger.send(1, b"evil")
    eventually(lambda: receiver.get_stats().total_packets_foreign == 1)
    assert receiver.error
    offer(receiver, 5)
    assert receiver.get_last_data() == ANSWER
    assert receiver.get_stats().total_packets_received == 1


def test_other_processes_may_look_on(make, offer, python):
    receiver = make(name="press")
    offer(receiver, 1)
    other = python(
        "import shmring\nprint(shmring.attach('press', readonly=True).snapshot().values.hex())"
    )
    assert other.line() == ANSWER.hex()
