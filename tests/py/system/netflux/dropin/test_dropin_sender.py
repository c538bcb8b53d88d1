"""NetfluxSender on a real worker, against a socket."""

from __future__ import annotations

import itertools
import socket
import threading
import time

import pytest

from netflux import NetfluxReceiver, NetfluxSender

VALUES = b"\x01\x02\x03\x04"
LONG_S = 60.0


@pytest.fixture
def make(shmring_pool, partner):
    """Make senders of 4 bytes to the partner; they are stopped at the end."""
    made = []

    def start(provider=lambda: VALUES, send_interval=0.002, **options):
        options = {"pool": shmring_pool} | options
        sender = NetfluxSender(partner.host, partner.port, provider, 4, send_interval, **options)
        made.append(sender)
        assert sender.start(), sender.error_message
        return sender

    yield start
    for sender in made:
        sender.stop()


def assert_consecutive(taken, first):
    numbers = [number for number, *_ in taken]
    assert numbers == [(first + i) % 256 for i in range(len(taken))]


def test_numbers_begin_with_one_and_go_on(make, partner, eventually):
    before = time.time()
    sender = make()
    taken = [partner.take() for _ in range(300)]
    assert_consecutive(taken, 1)
    assert {(feedback, payload) for _, feedback, payload, _ in taken} == {(0, VALUES)}
    assert len({port for *_, port in taken}) == 1
    assert (sender.error, sender.error_message) == (False, "")
    eventually(lambda: sender.get_stats().total_packets_sent >= 300)
    stats = sender.get_stats()
    assert stats.total_send_errors == 0
    assert before - 0.1 <= stats.last_send_time <= time.time() + 0.1
    sender.stop()
    assert sender.sequence_number == (taken + partner.drain())[-1][0]


@pytest.mark.parametrize("shared", [False, True])
def test_without_values_nothing_is_sent_before_the_provider_has_returned(
    shmring_pool, partner, shared
):
    asked, may_return = threading.Event(), threading.Event()

    def provider():
        asked.set()
        may_return.wait(20)
        return b""

    host = NetfluxReceiver(0, lambda data: None, 0, pool=shmring_pool)
    assert host.start()
    peer = host._socket if shared else None
    sender = NetfluxSender(
        partner.host, partner.port, provider, 0, 0.002, peer, pool=shmring_pool
    )
    sender.set_partner_seq_number(77)
    assert sender.start(), sender.error_message
    assert asked.wait(20)
    time.sleep(0.05)
    assert partner.drain() == []
    may_return.set()
    number, feedback, payload, _ = partner.take()
    assert (number, feedback, payload) == (1, 0 if shared else 77, b"")
    sender.stop()
    host.stop()


def test_numbers_go_on_behind_a_restart(make, partner, eventually):
    sender = make()
    first = [partner.take() for _ in range(10)]
    sender.stop()
    first += partner.drain()
    before = sender.get_stats()
    assert before.total_packets_sent == len(first)
    assert sender.start()
    second = [partner.take() for _ in range(10)]
    assert_consecutive(first + second, 1)
    eventually(lambda: sender.get_stats().total_packets_sent >= len(first) + 10)


def test_the_provider_is_asked_again_and_again(make, partner):
    count = itertools.count()
    make(lambda: next(count).to_bytes(4, "little"))
    partner.take_until(lambda taken: int.from_bytes(taken[2], "little") > 20)


@pytest.mark.parametrize(
    "values", [list(VALUES), tuple(VALUES), bytearray(VALUES), memoryview(VALUES)]
)
def test_what_a_provider_may_return(make, partner, values):
    sender = make(lambda: values)
    assert {partner.take()[2] for _ in range(5)} == {VALUES}
    assert (sender.error, sender.error_message) == (False, "")


