"""Readers of workers' pages: what they make of any content, and of what a pool writes."""

from __future__ import annotations

import errno
import os
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rtworkers import error_log, layout, page, paths
from shmring import observe

SPACE = f"observe-{os.getpid()}"
POOL = "line-1"


@pytest.fixture
def file() -> Iterator[Callable[[bytes], Path]]:
    """Makes the file of worker 0 of a pool."""
    path = paths.shm_file(paths.worker_page(SPACE, POOL, 0))

    def make(content: bytes) -> Path:
        path.write_bytes(content)
        return path

    yield make
    path.unlink(missing_ok=True)


def blank(version: int = layout.SHM_LAYOUT_VERSION) -> bytearray:
    content = bytearray(layout.SHM_WORKER_SEGMENT_BYTES)
    page.HEAD.pack_into(content, 0, layout.SHM_MAGIC, version)
    return content


# --- whose page -----------------------------------------------------------------------------------


def test_nothing_there() -> None:
    assert observe.workers(namespace=SPACE) == []
    assert observe.events(namespace=SPACE) == []
    assert observe.errors(POOL, SPACE) == []


def test_names_are_checked() -> None:
    with pytest.raises(ValueError, match="namespace"):
        observe.events(namespace="a/b")
    with pytest.raises(ValueError, match="pool"):
        observe.errors("a b", SPACE)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x" * 100,
        bytes(layout.SHM_WORKER_SEGMENT_BYTES),
        bytes(blank(version=layout.SHM_LAYOUT_VERSION + 1)),
        bytes(blank())[:16384],
        bytes(blank()) + bytes(4096),
    ],
)
def test_what_is_none_of_ours_is_left_out(file: Callable[[bytes], Path], content: bytes) -> None:
    file(content)
    assert observe.workers(namespace=SPACE) == []


def test_a_worker_that_starts_shows_what_was_before(file: Callable[[bytes], Path]) -> None:
    file(bytes(blank(version=0)))
    (record,) = observe.workers(namespace=SPACE)
    assert record.facts is None
    assert (record.pool, record.slot, record.events) == (POOL, 0, ())


def test_another_pool_is_not_asked(file: Callable[[bytes], Path]) -> None:
    file(bytes(blank()))
    assert len(observe.workers(POOL, SPACE)) == 1
    assert observe.workers("line-2", SPACE) == []


# --- content --------------------------------------------------------------------------------------


def test_an_event(file: Callable[[bytes], Path]) -> None:
    content = blank()
    names = [kind.name for kind in observe.event_kinds()]
    at = layout.SHM_RECORDER_OFFSET
    struct.pack_into("=QQ", content, at, 1, 1)
    struct.pack_into(
        "=qqQqqqIIQ64s",
        content,
        at + 128,
        *(1000, 2000, 17, 4, 5000, 70, names.index("late_packets"), 42, 7, b"c" * 64),
    )
    file(bytes(content))
    (event,) = observe.events(namespace=SPACE)
    assert (event.kind, event.count, event.pid) == ("late_packets", 17, 42)
    assert (event.mono_ns, event.last_mono_ns) == (1000, 2000)
    assert event.numbers == {"verdict": 4, "late_ns": 5000, "sequence": 70}
    assert event.verdict == "queued_behind"
    assert event.channel == "c" * 64
    assert (event.namespace, event.pool, event.slot) == (SPACE, POOL, 0)


def test_any_content_is_read_to_an_end(file: Callable[[bytes], Path]) -> None:
    dice = random.Random(6)
    for _ in range(20):
        content = bytearray(dice.randbytes(layout.SHM_WORKER_SEGMENT_BYTES))
        version = dice.choice((0, layout.SHM_LAYOUT_VERSION))
        page.HEAD.pack_into(content, 0, layout.SHM_MAGIC, version)
        at = layout.SHM_RECORDER_OFFSET
        tail = dice.choice((0, 1, 1023, 1024, 1025, 2**31, 2**63, 2**64 - 1))
        writing = dice.choice((0, tail, min(tail + 1, 2**64 - 1), 2**64 - 1))
        struct.pack_into("=QQ", content, at, tail, writing)
        file(bytes(content))
        (record,) = observe.workers(namespace=SPACE)
        assert len(record.events) <= 1024
        assert len(record.errors) <= 128
        for event in record.events:
            assert event.channel is None or event.channel.isprintable()
            assert event.to_dict()["kind"]
            _ = event.verdict
        for problem in record.errors:
            assert problem.detail.isprintable() or problem.detail == ""
            assert problem.to_dict()["kind"]


# --- what the pool writes -------------------------------------------------------------------------


def test_the_pools_log(file: Callable[[bytes], Path]) -> None:
    path = file(bytes(blank()))
    with path.open("r+b") as opened:
        log = error_log.ErrorLog(opened.fileno())
        for _ in range(3):
            log.note(layout.EventId.WORKER_DIED, "was ended by SIGKILL", number=-9)
        log.note(layout.EventId.WORKER_DIED, "was ended by SIGSEGV", number=-11)
        log.note(layout.EventId.CHANNEL_GIVEN_UP, "no", number=errno.ENOMEM, channel="n" * 64)
        log.close()
        log.close()
        log.note(layout.EventId.WORKER_STALLED)
    first, second, third = sorted(observe.errors(POOL, SPACE), key=lambda e: e.first_mono_ns)
    assert (first.kind, first.source, first.count) == ("worker_died", "pool", 3)
    assert (first.detail, first.number) == ("was ended by SIGKILL", -9)
    assert first.last_mono_ns >= first.first_mono_ns > 0
    assert (second.number, second.count) == (-11, 1)
    assert third.channel == "n" * 64
    assert third.errno_text == os.strerror(errno.ENOMEM)
    assert observe.errors(POOL, SPACE, channel="other") == [second, first]


def test_the_next_process_of_the_pool_goes_on(file: Callable[[bytes], Path]) -> None:
    path = file(bytes(blank()))
    for _ in range(2):
        with path.open("r+b") as opened:
            log = error_log.ErrorLog(opened.fileno())
            log.note(layout.EventId.WORKER_STALLED)
            log.note(layout.EventId.WORKER_DIED, "a \x1b[2J text\n", number=-9)
            log.close()
    found = observe.errors(POOL, SPACE)
    assert [problem.count for problem in found] == [2, 2]
    assert all("\x1b" not in problem.detail for problem in found)


def test_the_pools_log_has_an_end(file: Callable[[bytes], Path]) -> None:
    path = file(bytes(blank()))
    with path.open("r+b") as opened:
        log = error_log.ErrorLog(opened.fileno())
        for number in range(layout.SHM_ERRORS + 6):
            log.note(layout.EventId.WORKER_DIED, "é" * 200, number=number)
        log.close()
    (record,) = observe.workers(POOL, SPACE)
    assert len(record.errors) == layout.SHM_ERRORS
    assert record.other_errors == 6
