"""UDP proxies with real sockets: what passes, what is lost, what is counted."""

from __future__ import annotations

import os
import resource
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

import shmring
from shmring import Impairment, Proxy, proxy
from shmring.errors import BadAddress, BadConfig

HERE = ("127.0.0.1", 0)
WAIT_S = 20.0
MS = 10**6


def udp(address: tuple[str, int] = HERE) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.bind(address)
    made.settimeout(WAIT_S)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    return made


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with udp() as made:
        yield made


@pytest.fixture
def client() -> Iterator[socket.socket]:
    with udp() as made:
        yield made


Opens = Callable[..., proxy.Channel]


@pytest.fixture
def opens(shmring_pool: shmring.Pool, server: socket.socket) -> Opens:
    def open_one(
        *, impair: Impairment | None = None, impair_rx: Impairment | None = None, **engine: Any
    ) -> proxy.Channel:
        return shmring_pool.open(
            "link",
            Proxy(**engine),
            local=HERE,
            remote=server.getsockname()[:2],
            impair=impair,
            impair_rx=impair_rx,
        )

    return open_one


def until(ch: proxy.Channel, holds: Callable[[proxy.Stats], bool]) -> proxy.Stats:
    give_up = time.monotonic() + WAIT_S
    while not holds(ch.proxy_stats()):
        assert time.monotonic() < give_up, ch.proxy_stats()
        time.sleep(0.005)
    return ch.proxy_stats()


def test_a_flow_does_not_end_because_its_worker_was_stopped(
    opens: Opens, server: socket.socket, client: socket.socket
) -> None:
    """The datagrams of that time are read first."""
    ch = opens(idle_ns=300 * MS)
    assert ch.local is not None
    worker = ch.stats().worker_pid
    client.sendto(b"1", ch.local)
    _, flow = server.recvfrom(64)
    os.kill(worker, signal.SIGSTOP)
    try:
        for _ in range(8):
            time.sleep(0.1)
            server.sendto(b"still here", flow)
    finally:
        os.kill(worker, signal.SIGCONT)
    for _ in range(8):
        assert client.recv(64) == b"still here"
    client.sendto(b"2", ch.local)
    assert server.recvfrom(64) == (b"2", flow)
    assert ch.proxy_stats().flows_opened == 1


@pytest.mark.parametrize("bound", ["0.0.0.0", "::"])
def test_replies_come_from_the_address_that_was_asked(
    shmring_pool: shmring.Pool, server: socket.socket, bound: str
) -> None:
    """A connected socket hears nobody else."""
    remote = server.getsockname()[:2]
    with shmring_pool.open("link", Proxy(), local=(bound, 0), remote=remote) as ch:
        assert ch.local is not None
        for asked in ("127.0.0.1", "127.0.0.5", "127.0.0.6"):
            with udp() as client:
                client.connect((asked, ch.local[1]))
                client.send(b"question")
                _, flow = server.recvfrom(64)
                server.sendto(b"answer", flow)
                assert client.recv(64) == b"answer"
        assert ch.stats().tx_failed == 0


WAYS = (("forward", "impair_tx"), ("backward", "impair_rx"))
ENDS = ("sent", "refused", "lost_takeover", "waiting")
LOSSES = ("lost", "burst_lost", "queue_dropped")


def unaccounted(ch: proxy.Channel) -> list[int]:
    """Return for each way the received datagrams that did not end in exactly one way."""
    found = ch.stats().to_dict() | ch.proxy_stats().to_dict()
    return [
        found[f"{way}_received"]
        + found[f"{path}_duplicated"]
        - sum(found[f"{way}_{end}"] for end in ENDS)
        - sum(found[f"{path}_{loss}"] for loss in LOSSES)
        - (found["forward_no_flow"] if way == "forward" else 0)
        for way, path in WAYS
    ]


def check_ledger(ch: proxy.Channel) -> None:
    """The numbers are written one after the other, so they balance when nothing moves."""
    give_up = time.monotonic() + WAIT_S
    while any(unaccounted(ch)):
        assert time.monotonic() < give_up, ch.stats()


