"""Many threads on one end: with the interpreter's lock and, where that is possible, without."""

import contextlib
import threading
import time

import pytest

import shmring

THREADS = 4
EACH = 300


def together(*calls):
    """Run the calls in a thread each, all starting at once. Raise what the first one raised."""
    barrier = threading.Barrier(len(calls))
    raised = []

    def run(call):
        barrier.wait()
        try:
            call()
        except BaseException as why:
            raised.append(why)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if raised:
        raise raised[0]


def send_one_by_one(ch, first):
    for number in range(first, first + EACH):
        ch.send(b"%d" % number, to=ch.home, timeout=20)


def send_in_batches(ch, first):
    for start in range(first, first + EACH, 30):
        ch.send_many([b"%d" % n for n in range(start, start + 30)], to=ch.home, timeout=20)


def take_one(ch):
    return [int(ch.recv(timeout=0.5).data)]


def take_into(ch):
    return [int(bytes(ch.recv_into(bytearray(2000), timeout=0.5).data))]


def take_many(ch):
    return [int(p.data) for p in ch.recv_many(7, timeout=0.5)]


def take_out(ch):
    return [int(p.data) for p in ch.recv_many(7, timeout=0.5, out=bytearray(20000))]


def take_loan(ch):
    try:
        with ch.loan_many(7, timeout=0.5) as loan:
            return [int(bytes(p.data)) for p in loan]
    except BufferError:  # another thread has one, or it was overwritten meanwhile
        return []


@pytest.mark.parametrize("reading", ["each", "shared"])
def test_threads_send_and_take_every_packet_once(loop, reading):
    ch = loop(reading=reading, rcvbuf_bytes=1 << 22, tx=shmring.Queue(4096, 64), rx=4096)
    got, done = [], threading.Event()

    def reads(take):
        def loop_over():
            while len(got) < THREADS * EACH and not done.is_set():
                try:
                    got.extend(take(ch))
                except shmring.ReceiveTimeout:
                    if ch.tx_waiting == 0 and ch.rx_waiting == 0 and len(got) >= THREADS * EACH:
                        return

        return loop_over

    threading.Timer(40, done.set).start()
    senders = [
        lambda i=i: (send_in_batches if i % 2 else send_one_by_one)(ch, i * EACH)
        for i in range(THREADS)
    ]
    readers = [reads(take) for take in (take_one, take_into, take_many, take_out, take_loan)]
    together(*senders, *readers)
    assert sorted(got) == list(range(THREADS * EACH))
    assert ch.lost == 0


def test_threads_replace_and_cancel(loop):
    ch = loop(held=True, tx=1000)
    at = ch.now_ns() + 60_000_000_000
    sequences = [ch.send(b"x", at, to=ch.home) for _ in range(200)]

    def replaces():
        for sequence in sequences[::2]:
            try:
                ch.replace(sequence, b"y", to=ch.home)
            except shmring.errors.TooLate:
                missed.append(sequence)

    def cancels():
        for sequence in sequences:
            if ch.cancel(sequence):
                cancelled.append(sequence)

    missed, cancelled = [], []
    together(replaces, cancels, replaces, cancels)
    assert len(set(cancelled)) == len(cancelled)
    assert set(sequences[1::2]) <= set(cancelled)
    # Of two threads that replace the same packet, one at most succeeds.
    replaced = 200 - len(missed)
    assert replaced + len([s for s in cancelled if s in set(sequences[::2])]) == 100


@pytest.mark.parametrize("take", [take_one, take_many, take_loan, take_into])
def test_one_thread_closes_what_others_use(loop, take):
    ch = loop()
    for _ in range(5):
        end = shmring.attach(ch.name)

        def uses(end=end):
            with contextlib.suppress(shmring.ChannelClosed):
                while True:
                    end.send(b"1", to=ch.home, timeout=0.5)
                    with contextlib.suppress(shmring.ReceiveTimeout):
                        take(end)

        def closes(end=end):
            time.sleep(0.02)
            end.close()

        together(uses, uses, uses, closes)


def test_threads_ask_while_others_send_and_one_closes(loop):
    ch = loop(tx=64)
    for _ in range(5):
        end = shmring.attach(ch.name)

        def until_closed(*calls, end=end):
            with contextlib.suppress(shmring.ChannelClosed):
                while True:
                    for call in calls:
                        with contextlib.suppress(TimeoutError):
                            call(end)

        together(
            lambda: until_closed(lambda e: e.send(b"1", to=ch.home, timeout=0.5)),
            lambda: until_closed(lambda e: e.recv(timeout=0.5), lambda e: e.reports().read()),
            lambda: until_closed(lambda e: e.stats(), lambda e: e.flush(timeout=0.5)),
            lambda: until_closed(lambda e: e.cancel(0), lambda e: (e.lost, e.tx_waiting, e.local)),
            lambda end=end: (time.sleep(0.02), end.close()),
        )


def test_threads_release_one_loan(loop):
    ch = loop()
    for _ in range(20):
        ch.send(b"1", to=ch.home)
        loan = ch.loan_many(timeout=20)
        view = loan[0].data
        together(loan.release, loan.release, loan.release)
        with pytest.raises(ValueError, match="released"):
            bytes(view)
