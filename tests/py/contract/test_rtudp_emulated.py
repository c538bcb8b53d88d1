"""What only the emulated endpoint promises: its registry, its drop policy, its words."""

# A row of a table is a line, or two.
# ruff: noqa: E501

import gc
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction

import pytest
from kit.calls import gives, rows
from kit.waiting import until

from rtudp import RtUdpEmulated
from rtudp.emulated import GlobalQueueRegistry, TimedPacket

SECOND_NS = 1_000_000_000

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


@pytest.fixture
def ends(make, addresses):
    """A sender that runs, and a receiver that is open."""

    def both(sending=None, receiving=None):
        made = make(*addresses, **sending or {}), make(*addresses[2:], *addresses[:2], **receiving or {})
        for endpoint in made:
            endpoint.init_socket()
        made[0].start()
        return made

    return both


def receive_all(receiver, count):
    return [data for data, _ in receiver.receive_batch(count, 10 * SECOND_NS)]


def registered(ip, port):
    return (ip, port) in GlobalQueueRegistry._queues


def own_threads():
    return [t for t in threading.enumerate() if t.name.startswith("rtudp-")]


# new(options), there(options): endpoints of both addresses, opened(options): the first, open.
ROWS = [
    ("addresses may be anything hashable, and stay as given",
     "a, b = make('plc', 'out', ('rack', 2), None), make(('rack', 2), None, 'plc', 'out'); a.init_socket(); b.init_socket(); a.start();"
     "a.send_data(b'x'); [a.local_ip, a.local_port, a.remote_ip, a.remote_port, got(b, 1)]", "['plc', 'out', ('rack', 2), None, [b'x']]"),
    ("an unhashable address", "make(['list'], 1, 'b', 2)", "TypeError"),
    ("repr of one for both directions", "make('127.0.64.5', 3043, 'b', 1, direction=2)", "RtUdpEmulated[full](127.0.64.5:3043)"),
    ("words of errors",
     "e = new(); first = told(e.start); e.init_socket(); second = told(e.init_socket); e.start(); [first, second, told(e.start)]",
     "['OSError: Socket not initialized', 'OSError: Socket already initialized', 'ValueError: Already running']"),
    *[(f"use {when} is an error", f"e = {which}; e.close_socket(); [told(e.send_data, b'x', 0), told(e.receive_data, 0), told(e.receive_batch, 1, 0), stats(e)['n_packets_req']]",
       str(["OSError: Socket not initialized"] * 3 + [0])) for when, which in (("before init", "new()"), ("after close", "opened()"))],
    ("times may be numbers of any kind",
     "a, b = ends(dict(capacity=8.0), dict(timeout=1e10)); due = now() + 20*MS; [a.send_data(bytes([n]), kind(due + n*MS)) for n, kind in enumerate((float, Fraction, Decimal, int))];"
     "first = [b.receive_data(1e10) for _ in range(2)]; last = b.receive_batch(2, Decimal('1e10'));"
     "[[data[0] for data, _ in first + last], all(at >= due for _, at in first), told(b.receive_data, 0.5)[:12], told(b.receive_data, -1.0)[:28]]",
     "[[0, 1, 2, 3], True, 'TimeoutError', 'ValueError: timeout_ns is -1']"),
    *[(f"data may be any object, {thing}", f"a, b = ends(); x = {thing}; a.send_data(x); a.send_data(x, now()); [data is x for data in got(b, 2)]", "[True, True]")
      for thing in ("'text'", "[1, 'two']", "('a',)", "{'key': 1}", "None", "7", "object()")],
    ("a timeout below 0", "e = opened(); [told(e.receive_data, -1)[:28], told(e.receive_batch, 1, -1)[:28]]", str(["ValueError: timeout_ns is -1"] * 2)),
    # The data path.
    ("reception needs init only", "a, b = ends(); a.send_data(b'x'); [got(b, 1), b.is_running()]", "[[b'x'], False]"),
    ("one that receives does not send", "e = opened(direction=1); e.start(); e.send_data(b'x'); sleep(0.03); e.get_send_length()", "1"),
    ("a full remote queue drops the new packet, and the sender counts it",
     "b = there(direction=1, capacity=4); b.init_socket(); a = opened(capacity=1000); a.start(); [a.send_data(bytes([n])) for n in range(10)];"
     "until(lambda: a.get_send_length() == 0); x = stats(a); [x['n_packets_req'], x['n_packets_sent'], x['n_tx_packets_dropped'], stats(b)['n_rx_packets_dropped'], b''.join(got(b, 4))]",
     r"[10, 4, 6, 0, b'\x00\x01\x02\x03']"),
    ("capacity does not limit sending", "e = opened(capacity=2); [e.send_data(b'x', now() + 3600*S) for _ in range(5000)]; e.get_send_length()", "5000"),
    ("packets of one wake-up share their stamp",
     "a, b = opened(), there(); b.init_socket(); [a.send_data(b'x', n) for n in range(10)]; a.start(); len({at for _, at in b.receive_batch(10, 10*S)})", "1"),
    ("past timestamps are ordered, too",
     "a, b = opened(), there(); b.init_socket(); [a.send_data(bytes([t]), t) for t in (3, 1, 2, 1)]; a.start(); b''.join(got(b, 4))", r"b'\x01\x01\x02\x03'"),
    ("received counts what the application took",
     "a, b = ends(); x = []; count = lambda: x.append(stats(b)['n_packets_rec']); [a.send_data(b'x') for _ in range(5)]; got(b, 3); count();"
     "said = told(b.receive_batch, 10, 20*MS); count(); got(b, 2); count(); [said[:12], *x]", "['TimeoutError', 3, 3, 5]"),
    ("the timeout of a batch is that of all of it",
     "a, b = ends(); t = now(); [a.send_data(b'x', t + n*50*MS) for n in range(20)]; b.receive_batch(20, 200*MS)", "TimeoutError"),
    ("an application may use the queue of the registry",
     "e = opened(); queue(*addresses[:2]).put_nowait((b'injected', 17)); e.receive_data(0)", "(b'injected', 17)"),
    # The registry.
    ("the first one decides the capacity",
     "x, y = queue(*addresses[:2], 3), queue(*addresses[:2], capacity=99); size = y.maxsize; [remove(*addresses[:2]) for _ in range(2)];"
     "again = queue(*addresses[:2]).maxsize; remove(*addresses[:2]); [x is y, size, again]", "[True, 3, 1024]"),
    ("init takes its own queue and the remote's", "opened(capacity=7); [queue(*addresses[:2]).maxsize, queue(*addresses[2:]).maxsize]", "[7, 7]"),
    ("packets wait for a receiver that opens later",
     "a = opened(); a.start(); a.send_data(b'x'); until(lambda: stats(a)['n_packets_sent'] == 1); b = there(); b.init_socket(); b.receive_data(0)[0]", "b'x'"),
    ("a queue lives until its last user closes",
     "a, b = ends(); a.send_data(b'x'); until(lambda: b.get_receive_length() == 1); b.close_socket(); b.init_socket(); kept = b.get_receive_length();"
     "b.close_socket(); a.close_socket(); gone = [registered(*addresses[:2]), registered(*addresses[2:])]; b.init_socket(); [kept, gone, b.get_receive_length()]",
     "[1, [False, False], 0]"),
    ("one address shares one queue",
     "a, b = ends(); c = there(); c.init_socket(); [a.send_data(bytes([n])) for n in range(4)]; b''.join(e.receive_data(10*S)[0] for e in (b, c, b, c))",
     r"b'\x00\x01\x02\x03'"),
    ("its own address as the remote is a loop",
     "e = make('127.9.9.9', 1, '127.9.9.9', 1, direction=2); e.init_socket(); e.start(); e.send_data(b'x'); x = got(e, 1); e.close_socket(); [x, registered('127.9.9.9', 1)]",
     "[[b'x'], False]"),
    ("a queue that was removed does not disturb the next one",
     "e = opened(); remove(*addresses[:2]); f = opened(); e.close_socket(); x = registered(*addresses[:2]); f.close_socket(); [x, registered(*addresses[:2])]",
     "[True, False]"),
    *[(f"stop ends all threads, direction {direction}",
       f"e = opened(direction={direction}); e.start(); x = len(own_threads()); e.stop(); [x, own_threads()]", f"[{threads}, []]")
      for direction, threads in ((0, 1), (1, 1), (2, 2))],
    ("timed packets compare by time",
     "early, late = TimedPacket(1, b'zzz'), TimedPacket(2, b'aaa'); [early < late, sorted([late, early]) == [early, late], early.timestamp_ns, early.data]",
     "[True, True, 1, b'zzz']"),
]  # fmt: skip


