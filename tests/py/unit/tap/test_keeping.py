"""Stamps that come later, and what is kept, with numbers for time."""

from __future__ import annotations

import os

import pytest

from shmring.net.tap import records
from shmring.net.tap.keeper import Keeper
from shmring.net.tap.log import Batch, TapLog, memory_bytes
from shmring.net.tap.records import Record
from shmring.net.tap.stamps import PATIENCE_NS, StampMerger
from shmring_cli import tap as command


def record(
    kind: int, number: int, *, sent_ns: int = 0, stamped_ns: int = 0, flags: int = 0
) -> Record:
    return Record(
        144, kind, flags, 0, 0, number, 0, 0, 4, 0, 0, bytes(16), 4, 0, 0, bytes(16),
        number, 0, 0, 0, sent_ns, 0, stamped_ns, 0, 0, 2 if stamped_ns else 0, 1, b"",
    )  # fmt: skip


def sent(number: int, *, awaits: bool = True) -> Record:
    flags = records.AWAITS_STAMP if awaits else 0
    return record(records.SENT, number, sent_ns=100 * number, flags=flags)


def stamp(number: int, at_ns: int) -> Record:
    return record(records.STAMPED, number, stamped_ns=at_ns)


def told(ready: object) -> list[tuple[int, int]]:
    return [(item.number, item.stamped_ns) for item in ready]  # type: ignore[attr-defined]


def test_stamps_join_their_packets_and_the_order_stays() -> None:
    merger = StampMerger()
    for item in (sent(1), sent(2, awaits=False), sent(3), stamp(3, 333)):
        merger.feed(item)
    assert told(merger.ready(1000)) == []
    merger.feed(stamp(1, 111))
    assert told(merger.ready(1000)) == [(1, 111), (2, 0), (3, 333)]
    merger.feed(stamp(9, 999))  # of a packet that was overwritten
    assert told(merger.ready(1000)) == []
    assert len(merger) == 0


def test_a_stamp_that_never_comes_holds_nobody_up_for_ever() -> None:
    merger = StampMerger()
    merger.feed(sent(1))
    merger.feed(sent(2))
    assert told(merger.ready(100 + PATIENCE_NS - 1)) == []
    assert told(merger.ready(100 + PATIENCE_NS)) == [(1, 0)]
    merger.feed(stamp(1, 111))
    merger.feed(stamp(2, 222))
    assert told(merger.ready(0)) == [(2, 222)]


def test_the_rest_comes_out_as_it_is() -> None:
    merger = StampMerger()
    for number in (1, 2):
        merger.feed(sent(number))
    assert told(merger.rest()) == [(1, 0), (2, 0)]
    merger.feed(sent(3))
    merger.feed(stamp(3, 333))
    assert told(merger.ready(0)) == [(3, 333)]


def batch(size: int) -> Batch:
    return Batch(bytes(size), 1, 0, 0, 0)


def test_what_is_old_or_too_much_is_let_go() -> None:
    keeper = Keeper(1000, 250)
    for now_ns in (0, 500, 1000):
        keeper.add(batch(50), now_ns)
    assert (keeper.held_bytes, keeper.dropped) == (150, 0)
    keeper.expire(1501)
    assert keeper.held_bytes == 50
    for size in (100, 100, 100):
        keeper.add(batch(size), 1600)
    assert (keeper.held_bytes, keeper.dropped) == (200, 2)
    assert [len(item.raw) for item in keeper.take_all()] == [100, 100]
    keeper.add(batch(5000), 1700)  # one is always kept
    assert keeper.held_bytes == 5000


def test_a_log_without_a_worker() -> None:
    size = memory_bytes(1 << 20)
    fd = os.memfd_create("log")
    os.truncate(fd, size)
    with pytest.raises(OSError, match="no log of version"):
        TapLog(fd, size)
    with pytest.raises(ValueError, match="the memory of a tap has"):
        memory_bytes(1000)


def test_words_of_the_command() -> None:
    assert command._keep("10s") == (10.0, 1.0)
    assert command._keep("1m/500ms") == (60.0, 0.5)
    assert command.triggers("late,SIGUSR1,api") == ("late", "SIGUSR1", "api")
    for text in ("", ",", "early", "SIGKILL", "late,usr1"):
        with pytest.raises(Exception, match=r"is not a trigger|at least one"):
            command.triggers(text)
