"""Values that cannot be meant: each is refused by name, with what would be right."""

import asyncio
import math
import pickle

import numpy as np
import pytest

from shmring.errors import BadAddress

HERE = ("127.0.0.1", 9)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda ch: ch.recv_many("5"), TypeError, "max must be an int, not '5'"),
        (lambda ch: ch.recv_many(True), TypeError, "max must be an int, not True"),
        (lambda ch: ch.recv_many(0), ValueError, "max is 0: it must be 1 to 1048576"),
        (lambda ch: ch.recv_many(-1), ValueError, "max is -1: it must be 1 to 1048576"),
        (lambda ch: ch.recv_many(2**70), ValueError, f"max is {2**70}: it must be 1 to"),
        (lambda ch: ch.recv_many(out=b"123"), BufferError, "out is read-only: give a writable"),
        (lambda ch: ch.recv_many(out=5), TypeError, "out must be a writable buffer.*, not int"),
        (lambda ch: ch.recv_into("text"), TypeError, "buffer must be a writable.*, not str$"),
        (lambda ch: ch.recv_into(b"123"), BufferError, "buffer is read-only: give a writable"),
        (lambda ch: ch.reports().read(-1), ValueError, "max is -1: it must be 0 to"),
        (lambda ch: ch.reports().read("5"), TypeError, "max must be an int, not '5'"),
        (lambda ch: list(ch.reports(max=1.5)), TypeError, "max must be an int, not 1.5"),
        (lambda ch: ch.cancel(-1), ValueError, "sequence is -1: packets are counted from 0"),
        (lambda ch: ch.cancel(2**64), ValueError, f"sequence is {2**64}: packets are counted"),
        (lambda ch: ch.cancel(True), TypeError, "sequence must be an int, as send"),
        (lambda ch: ch.replace(-1, b""), ValueError, "sequence is -1: packets are counted from 0"),
        (lambda ch: ch.replace(2**70, b""), ValueError, f"sequence is {2**70}: packets are"),
        (lambda ch: ch.replace("1", b""), TypeError, "sequence must be an int, as send"),
        (lambda ch: ch.send("text"), TypeError, r"payload .*, not str: encode it, .*encode\(\)$"),
        (lambda ch: ch.send(5), TypeError, "payload must be a bytes-like object, not int$"),
        (lambda ch: ch.send_many("text"), TypeError, "packets must be an iterable of .*'text'"),
        (lambda ch: ch.send_many(5), TypeError, "packets must be an iterable of .*not 5"),
        (lambda ch: ch.send_many(["a"]), TypeError, "payload must be .*not str: encode it"),
        (lambda ch: ch.send_many(b"aa", size="1"), TypeError, "size must be an int: bytes, not"),
        (lambda ch: ch.send_many(b"aa", sizes=[1, 1.5]), TypeError, "sizes must be an int: bytes"),
        (lambda ch: ch.send_many(b"aa", sizes=[2**70]), ValueError, "sizes: entry 0, .*64 bits"),
        (lambda ch: ch.send_many([b"a"], at=[2**70]), ValueError, "at: entry 0, .* 64 bits"),
        (lambda ch: ch.send_many([b"a"], sequences=b"12345678"), BufferError, "sequences is read"),
        (lambda ch: ch.send(b"", to=("127.0.0.1", 0)), BadAddress, "port is 0.* 1 to"),
        (lambda ch: ch.send(b"", to=("::1", 9, 0, -1)), BadAddress, "to: scope is -1"),
    ],
)
def test_what_is_refused_is_named(loop, call, kind, words):
    ch = loop(remote=HERE)
    with pytest.raises(kind, match=words):
        call(ch)
    assert ch.tx_waiting == 0


@pytest.mark.parametrize("timeout", [math.nan, -1, -math.inf, "5", True])
def test_what_is_no_timeout(loop, timeout):
    ch = loop(remote=HERE)
    ch.send(b"waits", at=ch.now_ns() + 10**9)
    kind = TypeError if isinstance(timeout, str | bool) else ValueError
    for call in (
        lambda: ch.recv(timeout=timeout),
        lambda: ch.recv_into(bytearray(9), timeout=timeout),
        lambda: ch.recv_many(timeout=timeout),
        lambda: ch.send(b"x", timeout=timeout),
        lambda: ch.send_many([b"x"], timeout=timeout),
        lambda: ch.replace(0, b"x", timeout=timeout),
        lambda: ch.flush(timeout=timeout),
        lambda: asyncio.run(ch.aio.recv(timeout=timeout)),
        lambda: asyncio.run(ch.aio.send(b"x", timeout=timeout)),
    ):
        with pytest.raises(kind, match=r"timeout .*None.* wait without a limit"):
            call()
    assert ch.tx_waiting == 1


def test_an_unknown_argument_beside_the_last_of_all(loop):
    """CPython's own parser makes the error, and stores what it found before."""
    ch = loop(remote=HERE)
    for _ in range(20):
        with pytest.raises(TypeError, match="no_such"):
            ch.send_many([b"x"], timeout=None, no_such=1)
    assert ch.tx_waiting == 0


def test_times_ports_and_sizes_may_be_integers_of_numpy(loop):
    ch = loop()
    host, port = ch.home
    ch.send(b"a", at=np.int64(ch.now_ns()), to=(host, np.int64(port)))
    assert ch.recv_many(np.int32(5), timeout=20)[0].data == b"a"


@pytest.mark.parametrize("out", [None, bytearray(100)])
def test_batches_can_be_pickled(loop, out):
    ch = loop()
    ch.send(b"a", to=ch.home)
    ch.flush(timeout=20)
    batch = ch.recv_many(timeout=5, out=out)
    copy = pickle.loads(pickle.dumps(batch))
    assert list(copy) == list(batch)
    assert bytes(copy.payload) == bytes(batch.payload)
    reports = ch.reports().read()
    assert list(pickle.loads(pickle.dumps(reports))) == list(reports)
    assert len(reports) == 1
