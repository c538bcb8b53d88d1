"""What only the socket endpoint promises. Traffic stays on the loopback network."""

# A row of a table is a line, or two.
# ruff: noqa: E501

import contextlib
import errno
import gc
import operator
import os
import socket
import threading
import time
import warnings

import needs
import pytest
from kit.calls import gives, rows
from kit.waiting import until
from kit.wire import free_port, udp

import rtudp
import rtudp.rtudp
import shmring
from rtudp import RtUdpSocket
from rtudp.rtudp_lh import RtUdpLh
from udpcom import UdpComLh

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


def receive_all(receiver, count):
    return [data for data, _ in receiver.receive_batch(count, 10 * SECOND_NS)]


# --- rows

# new(options): an endpoint; opened(options): after init_socket; run(endpoint): open and running. plain: a UDP socket; of(options):
# an endpoint at `place` whose remote that is. S, MS: in ns.
CONSTRUCTION = [
    ("an unknown keyword", "new(colour='green')", "TypeError: colour"),
    *[(f"{text!r} is no {which} address", f"make({addresses})", "ValueError: IPv4")
      for text in ("localhost", "1.2.3", "1.2.3.400", "::1", "")
      for which, addresses in (("local", f"{text!r}, 1, '127.0.0.1', 2"), ("remote", f"'127.0.0.1', 1, {text!r}, 2"))],
    ("ports are cut to 16 bits",
     "e = make('127.0.0.1', 65536 + 4000, '127.0.0.1', 2 * 65536 + 4001); [e.local_port, e.remote_port]", "[4000, 4001]"),
    *[(f"a {name} port of {port}", f"make({ports})", f"OverflowError: {name}_port is {port}")
      for port in (2**31, -(2**31) - 1, 2**40)
      for name, ports in (("local", f"'127.0.0.1', {port}, '127.0.0.1', 9"), ("remote", f"'127.0.0.1', 9, '127.0.0.1', {port}"))],
    ("a capacity of 0", "new(capacity=0)", "ValueError: capacity is 0"),
    ("a capacity beyond all memory", "new(capacity=2**30)", "OSError: capacity is 1073741824, the rings hold at most"),
    ("its number", "caught(lambda: new(capacity=2**30)).errno == errno.ENOMEM", "True"),
    ("a capacity beyond an int", "new(capacity=2**31)", "OverflowError: capacity"),
    ("a name is text", "new(name=7)", "TypeError: name is 7"),
    ("a timeout is cut to an integer", "new(timeout=1e9 + 0.5).timeout_ns", "1000000000"),
    *[(f"a priority of {priority}", f"new(priority={priority})", "ValueError: 0 (none) to 99") for priority in (-1, 100)],
    *[row for opened in ("new()", "opened()") for row in (
        (f"{opened}: advice for long data", f"{opened}.send_data(bytes(65_508))", "ValueError: 65507: send it in pieces"),
        (f"{opened}: a timestamp far ahead", f"{opened}.send_data(b'x', 2**62)", "ValueError: more than a year ahead"),
        (f"{opened}: a timestamp of another clock",
         f"e = {opened}; [told(e.send_data, b'x', time.time_ns() * 10)[:24], told(e.send_data, b'x', 2**80)[:10], e.get_send_length()]",
         "['ValueError: timestamp is', 'ValueError', 0]"),
        (f"{opened}: a time is no float", f"e = {opened}; [told(e.send_data, b'x', float(now() + S))[:9], e.get_send_length()]",
         "['TypeError', 0]"),
    )],
    ("data are bytes", "e = opened(); [told(e.send_data, data)[:9] for data in ('text', [1], None, 7)] + [e.get_send_length()]",
     "['TypeError', 'TypeError', 'TypeError', 'TypeError', 0]"),
    ("no address of a group", "x = str(caught(make('127.0.0.1', 0, '255.255.255.255', 9, direction=1).init_socket).__cause__); ['single hosts only' in x, 'broadcast =' in x]",
     "[True, False]"),
]  # fmt: skip
LIFE = [
    ("words of errors",
     "e = new(); first = told(e.start); e.init_socket(); second = told(e.init_socket); e.start(); [first, second, told(e.start)]",
     "['OSError: Socket not initialised.', 'OSError: Socket already open.', 'ValueError: Already running.']"),
    ("a bind that fails may be tried again",
     "e = make('192.0.2.1', 4000, '127.0.0.1', 4001); [told(e.init_socket), caught(e.init_socket).errno == errno.EADDRNOTAVAIL, repr(e)[:9]]",
     "['OSError: Failed to Bind', True, 'RtUdp[-1]']"),
    ("a connect that fails may be tried again, and names the address",
     "e = make(*place, '192.0.2.1', 4001, direction=1); [told(e.init_socket), '192.0.2.1:4001' in str(caught(e.init_socket).__cause__), repr(e)[:9]]",
     "['OSError: Failed to connect', True, 'RtUdp[-1]']"),
    ("a remote that cannot be", "told(make(*place, '127.0.0.1', 0).init_socket)", "'OSError: Failed to initialise socket.'"),
    ("an address may be shared", "[opened() and None, opened() and None]", "[None, None]"),
    ("repr shows the descriptor while open",
     "e = of(); e.init_socket(); x = repr(e); n = int(x[6:].partition(']')[0]); e.close_socket();"
     "[n >= 0, x == 'RtUdp[%d]->(%s:%d)' % (n, *plain.getsockname()), repr(e)[:11]]", "[True, True, 'RtUdp[-1]->']"),
    ("an open that fails leaves no channel",
     "[told(make('192.0.2.1', 4000, '127.0.0.1', 4001, name='failed').init_socket), channels_of('failed')]", "['OSError: Failed to Bind', []]"),
    ("a direction that is assigned after init reopens the socket",
     "b, a = new(direction=0), make(*swapped, direction=1); b.init_socket(); a.init_socket(); b.direction, a.direction = 1, 0;"
     "b.start(); a.start(); a.send_data(b'turned'); got(b, 1)", "[b'turned']"),
    ("start leaves the calling thread where it is",
     "x = os.sched_getaffinity(0); run(new(cpu=0)); os.sched_getaffinity(0) == x", "True"),
    ("a worker runs on the core asked for",
     "e = run(new(cpu=0)); [stats(e)['effective_cpu'], os.sched_getaffinity(e._socket._channel.stats().worker_pid)]", "[0, {0}]"),
    ("the effective scheduling is told",
     "x = stats(run(new())); [x['effective_policy'][:6], (x['effective_priority'] > 0) == (x['effective_policy'] != 'SCHED_OTHER')]",
     "['SCHED_', True]"),
    *[(f"the loopback helper wants 125, not {first}", f"RtUdpLh('{first}.0.0.1', 1, '{second}.0.0.1', 2)", "AssertionError")
      for first, second in ((127, 125), (125, 127))],
]  # fmt: skip
TRAFFIC = [
    ("a datagram comes from the local address", "a = run(of()); a.send_data(b'x'); plain.recvfrom(100) == (b'x', place)", "True"),
    ("an unbound sender has any address",
     "a = run(of(bind=0)); a.send_data(b'x'); data, source = plain.recvfrom(100); [data, source[0] != place[0]]", "[b'x', True]"),
    ("a view with gaps is taken", "a = run(of()); a.send_data(memoryview(b'a-b-c-')[::2]); plain.recv(100)", "b'abc'"),
    ("a receiver takes datagrams of its remote only",
     "b = run(of(direction=1)); stranger.sendto(b'stranger', place); plain.sendto(b'friend', place);"
     "[*got(b, 1), told(b.receive_data, 50*MS)[:12], stats(b)['n_packets_rec']]", "[b'friend', 'TimeoutError', 1]"),
    ("datagrams that came before start are received",
     "b = of(direction=1); b.init_socket(); plain.sendto(b'early', place); b.start(); got(b, 1)", "[b'early']"),
    ("stop holds reception, and the kernel keeps what comes",
     "e = run(of(direction=2)); e.stop(); e.send_data(b'held'); plain.sendto(b'held', place);"
     "x = [told(e.receive_data, 50*MS)[:12], stats(e)['n_packets_rec'], e.get_send_length(), e.get_receive_length()];"
     "e.start(); [*x, *got(e, 1), plain.recv(100)]", "['TimeoutError', 0, 1, 0, b'held', b'held']"),
    ("what was received stays readable after stop and close",
     "b = run(of(direction=1)); [plain.sendto(bytes([n]), place) for n in range(4)]; until(lambda: b.get_receive_length() == 4); b.stop();"
     "x = got(b, 1); b.close_socket(); [x, b.get_receive_length(), got(b, 3)]",
     r"[[b'\x00'], 3, [b'\x01', b'\x02', b'\x03']]"),
    ("what is sent before init and start is queued",
     "a = of(); x = []; count = lambda: x.append((a.get_send_length(), stats(a)['n_packets_req'])); a.send_data(b'1'); count(); a.init_socket();"
     "a.send_data(b'2'); count(); a.start(); [x, plain.recv(100), plain.recv(100)]", "[[(1, 1), (2, 2)], b'1', b'2']"),
    ("before init, receiving waits and times out",
     "e = new(direction=1); t = now(); [told(e.receive_data, 20*MS), now() - t >= 19*MS]", "['TimeoutError: Receive timed out', True]"),
    ("words for a negative batch", "told(new(direction=1).receive_batch, -2, 0)", "'MemoryError: Failed to allocated buffer with -2 elements.'"),
    ("the timeout of a batch is that of each packet",
     "a, b = run(new()), run(make(*swapped, direction=1)); t = now(); [a.send_data(b'x', t + n*200*MS) for n in range(6)]; len(b.receive_batch(6, 900*MS))",
     "6"),
    *[(f"a full ring of one that is stopped, {opened}",
       f"a = new(capacity=8); {opened} and a.init_socket(); [a.send_data(b'x') for _ in range(7)];"
       "[told(a.send_data, b'x')[:15], 'full' in told(a.send_data, b'x'), a.get_send_length(), stats(a)['n_packets_req']]",
       "['BlockingIOError', True, 7, 7]") for opened in ("True", "False")],
    ("a full ring of one that runs waits and drops nothing",
     "a, b = run(new(capacity=8)), run(make(*swapped, direction=1)); t = now() + 50*MS; [a.send_data(bytes([n]), t + n*MS) for n in range(40)];"
     "b''.join(got(b, 40)) == bytes(range(40))", "True"),
    ("a full ring of a receiver loses the oldest, and the counters add up",
     "b = run(of(direction=1, capacity=8)); [plain.sendto(bytes([n]), place) for n in range(20)]; until(lambda: stats(b)['n_packets_rec'] == 20);"
     "[b.get_receive_length(), b''.join(got(b, 7)), stats(b)['n_rx_packets_dropped']]",
     r"[7, b'\r\x0e\x0f\x10\x11\x12\x13', 13]"),
]  # fmt: skip


