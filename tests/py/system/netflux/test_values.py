"""Values from process to partner and back, whoever writes and reads."""

from __future__ import annotations

import asyncio
import os
import pickle
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from kit.wire import udp

import shmring
from shmring import errors, netflux
from shmring.netflux.records import DINT, REAL, Codec

MS = 1_000_000

WRITER = """
import sys, shmring
link = shmring.attach("plc")
for line in sys.stdin:
    link.update(line.strip().encode())
    print("put", flush=True)
"""
READER = """
import sys, shmring
link = shmring.attach("plc", readonly=len(sys.argv) > 1)
for line in sys.stdin:
    snapshot, sent = link.snapshot(), link.sent_values()
    print(snapshot.values.decode(), sent.values.decode(), flush=True)
"""
FLOOD = """
import itertools, os, shmring
link = shmring.attach("plc")
print("here", flush=True)
for n in itertools.count():
    link.update(bytes((n + i) % 256 for i in range(link.settings.send_bytes)))
"""


@dataclass
class Axis:
    position: REAL = 0.0
    count: DINT = 0


def test_the_newest_values_go_both_ways(link: Any, partner: Any, eventually: Any) -> None:
    here = link(values=b"zero")
    first = partner.recv()
    assert (first.number, first.feedback, first.values) == (1, 0, b"zero")
    here.update(b"more")
    partner.recv_until(b"more")
    assert here.snapshot() is None
    partner.send(1, b"back", feedback=1)
    snapshot = eventually(here.snapshot)
    assert (snapshot.values, snapshot.number, snapshot.feedback) == (b"back", 1, 1)
    assert snapshot.published == here.published == 1
    eventually(lambda: partner.recv().feedback == 1)


def test_nothing_is_sent_before_there_is_something_to_send(link: Any, partner: Any) -> None:
    here = link()
    time.sleep(0.05)
    assert partner.empty() == []
    assert here.link().sent == 0
    here.update(b"late")
    assert partner.recv().number == 1


def test_processes_share_a_link(link: Any, partner: Any, python: Any, eventually: Any) -> None:
    here = link(values=b"main")
    writer, reader = python(WRITER), python(READER)
    writer.tell("from")
    assert writer.line() == "put"
    partner.recv_until(b"from")
    partner.send(1, b"back")
    eventually(here.snapshot)
    reader.tell()
    assert reader.line() == "back from"
    assert here.sent_values().pid == writer.pid
    here.update(b"last")
    partner.recv_until(b"last")
    reader.tell()
    assert reader.line() == "back last"
    assert here.sent_values().pid == os.getpid()


def test_a_tap_sees_all_and_is_not_noticed(
    link: Any, partner: Any, shmring_namespace: str, eventually: Any
) -> None:
    here = link(values=b"sent")
    tap = shmring.attach("plc", namespace=shmring_namespace, readonly=True)
    partner.send(1, b"came")
    eventually(tap.snapshot)
    assert tap.snapshot() == here.snapshot()
    assert tap.sent_values().values == b"sent"
    assert tap.link().accepted == 1
    assert [item.kind for item in (tap.recv(timeout=20),)] == [netflux.EventKind.ALIVE]
    assert tap.recv(timeout=20).values == b"came"
    assert here.stats().producers == 1


def test_records_and_pickles(link: Any, partner: Any, eventually: Any) -> None:
    codec = Codec(Axis)
    here = link(send=codec, receive=codec, values=Axis(1.5, 2))
    assert codec.decode(partner.recv().values) == Axis(1.5, 2)
    partner.send(1, codec.encode(Axis(-2.5, 9)))
    assert eventually(here.snapshot).values == Axis(-2.5, 9)
    bare = pickle.loads(pickle.dumps(link("bare")))
    assert isinstance(bare, shmring.netflux.Channel)
    bare.update(b"bare")
    assert bare.sent_values().values == b"bare"


def test_a_child_is_a_party_of_its_own(link: Any, partner: Any, eventually: Any) -> None:
    here = link(values=b"main")
    partner.recv_until(b"main")
    child = os.fork()
    if child == 0:
        try:
            here.update(b"fork")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    partner.recv_until(b"fork")
    eventually(lambda: not here.link().fresh)  # who wrote it has left
    here.update(b"main")
    partner.recv_until(b"main")
    eventually(lambda: here.link().fresh)


def test_threads_share_one_end(link: Any, partner: Any) -> None:
    here = link(send=64, receive=64)
    stop = threading.Event()
    wrong: list[bytes] = []

    def write(letter: int) -> None:
        while not stop.is_set():
            here.update(bytes((letter,)) * 64)

    def look() -> None:
        while not stop.is_set():
            snapshot = here.snapshot()
            if snapshot is not None and len(set(snapshot.values)) != 1:
                wrong.append(snapshot.values)

    threads = [threading.Thread(target=write, args=(65 + n,)) for n in range(3)]
    threads.append(threading.Thread(target=look))
    for thread in threads:
        thread.start()
    for number in range(100):
        got = partner.recv()
        assert len(set(got.values)) == 1
        partner.send(number + 1, got.values)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert not wrong