def send_numbers(client: socket.socket, ch: proxy.Channel, count: int) -> None:
    """Send numbers, slowly enough that no buffer overflows."""
    before = ch.proxy_stats().forward_received
    for number in range(count):
        client.sendto(number.to_bytes(4, "big"), ch.local or HERE)
        if number % 64 == 63:
            until(ch, lambda now, n=number: now.forward_received - before > n - 64)  # type: ignore[misc]
    until(ch, lambda now: now.forward_received - before >= count)


def take_all(server: socket.socket, ch: proxy.Channel) -> list[int]:
    until(ch, lambda now: now.forward_waiting == 0)
    server.settimeout(0.2)
    numbers = []
    try:
        while True:
            numbers.append(int.from_bytes(server.recv(100), "big"))
    except TimeoutError:
        return numbers
    finally:
        server.settimeout(WAIT_S)


# --- passing --------------------------------------------------------------------------------------


def test_each_client_has_an_address_of_its_own_at_the_server(
    opens: Opens, server: socket.socket
) -> None:
    ch = opens()
    clients = [udp() for _ in range(20)]
    try:
        seen = {}
        for number, client in enumerate(clients):
            client.sendto(b"%d" % number, ch.local or HERE)
            data, source = server.recvfrom(100)
            seen[source] = number
            assert data == b"%d" % number
        assert len(seen) == len(clients)
        for source, number in seen.items():
            server.sendto(b"reply %d" % number, source)
        for number, client in enumerate(clients):
            assert client.recvfrom(100) == (b"reply %d" % number, ch.local)
        found = ch.proxy_stats()
        assert (found.flows, found.flows_opened) == (20, 20)
        check_ledger(ch)
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("size", [0, 1, 1400, 65507])
def test_datagrams_of_any_length_pass(
    opens: Opens, server: socket.socket, client: socket.socket, size: int
) -> None:
    ch = opens()
    data = bytes(i % 251 for i in range(size))
    client.sendto(data, ch.local or HERE)
    got, source = server.recvfrom(65536)
    assert got == data
    server.sendto(data, source)
    assert client.recv(65536) == data


def test_coalesced_datagrams_pass_apart(
    opens: Opens, server: socket.socket, client: socket.socket
) -> None:
    ch = opens()
    client.setsockopt(socket.IPPROTO_UDP, 103, 500)  # UDP_SEGMENT
    client.sendto(b"a" * 500 + b"b" * 500 + b"c" * 100, ch.local or HERE)
    assert [server.recv(65536) for _ in range(3)] == [b"a" * 500, b"b" * 500, b"c" * 100]
    check_ledger(ch)


