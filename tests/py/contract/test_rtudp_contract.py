"""What rtudp promises for both implementations: every test here runs on each of them.

What single calls return or raise is in test_parity_tables.py.
"""

# A row of a table is a line, or two.
# ruff: noqa: E501

import itertools
import threading
import time

import pytest
from kit.calls import gives, rows
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
STATS_KEYS = set(rtudp.base.PacketStats.__annotations__)


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
def ends(make, addresses):
    """Make a sender and a receiver, open and running."""

    def both(directions=(0, 1)):
        made = [make(*addresses, direction=directions[0])]
        made.append(make(*swapped(addresses), direction=directions[1]))
        for endpoint in made:
            endpoint.init_socket()
            endpoint.start()
        return made

    return both


@pytest.fixture
def pair(ends):
    return ends()


def receive_all(receiver, count):
    return [data for data, _ in receiver.receive_batch(count, 10 * SECOND_NS)]


def bytes_of(size):
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def when_stats(endpoint, **counts):
    """The statistics, when they have these counts."""
    until(lambda: counts.items() <= endpoint.get_packet_stats().items())
    return endpoint.get_packet_stats()


# new(options): an endpoint; ends(): a sender and a receiver that run. S, MS: in ns.
LIFE = [
    ("a constructor takes every documented keyword",
     "e = new(bind=1, connect=0, capacity=16, name='speed', direction=1, cpu=-1, timeout=5*S, priority=10);"
     "[(e.local_ip, e.local_port, e.remote_ip, e.remote_port) == addresses, e.capacity, e.direction, e.timeout_ns]",
     "[True, 16, 1, 5000000000]"),
    ("defaults", "e = new(); [e.capacity, e.direction, e.timeout_ns]", "[1024, 0, 10000000000]"),
    ("options are keyword-only", "make(*addresses, 1)", "TypeError"),
    ("a direction below 0", "new(direction=-1)", "ValueError: direction"),
    ("a direction above 2", "new(direction=3)", "ValueError: direction"),
    ("running from start until stop",
     "e = new(); e.init_socket(); before = e.is_running(); e.start(); between = e.is_running(); e.stop();"
     "[before, between, e.is_running()]", "[False, True, False]"),
    ("a start that fails changes nothing", "e = new(); [told(e.start)[:7], e.is_running()]", "['OSError', False]"),
    ("another start changes nothing",
     "a, b = ends(); [told(a.start)[:27], a.is_running()]", "['ValueError: Already running', True]"),
    ("closing again is harmless", "e = new(); e.init_socket(); [e.close_socket(), e.close_socket()]", "[None, None]"),
    ("close may come before stop",
     "a, b = ends(); a.close_socket(); before = a.is_running(); a.stop(); [before, a.is_running()]", "[True, False]"),
    ("one that was closed opens again",
     "a, b = ends(); a.stop(); a.close_socket(); a.init_socket(); a.start(); a.send_data(b'again'); got(b, 1)", "[b'again']"),
    ("one that runs opens again, and goes on",
     "a, b = ends(); a.close_socket(); a.init_socket(); a.send_data(b'on'); got(b, 1)", "[b'on']"),
    ("packets wait while it is stopped",
     "a, b = ends(); a.stop(); a.send_data(b'queued'); early = told(b.receive_data, 50*MS); a.start(); [early[:12], got(b, 1)]",
     "['TimeoutError', [b'queued']]"),
    ("stop does not wait for packets due later",
     "a, b = ends(); a.send_data(b'later', now() + 3600*S); t = now(); a.stop(); [now() - t < 5*S, a.get_send_length()]",
     "[True, 1]"),
    ("a direction may be assigned until start",
     "a, b = new(direction=1), make(*swapped, direction=0); b.direction = 1; a.init_socket(); b.init_socket(); a.direction = 0;"
     "a.start(); b.start(); a.send_data(b'turned'); got(b, 1)", "[b'turned']"),
    ("an unknown direction that was assigned is refused by start",
     "e = new(); e.init_socket(); e.direction = 7; said = told(e.start); e.direction = 0; [said[:24], e.is_running()]",
     "['ValueError: direction is', False]"),
    ("endpoints are equal by identity",
     "a, b = new(), new(); [a != b, hash(a) == hash(b), len({a, b, a})]", "[True, True, 2]"),
    ("str is repr", "e = new(); str(e) == repr(e)", "True"),
]  # fmt: skip
SENDING = [
    *[(f"{size} bytes arrive unchanged",
       f"a, b = ends(); a.send_data(bytes_of({size})); got(b, 1) == [bytes_of({size})]", "True")
      for size in (0, 1, 256, 1500, 9000, 65_507)],
    ("a longer payload is refused and not counted",
     "a, b = ends(); [told(a.send_data, bytes(65_508))[:34], stats(a)['n_packets_req']]",
     "['ValueError: data is 65508 bytes lo', 0]"),
    *[(f"a {kind} is taken", f"a, b = ends(); a.send_data({kind}(b'bytes-like')); got(b, 1)", "[b'bytes-like']")
      for kind in ("bytes", "bytearray", "memoryview")],
    ("the call copies the payload",
     "a, b = ends(); x = bytearray(b'before'); a.send_data(x, now() + 50*MS); x[:] = b'after!'; got(b, 1)", "[b'before']"),
    *[(f"{time!r} is no timestamp", f"a, b = ends(); a.send_data(b'x', {time!r})", "TypeError")
      for time in ("soon", b"1", [5], 1j)],
    *[(f"whatever is an index is a time, {ahead}",
       f"a, b = ends(); due = now() + {ahead}; a.send_data(b'x', Index(due)); data, at = b.receive_data(Index(10*S));"
       "a.send_data(b'y'); [data, at > due, b.receive_batch(1, Index(10*S))[0][0]]", "[b'x', True, b'y']")
      for ahead in ("-S", "20*MS")],
    ("arguments by name",
     "a, b = ends(); a.send_data(data=b'x', timestamp=now()); a.send_data(data=b'y');"
     "[b.receive_data(timeout_ns=10*S)[0], b.receive_batch(n_packets=1, timeout_ns=10*S)[0][0]]", "[b'x', b'y']"),
    *[(f"without a future timestamp it leaves at once: {times}",
       f"a, b = ends(); t = now(); a.send_data(b'now', *{times}); data, at = b.receive_data(10*S); [data, t <= at <= now()]",
       "[b'now', True]") for times in ((), (None,), (0,), (1,))],
    ("no packet leaves before its timestamp",
     "a, b = ends(); due = [now() + (20 + 5*n) * MS for n in range(10)]; [a.send_data(bytes([n]), t) for n, t in enumerate(due)];"
     "came = b.receive_batch(10, 10*S); [got_at >= t for (_, got_at), t in zip(came, due)] == [True] * 10", "True"),
    ("packets leave in the order of their timestamps",
     "a, b = ends(); t = now() + S; [a.send_data(bytes([n]), t + n*MS) for n in (7, 3, 9, 1, 5, 0, 8, 2, 6, 4)]; b''.join(got(b, 10))",
     r"b'\x00\x01\x02\x03\x04\x05\x06\x07\x08\t'"),
    ("an earlier packet overtakes one that is waited for",
     "a, b = ends(); a.send_data(b'late', now() + 60*S); sleep(0.02); a.send_data(b'early', now() + MS); [got(b, 1), a.get_send_length()]",
     "[[b'early'], 1]"),
    ("equal timestamps leave in the order of the calls",
     "a, b = ends(); t = now() + S // 2; [a.send_data(n.to_bytes(2, 'big'), t) for n in range(500)];"
     "[int.from_bytes(data, 'big') for data in got(b, 500)] == list(range(500))", "True"),
    ("sending does not wait for a packet due later",
     "a, b = ends(); a.send_data(b'x', now() + 5*S); sleep(0.02); t = now(); [a.send_data(b'y', t + 3600*S) for _ in range(100)];"
     "[now() - t < 3*S, told(b.receive_data, 0)[:12]]", "[True, 'TimeoutError']"),
    ("full duplex",
     "a, b = ends((2, 2)); [e.send_data(bytes([n])) for n in range(10) for e in (a, b)];"
     "[got(b, 10) == got(a, 10) == [bytes([n]) for n in range(10)], *(bool(when_stats(e, n_packets_sent=10, n_packets_rec=10)) for e in (a, b))]",
     "[True, True, True]"),
]  # fmt: skip
RECEIVING = [
    ("a packet is its payload and the time it came",
     "a, b = ends(); t = now(); a.send_data(b'x'); p = b.receive_data(10*S); [type(p), *map(type, p), p[0], t <= p[1] <= now()]",
     "[<class 'tuple'>, <class 'bytes'>, <class 'int'>, b'x', True]"),
    ("receiving times out",
     "a, b = ends(); t = now(); [told(b.receive_data, 30*MS), now() - t >= 29*MS]", "['TimeoutError: Receive timed out', True]"),
    ("0 polls",
     "a, b = ends(); empty = told(b.receive_data, 0); a.send_data(b'x'); until(lambda: b.get_receive_length() == 1); [empty[:12], b.receive_data(0)[0]]",
     "['TimeoutError', b'x']"),
    ("without a timeout it is the endpoint's",
     "e = new(direction=1, timeout=30*MS); e.init_socket(); e.start(); t = now();"
     "[told(e.receive_data)[:12], told(e.receive_batch, 1)[:12], 58*MS <= now() - t < 5*S]", "['TimeoutError', 'TimeoutError', True]"),
    ("a very long timeout", "a, b = ends(); a.send_data(b'x', now() + 20*MS); b.receive_data(2**62)[0]", "b'x'"),
    ("a packet that comes meanwhile wakes the call",
     "a, b = ends(); timer = threading.Timer(0.05, a.send_data, (b'x',)); timer.start(); data = got(b, 1); timer.join(); data", "[b'x']"),
    ("a batch has exactly n packets, in order",
     "a, b = ends(); [a.send_data(bytes([n])) for n in range(20)]; first = b.receive_batch(15, 10*S); times = [at for _, at in first];"
     "[b''.join(data for data, _ in first) == bytes(range(15)), times == sorted(times), b''.join(got(b, 5)) == bytes(range(15, 20))]",
     "[True, True, True]"),
    ("a batch that times out leaves what came to the next call",
     "a, b = ends(); [a.send_data(bytes([n])) for n in range(5)]; until(lambda: b.get_receive_length() == 5);"
     "[told(b.receive_batch, 8, 20*MS), b.get_receive_length(), b.receive_data(0)[0], *got(b, 4)]",
     r"['TimeoutError: Timed out waiting for data', 5, b'\x00', b'\x01', b'\x02', b'\x03', b'\x04']"),
    ("a batch with timeout 0 takes what is there",
     "a, b = ends(); [a.send_data(b'x') for _ in range(3)]; until(lambda: b.get_receive_length() == 3); len(b.receive_batch(3, 0))", "3"),
    ("lengths count the packets that wait",
     "a, b = ends(); [a.send_data(b'x', t) for t in (now() + 3600*S, None) * 3]; until(lambda: b.get_receive_length() == a.get_send_length() == 3)",
     "True"),
    *[(f"purge keeps the run state, {running}",
       f"e = new(); e.init_socket(); {running} and e.start(); e.purge(); e.is_running()", running) for running in ("False", "True")],
    ("purge empties both sides and keeps statistics",
     "a, b = ends(); a.send_data(b'x'); a.send_data(b'y', now() + S // 5); until(lambda: b.get_receive_length() == 1); a.purge(); b.purge();"
     "left = [a.get_send_length(), b.get_receive_length(), told(b.receive_data, 300*MS)[:12], stats(a)['n_packets_req']];"
     "a.send_data(b'z'); [*left, got(b, 1)]", "[0, 0, 'TimeoutError', 2, [b'z']]"),
]  # fmt: skip
STATISTICS = [
    ("they have all keys from the beginning",
     "x = stats(new()); lists = {'latency_histogram', 'effective_policy'}; numbers = {k: v for k, v in x.items() if k not in lists};"
     "[set(x) == STATS_KEYS, {type(v) for v in numbers.values()}, {k for k in numbers if numbers[k]} <= {'effective_cpu', 'effective_priority'}, x['latency_histogram']]",
     "[True, {<class 'int'>}, True, []]"),
    ("they count both sides",
     "a, b = ends(); [a.send_data(b'x') for _ in range(10)]; got(b, 10); when_stats(a, n_packets_sent=10, n_packets_req=10, n_tx_packets_dropped=0);"
     "when_stats(b, n_packets_rec=10, n_rx_packets_dropped=0); [stats(a)['n_send_ticks'] > 0, stats(b)['n_rec_ticks'] > 0]", "[True, True]"),
    ("packets due long ago do not spoil the latency",
     "a, b = ends(); [a.send_data(b'x', t) for t in (0, 1, None, now() + 20*MS)]; got(b, 4); x = when_stats(a, n_packets_sent=4);"
     "[x['max_latency_ns'] < 10*S, x['n_immediate_packets'], x['n_imediate_packets']]", "[True, 3, 3]"),
    ("they survive closing",
     "a, b = ends(); a.send_data(b'x'); got(b, 1); when_stats(a, n_packets_sent=1); [(e.stop(), e.close_socket()) for e in (a, b)];"
     "[stats(a)['n_packets_req'], stats(a)['n_packets_sent'], stats(b)['n_packets_rec']]", "[1, 1, 1]"),
    ("packets that cannot leave are not counted as sent",
     "a, b = ends(); a.send_data(b'x', now() + 100*MS); a.close_socket(); bool(when_stats(a, n_tx_packets_dropped=1, n_packets_req=1, n_packets_sent=0))",
     "True"),
]  # fmt: skip


