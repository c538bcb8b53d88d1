"""loan_many: packets that are read where they lie in the ring, and what ends that."""

import gc
import pickle
import threading
import time

import numpy as np
import pytest
from kit.waiting import until

import shmring


def arrive(ch, packets):
    before = ch.stats().rx_received
    ch.send_many(packets, to=ch.home, timeout=20)
    until(lambda: ch.stats().rx_received >= before + len(packets))


def test_packets_are_views_of_the_ring(loop):
    ch = loop()
    arrive(ch, [b"a", b"", b"ccc"])
    with ch.loan_many(timeout=20) as loan:
        assert isinstance(loan, shmring.PacketBatch)
        assert [bytes(p.data) for p in loan] == [b"a", b"", b"ccc"]
        assert [p.sequence for p in loan] == [0, 1, 2] == list(loan.sequences)
        assert loan[2].source == ch.home
        assert loan.overwritten == 0
        whole = np.frombuffer(loan.payload, np.uint8)
        offset, length = loan.offsets[2], loan.lengths[2]
        assert whole[offset : offset + length].tobytes() == b"ccc"
        assert not whole.flags.writeable
        assert ch.rx_waiting == 0
        # What was lent can be sent on as it is.
        ch.send_many(loan.payload, offsets=loan.offsets, sizes=loan.lengths, to=ch.home)
        del whole
    until(lambda: ch.rx_waiting >= 3)
    assert [p.data for p in ch.recv_many()] == [b"a", b"", b"ccc"]


def test_a_loan_that_was_released_cannot_be_used(loop):
    ch = loop()
    arrive(ch, [b"one", b"two"])
    with ch.loan_many() as loan:
        first = loan[0]
    for use in (lambda: first.data[0], lambda: loan[1], lambda: bytes(loan.payload)):
        with pytest.raises(ValueError, match="released"):
            use()
    with pytest.raises(ValueError, match="released"):
        _ = loan.overwritten
    assert list(loan.lengths) == [3, 3]  # the other fields are copies
    loan.release()  # once more does nothing


def test_a_loan_goes_on_after_a_release_that_failed(loop):
    ch = loop()
    arrive(ch, [b"one", b"two", b"three"])
    loan = ch.loan_many()
    part = loan.payload[loan.offsets[1] :]
    with pytest.raises(BufferError, match="3 packets cannot be released"):
        loan.release()
    assert [bytes(p.data) for p in loan] == [b"one", b"two", b"three"]
    array = np.frombuffer(loan[1].data, np.uint8)
    for _ in range(2):
        with pytest.raises(BufferError, match="3 packets cannot be released"):
            loan.release()
        assert [bytes(p.data) for p in loan] == [b"one", b"two", b"three"]
    assert array.tobytes() == b"two"
    part.release()
    del array
    loan.release()


def test_a_loan_keeps_one_view_of_each_packet(loop):
    ch = loop()
    arrive(ch, [b"one", b"two"])
    with ch.loan_many() as loan:
        for _ in range(100):
            assert [bytes(p.data) for p in loan] == [b"one", b"two"]
        assert len(loan._views) == 2


def test_a_view_that_its_user_released_is_made_again(loop):
    ch = loop()
    arrive(ch, [b"one", b"two"])
    with ch.loan_many() as loan:
        with loan[0].data as view:
            assert bytes(view) == b"one"
        assert loan[0].data[0] == ord("o")
        assert loan[0].data is loan[0].data
        assert len(loan._views) == 1


def test_what_is_exported_holds_the_loan(loop):
    ch = loop()
    arrive(ch, [b"one"])
    loan = ch.loan_many()
    array = np.frombuffer(loan[0].data, np.uint8)
    with pytest.raises(BufferError, match="1 packets cannot be released"):
        loan.release()
    assert array.tobytes() == b"one"
    with pytest.raises(BufferError, match="was not released"):
        ch.loan_many(timeout=0)
    del array
    loan.release()

    arrive(ch, [b"two"])
    loan = ch.loan_many()
    part = loan[0].data[1:]  # a slice keeps the memory, too
    with pytest.raises(BufferError, match="still in use"):
        loan.release()
    assert bytes(part) == b"wo"
    part.release()
    loan.release()


def test_one_loan_at_a_time_and_other_calls_go_on_behind_it(loop):
    ch = loop()
    arrive(ch, [b"%d" % i for i in range(4)])
    with ch.loan_many(2) as loan:
        assert ch.recv().data == b"2"
        with pytest.raises(BufferError, match="one at a time"):
            ch.loan_many()
        assert [bytes(p.data) for p in loan] == [b"0", b"1"]
    with ch.loan_many() as loan:
        assert [bytes(p.data) for p in loan] == [b"3"]
    with pytest.raises(shmring.ReceiveTimeout):
        ch.loan_many(timeout=0.01)