@pytest.mark.parametrize("listens", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("serves", ["127.0.0.1", "::1"])
def test_ip_versions_may_differ(shmring_pool: shmring.Pool, listens: str, serves: str) -> None:
    with udp((serves, 0)) as server, udp((listens, 0)) as client:
        to = server.getsockname()[:2]
        ch = shmring_pool.open("link", Proxy(), local=(listens, 0), remote=to)
        assert (ch.to, ch.remote) == (to, to if listens == serves else None)
        client.sendto(b"there", ch.local or HERE)
        data, source = server.recvfrom(100)
        server.sendto(data + b" and back", source)
        assert client.recv(100) == b"there and back"


def test_an_ipv6_socket_serves_clients_of_both_versions(
    shmring_pool: shmring.Pool, server: socket.socket, client: socket.socket
) -> None:
    ch = shmring_pool.open("link", Proxy(), local=("::", 0), remote=server.getsockname())
    assert ch.local is not None
    client.sendto(b"there", ("127.0.0.1", ch.local[1]))
    data, source = server.recvfrom(100)
    server.sendto(data, source)
    assert client.recvfrom(100) == (b"there", ("127.0.0.1", ch.local[1]))


# --- impairments ----------------------------------------------------------------------------------


@pytest.mark.check
def test_loss_depends_on_the_seed_alone(
    shmring_pool: shmring.Pool, server: socket.socket, client: socket.socket
) -> None:
    runs = []
    for seed in (7, 7, 8):
        bad = Impairment(loss=0.2, burst_loss=0.1, seed=seed)
        to = server.getsockname()
        with shmring_pool.open("link", Proxy(), local=HERE, remote=to, impair=bad) as ch:
            send_numbers(client, ch, 1000)
            runs.append(take_all(server, ch))
            check_ledger(ch)
    assert runs[0] == runs[1] != runs[2]
    assert 600 < len(runs[0]) < 800


def test_delay_counts_from_the_arrival(
    opens: Opens, server: socket.socket, client: socket.socket
) -> None:
    ch = opens(impair=Impairment(delay_ns=50 * MS), impair_rx=Impairment(delay_ns=30 * MS))
    began = time.monotonic_ns()
    client.sendto(b"x", ch.local or HERE)
    _, source = server.recvfrom(100)
    there = time.monotonic_ns()
    server.sendto(b"y", source)
    client.recv(100)
    back = time.monotonic_ns()
    assert 50 * MS <= there - began < 10_000 * MS
    assert 30 * MS <= back - there < 10_000 * MS


def test_held_back_datagrams_are_overtaken(
    opens: Opens, server: socket.socket, client: socket.socket
) -> None:
    ch = opens(impair=Impairment(reorder=0.2, reorder_extra_ns=300 * MS, seed=3))
    send_numbers(client, ch, 200)
    got = take_all(server, ch)
    assert sorted(got) == list(range(200)) != got
    assert ch.stats().impair_tx_reordered > 10


def test_duplicates_and_corruption(
    opens: Opens, server: socket.socket, client: socket.socket
) -> None:
    ch = opens(impair=Impairment(duplicate=1.0, corrupt=1.0))
    client.sendto(b"\0\0\0\0", ch.local or HERE)
    got = take_all(server, ch)
    assert [number.bit_count() for number in got] == [1, 1]
    check_ledger(ch)


def test_all_flows_share_the_rate_and_the_queue(opens: Opens, server: socket.socket) -> None:
    """40 datagrams of 1000 bytes at 1 Mbit/s with a queue of 20: 20 get through, in 8 ms each."""
    ch = opens(impair=Impairment(rate_bps=1_000_000, queue_bytes=20_000))
    with udp() as one, udp() as other:
        began = time.monotonic_ns()
        for number in range(40):
            (one, other)[number % 2].sendto(b"%1000d" % number, ch.local or HERE)
        until(ch, lambda now: now.forward_received == 40 and now.forward_waiting == 0)
        took_ns = time.monotonic_ns() - began
    dropped = ch.stats().impair_tx_queue_dropped
    assert 0 < dropped <= 20
    assert took_ns >= (40 - dropped - 1) * 8 * MS
    check_ledger(ch)


# --- live change ----------------------------------------------------------------------------------


def test_a_change_keeps_datagrams_on_their_way(
    opens: Opens, server: socket.socket, client: socket.socket
) -> None:
    ch = opens(impair=Impairment(delay_ns=300 * MS))
    began = time.monotonic_ns()
    send_numbers(client, ch, 50)
    ch.set(forward=Impairment(delay_ns=60_000 * MS))  # needs more memory
    assert ch.proxy_stats().forward_waiting == 50 or time.monotonic_ns() - began > 300 * MS
    ch.set(forward=Impairment())
    client.sendto((50).to_bytes(4, "big"), ch.local or HERE)
    assert take_all(server, ch) == list(range(51))
    assert time.monotonic_ns() - began >= 300 * MS
    check_ledger(ch)


def test_a_change_continues_the_random_choices(
    shmring_pool: shmring.Pool, server: socket.socket, client: socket.socket
) -> None:
    runs = []
    bad = Impairment(loss=0.3, seed=5)
    for changes in (False, True):
        to = server.getsockname()
        with shmring_pool.open("link", Proxy(), local=HERE, remote=to, impair=bad) as ch:
            for step in range(4):
                if changes:
                    ch.set(forward=replace(bad, delay_ns=step * MS))
                send_numbers(client, ch, 100)
            runs.append(take_all(server, ch))
    assert runs[0] == runs[1]


def test_down_and_up_again(opens: Opens, server: socket.socket, client: socket.socket) -> None:
    ch = opens()
    down = Impairment(loss=1.0)
    ch.set(forward=down)
    assert (ch.forward, ch.backward) == (down, Impairment())
    send_numbers(client, ch, 10)
    ch.set(forward=Impairment())
    client.sendto(b"up", ch.local or HERE)
    assert server.recv(100) == b"up"
    assert ch.stats().impair_tx_lost == 10
    assert ch.proxy_stats().changes == 2


def test_another_process_may_change_it(opens: Opens) -> None:
    opens()
    other = shmring.attach("link")
    assert isinstance(other, proxy.Channel)
    other.set(backward=Impairment(loss=0.5))
    assert shmring.attach("link", Proxy()).backward.loss == 0.5
    with pytest.raises(shmring.errors.NoPermission):
        shmring.attach("link", readonly=True).set(forward=Impairment())
    other.close()


def test_what_is_no_impairment_is_refused(opens: Opens) -> None:
    ch = opens()
    with pytest.raises(TypeError, match=r"forward must be a shmring.Impairment, not 0.5"):
        ch.set(forward=0.5)  # type: ignore[arg-type]


# --- flows ----------------------------------------------------------------------------------------


def test_idle_flows_end_and_come_again(
    opens: Opens, server: socket.socket, client: socket.socket
) -> None:
    ch = opens(idle_ns=50 * MS)
    client.sendto(b"1", ch.local or HERE)
    server.recv(100)
    until(ch, lambda now: now.flows == 0)
    client.sendto(b"2", ch.local or HERE)
    data, source = server.recvfrom(100)
    server.sendto(data, source)
    assert client.recv(100) == b"2"
    assert ch.proxy_stats().flows_opened == 2


def test_a_flow_stays_while_its_datagrams_are_on_their_way(
    opens: Opens, server: socket.socket, client: socket.socket
) -> None:
    ch = opens(idle_ns=10 * MS, impair=Impairment(delay_ns=200 * MS))
    client.sendto(b"late", ch.local or HERE)
    assert server.recv(100) == b"late"
    check_ledger(ch)


@pytest.mark.check
def test_a_flow_lives_on_from_the_departure_of_its_last_datagram(
    opens: Opens, server: socket.socket, client: socket.socket
) -> None:
    """The reply comes 1.4 s after the arrival, and 0.5 s after the departure."""
    ch = opens(idle_ns=1000 * MS, impair=Impairment(delay_ns=900 * MS))
    client.sendto(b"question", ch.local or HERE)
    _, source = server.recvfrom(100)
    time.sleep(0.5)
    server.sendto(b"answer", source)
    assert client.recv(100) == b"answer"
    check_ledger(ch)


def test_more_clients_than_flows_are_refused_and_counted(
    opens: Opens, server: socket.socket
) -> None:
    ch = opens(flows=3)
    clients = [udp() for _ in range(5)]
    try:
        for client in clients:
            client.sendto(b"x", ch.local or HERE)
        found = until(ch, lambda now: now.forward_received == 5 and now.forward_sent == 3)
        assert (found.flows, found.forward_no_flow) == (3, 2)
        check_ledger(ch)
    finally:
        for client in clients:
            client.close()


def keep_asking(client: socket.socket, server: socket.socket, address: tuple[str, int]) -> None:
    """Ask until the server hears it: the proxy has no place for the client at first."""
    client.settimeout(0.1)
    server.settimeout(0.1)
    give_up = time.monotonic() + WAIT_S
    while time.monotonic() < give_up:
        client.sendto(b"question", address)
        try:
            data, flow = server.recvfrom(100)
            server.sendto(b"answer", flow)
            if data == b"question" and client.recv(100) == b"answer":
                return
        except TimeoutError:
            continue
    raise AssertionError("the client never got a flow")


@pytest.mark.check
def test_forged_addresses_lock_no_client_out(
    shmring_pool: shmring.Pool, server: socket.socket, client: socket.socket
) -> None:
    """Each of them sends one datagram. A client that had sent two keeps its flow."""
    to = server.getsockname()
    ch = shmring_pool.open("link", Proxy(flows=20), local=("0.0.0.0", 0), remote=to)
    assert ch.local is not None
    address = ("127.0.0.1", ch.local[1])
    with udp() as known:
        for _ in range(2):
            known.sendto(b"known", address)
            _, flow = server.recvfrom(100)
        for last in range(1, 25):
            with udp((f"127.0.9.{last}", 0)) as forged:
                forged.sendto(b"x", address)
        found = until(ch, lambda now: now.forward_received == 26)
        assert (found.flows, found.flows_displaced, found.forward_no_flow) == (20, 0, 5)
        keep_asking(client, server, address)
        server.settimeout(WAIT_S)
        known.sendto(b"known", address)
        assert server.recvfrom(100) == (b"known", flow)
    assert ch.proxy_stats().flows_displaced >= 1
    check_ledger(ch)


def test_one_source_leaves_places_to_others(
    shmring_pool: shmring.Pool, server: socket.socket
) -> None:
    """A quarter of the flows is kept for each source."""
    to = server.getsockname()
    ch = shmring_pool.open("link", Proxy(flows=8), local=("0.0.0.0", 0), remote=to)
    assert ch.local is not None
    address = ("127.0.0.1", ch.local[1])
    greedy = [udp(("127.0.9.1", 0)) for _ in range(9)]
    others = [udp((f"127.0.9.{last}", 0)) for last in range(2, 8)]
    try:
        for client in greedy * 2:
            client.sendto(b"x", address)
        found = until(ch, lambda now: now.forward_received == 18)
        assert (found.flows_opened, found.flows_displaced, found.forward_no_flow) == (8, 0, 2)
        take_all(server, ch)
        for client in others:
            client.sendto(b"x", address)
            data, source = server.recvfrom(100)
            server.sendto(data, source)
            assert client.recv(100) == b"x"
            client.sendto(b"y", address)
            assert server.recvfrom(100) == (b"y", source)
        found = ch.proxy_stats()
        assert (found.flows, found.flows_displaced, found.forward_no_flow) == (8, 6, 2)
        check_ledger(ch)
    finally:
        for client in greedy + others:
            client.close()


def test_a_burst_of_many_flows_needs_no_more_storage_than_an_idle_path_has(
    opens: Opens, server: socket.socket
) -> None:
    """40 GSO batches of 56 kB are read at once: more than twice the storage of a path."""
    ch = opens()
    clients = [udp() for _ in range(40)]
    try:
        sources = []
        for client in clients:
            client.sendto(b"x", ch.local or HERE)
            sources.append(server.recvfrom(100)[1])
        ch.hold()
        server.setsockopt(socket.IPPROTO_UDP, 103, 1400)  # UDP_SEGMENT
        for source in sources:
            server.sendto(bytes(40 * 1400), source)
        ch.release()
        until(ch, lambda now: now.backward_received == 1600 and now.backward_waiting == 0)
        assert ch.stats().impair_rx_queue_dropped == 0
        check_ledger(ch)
    finally:
        for client in clients:
            client.close()


def test_a_proxy_ends_while_its_clients_send(
    opens: Opens, shmring_pool: shmring.Pool, server: socket.socket
) -> None:
    ch = opens(impair=Impairment(delay_ns=1000 * MS))
    clients = [udp() for _ in range(200)]
    address = ch.local or HERE
    try:
        for number, client in enumerate(clients):
            client.sendto(b"x", address)
            if number % 50 == 49:
                until(ch, lambda now, n=number: now.forward_received > n)  # type: ignore[misc]
        for _ in range(10):
            for client in clients:
                client.sendto(b"x", address)
        ch.close(linger=0)
    finally:
        for client in clients:
            client.close()
    assert "link" not in shmring_pool.channels()


# --- trouble --------------------------------------------------------------------------------------


def test_a_closed_port_at_the_server_hurts_nobody(
    shmring_pool: shmring.Pool, client: socket.socket
) -> None:
    with udp() as gone:
        to = gone.getsockname()
    ch = shmring_pool.open("link", Proxy(), local=HERE, remote=to)
    for _ in range(20):
        client.sendto(b"x", ch.local or HERE)
    until(ch, lambda now: now.forward_sent + now.forward_refused == 20)
    check_ledger(ch)
    with udp(to) as server:  # it comes back
        client.sendto(b"y", ch.local or HERE)
        assert server.recv(100) == b"y"


def test_flows_open_again_when_the_worker_has_files_again(
    opens: Opens, shmring_pool: shmring.Pool, server: socket.socket, client: socket.socket
) -> None:
    ch = opens()
    pid = shmring_pool.workers()[0].pid
    assert pid is not None
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        client.setsockopt(socket.IPPROTO_UDP, 103, 1)  # UDP_SEGMENT
        client.sendto(bytes(60), ch.local or HERE)
        until(ch, lambda now: now.forward_no_flow == 60)
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    server.settimeout(0.05)
    give_up = time.monotonic() + WAIT_S
    while ch.proxy_stats().forward_sent == 0:
        client.sendto(b"y", ch.local or HERE)
        assert time.monotonic() < give_up
        time.sleep(0.005)
    assert server.recv(100) == b"y"
    check_ledger(ch)


def test_purge_loses_what_is_on_the_paths(
    opens: Opens, server: socket.socket, client: socket.socket
) -> None:
    ch = opens(impair=Impairment(delay_ns=60_000 * MS))
    send_numbers(client, ch, 10)
    ch.purge()
    assert ch.proxy_stats().forward_waiting == 0
    assert ch.stats().impair_tx_queue_dropped == 10
    check_ledger(ch)


def test_the_ledger_balances_after_a_reset(
    opens: Opens, server: socket.socket, client: socket.socket
) -> None:
    ch = opens(impair=Impairment(delay_ns=100 * MS))
    send_numbers(client, ch, 10)
    ch.reset_stats()
    take_all(server, ch)
    until(ch, lambda now: now.forward_waiting == 0)
    check_ledger(ch)


def test_drops_of_the_kernel_count_in_both_directions(
    opens: Opens, server: socket.socket, client: socket.socket
) -> None:
    ch = opens()
    client.sendto(b"x", ch.local or HERE)
    _, source = server.recvfrom(100)
    ch.hold()
    for _ in range(2000):
        server.sendto(bytes(1000), source)
    ch.release()
    sent, give_up = 2000, time.monotonic() + WAIT_S
    while ch.proxy_stats().backward_received + ch.stats().rx_kernel_drops != sent:
        assert time.monotonic() < give_up, ch.stats()
        server.sendto(b"y", source)  # the kernel tells of drops with a later datagram
        sent += 1
        time.sleep(0.02)
    time.sleep(0.2)  # the worker refreshes its counts
    assert ch.stats().rx_kernel_drops == sent - ch.proxy_stats().backward_received > 0


def test_the_worker_is_killed(
    opens: Opens,
    shmring_pool: shmring.Pool,
    server: socket.socket,
    client: socket.socket,
) -> None:
    ch = opens()
    client.sendto(b"x", ch.local or HERE)
    server.recv(100)
    changed = Impairment(delay_ns=1000 * MS)
    ch.set(forward=changed)
    send_numbers(client, ch, 10)
    pid = shmring_pool.workers()[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    give_up = time.monotonic() + WAIT_S
    while ch.stats().epoch < 2:
        assert time.monotonic() < give_up
        time.sleep(0.005)
    found = ch.proxy_stats()
    assert ch.forward == changed
    assert (found.flows, found.flows_lost) == (0, 1)
    assert found.forward_lost_takeover + found.forward_sent == 11
    check_ledger(ch)
    ch.set(forward=Impairment())
    client.sendto(b"again", ch.local or HERE)
    data, source = server.recvfrom(100)
    while data != b"again":  # some may have left before the worker died
        data, source = server.recvfrom(100)
    server.sendto(b"back", source)
    assert client.recv(100) == b"back"
    check_ledger(ch)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "says"),
    [
        (("239.1.1.1", 5000), "multicast group"),
        (("ff02::1", 5000), "multicast group"),
        (("255.255.255.255", 5000), "broadcast address"),
        (("127.255.255.255", 5000), "broadcast address"),
        (("0.0.0.0", 5000), "wildcard address"),
        (("::", 5000), "wildcard address"),
        (("::ffff:127.0.0.1", 5000), "IPv4 address in IPv6 form"),
        (("127.0.0.1", 0), "port"),
    ],
)
def test_servers_that_cannot_be(shmring_pool: shmring.Pool, to: tuple[str, int], says: str) -> None:
    with pytest.raises((BadConfig, BadAddress, OSError), match=says):
        shmring_pool.open("link", Proxy(), local=HERE, remote=to)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])