@rows([*LIFE, *SENDING, *RECEIVING, *STATISTICS])
def test_promises(steps, expected, make, addresses, ends):
    names = {"make": make, "new": lambda **options: make(*addresses, **options), "ends": ends}
    names |= {"addresses": addresses, "swapped": swapped(addresses), "got": receive_all}
    names |= {"S": SECOND_NS, "MS": MS_NS, "now": time.monotonic_ns, "sleep": time.sleep}
    names |= {"until": until, "when_stats": when_stats, "STATS_KEYS": STATS_KEYS}
    names |= {"stats": lambda endpoint: endpoint.get_packet_stats(), "threading": threading}
    gives(steps, expected, names | {"bytes_of": bytes_of})


def test_a_packet_leaves_at_its_time(pair):
    """The first example: sending at a time, and receiving."""
    sender, receiver = pair
    due_ns = time.monotonic_ns() + 20 * MS_NS
    sender.send_data(b"timed", due_ns)
    data, arrived_ns = receiver.receive_data(10 * SECOND_NS)
    assert data == b"timed"
    assert arrived_ns >= due_ns


def test_never_stopping_or_closing_is_harmless(implementation, addresses):
    endpoint = rtudp.create_rtudp(implementation, *addresses, direction=2)
    endpoint.init_socket()
    endpoint.start()
    del endpoint