@rows(ROWS)
def test_promises(steps, expected, make, addresses, ends):
    def opened(**options):
        endpoint = make(*addresses, **options)
        endpoint.init_socket()
        return endpoint

    names = {"make": make, "addresses": addresses, "opened": opened, "ends": ends}
    names |= {"new": lambda: make(*addresses), "got": receive_all, "until": until}
    names |= {"there": lambda **options: make(*addresses[2:], *addresses[:2], **options)}
    names |= {"S": SECOND_NS, "MS": 1_000_000, "now": time.monotonic_ns, "sleep": time.sleep}
    names |= {"queue": GlobalQueueRegistry.get_or_create_queue, "TimedPacket": TimedPacket}
    names |= {"remove": GlobalQueueRegistry.remove_queue, "registered": registered}
    names |= {"stats": lambda endpoint: endpoint.get_packet_stats(), "own_threads": own_threads}
    gives(steps, expected, names | {"Decimal": Decimal, "Fraction": Fraction})


def test_batch_may_be_larger_than_the_queue(ends):
    sender, receiver = ends(receiving={"capacity": 4})
    with ThreadPoolExecutor(1) as reader:
        batch = reader.submit(receiver.receive_batch, 20, 20 * SECOND_NS)
        for number in range(20):
            sender.send_data(bytes([number]))
            until(lambda sent=number + 1: sender.get_packet_stats()["n_packets_sent"] == sent)
            until(lambda: receiver.get_receive_length() == 0)
        assert len(batch.result()) == 20


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