def channels_of(endpoint_name):
    return [info.name for info in shmring.channels() if info.name.startswith(endpoint_name)]


def is_free(ip, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((ip, port))
        except OSError:
            return False
        return True


def caught(call):
    with pytest.raises(Exception) as error:  # noqa: PT011
        call()
    return error.value


@rows([*CONSTRUCTION, *LIFE, *TRAFFIC])
def test_promises(steps, expected, make, addresses, plain):
    place = ("127.4.2.2", free_port("127.4.2.2"))

    def new(**options):
        return make(*addresses, **options)

    def opened(**options):
        made = new(**options)
        made.init_socket()
        return made

    with udp("127.4.1.1") as stranger:
        names = {"make": make, "new": new, "opened": opened, "run": run, "plain": plain}
        names |= {"of": lambda **options: make(*place, *plain.getsockname(), **options)}
        names |= {"place": place, "stranger": stranger, "swapped": swapped(addresses)}
        names |= {"S": SECOND_NS, "MS": MS_NS, "now": time.monotonic_ns, "until": until}
        names |= {"stats": lambda e: e.get_packet_stats(), "got": receive_all, "caught": caught}
        names |= {"channels_of": channels_of, "RtUdpLh": RtUdpLh, "errno": errno, "os": os}
        gives(steps, expected, names | {"time": time})


# --- construction


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


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    ("kind", "prefix", "wrapped"),
    [
        (RtUdpSocket, "127", "_socket"),
        (RtUdpLh, "125", "_com"),
        (RtUdpLh, "125", "_com._socket"),
        (UdpComLh, "125", "_com"),
    ],
)
def test_what_an_endpoint_wraps_keeps_it_open(plain, kind, prefix, wrapped):
    port = free_port("127.4.2.2")
    remote = plain.getsockname()[1]
    endpoint = kind(f"{prefix}.4.2.2", port, f"{prefix}.4.1.1", remote)
    inner = operator.attrgetter(wrapped)(endpoint)
    assert inner is operator.attrgetter(wrapped)(endpoint)
    run(inner)
    del endpoint
    time.sleep(0.2)  # in which the endpoint would be closed
    inner.send_data(b"still open")
    assert plain.recv(100) == b"still open"
    del inner
    until(lambda: is_free("127.4.2.2", port))


