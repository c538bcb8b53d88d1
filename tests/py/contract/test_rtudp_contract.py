"""What rtudp promises for both implementations: every test here runs on each of them."""

import itertools
import threading
import time

import pytest
from kit.waiting import until
from kit.wire import free_port

import rtudp

# On machines without the privilege the workers of these tests run without real-time scheduling.
pytestmark = [
    pytest.mark.usefixtures("own_workers"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

SECOND_NS = 1_000_000_000
MS_NS = 1_000_000
STATS_KEYS = {
    "n_packets_req",
    "n_packets_sent",
    "n_packets_rec",
    "n_rx_packets_dropped",
    "n_tx_packets_dropped",
    "max_latency_ns",
    "min_latency_ns",
    "total_latency_ns",
    "avg_latency_ns",
    "n_send_ticks",
    "n_rec_ticks",
    "n_imediate_packets",
    "n_immediate_packets",
    "latency_histogram",
    "effective_cpu",
    "effective_policy",
    "effective_priority",
}


@pytest.fixture(params=["emulated", "socket"])
def implementation(request):
    return request.param


@pytest.fixture
def make(implementation):
    """Construct endpoints that are stopped and closed after the test."""
    made = []

    def construct(*addresses, **options):
        made.append(rtudp.create_rtudp(implementation, *addresses, **options))
        return made[-1]

    yield construct
    for endpoint in made:
        endpoint.stop()
        endpoint.close_socket()


@pytest.fixture
def addresses():
    """Two addresses nobody uses, as the four arguments of the first endpoint's constructor."""
    first, second = "127.3.64.5", "127.3.128.133"
    return first, free_port(first), second, free_port(second)


def swapped(addresses):
    return addresses[2:] + addresses[:2]


@pytest.fixture
def pair(make, addresses):
    """A sender and a receiver, open and running."""
    sender = make(*addresses, direction=0)
    receiver = make(*swapped(addresses), direction=1)
    for endpoint in (sender, receiver):
        endpoint.init_socket()
        endpoint.start()
    return sender, receiver


def receive_all(receiver, count):
    return [data for data, _ in receiver.receive_batch(count, 10 * SECOND_NS)]


# --- life cycle


def test_constructor_takes_all_documented_keywords(make, addresses):
    endpoint = make(
        *addresses,
        bind=1,
        connect=0,
        capacity=16,
        name="speed",
        direction=1,
        cpu=-1,
        timeout=5_000_000_000,
        priority=10,
    )
    assert (endpoint.local_ip, endpoint.local_port) == addresses[:2]
    assert (endpoint.remote_ip, endpoint.remote_port) == addresses[2:]
    assert (endpoint.capacity, endpoint.direction) == (16, 1)
    assert endpoint.timeout_ns == 5_000_000_000


def test_constructor_defaults(make, addresses):
    endpoint = make(*addresses)
    assert (endpoint.capacity, endpoint.direction) == (1024, 0)
    assert endpoint.timeout_ns == 10_000_000_000


def test_options_are_keyword_only(make, addresses):
    with pytest.raises(TypeError):
        make(*addresses, 1)


@pytest.mark.parametrize("direction", [-1, 3])
def test_unknown_direction_is_a_value_error(make, addresses, direction):
    with pytest.raises(ValueError, match="direction"):
        make(*addresses, direction=direction)


def test_second_init_is_an_os_error(make, addresses):
    endpoint = make(*addresses)
    endpoint.init_socket()
    with pytest.raises(OSError, match=r"already (open|initialized)"):
        endpoint.init_socket()


def test_start_before_init_is_an_os_error(make, addresses):
    endpoint = make(*addresses)
    with pytest.raises(OSError, match=r"not initiali[sz]ed"):
        endpoint.start()
    assert not endpoint.is_running()


def test_second_start_is_a_value_error(pair):
    sender, _ = pair
    with pytest.raises(ValueError, match="Already running"):
        sender.start()
    assert sender.is_running()


def test_running_from_start_until_stop(make, addresses):
    endpoint = make(*addresses)
    endpoint.init_socket()
    assert not endpoint.is_running()
    endpoint.start()
    assert endpoint.is_running()
    endpoint.stop()
    assert not endpoint.is_running()


def test_stop_without_start_and_twice_is_harmless(make, addresses):
    endpoint = make(*addresses)
    endpoint.stop()
    endpoint.init_socket()
    endpoint.start()
    endpoint.stop()
    endpoint.stop()
    assert not endpoint.is_running()


def test_close_without_init_and_twice_is_harmless(make, addresses):
    endpoint = make(*addresses)
    endpoint.close_socket()
    endpoint.init_socket()
    endpoint.close_socket()
    endpoint.close_socket()


def test_close_may_come_before_stop(pair):
    sender, _ = pair
    sender.close_socket()
    assert sender.is_running()
    sender.stop()
    assert not sender.is_running()


def test_reopening_after_close_works(pair):
    sender, receiver = pair
    sender.stop()
    sender.close_socket()
    sender.init_socket()
    sender.start()
    sender.send_data(b"again")
    assert receive_all(receiver, 1) == [b"again"]


def test_reopening_while_running_goes_on(pair):
    sender, receiver = pair
    sender.close_socket()
    sender.init_socket()
    sender.send_data(b"still running")
    assert receive_all(receiver, 1) == [b"still running"]


def test_restart_after_stop_goes_on(pair):
    sender, receiver = pair
    sender.stop()
    sender.send_data(b"queued while stopped")
    with pytest.raises(TimeoutError):
        receiver.receive_data(50 * MS_NS)
    sender.start()
    assert receive_all(receiver, 1) == [b"queued while stopped"]


def test_stop_does_not_wait_for_packets_due_later(pair):
    sender, _ = pair
    sender.send_data(b"later", time.monotonic_ns() + 3600 * SECOND_NS)
    before = time.monotonic()
    sender.stop()
    assert time.monotonic() - before < 5
    assert sender.get_send_length() == 1


def test_never_stopping_or_closing_is_harmless(implementation, addresses):
    endpoint = rtudp.create_rtudp(implementation, *addresses, direction=2)
    endpoint.init_socket()
    endpoint.start()
    del endpoint


def test_direction_may_be_assigned_until_start(make, addresses):
    sender = make(*addresses, direction=1)
    receiver = make(*swapped(addresses), direction=0)
    receiver.direction = 1
    sender.init_socket()
    receiver.init_socket()
    sender.direction = 0
    sender.start()
    receiver.start()
    sender.send_data(b"turned round")
    assert receive_all(receiver, 1) == [b"turned round"]


def test_unknown_assigned_direction_is_refused_by_start(make, addresses):
    endpoint = make(*addresses)
    endpoint.init_socket()
    endpoint.direction = 7
    with pytest.raises(ValueError, match="direction"):
        endpoint.start()
    endpoint.direction = 0
    assert not endpoint.is_running()


# --- sending


@pytest.mark.parametrize("payload", [b"", b"x", bytes(range(256)), b"m" * 1500, b"j" * 9000])
def test_payloads_arrive_unchanged(pair, payload):
    sender, receiver = pair
    sender.send_data(payload)
    assert receive_all(receiver, 1) == [payload]


def test_largest_payload_arrives(pair):
    sender, receiver = pair
    payload = bytes(range(256)) * 255 + b"z" * 227
    assert len(payload) == 65_507
    sender.send_data(payload)
    assert receive_all(receiver, 1) == [payload]


def test_longer_payload_is_a_value_error(pair):
    sender, _ = pair
    with pytest.raises(ValueError, match="65508"):
        sender.send_data(bytes(65_508))
    assert sender.get_packet_stats()["n_packets_req"] == 0


@pytest.mark.parametrize("convert", [bytes, bytearray, memoryview])
def test_any_bytes_like_object_is_taken(pair, convert):
    sender, receiver = pair
    sender.send_data(convert(b"bytes-like"))
    assert receive_all(receiver, 1) == [b"bytes-like"]


def test_payload_is_copied_by_the_call(pair):
    sender, receiver = pair
    buffer = bytearray(b"before")
    sender.send_data(buffer, time.monotonic_ns() + 50 * MS_NS)
    buffer[:] = b"after!"
    assert receive_all(receiver, 1) == [b"before"]


@pytest.mark.parametrize("timestamp", ["soon", b"1", [5], 1j])
def test_timestamp_must_be_a_number(pair, timestamp):
    sender, _ = pair
    with pytest.raises(TypeError):
        sender.send_data(b"x", timestamp)


class Number:
    """A number that is no int, as those of NumPy."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


@pytest.mark.parametrize("ahead_ns", [-SECOND_NS, 20 * MS_NS])
def test_whatever_is_an_index_is_a_time(pair, ahead_ns):
    sender, receiver = pair
    due_ns = time.monotonic_ns() + ahead_ns
    sender.send_data(b"x", Number(due_ns))
    data, arrived_ns = receiver.receive_data(Number(10 * SECOND_NS))
    assert (data, arrived_ns > due_ns) == (b"x", True)
    sender.send_data(b"y")
    assert receiver.receive_batch(1, Number(10 * SECOND_NS))[0][0] == b"y"


def test_arguments_may_be_given_by_keyword(pair):
    sender, receiver = pair
    sender.send_data(data=b"by name", timestamp=time.monotonic_ns())
    assert receiver.receive_data(timeout_ns=10 * SECOND_NS)[0] == b"by name"
    sender.send_data(data=b"by name")
    assert receiver.receive_batch(n_packets=1, timeout_ns=10 * SECOND_NS)[0][0] == b"by name"


@pytest.mark.parametrize("arguments", [(), (None,), (0,), (1,)])
def test_packet_without_future_timestamp_leaves_at_once(pair, arguments):
    sender, receiver = pair
    before_ns = time.monotonic_ns()
    sender.send_data(b"now", *arguments)
    data, arrived_ns = receiver.receive_data(10 * SECOND_NS)
    assert data == b"now"
    assert before_ns <= arrived_ns <= time.monotonic_ns()


def test_packet_never_leaves_before_its_timestamp(pair):
    sender, receiver = pair
    due_ns = [time.monotonic_ns() + (20 + 5 * i) * MS_NS for i in range(10)]
    for number, timestamp_ns in enumerate(due_ns):
        sender.send_data(bytes([number]), timestamp_ns)
    for number, timestamp_ns in enumerate(due_ns):
        data, arrived_ns = receiver.receive_data(10 * SECOND_NS)
        assert data == bytes([number])
        assert arrived_ns >= timestamp_ns


def test_packets_leave_in_timestamp_order(pair):
    sender, receiver = pair
    base_ns = time.monotonic_ns() + 1000 * MS_NS
    offsets = [7, 3, 9, 1, 5, 0, 8, 2, 6, 4]
    for offset in offsets:
        sender.send_data(bytes([offset]), base_ns + offset * MS_NS)
    assert receive_all(receiver, 10) == [bytes([n]) for n in range(10)]


def test_earlier_packet_overtakes_one_already_waited_for(pair):
    sender, receiver = pair
    now_ns = time.monotonic_ns()
    sender.send_data(b"late", now_ns + 60 * SECOND_NS)
    time.sleep(0.02)
    sender.send_data(b"early", time.monotonic_ns() + MS_NS)
    assert receiver.receive_data(10 * SECOND_NS)[0] == b"early"
    assert sender.get_send_length() == 1


def test_equal_timestamps_leave_in_call_order(pair):
    sender, receiver = pair
    due_ns = time.monotonic_ns() + 500 * MS_NS
    for number in range(500):
        sender.send_data(number.to_bytes(2, "big"), due_ns)
    assert receive_all(receiver, 500) == [n.to_bytes(2, "big") for n in range(500)]


def test_sending_does_not_wait_for_a_packet_due_later(pair):
    sender, receiver = pair
    sender.send_data(b"later", time.monotonic_ns() + 5 * SECOND_NS)
    time.sleep(0.02)
    before_ns = time.monotonic_ns()
    for _ in range(100):
        sender.send_data(b"much later", before_ns + 3600 * SECOND_NS)
    assert time.monotonic_ns() - before_ns < 3 * SECOND_NS
    with pytest.raises(TimeoutError):
        receiver.receive_data(0)


def test_order_holds_for_every_thread_that_sends(pair):
    sender, receiver = pair
    threads = [
        threading.Thread(
            target=lambda who=who: [sender.send_data(bytes([who, n])) for n in range(100)]
        )
        for who in range(4)
    ]
    for thread in threads:
        thread.start()
    received = receive_all(receiver, 400)
    for thread in threads:
        thread.join()
    for who in range(4):
        assert [p[1] for p in received if p[0] == who] == list(range(100))


# --- receiving


def test_receive_returns_payload_and_arrival_time(pair):
    sender, receiver = pair
    before_ns = time.monotonic_ns()
    sender.send_data(b"stamped")
    packet = receiver.receive_data(10 * SECOND_NS)
    assert isinstance(packet, tuple)
    data, arrived_ns = packet
    assert type(data) is bytes
    assert type(arrived_ns) is int
    assert before_ns <= arrived_ns <= time.monotonic_ns()


def test_receive_times_out(pair):
    _, receiver = pair
    before_ns = time.monotonic_ns()
    with pytest.raises(TimeoutError, match="Receive timed out"):
        receiver.receive_data(30 * MS_NS)
    assert time.monotonic_ns() - before_ns >= 29 * MS_NS


def test_zero_timeout_polls(pair):
    sender, receiver = pair
    with pytest.raises(TimeoutError):
        receiver.receive_data(0)
    sender.send_data(b"waiting")
    until(lambda: receiver.get_receive_length() == 1)
    assert receiver.receive_data(0)[0] == b"waiting"


def test_omitted_timeout_is_that_of_the_endpoint(make, addresses):
    endpoint = make(*addresses, direction=1, timeout=30 * MS_NS)
    endpoint.init_socket()
    endpoint.start()
    before_ns = time.monotonic_ns()
    with pytest.raises(TimeoutError):
        endpoint.receive_data()
    with pytest.raises(TimeoutError):
        endpoint.receive_batch(1)
    assert 58 * MS_NS <= time.monotonic_ns() - before_ns < 5 * SECOND_NS


def test_very_long_timeout_is_accepted(pair):
    sender, receiver = pair
    sender.send_data(b"x", time.monotonic_ns() + 20 * MS_NS)
    assert receiver.receive_data(2**62)[0] == b"x"


def test_waiting_lets_other_threads_run(pair):
    _, receiver = pair
    ticks = itertools.count()
    stop = threading.Event()

    def tick():
        while not stop.is_set():
            next(ticks)
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    with pytest.raises(TimeoutError):
        receiver.receive_data(300 * MS_NS)
    stop.set()
    thread.join()
    assert next(ticks) > 10


def test_receive_wakes_for_a_packet_that_comes_while_it_waits(pair):
    sender, receiver = pair
    timer = threading.Timer(0.05, sender.send_data, (b"awaited",))
    timer.start()
    assert receiver.receive_data(10 * SECOND_NS)[0] == b"awaited"
    timer.join()


def test_batch_has_exactly_n_packets_in_order(pair):
    sender, receiver = pair
    for number in range(20):
        sender.send_data(bytes([number]))
    first = receiver.receive_batch(15, 10 * SECOND_NS)
    assert [data for data, _ in first] == [bytes([n]) for n in range(15)]
    assert all(a <= b for (_, a), (_, b) in itertools.pairwise(first))
    assert receive_all(receiver, 5) == [bytes([n]) for n in range(15, 20)]


def test_empty_batch(pair):
    _, receiver = pair
    assert receiver.receive_batch(0, 0) == []


def test_batch_timeout_keeps_what_came_for_the_next_call(pair):
    sender, receiver = pair
    for number in range(5):
        sender.send_data(bytes([number]))
    until(lambda: receiver.get_receive_length() == 5)
    with pytest.raises(TimeoutError, match="Timed out waiting for data"):
        receiver.receive_batch(8, 20 * MS_NS)
    assert receiver.get_receive_length() == 5
    assert receiver.receive_data(0)[0] == b"\x00"
    assert receive_all(receiver, 4) == [bytes([n]) for n in range(1, 5)]


def test_batch_takes_what_is_there_with_timeout_zero(pair):
    sender, receiver = pair
    for number in range(3):
        sender.send_data(bytes([number]))
    until(lambda: receiver.get_receive_length() == 3)
    assert len(receiver.receive_batch(3, 0)) == 3


def test_each_packet_goes_to_one_of_several_reading_threads(pair):
    sender, receiver = pair
    taken = []

    def read():
        while True:
            try:
                taken.append(receiver.receive_data(300 * MS_NS)[0])
            except TimeoutError:
                return

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(400):
        sender.send_data(number.to_bytes(2, "big"))
    for thread in threads:
        thread.join()
    assert sorted(taken) == [n.to_bytes(2, "big") for n in range(400)]


# --- lengths and purge


def test_lengths_count_waiting_packets(pair):
    sender, receiver = pair
    assert (sender.get_send_length(), receiver.get_receive_length()) == (0, 0)
    for _ in range(3):
        sender.send_data(b"later", time.monotonic_ns() + 3600 * SECOND_NS)
        sender.send_data(b"now")
    until(lambda: receiver.get_receive_length() == 3)
    until(lambda: sender.get_send_length() == 3)


def test_receive_length_is_zero_before_init(make, addresses):
    endpoint = make(*addresses)
    assert (endpoint.get_send_length(), endpoint.get_receive_length()) == (0, 0)


@pytest.mark.parametrize("running", [False, True])
def test_purge_keeps_the_run_state(make, addresses, running):
    endpoint = make(*addresses)
    endpoint.init_socket()
    if running:
        endpoint.start()
    endpoint.purge()
    assert endpoint.is_running() is running


def test_purge_before_init_is_harmless(make, addresses):
    endpoint = make(*addresses)
    endpoint.purge()
    assert not endpoint.is_running()


def test_start_of_one_that_runs_and_was_closed_is_a_value_error(pair):
    sender, _ = pair
    sender.close_socket()
    with pytest.raises(ValueError, match="Already running"):
        sender.start()


def test_purge_empties_both_sides_and_keeps_statistics(pair):
    sender, receiver = pair
    sender.send_data(b"arrives")
    sender.send_data(b"does not", time.monotonic_ns() + 200 * MS_NS)
    until(lambda: receiver.get_receive_length() == 1)
    sender.purge()
    receiver.purge()
    assert (sender.get_send_length(), receiver.get_receive_length()) == (0, 0)
    with pytest.raises(TimeoutError):
        receiver.receive_data(300 * MS_NS)
    assert sender.get_packet_stats()["n_packets_req"] == 2
    sender.send_data(b"after")
    assert receive_all(receiver, 1) == [b"after"]


# --- duplex


def test_full_duplex(make, addresses):
    first = make(*addresses, direction=2)
    second = make(*swapped(addresses), direction=2)
    for endpoint in (first, second):
        endpoint.init_socket()
        endpoint.start()
    for number in range(10):
        first.send_data(b"to second %d" % number)
        second.send_data(b"to first %d" % number)
    assert receive_all(second, 10) == [b"to second %d" % n for n in range(10)]
    assert receive_all(first, 10) == [b"to first %d" % n for n in range(10)]
    for endpoint in (first, second):
        until(lambda e=endpoint: e.get_packet_stats()["n_packets_sent"] == 10)
        assert endpoint.get_packet_stats()["n_packets_rec"] == 10


# --- statistics


def test_statistics_have_all_keys_from_the_beginning(make, addresses):
    stats = make(*addresses).get_packet_stats()
    assert set(stats) == STATS_KEYS
    numbers = STATS_KEYS - {"latency_histogram", "effective_policy"}
    assert all(type(stats[key]) is int for key in numbers)
    assert all(stats[key] == 0 for key in numbers - {"effective_cpu", "effective_priority"})
    assert stats["latency_histogram"] == []


def test_statistics_count_both_sides(pair):
    sender, receiver = pair
    for _ in range(10):
        sender.send_data(b"counted")
    receive_all(receiver, 10)
    until(lambda: sender.get_packet_stats()["n_packets_sent"] == 10)
    sent = sender.get_packet_stats()
    assert set(sent) == STATS_KEYS
    assert sent["n_packets_req"] == 10
    assert sent["n_tx_packets_dropped"] == 0
    assert sent["n_send_ticks"] > 0
    received = receiver.get_packet_stats()
    assert received["n_packets_rec"] == 10
    assert received["n_rx_packets_dropped"] == 0
    assert received["n_rec_ticks"] > 0


def test_latency_statistics_agree_with_each_other(pair):
    sender, receiver = pair
    base_ns = time.monotonic_ns() + 20 * MS_NS
    for number in range(50):
        sender.send_data(b"x", base_ns + number * MS_NS)
    receive_all(receiver, 50)
    until(lambda: sender.get_packet_stats()["n_packets_sent"] == 50)
    stats = sender.get_packet_stats()
    assert 0 <= stats["min_latency_ns"] <= stats["avg_latency_ns"] <= stats["max_latency_ns"]
    assert stats["max_latency_ns"] < 10 * SECOND_NS
    assert stats["avg_latency_ns"] == stats["total_latency_ns"] // 50
    histogram = stats["latency_histogram"]
    assert sum(count for _, count in histogram) == 50
    assert histogram == sorted(histogram)
    assert histogram[0][0] >= stats["min_latency_ns"]
    assert histogram[-1][0] >= stats["max_latency_ns"]


def test_packets_due_long_ago_do_not_spoil_the_latency(pair):
    sender, receiver = pair
    for timestamp in (0, 1, None):
        sender.send_data(b"at once", timestamp)
    sender.send_data(b"timed", time.monotonic_ns() + 20 * MS_NS)
    receive_all(receiver, 4)
    until(lambda: sender.get_packet_stats()["n_packets_sent"] == 4)
    stats = sender.get_packet_stats()
    assert stats["max_latency_ns"] < 10 * SECOND_NS
    assert stats["n_immediate_packets"] == 3
    assert stats["n_imediate_packets"] == 3


def test_statistics_survive_closing(pair):
    sender, receiver = pair
    sender.send_data(b"x")
    receive_all(receiver, 1)
    until(lambda: sender.get_packet_stats()["n_packets_sent"] == 1)
    for endpoint in pair:
        endpoint.stop()
        endpoint.close_socket()
    sent, received = sender.get_packet_stats(), receiver.get_packet_stats()
    assert (sent["n_packets_req"], sent["n_packets_sent"]) == (1, 1)
    assert received["n_packets_rec"] == 1


def test_packets_that_cannot_leave_are_not_counted_as_sent(pair):
    sender, _ = pair
    sender.send_data(b"never", time.monotonic_ns() + 100 * MS_NS)
    sender.close_socket()
    until(lambda: sender.get_packet_stats()["n_tx_packets_dropped"] == 1)
    stats = sender.get_packet_stats()
    assert (stats["n_packets_req"], stats["n_packets_sent"]) == (1, 0)


def test_statistics_are_exact_under_threads(pair):
    sender, receiver = pair
    counts = []

    def send():
        for _ in range(200):
            sender.send_data(b"x")
            counts.append(sender.get_packet_stats()["n_packets_req"])

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    receive_all(receiver, 800)
    for thread in threads:
        thread.join()
    assert max(counts) == 800
    until(lambda: sender.get_packet_stats()["n_packets_sent"] == 800)
    assert sender.get_packet_stats()["n_packets_req"] == 800


# --- identity


def test_equality_is_identity(make, addresses):
    first, second = make(*addresses), make(*addresses)
    assert first != second
    assert hash(first) == hash(second)
    assert len({first, second, first}) == 2


def test_str_is_repr(make, addresses):
    endpoint = make(*addresses)
    assert str(endpoint) == repr(endpoint)
