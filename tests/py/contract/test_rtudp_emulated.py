"""What only the emulated endpoint promises: its registry, its drop policy, its words."""

import gc
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction

import pytest
from kit.waiting import until

from rtudp import RtUdpEmulated
from rtudp.emulated import GlobalQueueRegistry, TimedPacket

SECOND_NS = 1_000_000_000
MS_NS = 1_000_000

_numbers = itertools.count(1)


@pytest.fixture
def make():
    """Construct endpoints that are stopped and closed after the test."""
    made = []

    def construct(*addresses, **options):
        made.append(RtUdpEmulated(*addresses, **options))
        return made[-1]

    yield construct
    for endpoint in made:
        endpoint.stop()
        endpoint.close_socket()


@pytest.fixture
def addresses():
    number = next(_numbers)
    return f"127.0.64.{number}", 3043, f"127.0.128.{number}", 8974


def swapped(addresses):
    return addresses[2:] + addresses[:2]


def registered(ip, port):
    return (ip, port) in GlobalQueueRegistry._queues


def own_threads():
    return [t for t in threading.enumerate() if t.name.startswith("rtudp-")]


# --- construction and words


def test_unknown_keywords_are_ignored(make, addresses):
    make(*addresses, colour="green", cpu=99, priority=-5)


def test_addresses_are_stored_as_given_and_may_be_any_hashable(make):
    sender = make("plc", "out", ("rack", 2), None)
    assert (sender.local_ip, sender.local_port) == ("plc", "out")
    assert (sender.remote_ip, sender.remote_port) == (("rack", 2), None)
    receiver = make(("rack", 2), None, "plc", "out")
    sender.init_socket()
    receiver.init_socket()
    sender.start()
    sender.send_data(b"named")
    assert receiver.receive_data(10 * SECOND_NS)[0] == b"named"


def test_unhashable_address_is_a_type_error(make):
    with pytest.raises(TypeError):
        make(["list"], 1, "b", 2)


@pytest.mark.parametrize(("direction", "word"), [(0, "send"), (1, "recv"), (2, "full")])
def test_repr(make, direction, word):
    endpoint = make("127.0.64.5", 3043, "127.0.128.133", 8974, direction=direction)
    assert repr(endpoint) == f"RtUdpEmulated[{word}](127.0.64.5:3043)"


def test_hash_is_that_of_the_four_addresses(make, addresses):
    assert hash(make(*addresses, direction=2)) == hash(addresses)


def test_exact_words_of_the_life_cycle_errors(make, addresses):
    endpoint = make(*addresses)
    with pytest.raises(OSError, match=r"^Socket not initialized$"):
        endpoint.start()
    endpoint.init_socket()
    with pytest.raises(OSError, match=r"^Socket already initialized$"):
        endpoint.init_socket()
    endpoint.start()
    with pytest.raises(ValueError, match=r"^Already running$"):
        endpoint.start()


def test_use_before_init_is_an_os_error(make, addresses):
    endpoint = make(*addresses)
    for use in (
        lambda: endpoint.send_data(b"x", 0),
        lambda: endpoint.receive_data(0),
        lambda: endpoint.receive_batch(1, 0),
    ):
        with pytest.raises(OSError, match=r"^Socket not initialized$"):
            use()
    assert endpoint.get_packet_stats()["n_packets_req"] == 0


def test_use_after_close_is_an_os_error(make, addresses):
    endpoint = make(*addresses)
    endpoint.init_socket()
    endpoint.close_socket()
    with pytest.raises(OSError, match="not initialized"):
        endpoint.send_data(b"x")
    with pytest.raises(OSError, match="not initialized"):
        endpoint.receive_data(0)


def test_times_may_be_numbers_of_any_kind(make, addresses):
    sender, receiver = make(*addresses, capacity=8.0), make(*swapped(addresses), timeout=1e10)
    for endpoint in (sender, receiver):
        endpoint.init_socket()
    due_ns = time.monotonic_ns() + 20 * MS_NS
    for number, kind in enumerate((float, Fraction, Decimal, int)):
        sender.send_data(bytes([number]), kind(due_ns + number * MS_NS))
    sender.start()
    for number in range(2):
        data, arrived_ns = receiver.receive_data(1e10)
        assert (data, arrived_ns >= due_ns) == (bytes([number]), True)
    assert [data for data, _ in receiver.receive_batch(2, Decimal("1e10"))] == [b"\2", b"\3"]
    with pytest.raises(TimeoutError):
        receiver.receive_data(0.5)
    with pytest.raises(ValueError, match="timeout_ns is -1"):
        receiver.receive_data(-1.0)


@pytest.mark.parametrize("data", ["text", [1, "two"], ("a",), {"key": 1}, None, 7, object()])
def test_data_may_be_any_object(make, addresses, data):
    sender, receiver = make(*addresses), make(*swapped(addresses))
    for endpoint in (sender, receiver):
        endpoint.init_socket()
    sender.start()
    sender.send_data(data)
    sender.send_data(data, time.monotonic_ns())
    assert receiver.receive_data(10 * SECOND_NS)[0] is data
    assert receiver.receive_batch(1, 10 * SECOND_NS)[0][0] is data