def test_a_proxy_to_itself_is_refused(shmring_pool: shmring.Pool, host: str) -> None:
    with udp((host, 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises((BadConfig, OSError), match="where the proxy itself listens"):
        shmring_pool.open("link", Proxy(), local=(host, port), remote=("127.0.0.1", port))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "remote is not given"),
        ({"remote": ("localhost", 1)}, "localhost"),
        ({"remote": ("127.0.0.1", 1), "impair": 0.1}, "impair must be a shmring.Impairment"),
    ],
)
def test_options_that_cannot_be(
    shmring_pool: shmring.Pool, options: dict[str, Any], says: str
) -> None:
    with pytest.raises((BadConfig, BadAddress, TypeError), match=says):
        shmring_pool.open("link", Proxy(), local=HERE, **options)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"tx": 5}, "has no field 'tx'"),
        ({"to": ("127.0.0.1", 1)}, r"has no field 'to': write open\(..., remote="),
        ({"forward": Impairment()}, r"has no field 'forward': write open\(..., impair="),
        ({"socket": shmring.Socket(connect=True)}, "connect cannot be used with Proxy: .* clients"),
        ({"socket": shmring.Socket(txtime="off")}, "txtime cannot be used with Proxy: .* process"),
    ],
)
def test_fields_that_cannot_be(fields: dict[str, Any], says: str) -> None:
    with pytest.raises((BadConfig, TypeError), match=says):
        Proxy(**fields)