def in_threads(*calls):
    """Run these at once; return the threads, to be joined."""
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    return threads


def test_order_and_statistics_hold_for_every_thread_that_sends(pair):
    sender, receiver = pair
    counts = []

    def send(who):
        for number in range(200):
            sender.send_data(bytes([who, number]))
            counts.append(sender.get_packet_stats()["n_packets_req"])

    threads = in_threads(*(lambda who=who: send(who) for who in range(4)))
    received = receive_all(receiver, 800)
    for thread in threads:
        thread.join()
    for who in range(4):
        assert [p[1] for p in received if p[0] == who] == list(range(200))
    assert max(counts) == 800
    assert when_stats(sender, n_packets_sent=800)["n_packets_req"] == 800


def test_waiting_lets_other_threads_run(pair):
    ticks = itertools.count()
    stop = threading.Event()

    def tick():
        while not stop.is_set():
            next(ticks)
            time.sleep(0.001)

    (thread,) = in_threads(tick)
    with pytest.raises(TimeoutError):
        pair[1].receive_data(300 * MS_NS)
    stop.set()
    thread.join()
    assert next(ticks) > 10


def test_each_packet_goes_to_one_of_several_reading_threads(pair):
    sender, receiver = pair
    taken = []

    def read():
        while True:
            try:
                taken.append(receiver.receive_data(300 * MS_NS)[0])
            except TimeoutError:
                return

    threads = in_threads(*[read] * 4)
    for number in range(400):
        sender.send_data(number.to_bytes(2, "big"))
    for thread in threads:
        thread.join()
    assert sorted(taken) == [n.to_bytes(2, "big") for n in range(400)]


def test_latency_statistics_agree_with_each_other(pair):
    sender, receiver = pair
    base_ns = time.monotonic_ns() + 20 * MS_NS
    for number in range(50):
        sender.send_data(b"x", base_ns + number * MS_NS)
    receive_all(receiver, 50)
    stats = when_stats(sender, n_packets_sent=50)
    assert 0 <= stats["min_latency_ns"] <= stats["avg_latency_ns"] <= stats["max_latency_ns"]
    assert stats["max_latency_ns"] < 10 * SECOND_NS
    assert stats["avg_latency_ns"] == stats["total_latency_ns"] // 50
    histogram = stats["latency_histogram"]
    assert sum(count for _, count in histogram) == 50
    assert histogram == sorted(histogram)
    assert histogram[0][0] >= stats["min_latency_ns"]
    assert histogram[-1][0] >= stats["max_latency_ns"]