@pytest.mark.check
def test_what_is_sent_is_not_a_cycle_old(make, partner):
    make(lambda: (time.monotonic_ns() // 1_000_000 % 2**32).to_bytes(4, "little"), 0.5)
    ages_ms = []
    for _ in range(5):
        stamp_ms = int.from_bytes(partner.take()[2], "little")
        ages_ms.append(time.monotonic_ns() // 1_000_000 % 2**32 - stamp_ms)
    assert min(ages_ms[1:]) < 250  # a busy machine may be late for one or the other


def test_intervals_longer_than_the_age_of_stale_values(make, partner, eventually):
    sender = make(send_interval=0.1, stale_interval=0.01)
    assert_consecutive([partner.take() for _ in range(5)], 1)
    assert not sender.error
    assert sender.get_stats().total_packets_sent >= 4
    assert sender.channel.settings.stale_ns == 300_000_000
    sender.send_interval = 0.001
    assert sender.channel.settings.stale_ns == 10_000_000


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (b"12345", "Data provider returned 5 bytes, expected 4"),
        (b"", "Data provider returned 0 bytes, expected 4"),
        ([1, 2, 3], "Data provider returned 3 bytes, expected 4"),
        ([1, 2, 3, 256], "bytes must be in range(0, 256)"),
        ("abcd!", "Data provider returned 5 bytes, expected 4"),
        ("abcd", "'str' object cannot be interpreted as an integer"),
        (4, "object of type 'int' has no len()"),
        (None, "no values today"),
    ],
)
def test_a_provider_that_fails(make, partner, eventually, wrong, text):
    right = threading.Event()
    right.set()

    def provider():
        if right.is_set():
            return VALUES
        if wrong is None:
            raise RuntimeError("no values today")
        return wrong

    sender = make(provider)
    taken = [partner.take() for _ in range(5)]
    right.clear()
    eventually(lambda: sender.error)
    assert sender.error_message == f"Data provider error: {text}"
    eventually(lambda: not sender.channel.settings.sending)
    taken += partner.drain()
    sent = sender.get_stats().total_packets_sent
    time.sleep(0.05)
    assert sender.get_stats().total_packets_sent == sent
    assert sender.get_stats().total_send_errors == 0

    right.set()
    taken += partner.drain()
    taken += [partner.take() for _ in range(5)]
    assert_consecutive(taken, 1)
    eventually(lambda: not sender.error)
    assert sender.error_message == ""


def test_a_provider_that_never_gave_anything(make, partner, eventually):
    def provider():
        raise KeyError("speed")

    sender = make(provider)
    eventually(lambda: sender.error_message == "Data provider error: 'speed'")
    assert sender.get_stats().total_packets_sent == 0
    assert sender.sequence_number == 0


def stalling(stalled):
    """A provider that waits while told to."""

    def provider():
        while stalled.is_set():
            time.sleep(0.005)
        return VALUES

    return provider


def test_a_stalled_provider_costs_no_cycle_at_first(make, partner):
    stalled = threading.Event()
    make(stalling(stalled), stale_interval=LONG_S)
    taken = [partner.take()]
    stalled.set()
    taken += [partner.take() for _ in range(100)]
    assert_consecutive(taken, 1)
    stalled.clear()


def test_a_stalled_provider_ends_sending(make, partner, eventually):
    stalled = threading.Event()
    sender = make(stalling(stalled), stale_interval=0.1)
    taken = [partner.take()]
    stalled.set()
    eventually(lambda: sender.error_message.startswith("Data provider error: no data for "))
    eventually(lambda: not sender.channel.link().fresh)
    time.sleep(0.02)
    taken += partner.drain()
    time.sleep(0.02)
    assert partner.drain() == []
    stalled.clear()
    taken += [partner.take() for _ in range(10)]
    assert_consecutive(taken, 1)
    eventually(lambda: not sender.error)


@pytest.mark.parametrize(
    ("options", "payload"),
    [({"on_stale": "continue"}, VALUES), ({"on_stale": "failsafe", "failsafe": b"safe"}, b"safe")],
)
def test_what_is_sent_of_a_stalled_provider(make, partner, eventually, options, payload):
    stalled = threading.Event()
    sender = make(stalling(stalled), stale_interval=0.05, **options)
    taken = [partner.take()]
    stalled.set()
    eventually(lambda: sender.error)
    eventually(lambda: not sender.channel.link().fresh)
    taken += partner.drain()
    late = [partner.take() for _ in range(20)]
    assert late[-1][2] == payload
    assert_consecutive(taken + late, 1)
    stalled.clear()
    partner.take_until(lambda taken: taken[2] == VALUES)


def test_a_provider_may_ask_for_anything(make, partner, eventually):
    found = []

    def provider():
        found.append((sender.get_stats(), sender.sequence_number, sender.error))
        return VALUES

    sender = NetfluxSender("127.0.0.1", 1, provider, 4)  # for the first call
    sender = make(provider)
    partner.take()
    eventually(lambda: len(found) > 3)


def test_feedback_given_by_hand(make, partner):
    sender = make()
    assert partner.take()[1] == 0
    sender.set_partner_seq_number(77)
    assert sender.partner_seq_number == 77
    partner.take_until(lambda taken: taken[1] == 77)
    sender.stop()
    partner.drain()
    assert sender.start()
    assert partner.take()[1] == 77


def test_another_partner_while_it_runs(make, partner, make_partner):
    sender = make()
    partner.take()
    other = make_partner()
    sender.remote_port = other.port
    assert (sender.remote_ip, sender.remote_port) == ("127.0.0.1", other.port)
    other.take()
    partner.drain()
    assert partner.drain() == []
    with pytest.raises(ValueError, match="port"):
        sender.remote_port = 0
    assert sender.remote_port == other.port
    other.drain()
    other.take()


def test_another_interval_while_it_runs(make, partner, eventually):
    sender = make(send_interval=LONG_S)
    partner.take()
    sender.send_interval = 0.001
    assert sender.send_interval == 0.001
    for _ in range(20):
        partner.take()
    with pytest.raises(ValueError, match="send_interval is 0 s"):
        sender.send_interval = 0
    assert sender.send_interval == 0.001


def test_names_of_hosts(shmring_pool, partner):
    sender = NetfluxSender("localhost", partner.port, lambda: VALUES, 4, pool=shmring_pool)
    sender.peer_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.peer_socket.bind(("127.0.0.1", 0))
    with sender.peer_socket:
        assert sender.start(), sender.error_message
        partner.take()
        sender.stop()


def test_a_host_that_is_none(shmring_pool):
    sender = NetfluxSender("no such host", 2001, lambda: VALUES, 4, pool=shmring_pool)
    assert sender.start() is False
    assert sender.error
    assert sender.error_message.startswith("Failed to start sender: [Errno -")


# --- sockets of others ----------------------------------------------------------------------------


def test_from_a_socket_of_the_users_own(make, partner):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        own.settimeout(20)
        sender = make(peer_socket=own)
        number, feedback, payload, port = partner.take()
        assert (number, feedback, payload, port) == (1, 0, VALUES, own.getsockname()[1])
        # What arrives is its owner's, all of it.
        partner.to = own.getsockname()
        for number in range(50):
            partner.send(number, VALUES)
        assert [own.recv(100)[0] for _ in range(50)] == list(range(50))
        assert own.gettimeout() == 20
        sender.stop()
        own.sendto(b"goes on", (partner.host, partner.port))
        partner.take_until(lambda taken: taken[2] == b"es on")


def test_a_blocking_socket_stays_so(make, partner):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        make(peer_socket=own)
        partner.take()
        partner.to = own.getsockname()
        timer = threading.Timer(0.05, partner.send, (1, VALUES))
        timer.start()
        assert own.recv(100)[2:] == VALUES
        timer.join()


def test_an_unfit_socket(shmring_pool):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as own:
        sender = NetfluxSender("127.0.0.1", 2001, lambda: VALUES, 4, pool=shmring_pool)
        sender.peer_socket = own
        assert sender.start() is False
        assert sender.error_message.startswith("Failed to start sender: the existing socket")


@pytest.fixture
def receiver(shmring_pool, partner):
    receiver = NetfluxReceiver(0, None, 4, LONG_S, bind_address=partner.host, pool=shmring_pool)
    assert receiver.start()
    partner.to = receiver._socket.getsockname()[:2]
    yield receiver
    receiver.stop()


def test_from_the_socket_of_a_receiver(make, receiver, partner, eventually):
    port = receiver._socket.getsockname()[1]
    partner.send(200, b"1st ")
    eventually(lambda: receiver.get_last_data() == b"1st ")
    sender = make(peer_socket=receiver._socket)
    assert receiver._socket.getsockname()[1] == port
    assert partner.take() == (1, 0, VALUES, port)
    assert receiver.get_last_data() == b"1st "
    partner.send(201, b"2nd ", feedback=1)
    partner.take_until(lambda taken: taken[1] == 201)
    assert receiver.get_last_data() == b"2nd "
    assert receiver.get_stats().total_packets_received == 2
    assert sender.partner_seq_number == receiver.partner_seq_number == 201
    partner.send(100, b"old ")
    eventually(lambda: receiver.partner_seq_number == 100)
    assert sender.partner_seq_number == 201
    assert not receiver.partner_hears_us
    partner.send(202, VALUES, feedback=partner.take()[0])
    eventually(lambda: receiver.partner_hears_us)


def test_a_guest_that_comes_and_goes(make, receiver, partner, eventually):
    sender = make(peer_socket=receiver._socket)
    taken = [partner.take() for _ in range(5)]
    sender.stop()
    taken += partner.drain()
    partner.send(1, b"here")
    eventually(lambda: receiver.get_last_data() == b"here")
    time.sleep(0.02)
    assert partner.drain() == []
    assert sender.get_stats().total_packets_sent == len(taken)
    assert sender.start()
    taken += [partner.take() for _ in range(5)]
    assert_consecutive(taken, 1)
    assert taken[-1][1] == 1
    assert receiver.running


def test_values_of_before_a_guest_came(make, shmring_pool, partner, eventually):
    received = []
    receiver = NetfluxReceiver(
        0, received.append, 4, 1.0, bind_address=partner.host, pool=shmring_pool
    )
    assert receiver.start()
    partner.to = receiver._socket.getsockname()[:2]
    partner.send(1, VALUES)
    eventually(lambda: received == [VALUES])
    make(peer_socket=receiver._socket)
    eventually(lambda: receiver.get_stats().watchdog_timeout)
    eventually(lambda: received == [VALUES, bytes(4)])
    assert receiver.get_last_data() == bytes(4)
    partner.send(2, b"next")
    eventually(lambda: received[-1] == b"next")
    assert not receiver.get_stats().watchdog_timeout
    receiver.stop()


def test_a_guest_that_cannot_be(shmring_pool, receiver, partner, eventually):
    for wrong in ({"on_stale": "explode"}, {"send_interval": 0}):
        options = {"peer_socket": receiver._socket, "pool": shmring_pool} | wrong
        sender = NetfluxSender(partner.host, partner.port, lambda: VALUES, 4, **options)
        assert sender.start() is False
        assert next(iter(wrong)) in sender.error_message
    partner.send(1, b"here")
    eventually(lambda: receiver.get_last_data() == b"here")
    assert not receiver.error


def test_a_host_that_goes_first(make, receiver, partner, eventually):
    sender = make(peer_socket=receiver._socket)
    partner.take()
    receiver.stop()
    eventually(lambda: sender.error)
    assert sender.error_message.startswith("Socket send error: ")
    sender.stop()
    assert sender.start() is False
    assert sender.error_message == (
        "Failed to start sender: the receiver that peer_socket belongs to was stopped"
    )