def test_more_flows_than_files(opens: Opens) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard > 65536 or hard == resource.RLIM_INFINITY:
        pytest.skip("a worker may open more than 65536 files")
    with pytest.raises(OSError, match="raise RLIMIT_NOFILE"):
        opens(flows=65536)


def forged(source: tuple[str, int], to: tuple[str, int], payload: bytes) -> bytes:
    """An IPv4 datagram whose source is not its sender. The kernel fills in lengths and checksum."""
    udp_head = struct.pack("!HHHH", source[1], to[1], 8 + len(payload), 0)
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(to[0])
    return struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 64, 17, 0) + addresses + udp_head + payload


@pytest.mark.needs("raw")
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_proxy_does_not_talk_to_itself(
    shmring_pool: shmring.Pool, server: socket.socket, client: socket.socket, host: str
) -> None:
    """An answer to its own address would come back as a datagram of a client, for ever."""
    proxy = shmring_pool.open("link", Proxy(), local=(host, 0), remote=server.getsockname())
    assert proxy.local is not None
    here = (HERE[0], proxy.local[1])
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(forged(here, here, b"forged"), (HERE[0], 0))
    client.sendto(b"real", here)
    assert server.recv(100) == b"real"
    stats = until(proxy, lambda stats: stats.forward_received == 2)
    assert (stats.forward_no_flow, stats.flows_opened) == (1, 1)