def test_negative_timeout_is_a_value_error(make, addresses):
    endpoint = make(*addresses)
    endpoint.init_socket()
    with pytest.raises(ValueError, match="timeout_ns is -1"):
        endpoint.receive_data(-1)
    with pytest.raises(ValueError, match="timeout_ns is -1"):
        endpoint.receive_batch(1, -1)


def test_negative_batch_is_empty(make, addresses):
    endpoint = make(*addresses)
    endpoint.init_socket()
    assert endpoint.receive_batch(-3, 0) == []


# --- data path


def test_reception_needs_init_only(make, addresses):
    sender, receiver = make(*addresses), make(*swapped(addresses), direction=0)
    sender.init_socket()
    receiver.init_socket()
    sender.start()
    sender.send_data(b"x")
    assert receiver.receive_data(10 * SECOND_NS)[0] == b"x"
    assert not receiver.is_running()


def test_receiving_direction_does_not_send(make, addresses):
    receiver = make(*addresses, direction=1)
    receiver.init_socket()
    receiver.start()
    receiver.send_data(b"stays")
    time.sleep(0.03)
    assert receiver.get_send_length() == 1


def test_full_remote_queue_drops_the_new_packet_and_the_sender_counts_it(make, addresses):
    receiver = make(*swapped(addresses), direction=1, capacity=4)
    receiver.init_socket()
    sender = make(*addresses, capacity=1000)
    sender.init_socket()
    sender.start()
    for number in range(10):
        sender.send_data(bytes([number]))
    until(lambda: sender.get_send_length() == 0)
    stats = sender.get_packet_stats()
    assert (stats["n_packets_req"], stats["n_packets_sent"]) == (10, 4)
    assert stats["n_tx_packets_dropped"] == 6
    assert receiver.get_packet_stats()["n_rx_packets_dropped"] == 0
    assert [d for d, _ in receiver.receive_batch(4, 0)] == [bytes([n]) for n in range(4)]


def test_send_side_is_not_limited_by_capacity(make, addresses):
    sender = make(*addresses, capacity=2)
    sender.init_socket()
    for _ in range(5000):
        sender.send_data(b"queued", time.monotonic_ns() + 3600 * SECOND_NS)
    assert sender.get_send_length() == 5000


def test_arrival_stamp_is_shared_by_packets_of_one_wake_up(make, addresses):
    sender, receiver = make(*addresses), make(*swapped(addresses))
    sender.init_socket()
    receiver.init_socket()
    for number in range(10):
        sender.send_data(bytes([number]), number)
    sender.start()
    stamps = {stamp for _, stamp in receiver.receive_batch(10, 10 * SECOND_NS)}
    assert len(stamps) == 1


def test_past_timestamps_are_ordered_too(make, addresses):
    sender, receiver = make(*addresses), make(*swapped(addresses))
    sender.init_socket()
    receiver.init_socket()
    for timestamp in (3, 1, 2, 1):
        sender.send_data(bytes([timestamp]), timestamp)
    sender.start()
    packets = receiver.receive_batch(4, 10 * SECOND_NS)
    assert [data for data, _ in packets] == [b"\x01", b"\x01", b"\x02", b"\x03"]


def test_received_counts_what_the_application_took(make, addresses):
    sender, receiver = make(*addresses), make(*swapped(addresses))
    sender.init_socket()
    receiver.init_socket()
    sender.start()
    for _ in range(5):
        sender.send_data(b"x")
    receiver.receive_batch(3, 10 * SECOND_NS)
    assert receiver.get_packet_stats()["n_packets_rec"] == 3
    with pytest.raises(TimeoutError):
        receiver.receive_batch(10, 20 * MS_NS)
    assert receiver.get_packet_stats()["n_packets_rec"] == 3
    receiver.receive_batch(2, 10 * SECOND_NS)
    assert receiver.get_packet_stats()["n_packets_rec"] == 5


def test_batch_may_be_larger_than_the_queue(make, addresses):
    receiver = make(*swapped(addresses), capacity=4)
    receiver.init_socket()
    sender = make(*addresses)
    sender.init_socket()
    sender.start()
    with ThreadPoolExecutor(1) as reader:
        batch = reader.submit(receiver.receive_batch, 20, 20 * SECOND_NS)
        for number in range(20):
            sender.send_data(bytes([number]))
            until(lambda sent=number + 1: sender.get_packet_stats()["n_packets_sent"] == sent)
            until(lambda: receiver.get_receive_length() == 0)
        assert len(batch.result()) == 20


def test_batch_timeout_covers_the_whole_batch(make, addresses):
    sender, receiver = make(*addresses), make(*swapped(addresses))
    sender.init_socket()
    receiver.init_socket()
    sender.start()
    base_ns = time.monotonic_ns()
    for number in range(20):
        sender.send_data(b"x", base_ns + number * 50 * MS_NS)
    with pytest.raises(TimeoutError):
        receiver.receive_batch(20, 200 * MS_NS)