@pytest.mark.check
def test_values_of_processes_that_write_at_once_are_not_mixed(
    link: Any, partner: Any, python: Any
) -> None:
    here = link(send=300, cycle_ns=MS // 2)
    for flood in [python(FLOOD) for _ in range(3)]:
        assert flood.line() == "here"
    for _ in range(300):
        values = partner.recv().values
        assert values == bytes((values[0] + i) % 256 for i in range(300))
    sent = here.sent_values()
    assert sent.values == bytes((sent.values[0] + i) % 256 for i in range(300))


def test_more_writers_than_places(link: Any, python: Any) -> None:
    here = link(producers=1, values=b"main")
    script = WRITER.replace('print("put"', 'print("no"') + "print('end')"
    intruder = python(
        script.replace("    link.update", "    try: link.update").replace(
            "    print", "    except shmring.errors.NoSpace as full: print(full)\n    print"
        )
    )
    intruder.tell("more")
    assert "producer" in intruder.line()
    assert here.sent_values().values == b"main"


def test_arrivals_and_events_in_order(link: Any, partner: Any) -> None:
    here = link(values=b"sent", watchdog_ns=50 * MS)
    partner.recv()
    partner.send(1, b"one.")
    kinds = []
    while "timeout" not in kinds:
        item = here.recv(timeout=20)
        if isinstance(item, shmring.netflux.Values):
            assert (item.values, item.first, item.source) == (b"one.", True, partner.address)
            kinds.append("values")
        else:
            kinds.append(str(item.kind))
    assert kinds == ["alive", "values", "timeout"]
    assert (item.values, item.void) == (bytes(4), True)
    snapshot = here.snapshot()
    assert (snapshot.values, snapshot.void) == (bytes(4), True)
    assert snapshot.published == item.published == 2
    assert item.timestamp_ns - 50 * MS == here.link().last_accepted_mono_ns
    partner.send(9, b"two!")
    assert here.recv(timeout=20).kind == "alive"
    assert here.recv(timeout=20).values == b"two!"


def test_values_may_be_kept_behind_a_time_out(link: Any, partner: Any) -> None:
    here = link(watchdog_ns=50 * MS, keep_values=True)
    partner.send(1, b"kept")
    items = [here.recv(timeout=20) for _ in range(3)]
    assert items[2].kind is netflux.EventKind.TIMEOUT
    assert (items[2].values, items[2].void) == (b"kept", False)
    assert here.snapshot().values == b"kept"
    assert not here.link().alive


def test_arrivals_reach_asyncio(link: Any, partner: Any) -> None:
    here = link()

    async def take() -> list[Any]:
        got: list[Any] = []
        async for item in here:
            got.append(item)
            if len(got) == 3:
                return got
        return got

    partner.send(1, b"1...")
    partner.send(2, b"2...")
    got = asyncio.run(take())
    assert [getattr(item, "values", None) for item in got] == [None, b"1...", b"2..."]


def test_settings_change_while_it_runs(link: Any, partner: Any, eventually: Any) -> None:
    here = link(values=b"sent")
    partner.recv()
    here.configure(cycle_ns=5 * MS, watchdog_ns=0, keep_window=True)
    now = here.settings
    assert (now.cycle_ns, now.watchdog_ns, now.keep_window, now.sending) == (5 * MS, 0, True, True)
    with pytest.raises(errors.BadConfig, match="cycle_ns is 1"):
        here.configure(cycle_ns=1)
    with pytest.raises(TypeError, match="'cycle'"):
        here.configure(cycle=1)
    assert here.settings == now
    here.configure(sending=False)
    assert not here.settings.sending
    partner.send(1, b"came")
    assert eventually(here.snapshot).values == b"came"
    before = here.link().sent
    time.sleep(0.05)
    assert here.link().sent == before
    partner.empty()
    here.configure(sending=True)
    assert partner.recv().values == b"sent"


def test_it_may_be_aimed_at_another_partner(link: Any, partner: Any, eventually: Any) -> None:
    here = link(values=b"sent")
    partner.recv()
    with udp() as other:
        here.aim(other.getsockname())
        assert here.remote == other.getsockname()
        assert other.recv(100)[2:] == b"sent"
        partner.send(1, b"old.")
        other.sendto(b"\x05\x00new.", here.local)
        assert eventually(here.snapshot).values == b"new."
        eventually(lambda: here.link().rejected_foreign)
        with pytest.raises(errors.BadAddress, match="IPv6"):
            here.aim(("::1", 2000))


def test_feedback_may_be_given_by_hand(link: Any, partner: Any, eventually: Any) -> None:
    here = link(values=b"sent")
    here.set_feedback(77)
    eventually(lambda: partner.recv().feedback == 77)
    partner.send(5, b"came")
    eventually(here.snapshot)
    partner.empty()
    assert partner.recv().feedback == 77
    here.set_feedback(None)
    eventually(lambda: partner.recv().feedback == 5)
    with pytest.raises(errors.BadConfig, match="number is 256"):
        here.set_feedback(256)


def test_numbers_go_on_where_another_link_ended(link: Any, partner: Any, eventually: Any) -> None:
    here = link(values=b"sent", own_number=254, partner_number=9)
    assert [partner.recv().number for _ in range(3)] == [255, 0, 1]
    partner.send(9, b"old.")
    partner.send(10, b"new.")
    assert eventually(here.snapshot).values == b"new."
    assert here.link().rejected_repeated == 1


def test_readers_forget_and_counters_begin_anew(link: Any, partner: Any, eventually: Any) -> None:
    here = link(values=b"sent")
    partner.send(1, b"came")
    eventually(lambda: here.rx_waiting == 2)
    here.purge()
    assert here.try_recv() is None
    assert here.snapshot().values == b"came"
    here.reset_stats()
    eventually(lambda: here.link().accepted == 0)
    now = here.link()
    assert (now.alive, now.partner_number) == (True, 1)
    assert here.published == 1


@pytest.mark.parametrize(("size", "rx_capacity"), [(0, 1), (1499, 1), (1499, 300)])
def test_the_smallest_and_the_largest(
    link: Any, partner: Any, eventually: Any, size: int, rx_capacity: int
) -> None:
    sent, came = bytes(i % 251 for i in range(size)), bytes(i % 13 for i in range(size))
    here = link(send=size, receive=size, values=sent, rx=rx_capacity)
    assert partner.recv().values == sent
    for number in range(1, 4):
        partner.send(number, came)
    eventually(lambda: here.published == 3)
    assert here.snapshot().values == came
    first = here.recv(timeout=20)
    rest = here.recv_many(timeout=0) if here.rx_waiting else [first]
    assert (rest[-1].values, rest[-1].number) == (came, 3)
    assert first.lost_before == here.lost == (3 if rx_capacity == 1 else 0)


def test_one_way_links(link: Any, partner: Any, shmring_pool: shmring.Pool) -> None:
    link("out", direction="tx", receive=0, values=b"sent")
    assert partner.recv().values == b"sent"
    into = link("into", direction="rx", send=0)
    partner.send(1, b"came")
    assert into.recv(timeout=20).kind == "alive"
    assert into.recv(timeout=20).values == b"came"
    with pytest.raises(errors.NoPermission, match="only receives"):
        into.update(b"")


def test_an_end_without_a_record_says_what_it_takes(link: Any) -> None:
    here = link("out", direction="tx", receive=0, values=b"sent")
    with pytest.raises(TypeError, match=r"not dict: give 4 bytes, or open or attach with Netflux"):
        here.update({"x": 1})


@pytest.mark.needs("ipv6")
def test_ipv6(shmring_pool: shmring.Pool, eventually: Any) -> None:
    one = shmring_pool.open(
        "one",
        shmring.Netflux(send=1, receive=1, values=b"1"),
        local=("::1", 0),
    )
    two = shmring_pool.open(
        "two",
        shmring.Netflux(send=1, receive=1, values=b"2"),
        local=("::1", 0),
        remote=one.local,
    )
    assert two.local is not None
    one.aim(two.local)
    assert eventually(one.snapshot).values == b"2"
    assert eventually(two.snapshot).values == b"1"


@pytest.mark.parametrize("where", ["default", "named"])
def test_other_pools(where: str, python: Any, shmring_namespace: str, eventually: Any) -> None:
    with shmring.Pool("line", policy="other"):
        given = {"pool": "line"} if where == "named" else {}
        script = f"""
import sys, warnings, shmring
warnings.simplefilter("ignore")
here = ("127.0.0.1", 0)
engine = shmring.Netflux(send=1, receive=0, values=b"x")
with shmring.open("plc", local=here, engine=engine, **{given!r}) as link:
    print(link.stats().pool, link.sent_values().values.decode(), flush=True)
    sys.stdin.read()
"""
        other = python(script)
        pool, _, values = other.line().partition(" ")
        assert (pool == "line", values) == (where == "named", "x")
        tap = shmring.attach("plc", readonly=True)
        assert isinstance(tap, shmring.netflux.Channel)
        assert tap.sent_values() is not None
        other.popen.stdin.close()
        assert other.wait() == 0, "it ends its own pool"


def test_what_a_record_refuses_at_open_leaves_nothing(
    link: Callable[..., Any], shmring_namespace: str
) -> None:
    codec = Codec(Axis)
    with pytest.raises(ValueError, match="count"):
        link(send=codec, values=Axis(count=2**40))
    with pytest.raises(shmring.ChannelNotFound):
        shmring.attach("plc", namespace=shmring_namespace)