def test_an_exception_in_the_block_is_not_replaced(loop):
    ch = loop()
    arrive(ch, [b"x"])
    with pytest.raises(ZeroDivisionError), ch.loan_many() as loan:
        np.frombuffer(loan.payload, np.uint8)[: 1 // 0]
    del loan
    gc.collect()
    arrive(ch, [b"y"])
    with ch.loan_many() as loan:
        assert bytes(loan[0].data) == b"y"


def test_a_loan_that_was_overwritten_says_so(loop):
    ch = loop(tx=shmring.Queue(100, 64), rx=8)
    assert ch.try_recv() is None
    arrive(ch, [b"old %d" % i for i in range(8)])
    loan = ch.loan_many()
    assert len(loan) == 8
    arrive(ch, [b"new"] * 3)
    assert loan.overwritten == 3
    assert [bytes(p.data) for p in loan][3:] == [b"old %d" % i for i in range(3, 8)]
    with pytest.raises(shmring.errors.LoanOverwritten, match="3 of 8 lent packets") as caught:
        loan.release()
    assert caught.value.overwritten == 3
    arrive(ch, [b"new"] * 20)
    assert len(ch.loan_many()) == 8  # dropped at once, which ends it
    arrive(ch, [b"new"])
    with ch.loan_many() as loan:
        assert len(loan) == 1


def test_a_purge_takes_lent_packets_away(loop):
    ch = loop(overflow="wait")
    arrive(ch, [b"a"] * 3)
    loan = ch.loan_many()
    ch.purge()
    assert loan.overwritten == 3
    with pytest.raises(shmring.errors.LoanOverwritten):
        loan.release()


def test_a_worker_that_waits_for_readers_waits_for_a_loan(loop):
    ch = loop(overflow="wait", tx=shmring.Queue(100, 64), rx=8)
    assert ch.try_recv() is None
    arrive(ch, [b"old %d" % i for i in range(8)])
    with ch.loan_many() as loan:
        ch.send_many([b"new %d" % i for i in range(8)], to=ch.home)
        ch.flush(timeout=20)
        time.sleep(0.05)
        assert ch.rx_waiting == 0  # nothing new fits
        assert [bytes(p.data) for p in loan] == [b"old %d" % i for i in range(8)]
        assert loan.overwritten == 0
    got = []
    while len(got) < 8:
        got += [p.data for p in ch.recv_many(timeout=20)]
    assert got == [b"new %d" % i for i in range(8)]
    assert ch.lost == 0


def test_shared_readers_lend_each_packet_once(loop):
    ch = loop(reading="shared")
    other = shmring.attach(ch.name)
    arrive(ch, [b"%d" % i for i in range(6)])
    with ch.loan_many(2) as one, other.loan_many(3) as two:
        assert [bytes(p.data) for p in one] == [b"0", b"1"]
        assert [bytes(p.data) for p in two] == [b"2", b"3", b"4"]
        assert ch.rx_waiting == 1
    waiting = loop("waiting", reading="shared", overflow="wait")
    arrive(waiting, [b"x"])
    with pytest.raises(shmring.errors.ShmringOSError, match="Use recv_many"):
        waiting.loan_many()
    assert waiting.recv().data == b"x"


def test_a_tap_can_be_lent_packets(loop):
    ch = loop()
    with shmring.attach(ch.name, readonly=True) as tap:
        arrive(ch, [b"seen"])
        with tap.loan_many(timeout=20) as loan:
            assert bytes(loan[0].data) == b"seen"


def test_a_packet_that_had_left_the_ring_comes_first(loop):
    ch = loop()
    arrive(ch, [b"long", b"b"])
    with pytest.raises(shmring.errors.PayloadTooLarge):
        ch.recv_into(bytearray(1))
    with ch.loan_many() as loan:
        assert [bytes(p.data) for p in loan] == [b"long"]
        assert loan.overwritten == 0
    with ch.loan_many() as loan:
        assert [bytes(p.data) for p in loan] == [b"b"]


def test_a_loan_outlives_its_end(loop):
    ch = loop()
    other = shmring.attach(ch.name)
    arrive(ch, [b"kept"])
    with other.loan_many(timeout=20) as loan:
        view = loan[0].data
        other.close()
        ch.close()
        assert bytes(view) == b"kept"
    with pytest.raises(shmring.ChannelClosed):
        other.loan_many()


def test_a_loan_cannot_be_pickled(loop):
    ch = loop()
    arrive(ch, [b"x"])
    with ch.loan_many() as loan, pytest.raises(TypeError, match="use recv_many"):
        pickle.dumps(loan)


def test_a_waiting_loan_is_woken(loop):
    ch = loop()
    threading.Timer(0.05, lambda: ch.send(b"x", to=ch.home)).start()
    with ch.loan_many(timeout=20) as loan:
        assert bytes(loan[0].data) == b"x"
