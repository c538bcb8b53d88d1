"""What only the socket endpoint promises. Traffic stays on the loopback network."""

import contextlib
import errno
import gc
import math
import os
import socket
import threading
import time
import warnings

import needs
import pytest
from kit.waiting import until
from kit.wire import free_port, udp

import rtudp
import rtudp.rtudp
import shmring
from rtudp import RtUdpSocket
from rtudp.rtudp_lh import RtUdpLh

# On machines without the privilege the workers of these tests run without real-time scheduling.
pytestmark = [
    pytest.mark.usefixtures("own_workers"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

SECOND_NS = 1_000_000_000
MS_NS = 1_000_000


@pytest.fixture
def make():
    """Construct endpoints that are stopped and closed after the test."""
    made = []

    def construct(*addresses, **options):
        made.append(RtUdpSocket(*addresses, **options))
        return made[-1]

    yield construct
    for endpoint in made:
        endpoint.stop()
        endpoint.close_socket()


@pytest.fixture
def addresses():
    first, second = "127.4.64.5", "127.4.128.133"
    return first, free_port(first), second, free_port(second)


@pytest.fixture
def plain():
    """An ordinary UDP socket as the other end."""
    with udp("127.4.1.1") as peer:
        yield peer


@pytest.fixture
def no_collector():
    """Only references keep objects: the collector of cycles does not run."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def swapped(addresses):
    return addresses[2:] + addresses[:2]


def run(endpoint):
    endpoint.init_socket()
    endpoint.start()
    return endpoint


# --- construction


def test_unknown_keyword_is_a_type_error(make, addresses):
    with pytest.raises(TypeError, match="colour"):
        make(*addresses, colour="green")


@pytest.mark.parametrize("text", ["localhost", "1.2.3", "1.2.3.400", "::1", ""])
def test_address_text_must_be_a_dotted_quad(make, text):
    with pytest.raises(ValueError, match="IPv4"):
        make(text, 1, "127.0.0.1", 2)
    with pytest.raises(ValueError, match="IPv4"):
        make("127.0.0.1", 1, text, 2)


def test_ports_are_cut_to_16_bits(make):
    endpoint = make("127.0.0.1", 65536 + 4000, "127.0.0.1", 2 * 65536 + 4001)
    assert (endpoint.local_port, endpoint.remote_port) == (4000, 4001)


@pytest.mark.parametrize("port", [2**31, -(2**31) - 1, 2**40])
def test_ports_beyond_a_c_int_are_an_overflow_error(make, port):
    with pytest.raises(OverflowError, match=f"local_port is {port}"):
        make("127.0.0.1", port, "127.0.0.1", 9)
    with pytest.raises(OverflowError, match=f"remote_port is {port}"):
        make("127.0.0.1", 9, "127.0.0.1", port)


def test_capacity_zero_is_a_value_error(make, addresses):
    with pytest.raises(ValueError, match="capacity is 0"):
        make(*addresses, capacity=0)


def test_capacity_beyond_all_memory_is_an_os_error(make, addresses):
    with pytest.raises(OSError, match="capacity is 1073741824, the rings hold at most") as caught:
        make(*addresses, capacity=2**30)
    assert caught.value.errno == errno.ENOMEM
    with pytest.raises(OverflowError, match="capacity"):
        make(*addresses, capacity=2**31)


def test_name_is_text(make, addresses):
    with pytest.raises(TypeError, match="name is 7"):
        make(*addresses, name=7)


@pytest.mark.parametrize("opened", [False, True])
def test_errors_advise_what_can_be_done_here(make, addresses, opened):
    sender = make(*addresses)
    if opened:
        sender.init_socket()
    with pytest.raises(ValueError, match=r"^data is 65508 bytes long, .* 65507: send it in pieces"):
        sender.send_data(bytes(65_508))
    with pytest.raises(ValueError, match=r"^timestamp is \d+, more than a year ahead"):
        sender.send_data(b"x", 2**62)
    receiver = make("127.0.0.1", 0, "255.255.255.255", 9, direction=1)
    with pytest.raises(OSError, match="Failed to connect") as caught:
        receiver.init_socket()
    assert "broadcast =" not in str(caught.value.__cause__)
    assert "single hosts only" in str(caught.value.__cause__)


def test_data_and_times_are_bytes_and_integers(make, addresses):
    sender = make(*addresses)
    sender.init_socket()
    for data in ("text", [1], None, 7):
        with pytest.raises(TypeError):
            sender.send_data(data)
    for timestamp in (1.5, float(time.monotonic_ns() + SECOND_NS)):
        with pytest.raises(TypeError):
            sender.send_data(b"x", timestamp)
    assert sender.get_send_length() == 0


def test_float_timeout_is_cut_to_an_integer(make, addresses):
    assert make(*addresses, timeout=1e9 + 0.5).timeout_ns == 1_000_000_000


def test_inner_type_is_reachable_and_subclassable(make, addresses):
    endpoint = make(*addresses)
    assert type(endpoint._socket) is rtudp.rtudp._RtUdpSocket
    assert endpoint._socket is endpoint._socket
    assert not isinstance(endpoint._socket, RtUdpSocket)
    endpoint._socket.send_data(b"x")
    assert endpoint.get_send_length() == 1

    class Logged(rtudp.rtudp._RtUdpSocket):
        def send_data(self, data, timestamp=None):
            self.last = data
            super().send_data(data, timestamp)

    endpoint = Logged(*addresses, capacity=4)
    endpoint.send_data(b"kept")
    assert endpoint.last == b"kept"
    with pytest.raises(RuntimeError, match="already"):
        endpoint.__init__(*addresses)


def test_the_wrapped_object_keeps_the_endpoint_open(addresses, plain):
    endpoint = RtUdpSocket(*addresses[:2], *plain.getsockname())
    inner = run(endpoint)._socket
    del endpoint
    gc.collect()
    time.sleep(0.2)  # in which the endpoint would be closed
    inner.send_data(b"still open")
    assert plain.recv(100) == b"still open"
    del inner
    until(lambda: is_free(*addresses[:2]))


@pytest.mark.usefixtures("no_collector")
def test_an_endpoint_opened_by_its_wrapped_object_closes_when_dropped(addresses):
    endpoint = RtUdpSocket(*addresses)
    endpoint._socket.init_socket()
    assert not is_free(*addresses[:2])
    del endpoint
    until(lambda: is_free(*addresses[:2]))


# --- life cycle


def test_exact_words_of_the_life_cycle_errors(make, addresses):
    endpoint = make(*addresses)
    with pytest.raises(OSError, match=r"^Socket not initialised\.$"):
        endpoint.start()
    endpoint.init_socket()
    with pytest.raises(OSError, match=r"^Socket already open\.$"):
        endpoint.init_socket()
    endpoint.start()
    with pytest.raises(ValueError, match=r"^Already running\.$"):
        endpoint.start()


def test_failed_bind_is_an_os_error_and_may_be_retried(make):
    endpoint = make("192.0.2.1", 4000, "127.0.0.1", 4001)
    for _ in range(2):
        with pytest.raises(OSError, match=r"^Failed to Bind$") as caught:
            endpoint.init_socket()
        assert caught.value.errno == errno.EADDRNOTAVAIL
    assert repr(endpoint).startswith("RtUdp[-1]")


def test_failed_connect_is_an_os_error_and_may_be_retried(make):
    endpoint = make("127.0.0.1", free_port("127.0.0.1"), "192.0.2.1", 4001, direction=1)
    for _ in range(2):
        with pytest.raises(OSError, match=r"^Failed to connect$") as caught:
            endpoint.init_socket()
        assert "192.0.2.1:4001" in str(caught.value.__cause__)
    assert repr(endpoint).startswith("RtUdp[-1]")


def test_remote_that_cannot_be_is_an_os_error(make):
    endpoint = make("127.0.0.1", free_port("127.0.0.1"), "127.0.0.1", 0)
    with pytest.raises(OSError, match=r"^Failed to initialise socket\.$"):
        endpoint.init_socket()


def test_address_may_be_shared_with_others_that_allow_it(make, addresses):
    first, second = make(*addresses), make(*addresses)
    first.init_socket()
    second.init_socket()


def test_repr_shows_the_descriptor_while_open(make, addresses):
    endpoint = make(*addresses)
    endpoint.init_socket()
    number = int(repr(endpoint).partition("[")[2].partition("]")[0])
    assert number >= 0
    assert repr(endpoint) == f"RtUdp[{number}]->({addresses[2]}:{addresses[3]})"
    endpoint.close_socket()
    assert repr(endpoint).startswith("RtUdp[-1]->")


def channels_of(endpoint_name):
    return [info.name for info in shmring.channels() if info.name.startswith(endpoint_name)]


def is_free(ip, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((ip, port))
        except OSError:
            return False
        return True


def test_forgotten_endpoint_is_closed(plain):
    port = free_port("127.4.2.2")
    endpoint = run(RtUdpSocket("127.4.2.2", port, *plain.getsockname(), name="forgotten"))
    endpoint.send_data(b"used")
    assert plain.recv(100) == b"used"
    assert channels_of("forgotten")
    del endpoint
    gc.collect()
    until(lambda: not channels_of("forgotten"))
    until(lambda: is_free("127.4.2.2", port))


def test_failed_open_leaves_no_channel_behind(make):
    with pytest.raises(OSError, match="Failed to Bind"):
        make("192.0.2.1", 4000, "127.0.0.1", 4001, name="failed").init_socket()
    assert not channels_of("failed")


@pytest.mark.parametrize("call", ["receive_data", "receive_batch", "send_data"])
def test_closing_under_a_call_in_another_thread(make, addresses, call):
    endpoint = make(*addresses, direction=2, capacity=4)
    outcomes = []

    def work():
        while len(outcomes) < 200:
            try:
                if call == "receive_data":
                    endpoint.receive_data(5 * MS_NS)
                elif call == "receive_batch":
                    endpoint.receive_batch(3, 5 * MS_NS)
                else:
                    endpoint.send_data(b"x", time.monotonic_ns() + 3600 * SECOND_NS)
            except Exception as error:
                outcomes.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        endpoint.init_socket()
        if not endpoint.is_running():
            endpoint.start()
        time.sleep(0.002)
        endpoint.close_socket()
    endpoint.stop()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert all(isinstance(error, OSError) for error in outcomes)
    stats = endpoint.get_packet_stats()
    if call == "send_data":
        accounted = stats["n_packets_sent"] + stats["n_tx_packets_dropped"]
        assert stats["n_packets_req"] == accounted + endpoint.get_send_length()


def test_receive_waits_on_while_the_socket_is_closed_and_opened_again(make, plain):
    port = free_port("127.4.2.2")
    receiver = run(make("127.4.2.2", port, *plain.getsockname(), direction=1))
    taken = []
    thread = threading.Thread(target=lambda: taken.append(receiver.receive_data(20 * SECOND_NS)))
    thread.start()
    time.sleep(0.02)
    receiver.close_socket()
    receiver.init_socket()
    plain.sendto(b"after", ("127.4.2.2", port))
    thread.join(30)
    assert taken[0][0] == b"after"


def test_end_of_the_pool_is_an_os_error(make, addresses):
    endpoint = run(make(*addresses, direction=2))
    shmring.close_default_pool()
    for timeout_ns in (0, SECOND_NS):
        with pytest.raises(OSError, match="closed"):
            endpoint.receive_data(timeout_ns)
    with pytest.raises(OSError, match="closed"):
        endpoint.send_data(b"x")
    endpoint.stop()
    endpoint.close_socket()
    endpoint.init_socket()
    assert not endpoint.is_running()


# --- against ordinary sockets


def test_datagram_reaches_an_ordinary_socket_from_the_local_address(make, plain):
    port = free_port("127.4.2.2")
    sender = run(make("127.4.2.2", port, *plain.getsockname()))
    sender.send_data(b"plain")
    assert plain.recvfrom(100) == (b"plain", ("127.4.2.2", port))


def test_unbound_sender_takes_any_local_port(make, plain):
    sender = run(make("127.4.2.2", free_port("127.4.2.2"), *plain.getsockname(), bind=0))
    sender.send_data(b"unbound")
    data, source = plain.recvfrom(100)
    assert data == b"unbound"
    assert source[0] != "127.4.2.2"


def test_receiver_takes_datagrams_of_its_remote_only(make, plain):
    port = free_port("127.4.2.2")
    receiver = run(make("127.4.2.2", port, *plain.getsockname(), direction=1))
    with udp("127.4.1.1") as stranger:
        stranger.sendto(b"stranger", ("127.4.2.2", port))
    plain.sendto(b"friend", ("127.4.2.2", port))
    assert receiver.receive_data(10 * SECOND_NS)[0] == b"friend"
    with pytest.raises(TimeoutError):
        receiver.receive_data(50 * MS_NS)
    assert receiver.get_packet_stats()["n_packets_rec"] == 1


def test_datagrams_that_came_before_start_are_received(make, plain):
    port = free_port("127.4.2.2")
    receiver = make("127.4.2.2", port, *plain.getsockname(), direction=1)
    receiver.init_socket()
    plain.sendto(b"early bird", ("127.4.2.2", port))
    receiver.start()
    assert receiver.receive_data(10 * SECOND_NS)[0] == b"early bird"


def test_stop_holds_reception_and_the_kernel_keeps_what_comes(make, plain):
    port = free_port("127.4.2.2")
    receiver = run(make("127.4.2.2", port, *plain.getsockname(), direction=2))
    receiver.stop()
    receiver.send_data(b"held")
    plain.sendto(b"held", ("127.4.2.2", port))
    with pytest.raises(TimeoutError):
        receiver.receive_data(50 * MS_NS)
    assert receiver.get_packet_stats()["n_packets_rec"] == 0
    assert (receiver.get_send_length(), receiver.get_receive_length()) == (1, 0)
    receiver.start()
    assert receiver.receive_data(10 * SECOND_NS)[0] == b"held"
    assert plain.recv(100) == b"held"


def test_peer_that_is_not_there_yet_costs_no_packets(make, plain):
    """An ICMP answer is reported by a later send call, whose packet it must not take away."""
    port = free_port("127.4.2.2")
    sender = run(make("127.4.2.2", free_port("127.4.2.2"), "127.4.1.1", port, direction=2))
    for _ in range(5):
        sender.send_data(b"nobody there")
        time.sleep(0.005)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.4.1.1", port))
        peer.settimeout(10)
        for number in range(5):
            sender.send_data(bytes([number]))
            assert peer.recv(100) == bytes([number])
    assert sender.get_packet_stats()["n_tx_packets_dropped"] == 0


def test_received_packets_stay_readable_after_stop_and_close(make, plain):
    port = free_port("127.4.2.2")
    receiver = run(make("127.4.2.2", port, *plain.getsockname(), direction=1))
    for number in range(4):
        plain.sendto(bytes([number]), ("127.4.2.2", port))
    until(lambda: receiver.get_receive_length() == 4)
    receiver.stop()
    assert receiver.receive_data(0)[0] == b"\x00"
    receiver.close_socket()
    assert receiver.get_receive_length() == 3
    assert [d for d, _ in receiver.receive_batch(3, 0)] == [b"\x01", b"\x02", b"\x03"]


# --- rings


def test_send_before_init_is_queued_and_sent(make, plain):
    sender = make("127.4.2.2", free_port("127.4.2.2"), *plain.getsockname())
    sender.send_data(b"before init")
    assert sender.get_send_length() == 1
    assert sender.get_packet_stats()["n_packets_req"] == 1
    sender.init_socket()
    sender.send_data(b"before start")
    assert sender.get_send_length() == 2
    assert sender.get_packet_stats()["n_packets_req"] == 2
    sender.start()
    assert [plain.recv(100), plain.recv(100)] == [b"before init", b"before start"]


@pytest.mark.parametrize("opened", [False, True])
def test_full_send_ring_of_a_stopped_endpoint_is_a_blocking_io_error(make, addresses, opened):
    sender = make(*addresses, capacity=8)
    if opened:
        sender.init_socket()
    for _ in range(7):
        sender.send_data(b"fits")
    with pytest.raises(BlockingIOError, match="full"):
        sender.send_data(b"does not")
    assert sender.get_send_length() == 7
    assert sender.get_packet_stats()["n_packets_req"] == 7


def test_full_send_ring_of_a_running_endpoint_waits_and_drops_nothing(make, addresses):
    sender = run(make(*addresses, capacity=8))
    receiver = run(make(*swapped(addresses), direction=1))
    base_ns = time.monotonic_ns() + 50 * MS_NS
    for number in range(40):
        sender.send_data(bytes([number]), base_ns + number * MS_NS)
    packets = receiver.receive_batch(40, 10 * SECOND_NS)
    assert [data for data, _ in packets] == [bytes([n]) for n in range(40)]


def test_waiting_for_room_lets_other_threads_run_and_ends_with_stop(make, addresses):
    sender = run(make(*addresses, capacity=4))
    for _ in range(3):
        sender.send_data(b"later", time.monotonic_ns() + 3600 * SECOND_NS)
    caught = []

    def send():
        try:
            sender.send_data(b"no room")
        except BlockingIOError as error:
            caught.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    time.sleep(0.05)
    assert thread.is_alive()
    sender.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert len(caught) == 1


def test_full_receive_ring_loses_the_oldest_and_the_counters_add_up(make, plain):
    port = free_port("127.4.2.2")
    receiver = run(make("127.4.2.2", port, *plain.getsockname(), direction=1, capacity=8))
    for number in range(20):
        plain.sendto(bytes([number]), ("127.4.2.2", port))
    until(lambda: receiver.get_packet_stats()["n_packets_rec"] == 20)
    assert receiver.get_receive_length() == 7
    packets = receiver.receive_batch(7, SECOND_NS)
    assert [data for data, _ in packets] == [bytes([n]) for n in range(13, 20)]
    stats = receiver.get_packet_stats()
    assert stats["n_rx_packets_dropped"] == 13
    assert stats["n_packets_rec"] == 7 + stats["n_rx_packets_dropped"]


def test_counters_add_up_while_a_schedule_overflows_the_receiver(make, addresses):
    sender = make(*addresses, capacity=20_000)
    receiver = run(make(*swapped(addresses), direction=1, capacity=100))
    sender.init_socket()
    for number in range(10_000):
        sender.send_data(number.to_bytes(4, "big"), 0)
    sender.start()
    taken = []
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            taken.append(receiver.receive_data(timeout_ns=100_000)[0])
        except TimeoutError:
            if sender.get_send_length() == 0:
                break
    until(lambda: sender.get_packet_stats()["n_packets_sent"] == 10_000)
    stats = receiver.get_packet_stats()
    waiting = receiver.get_receive_length()
    assert stats["n_packets_rec"] == len(taken) + stats["n_rx_packets_dropped"] + waiting
    assert taken == sorted(taken)


def test_overflow_during_a_batch_is_a_value_error_and_keeps_the_batch(make, plain):
    port = free_port("127.4.2.2")
    receiver = run(make("127.4.2.2", port, *plain.getsockname(), direction=1, capacity=2))
    stop = threading.Event()

    def flood():
        while not stop.is_set():
            for _ in range(100):
                plain.sendto(b"flood", ("127.4.2.2", port))

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        with pytest.raises(ValueError, match=r"^Missed \d+ packets$"):
            receiver.receive_batch(2000, 10 * SECOND_NS)
    finally:
        stop.set()
        thread.join()
    # One after the other: what came in between may still be counted, and would fail another batch.
    assert [receiver.receive_data(0)[0] for _ in range(2000)] == [b"flood"] * 2000


def pss_bytes(pid):
    """Memory of a process, shared pages by its share of them."""
    with open(f"/proc/{pid}/smaps_rollup") as lines:
        return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


@pytest.mark.check
def test_a_million_packets_wait_in_less_than_100_mb(make, addresses):
    sender = make(*addresses, capacity=1_000_000, cpu=0)
    before = pss_bytes("self")
    run(sender)
    due_ns = time.monotonic_ns() + 3600 * SECOND_NS
    for number in range(999_999):
        sender.send_data(b"12345678", due_ns + number)
    assert sender.get_send_length() == 999_999
    worker = sender._socket._channel.stats().worker_pid
    assert pss_bytes("self") - before + pss_bytes(worker) < 100_000_000
    sender.stop()
    with pytest.raises(BlockingIOError):
        sender.send_data(b"one more", due_ns)
    sender.purge()
    assert sender.get_send_length() == 0


SLOTS = [(1, 1, 65_507), (2, 1, 8), (8, 7, 65_507), (1024, 1023, 1500), (20_000, 19_999, 1500)]


@pytest.mark.parametrize(("capacity", "slots", "size"), SLOTS)
def test_send_ring_holds_one_packet_less_than_its_capacity(make, addresses, capacity, slots, size):
    for sender in (make(*addresses, capacity=capacity), make(*addresses, capacity=capacity)):
        for number in range(slots):
            sender.send_data(bytes(size))
            if number == slots // 2 and sender is not None and capacity > 8:
                with contextlib.suppress(OSError):  # half of them before, half of them after
                    sender.init_socket()
        with pytest.raises(BlockingIOError):
            sender.send_data(b"")
        assert sender.get_send_length() == slots


@pytest.mark.check
@pytest.mark.parametrize(("capacity", "slots", "size"), SLOTS)
def test_receive_ring_holds_one_packet_less_than_its_capacity(make, plain, capacity, slots, size):
    port = free_port("127.4.2.2")
    receiver = run(make("127.4.2.2", port, *plain.getsockname(), direction=1, capacity=capacity))
    for number in range(slots + 2):
        plain.sendto(number.to_bytes(4, "big") + bytes(size - 4), ("127.4.2.2", port))
        if number % 16 == 0 or size > 1500:
            until(lambda n=number: receiver.get_packet_stats()["n_packets_rec"] == n + 1)
    until(lambda: receiver.get_packet_stats()["n_packets_rec"] == slots + 2)
    assert receiver.get_receive_length() == slots
    assert receiver.get_packet_stats()["n_rx_packets_dropped"] == 2
    numbers = [int.from_bytes(data[:4], "big") for data, _ in receiver.receive_batch(slots, 0)]
    assert numbers == list(range(2, slots + 2))


@pytest.mark.parametrize("threaded", [False, True])
def test_long_schedule_drained_with_short_timeouts(make, addresses, threaded):
    """How applications use it: fill the sender, then drain; or fill it from another thread."""
    sender = run(make(*addresses, capacity=1_000_000))
    receiver = run(make(*swapped(addresses), direction=1, capacity=4000))
    count = 20_000
    base_ns = time.monotonic_ns() + 10 * MS_NS

    def push():
        for number in range(count):
            sender.send_data(number.to_bytes(4, "big"), base_ns + number * 10_000)

    thread = threading.Thread(target=push)
    thread.start()
    if not threaded:
        thread.join()
    taken = []
    while thread.is_alive() or sender.get_send_length():
        with contextlib.suppress(TimeoutError):
            taken.append(receiver.receive_data(timeout_ns=100_000)[0])
    until(lambda: receiver.get_packet_stats()["n_packets_rec"] == count)
    assert taken == sorted(taken)
    sent, received = sender.get_packet_stats(), receiver.get_packet_stats()
    assert sent["n_packets_sent"] == sent["n_packets_req"] == count
    waiting = receiver.get_receive_length()
    assert count == len(taken) + received["n_rx_packets_dropped"] + waiting


def test_dropped_packets_are_those_never_taken(make, plain):
    port = free_port("127.4.2.2")
    receiver = run(make("127.4.2.2", port, *plain.getsockname(), direction=1, capacity=8))

    def arrive(count):
        total = receiver.get_packet_stats()["n_packets_rec"] + count
        for _ in range(count):
            plain.sendto(b"x", ("127.4.2.2", port))
        until(lambda: receiver.get_packet_stats()["n_packets_rec"] == total)

    arrive(7)
    receiver.receive_batch(5, 0)
    arrive(5)
    assert receiver.get_packet_stats()["n_rx_packets_dropped"] == 0
    arrive(3)
    assert receiver.get_packet_stats()["n_rx_packets_dropped"] == 3
    assert receiver.get_receive_length() == 7
    receiver.purge()
    stats = receiver.get_packet_stats()
    assert (stats["n_packets_rec"], stats["n_rx_packets_dropped"]) == (15, 3)
    arrive(9)
    assert receiver.get_packet_stats()["n_rx_packets_dropped"] == 5
    receiver.close_socket()
    assert receiver.get_packet_stats()["n_rx_packets_dropped"] == 5
    assert len(receiver.receive_batch(7, 0)) == 7


@pytest.mark.parametrize("opened", [False, True])
def test_timestamp_of_another_clock_is_a_value_error(make, addresses, opened):
    sender = make(*addresses)
    if opened:
        sender.init_socket()
    for timestamp in (time.time_ns() * 10, 2**80):
        with pytest.raises(ValueError, match=r"timestamp|a time in"):
            sender.send_data(b"x", timestamp)
    with pytest.raises(TypeError):
        sender.send_data(b"x", float(time.monotonic_ns() + SECOND_NS))
    assert sender.get_send_length() == 0


def test_views_with_gaps_are_taken(make, plain):
    sender = run(make("127.4.2.2", free_port("127.4.2.2"), *plain.getsockname()))
    sender.send_data(memoryview(b"a-b-c-")[::2])
    assert plain.recv(100) == b"abc"


# --- receiving


def test_negative_timeout_polls(make, addresses):
    receiver = run(make(*addresses, direction=1))
    with pytest.raises(TimeoutError):
        receiver.receive_data(-5)


def test_receive_before_init_is_a_plain_timeout(make, addresses):
    endpoint = make(*addresses, direction=1)
    before_ns = time.monotonic_ns()
    with pytest.raises(TimeoutError, match="Receive timed out"):
        endpoint.receive_data(20 * MS_NS)
    assert time.monotonic_ns() - before_ns >= 19 * MS_NS


def test_negative_batch_is_a_memory_error(make, addresses):
    endpoint = make(*addresses, direction=1)
    with pytest.raises(MemoryError, match=r"^Failed to allocated buffer with -2 elements\.$"):
        endpoint.receive_batch(-2, 0)


def test_batch_timeout_applies_to_each_packet(make, addresses):
    sender = run(make(*addresses))
    receiver = run(make(*swapped(addresses), direction=1))
    base_ns = time.monotonic_ns()
    for number in range(6):
        sender.send_data(b"x", base_ns + number * 200 * MS_NS)
    assert len(receiver.receive_batch(6, 900 * MS_NS)) == 6


def test_direction_assigned_after_init_reopens_the_socket(make, addresses):
    receiver = make(*addresses, direction=0)
    sender = make(*swapped(addresses), direction=1)
    for endpoint in (receiver, sender):
        endpoint.init_socket()
    receiver.direction, sender.direction = 1, 0
    receiver.start()
    sender.start()
    sender.send_data(b"turned")
    assert receiver.receive_data(10 * SECOND_NS)[0] == b"turned"


# --- worker


def test_unknown_cpu_is_warned_about_and_not_an_error(make, addresses):
    endpoint = make(*addresses, cpu=4000)
    with pytest.warns(RuntimeWarning, match="4000"):
        endpoint.init_socket()
    endpoint.start()
    assert endpoint.is_running()
    assert endpoint.get_packet_stats()["effective_cpu"] != 4000


def test_start_leaves_the_calling_thread_where_it_is(make, addresses):
    before = os.sched_getaffinity(0)
    run(make(*addresses, cpu=0))
    assert os.sched_getaffinity(0) == before


def test_pinned_application_thread_does_not_drag_its_worker_along(make, addresses):
    from rtworkers.affinity import allowed_cores

    if len(allowed_cores()) < 2:
        needs.skip("cores")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        endpoint = run(make(*addresses, priority=33))
    finally:
        os.sched_setaffinity(0, before)
    worker = endpoint._socket._channel.stats().worker_pid
    assert os.sched_getaffinity(worker) == allowed_cores()


def test_each_core_is_warned_about_once(make, addresses):
    with pytest.warns(RuntimeWarning, match="4001"):
        make(*addresses, cpu=4001).init_socket()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(*addresses, cpu=4001).init_socket()
    with pytest.warns(RuntimeWarning, match="70000"):
        make(*addresses, cpu=70_000).init_socket()


def test_worker_runs_on_the_core_asked_for(make, addresses):
    endpoint = run(make(*addresses, cpu=0))
    worker = endpoint._socket._channel.stats().worker_pid
    assert endpoint.get_packet_stats()["effective_cpu"] == 0
    assert os.sched_getaffinity(worker) == {0}


def test_priority_reaches_the_worker(make, addresses):
    stats = run(make(*addresses, priority=17)).get_packet_stats()
    if stats["effective_policy"] == "SCHED_FIFO":
        assert stats["effective_priority"] == 17
    stats = run(make(*addresses, priority=0)).get_packet_stats()
    assert (stats["effective_policy"], stats["effective_priority"]) == ("SCHED_OTHER", 0)


@pytest.mark.parametrize("priority", [-1, 100])
def test_priority_that_cannot_be_is_a_value_error(make, addresses, priority):
    with pytest.raises(ValueError, match=r"0 \(none\) to 99"):
        make(*addresses, priority=priority)


def test_published_example(make):
    """The usage example of the original's description, on cores that may not exist."""
    sender = make("127.0.64.5", 3043, "127.0.128.133", 8974, cpu=3, capacity=1000000, direction=0)
    receiver = make("127.0.128.133", 8974, "127.0.64.5", 3043, cpu=2, capacity=4000, direction=1)
    sender.init_socket()
    receiver.init_socket()
    sender.start()
    receiver.start()
    sender.send_data(b"Hello World", time.monotonic_ns() + 1000000)
    data, timestamp = receiver.receive_data(timeout_ns=10 * SECOND_NS)
    assert (data, type(timestamp)) == (b"Hello World", int)
    stats = sender.get_packet_stats()
    assert stats["n_packets_sent"] == 1
    assert stats["max_latency_ns"] == stats["total_latency_ns"]
    sender.stop()
    receiver.stop()
    sender.close_socket()
    receiver.close_socket()


def test_effective_scheduling_is_reported(make, addresses):
    stats = run(make(*addresses)).get_packet_stats()
    assert stats["effective_policy"] in ("SCHED_FIFO", "SCHED_RR", "SCHED_OTHER")
    assert (stats["effective_priority"] > 0) == (stats["effective_policy"] != "SCHED_OTHER")
    assert not math.isnan(stats["effective_cpu"])


# --- loopback helper


def test_loopback_helper_maps_125_to_127(make):
    first, second = "125.4.64.5", "125.4.128.133"
    ports = free_port("127.4.64.5"), free_port("127.4.128.133")
    sender = RtUdpLh(first, ports[0], second, ports[1])
    receiver = RtUdpLh(second, ports[1], first, ports[0], direction=1)
    twin = make("127.4.64.5", ports[0], "127.4.128.133", ports[1])
    assert repr(sender) == str(sender) == repr(twin)
    assert hash(sender) == hash(twin)
    assert type(sender._com) is RtUdpSocket
    for endpoint in (sender, receiver):
        endpoint.init_socket()
        endpoint.start()
        assert endpoint.is_running()
    sender.send_data(b"one", 0)
    sender.send_data(b"two")
    assert receiver.receive_data(timeout_ns=10 * SECOND_NS)[0] == b"one"
    assert receiver.receive_batch(1, 10 * SECOND_NS)[0][0] == b"two"
    receiver.purge()
    assert (sender.get_send_length(), receiver.get_receive_length()) == (0, 0)
    assert receiver.get_packet_stats()["n_packets_rec"] == 2
    for endpoint in (sender, receiver):
        endpoint.stop()
        endpoint.close_socket()


@pytest.mark.usefixtures("no_collector")
def test_what_the_loopback_helper_wraps_keeps_it_open(plain):
    port = free_port("127.4.64.5")
    endpoint = RtUdpLh("125.4.64.5", port, "125.4.1.1", plain.getsockname()[1])
    inner = endpoint._com._socket
    assert inner is endpoint._socket
    assert endpoint._com is endpoint._com
    run(endpoint._com)
    del endpoint
    time.sleep(0.2)  # in which the endpoint would be closed
    inner.send_data(b"still open")
    assert plain.recv(100) == b"still open"
    del inner
    until(lambda: is_free("127.4.64.5", port))


@pytest.mark.parametrize(
    ("first", "second"), [("127.0.0.1", "125.0.0.1"), ("125.0.0.1", "127.0.0.1")]
)
def test_loopback_helper_asserts_the_prefix(first, second):
    with pytest.raises(AssertionError):
        RtUdpLh(first, 1, second, 2)