def test_an_application_may_use_the_queue_returned_by_the_registry(make, addresses):
    receiver = make(*addresses)
    receiver.init_socket()
    GlobalQueueRegistry.get_or_create_queue(*addresses[:2]).put_nowait((b"injected", 17))
    assert receiver.receive_data(0) == (b"injected", 17)


# --- registry


def test_first_one_decides_the_capacity(addresses):
    ip, port = addresses[:2]
    first = GlobalQueueRegistry.get_or_create_queue(ip, port, 3)
    second = GlobalQueueRegistry.get_or_create_queue(ip, port, capacity=99)
    assert first is second
    assert second.maxsize == 3
    GlobalQueueRegistry.remove_queue(ip, port)
    GlobalQueueRegistry.remove_queue(ip, port)
    assert GlobalQueueRegistry.get_or_create_queue(ip, port).maxsize == 1024
    GlobalQueueRegistry.remove_queue(ip, port)


def test_init_takes_own_and_remote_queue(make, addresses):
    endpoint = make(*addresses, capacity=7)
    endpoint.init_socket()
    assert GlobalQueueRegistry.get_or_create_queue(*addresses[:2]).maxsize == 7
    assert GlobalQueueRegistry.get_or_create_queue(*addresses[2:]).maxsize == 7


def test_packets_wait_for_a_receiver_that_opens_later(make, addresses):
    sender = make(*addresses)
    sender.init_socket()
    sender.start()
    sender.send_data(b"first")
    until(lambda: sender.get_packet_stats()["n_packets_sent"] == 1)
    receiver = make(*swapped(addresses))
    receiver.init_socket()
    assert receiver.receive_data(0)[0] == b"first"


def test_queue_lives_until_its_last_user_closes(make, addresses):
    sender, receiver = make(*addresses), make(*swapped(addresses))
    sender.init_socket()
    receiver.init_socket()
    sender.start()
    sender.send_data(b"undelivered")
    until(lambda: receiver.get_receive_length() == 1)
    receiver.close_socket()
    receiver.init_socket()
    assert receiver.get_receive_length() == 1
    receiver.close_socket()
    sender.close_socket()
    assert not registered(*addresses[:2])
    assert not registered(*addresses[2:])
    receiver.init_socket()
    assert receiver.get_receive_length() == 0


def test_same_address_shares_one_queue(make, addresses):
    sender = make(*addresses)
    readers = [make(*swapped(addresses)) for _ in range(2)]
    for endpoint in (sender, *readers):
        endpoint.init_socket()
    sender.start()
    for number in range(4):
        sender.send_data(bytes([number]))
    taken = [readers[n % 2].receive_data(10 * SECOND_NS)[0] for n in range(4)]
    assert taken == [bytes([n]) for n in range(4)]


def test_own_address_as_remote_is_a_loop(make):
    endpoint = make("127.9.9.9", 1, "127.9.9.9", 1, direction=2)
    endpoint.init_socket()
    endpoint.start()
    endpoint.send_data(b"to myself")
    assert endpoint.receive_data(10 * SECOND_NS)[0] == b"to myself"
    endpoint.close_socket()
    assert not registered("127.9.9.9", 1)


def test_removed_queue_does_not_disturb_its_successor(make, addresses):
    ip, port = addresses[:2]
    first = make(*addresses)
    first.init_socket()
    GlobalQueueRegistry.remove_queue(ip, port)
    second = make(*addresses)
    second.init_socket()
    first.close_socket()
    assert registered(ip, port)
    second.close_socket()
    assert not registered(ip, port)


def test_forgotten_endpoint_gives_back_threads_and_queues(addresses):
    endpoint = RtUdpEmulated(*addresses, direction=2)
    endpoint.init_socket()
    endpoint.start()
    endpoint.send_data(b"x", time.monotonic_ns() + 3600 * SECOND_NS)
    assert len(own_threads()) == 2
    del endpoint
    gc.collect()
    until(lambda: not own_threads())
    GlobalQueueRegistry.remove_queue("nobody", 0)
    GlobalQueueRegistry.get_or_create_queue("nobody", 0)
    GlobalQueueRegistry.remove_queue("nobody", 0)
    assert not registered(*addresses[:2])


@pytest.mark.parametrize(("direction", "threads"), [(0, 1), (1, 1), (2, 2)])
def test_stop_ends_all_threads(make, addresses, direction, threads):
    endpoint = make(*addresses, direction=direction)
    endpoint.init_socket()
    endpoint.start()
    assert len(own_threads()) == threads
    endpoint.stop()
    assert own_threads() == []


# --- TimedPacket


def test_timed_packets_compare_by_time():
    early, late = TimedPacket(1, b"zzz"), TimedPacket(2, b"aaa")
    assert early < late
    assert sorted([late, early]) == [early, late]
    assert (early.timestamp_ns, early.data) == (1, b"zzz")
