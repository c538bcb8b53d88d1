"""What leaving a channel or pool does with packets that are not sent yet."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
import warnings

import pytest
from kit.wire import udp

import shmring

MS = 1_000_000


@pytest.fixture
def sink():
    with udp() as sock:
        yield sock


def send_later(ch: shmring.Channel, count: int, ahead_ns: int) -> None:
    now = ch.now_ns()
    for i in range(count):
        ch.send(b"%d" % i, at=now + ahead_ns * (i + 1) // count)


def arrived(sink: socket.socket) -> int:
    sink.settimeout(0.1)
    count = 0
    while True:
        try:
            sink.recv(100)
        except TimeoutError:
            return count
        count += 1


def test_leaving_the_block_waits_for_what_is_due_soon(shmring_pool, sink):
    with shmring_pool.open("ctl", remote=sink.getsockname()) as ch:
        send_later(ch, 10, 200 * MS)
    assert arrived(sink) == 10


def test_leaving_a_pool_does_so_too(shmring_namespace, sink):
    with shmring.Pool(namespace=shmring_namespace) as pool:
        send_later(pool.open("ctl", remote=sink.getsockname()), 10, 200 * MS)
    assert arrived(sink) == 10


def test_what_is_cancelled_is_counted(shmring_pool, sink):
    began = time.monotonic()
    with (
        pytest.warns(shmring.errors.UnsentWarning, match="'ctl' ended while 3 packets") as caught,
        shmring_pool.open("ctl", remote=sink.getsockname()) as ch,
    ):
        send_later(ch, 3, 3600_000 * MS)
    assert 0.9 < time.monotonic() - began < 15
    assert caught[0].filename == __file__


@pytest.mark.check
def test_linger_is_a_choice(shmring_pool, sink):
    ch = shmring_pool.open("ctl", remote=sink.getsockname())
    send_later(ch, 3, 3600_000 * MS)
    began = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ch.close(linger=0)
    assert time.monotonic() - began < 0.9
    ch = shmring_pool.open("ctl", remote=sink.getsockname())
    send_later(ch, 2, 1500 * MS)
    ch.close(linger=20)
    assert arrived(sink) == 2
    with pytest.raises(ValueError, match="linger is -1"):
        ch.close(linger=-1)


def test_an_exception_and_a_held_channel_end_at_once(shmring_pool, sink):
    began = time.monotonic()

    def fail():
        with shmring_pool.open("ctl", remote=sink.getsockname()) as ch:
            send_later(ch, 3, 500 * MS)
            raise KeyError

    with pytest.warns(shmring.errors.UnsentWarning), contextlib.suppress(KeyError):
        fail()
    with (
        pytest.warns(shmring.errors.UnsentWarning, match="1 packets"),
        shmring_pool.open("held", remote=sink.getsockname(), held=True) as ch,
    ):
        ch.send(b"x")
    assert time.monotonic() - began < 0.9
    assert arrived(sink) == 0


def test_other_ends_leave_without_waiting(shmring_pool, sink):
    ch = shmring_pool.open("ctl", remote=sink.getsockname())
    began = time.monotonic()
    with shmring.attach("ctl") as other:
        send_later(other, 1, 600 * MS)
    assert time.monotonic() - began < 0.5
    ch.flush()
    assert arrived(sink) == 1


def test_a_script_that_ends_sends_what_is_due_soon(sink):
    script = (
        "import shmring, sys\n"
        "ch = shmring.open('x', remote=('127.0.0.1', int(sys.argv[1])))\n"
        "ch.send(b'1', at=ch.now_ns() + 200_000_000)\n"
        "del ch\n"
    )
    env = os.environ | {"SHMRING_NAMESPACE": f"lingers-{os.getpid()}"}
    port = str(sink.getsockname()[1])
    subprocess.run([sys.executable, "-c", script, port], check=True, timeout=60, env=env)
    assert arrived(sink) == 1


def test_async_with(run, shmring_namespace, sink):
    async def main():
        async with (
            shmring.Pool(namespace=shmring_namespace) as pool,
            await pool.aio.open("ctl", remote=sink.getsockname()) as ch,
        ):
            send_later(ch, 5, 200 * MS)
        assert ch.closed
        assert pool.closed

    run(main)
    assert arrived(sink) == 5


@pytest.mark.check
@pytest.mark.parametrize("leave", ["end", "block", "close of the pool", "block of the pool"])
def test_the_warning_of_an_async_form_names_the_line_of_the_program(
    run, shmring_namespace, sink, leave
):
    async def main():
        pool = shmring.Pool(namespace=shmring_namespace)
        ch = await pool.aio.open("ctl", remote=sink.getsockname())
        send_later(ch, 3, 3600_000 * MS)
        try:
            if leave == "end":
                await ch.aio.close(linger=0.01)
            elif leave == "close of the pool":
                await pool.aio.close(linger=0.01)
            else:
                async with ch if leave == "block" else pool:
                    pass
        finally:
            pool.close(linger=0)

    with pytest.warns(shmring.errors.UnsentWarning, match="ended while 3 packets") as caught:
        run(main)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("what", ["channel", "pool"])
@pytest.mark.parametrize("strict", [False, True])
def test_a_cancelled_async_form_warns_as_well(serve, shmring_namespace, sink, what, strict):
    """With warnings as errors the cancellation wins."""

    async def main():
        pool = shmring.Pool(namespace=shmring_namespace)
        ch = await pool.aio.open("ctl", remote=sink.getsockname())
        send_later(ch, 3, 3600_000 * MS)

        async def leave():
            await (ch.aio.close if what == "channel" else pool.aio.close)(linger=0.05)

        leaving = asyncio.create_task(leave())
        try:
            await asyncio.sleep(0)  # it began, and waits for its thread
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
        finally:
            pool.close(linger=0)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error" if strict else "always", shmring.errors.UnsentWarning)
        serve(main)
    assert [warning.filename for warning in caught] == ([] if strict else [__file__])


@pytest.mark.parametrize("what", ["channel", "pool"])
@pytest.mark.parametrize("form", ["with", "async with"])
def test_with_warnings_as_errors_the_exception_in_the_block_wins(
    run, shmring_namespace, sink, what, form
):
    async def main():
        pool = shmring.Pool(namespace=shmring_namespace)
        ch = pool.open("ctl", remote=sink.getsockname())
        send_later(ch, 3, 3600_000 * MS)
        block = ch if what == "channel" else pool

        async def fail():
            if form == "with":
                with block:
                    raise KeyError
            async with block:
                raise KeyError

        try:
            with pytest.raises(KeyError):
                await fail()
        finally:
            pool.close(linger=0)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(main)