@pytest.mark.usefixtures("no_collector")
def test_an_endpoint_opened_by_its_wrapped_object_closes_when_dropped(addresses):
    endpoint = RtUdpSocket(*addresses)
    endpoint._socket.init_socket()
    assert not is_free(*addresses[:2])
    del endpoint
    until(lambda: is_free(*addresses[:2]))


# --- life cycle


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


# --- rings


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


@pytest.mark.parametrize(("threaded", "capacity"), [(False, 100), (False, 4000), (True, 4000)])
def test_long_schedule_drained_with_short_timeouts(make, addresses, threaded, capacity):
    """How applications use it: fill the sender, then drain; or fill it from another thread."""
    sender = run(make(*addresses, capacity=1_000_000))
    receiver = run(make(*swapped(addresses), direction=1, capacity=capacity))
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


# --- worker


def test_unknown_cpu_is_warned_about_and_not_an_error(make, addresses):
    endpoint = make(*addresses, cpu=4000)
    with pytest.warns(RuntimeWarning, match="4000"):
        endpoint.init_socket()
    endpoint.start()
    assert endpoint.is_running()
    assert endpoint.get_packet_stats()["effective_cpu"] != 4000


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


def test_priority_reaches_the_worker(make, addresses):
    stats = run(make(*addresses, priority=17)).get_packet_stats()
    if stats["effective_policy"] == "SCHED_FIFO":
        assert stats["effective_priority"] == 17
    stats = run(make(*addresses, priority=0)).get_packet_stats()
    assert (stats["effective_policy"], stats["effective_priority"]) == ("SCHED_OTHER", 0)


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
