"""rtpsynth.RtpProc: one thread that calls functions at the times they ask for."""

import contextlib
import gc
import itertools
import random
import sys
import threading
import time
import traceback
import weakref

import pytest
from kit.calls import raises
from kit.waiting import until

from rtpsynth.RtpProc import ChannelProcError, RtpProc, RtpProcChannel

MS = 1_000_000
FAR_NS = 3600 * 10**9
TIMEOUT_S = 30


@pytest.fixture(autouse=True)
def nobody_refers_to_an_earlier_one():
    """Tracebacks of the test before hold its frames."""
    gc.collect()


@pytest.fixture
def proc():
    made = RtpProc()
    yield made
    made.shutdown()


class Recorder:
    """A callback that returns what it is given, one result after the other; then None."""

    def __init__(self, *results):
        self.results = list(results)
        self.calls = []
        self.done = threading.Event()

    def __call__(self, now_ns, deadline_ns):
        self.calls.append((now_ns, deadline_ns, threading.get_ident()))
        if not self.results:
            self.done.set()
            return None
        result = self.results.pop(0)
        return result(now_ns) if callable(result) else result

    @property
    def deadlines(self):
        return [deadline for _, deadline, _ in self.calls]

    def finished(self):
        assert self.done.wait(TIMEOUT_S)
        return self


# --- one object


def test_there_is_one_while_anybody_refers_to_it(proc):
    assert RtpProc() is proc
    channel = proc.create_channel(Recorder())
    assert channel.id == 1
    assert RtpProc() is proc


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((1,), {}, "RtpProc() takes at most 0 arguments (1 given)"),
        ((), {"a": 1}, "RtpProc() takes at most 0 keyword arguments (1 given)"),
    ],
)
def test_it_takes_no_arguments(args, kwargs, message):
    with raises(TypeError, message):
        RtpProc(*args, **kwargs)


def test_the_next_one_counts_from_1_again():
    first = RtpProc()
    ids = [first.create_channel(Recorder()).id for _ in range(3)]
    del first
    second = RtpProc()
    assert [*ids, second.create_channel(Recorder()).id] == [1, 2, 3, 1]
    second.shutdown()


def test_a_channel_keeps_it():
    recorder = Recorder(lambda now: now + 50 * MS)
    channel = RtpProc().create_channel(recorder)
    recorder.finished()
    proc = RtpProc()
    assert proc.create_channel(Recorder()).id == 2
    channel.close()
    proc.shutdown()


def test_the_last_reference_stops_it():
    calls = []

    def forever(now, deadline):
        calls.append(now)
        return now

    channel = RtpProc().create_channel(forever)
    until(lambda: len(calls) > 10)
    threads = [thread for thread in threading.enumerate() if thread.name == "RtpProc"]
    del channel
    count = len(calls)
    for thread in threads:
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()
    assert len(calls) <= count + 1


def test_after_shutdown_the_dead_one_is_returned():
    proc = RtpProc()
    proc.shutdown()
    assert RtpProc() is proc
    with raises(RuntimeError, "RtpProc is shutting down"):
        proc.create_channel(Recorder())
    del proc
    fresh = RtpProc()
    fresh.create_channel(Recorder())
    fresh.shutdown()


def test_a_thread_that_cannot_be_started(monkeypatch):
    def fail(self):
        raise RuntimeError("no more threads")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with raises(RuntimeError, "no more threads"):
            RtpProc()
    proc = RtpProc()
    assert proc.create_channel(Recorder()).id == 1
    proc.shutdown()


# --- creating


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "create_channel() missing required argument 'proc_in' (pos 1)"),
        ((print, 1), {}, "create_channel() takes at most 1 argument (2 given)"),
        ((), {"callback": print}, "create_channel() missing required argument 'proc_in' (pos 1)"),
        ((None,), {}, "proc_in must be callable"),
        ((), {"proc_in": 5}, "proc_in must be callable"),
    ],
)
def test_errors_of_create_channel(proc, args, kwargs, message):
    with raises(TypeError, message):
        proc.create_channel(*args, **kwargs)


def test_the_first_call_has_returned_and_was_the_workers(proc):
    recorder = Recorder()
    before = time.monotonic_ns()
    channel = proc.create_channel(proc_in=recorder)
    after = time.monotonic_ns()
    ((now, deadline, ident),) = recorder.calls
    assert type(channel) is RtpProcChannel
    assert type(now) is type(deadline) is int
    assert (before <= now <= after, deadline) == (True, 0)
    assert ident != threading.get_ident()


def test_channels_are_not_made_directly():
    for make in (RtpProcChannel, lambda: RtpProcChannel.__new__(RtpProcChannel)):
        with raises(TypeError, "RtpProcChannel objects are created by RtpProc.create_channel()"):
            make()


@pytest.mark.parametrize("name", ["id", "closed"])
def test_attributes_are_read_only(proc, name):
    channel = proc.create_channel(Recorder())
    with raises(AttributeError, f"attribute '{name}' of 'rtpsynth.RtpProc.RtpProcChannel' objects "
                "is not writable"):  # fmt: skip
        setattr(channel, name, 1)
    assert not gc.is_tracked(channel)
    assert not gc.is_tracked(proc)


# --- calling


def test_calls_come_at_the_times_asked_for(proc):
    steps = [lambda now: now + 2 * MS] * 20
    recorder = Recorder(*steps)
    channel = proc.create_channel(recorder)
    recorder.finished()
    asked = [now + 2 * MS for now, _, _ in recorder.calls[:-1]]
    assert recorder.deadlines == [0, *asked]
    assert all(now >= deadline for now, deadline, _ in recorder.calls)
    assert len({ident for _, _, ident in recorder.calls}) == 1
    channel.close()


def test_now_never_decreases(proc):
    seen = []

    def tick(now, deadline):
        seen.append(now)
        return now + 100_000 if len(seen) < 500 else None

    channels = [proc.create_channel(tick) for _ in range(5)]
    until(lambda: len(seen) >= 500)
    assert seen == sorted(seen)
    for channel in channels:
        channel.close()


@pytest.mark.parametrize("past", [0, 5, True])
def test_a_past_time_counts_as_now_after_the_first_call_only(proc, past):
    recorder = Recorder(past, past, past)
    proc.create_channel(recorder)
    recorder.finished()
    assert recorder.deadlines == [0, recorder.calls[0][0], int(past), int(past)]
    assert all(type(deadline) is int for deadline in recorder.deadlines)


def test_equal_times_run_in_the_order_they_were_scheduled(proc):
    order = []
    start = time.monotonic_ns() + 500 * MS  # when all of them have been created

    def member(number):
        def call(now, deadline):
            order.append(number)
            return start if deadline == 0 else start + 20 * MS if deadline == start else None

        return call

    channels = [proc.create_channel(member(number)) for number in range(20)]
    until(lambda: len(order) == 60)
    assert order == [*range(20)] * 3
    for channel in channels:
        channel.close()


@pytest.mark.check
def test_any_order_of_deadlines(proc):
    seed = 11
    draw = random.Random(seed)
    start = time.monotonic_ns() + 2000 * MS
    ran = []

    def member(number, due):
        def call(now, deadline):
            if deadline == 0:
                return due
            ran.append((deadline, number))
            return None

        return call

    plan = [start + draw.randrange(30) * MS for _ in range(300)]
    channels = [proc.create_channel(member(number, due)) for number, due in enumerate(plan)]
    closed = draw.sample(range(300), 150)
    for number in closed:
        channels[number].close()
    assert time.monotonic_ns() < start, "this machine is too slow for this test"
    until(lambda: len(ran) == 150)
    expected = sorted((due, number) for number, due in enumerate(plan) if number not in closed)
    assert ran == expected, f"seed {seed}"


def test_the_far_future_is_never(proc):
    recorder = Recorder(2**64 - 1)
    channel = proc.create_channel(recorder)
    time.sleep(0.02)
    assert recorder.deadlines == [0]
    channel.close()


def test_none_ends_the_calls_and_nothing_else(proc):
    recorder = Recorder()
    channel = proc.create_channel(recorder)
    time.sleep(0.02)
    assert (len(recorder.calls), channel.closed) == (1, False)
    assert channel.close() is None
    assert channel.closed


# --- failing


@pytest.mark.parametrize(
    ("result", "kind", "message"),
    [
        (-1, OverflowError, "can't convert negative int to unsigned"),
        (2**64, OverflowError, "int too big to convert"),
        (1.5, TypeError, "an integer is required"),
        ("x", TypeError, "an integer is required"),
        (b"", TypeError, "an integer is required"),
    ],
)
def test_what_is_no_time_is_kept_as_an_exception(proc, result, kind, message):
    recorder = Recorder(result)
    channel = proc.create_channel(recorder)
    assert not channel.closed
    with raises(ChannelProcError, "channel processing callback failed") as caught:
        channel.close()
    assert (type(caught.value.__cause__), str(caught.value.__cause__)) == (kind, message)
    assert channel.closed
    assert len(recorder.calls) == 1
    with raises(RuntimeError, "channel is already closed"):
        channel.close()


@pytest.mark.parametrize("kind", [ZeroDivisionError, SystemExit, KeyboardInterrupt, BaseException])
@pytest.mark.parametrize("after", [0, 1])
def test_what_a_callback_raises_is_the_cause(proc, kind, after):
    error = kind("broken")

    def fail(now):
        raise error

    recorder = Recorder(*[lambda now: now] * after, fail)
    channel = proc.create_channel(recorder)
    until(lambda: len(recorder.calls) == after + 1 and not recorder.results)
    with pytest.raises(ChannelProcError) as caught:
        channel.close()
    assert caught.value.__cause__ is error
    assert traceback.extract_tb(error.__traceback__)[-1].name == "fail"
    assert issubclass(ChannelProcError, RuntimeError)
    assert ChannelProcError.__module__ == "rtpsynth.RtpProc"


def test_one_that_fails_does_not_disturb_the_others(proc):
    recorder = Recorder(*[lambda now: now + MS] * 20)
    other = proc.create_channel(recorder)
    channels = [proc.create_channel(lambda: None) for _ in range(5)]
    recorder.finished()
    other.close()
    for channel in channels:
        with pytest.raises(ChannelProcError):
            channel.close()


# --- closing


def test_nothing_is_called_after_close(proc):
    calls = []

    def tick(now, deadline):
        calls.append(now)
        return now

    for _ in range(30):
        channel = proc.create_channel(tick)
        time.sleep(random.random() / 1000)
        channel.close()
        count = len(calls)
        time.sleep(0.001)
        assert len(calls) == count


def test_close_waits_for_a_callback_that_runs(proc):
    entered, finished = threading.Event(), []

    def slow(now, deadline):
        if deadline:
            entered.set()
            time.sleep(0.05)
            finished.append(now)
            return now + FAR_NS
        return now

    channel = proc.create_channel(slow)
    assert entered.wait(TIMEOUT_S)
    channel.close()
    assert len(finished) == 1


def test_close_raises_what_happens_while_it_waits(proc):
    entered = threading.Event()

    def slow(now, deadline):
        if deadline:
            entered.set()
            time.sleep(0.05)
            raise ZeroDivisionError
        return now

    channel = proc.create_channel(slow)
    assert entered.wait(TIMEOUT_S)
    with pytest.raises(ChannelProcError) as caught:
        channel.close()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_errors_of_close_and_shutdown(proc):
    channel = proc.create_channel(Recorder())
    with raises(TypeError, "close() takes exactly 0 arguments (1 given)"):
        channel.close(1)
    with raises(TypeError, "shutdown() takes exactly 0 arguments (1 given)"):
        proc.shutdown(1)
    channel.close()
    for _ in range(2):
        with raises(RuntimeError, "channel is already closed"):
            channel.close()


def test_forgetting_a_channel_stops_it(proc):
    calls = []

    def tick(now, deadline):
        calls.append(now)
        return now + MS

    channel = proc.create_channel(tick)
    until(lambda: len(calls) > 2)
    del channel
    time.sleep(0.01)
    count = len(calls)
    time.sleep(0.1)
    assert len(calls) <= count + 1  # one may have been under way


# --- shutting down


def test_shutdown_ends_everything():
    proc = RtpProc()
    calls = []

    def tick(now, deadline):
        calls.append(now)
        return now

    def fail(now, deadline):
        raise ZeroDivisionError

    running, failed, far = map(
        proc.create_channel, (tick, fail, Recorder(lambda now: now + FAR_NS))
    )
    thread = next(thread for thread in threading.enumerate() if thread.name == "RtpProc")
    assert proc.shutdown() is None
    assert not thread.is_alive()
    count = len(calls)
    time.sleep(0.01)
    assert len(calls) == count
    for channel in (running, failed, far):
        assert not channel.closed
        assert channel.close() is None
        assert channel.closed
        with raises(RuntimeError, "channel is already closed"):
            channel.close()
    assert proc.shutdown() is None


def test_shutdown_waits_for_the_callback_that_runs():
    proc = RtpProc()
    entered, finished = threading.Event(), []

    def slow(now, deadline):
        if deadline:
            entered.set()
            time.sleep(0.05)
            finished.append(now)
        return now

    channel = proc.create_channel(slow)
    assert entered.wait(TIMEOUT_S)
    proc.shutdown()
    assert len(finished) == 1
    channel.close()


def test_a_create_that_waits_when_it_is_shut_down():
    proc = RtpProc()
    go_on, entered, outcome = threading.Event(), threading.Event(), []

    def slow(now, deadline):
        if deadline:
            entered.set()
            go_on.wait(TIMEOUT_S)
        return now

    channel = proc.create_channel(slow)
    assert entered.wait(TIMEOUT_S)

    def create():
        try:
            proc.create_channel(Recorder())
        except RuntimeError as error:
            outcome.append(str(error))

    creator = threading.Thread(target=create)
    creator.start()
    time.sleep(0.02)
    stopper = threading.Thread(target=proc.shutdown)
    stopper.start()
    creator.join(TIMEOUT_S)
    assert outcome == ["RtpProc is shutting down"]
    go_on.set()
    stopper.join(TIMEOUT_S)
    assert not stopper.is_alive()
    channel.close()


# --- from within callbacks


def in_callback(proc, action):
    """Run something once in a callback, not the first; return its result."""
    bound, outcome = threading.Event(), []

    def call(now, deadline):
        if deadline == 0:
            return now
        bound.wait(TIMEOUT_S)
        try:
            outcome.append(action(channel))
        except BaseException as error:
            outcome.append(error)
        return None

    channel = proc.create_channel(call)
    bound.set()
    until(lambda: outcome)
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return channel, outcome[0]


def test_create_in_a_callback_runs_the_new_one_at_once(proc):
    recorder = Recorder(lambda now: now + MS)

    def create(_):
        created = proc.create_channel(recorder)
        return created, len(recorder.calls)

    _, (created, calls) = in_callback(proc, create)
    assert calls == 1
    recorder.finished()
    assert len({ident for _, _, ident in recorder.calls}) == 1
    created.close()


def test_create_in_a_first_call(proc):
    inner = []

    def outer(now, deadline):
        inner.append(proc.create_channel(Recorder()))

    proc.create_channel(outer)
    assert inner[0].id == 2


def test_close_another_in_a_callback(proc):
    recorder = Recorder(lambda now: now + FAR_NS)
    other = proc.create_channel(recorder)
    _, closed = in_callback(proc, lambda _: (other.close(), other.closed))
    assert closed == (None, True)
    failed = proc.create_channel(lambda: None)
    with pytest.raises(ChannelProcError):
        in_callback(proc, lambda _: failed.close())


def test_close_oneself_in_a_callback(proc):
    bound, calls = threading.Event(), []

    def call(now, deadline):
        calls.append(now)
        if deadline:
            bound.wait(TIMEOUT_S)
            channel.close()
        return now + MS

    channel = proc.create_channel(call)
    bound.set()
    until(lambda: channel.closed)
    time.sleep(0.01)
    assert len(calls) == 2


def test_what_is_raised_after_closing_oneself_is_reported(proc, monkeypatch):
    bound, reported = threading.Event(), []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: reported.append(args.exc_type))

    def call(now, deadline):
        if deadline:
            bound.wait(TIMEOUT_S)
            channel.close()
            raise ZeroDivisionError
        return now

    channel = proc.create_channel(call)
    bound.set()
    until(lambda: reported)
    assert reported == [ZeroDivisionError]


def test_shutdown_in_a_callback():
    proc = RtpProc()
    recorder = Recorder(lambda now: now + 5 * MS)
    other = proc.create_channel(recorder)
    thread = next(thread for thread in threading.enumerate() if thread.name == "RtpProc")
    channel, result = in_callback(proc, lambda _: proc.shutdown())
    assert result is None
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    assert len(recorder.calls) <= 2
    with raises(RuntimeError, "RtpProc is shutting down"):
        proc.create_channel(Recorder())
    proc.shutdown()
    channel.close()
    other.close()


def test_the_last_reference_may_be_dropped_in_a_callback():
    bound, held, after = threading.Event(), {}, threading.Event()

    def call(now, deadline):
        if deadline:
            bound.wait(TIMEOUT_S)
            held.clear()
            after.set()
        return now + MS

    held["channel"] = RtpProc().create_channel(call)
    thread = next(thread for thread in threading.enumerate() if thread.name == "RtpProc")
    bound.set()
    assert after.wait(TIMEOUT_S)
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    fresh = RtpProc()
    assert fresh.create_channel(Recorder()).id == 1
    fresh.shutdown()


# --- many at once


def test_many_threads_create_and_close(proc):
    errors = []
    total = itertools.count()

    def work():
        try:
            for _ in range(50):
                recorder = Recorder(lambda now: now + random.randrange(2 * MS))
                channel = proc.create_channel(recorder)
                assert recorder.calls
                if random.random() < 0.5:
                    recorder.finished()
                channel.close()
                next(total)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert not errors
    assert next(total) == 400


# `min` stays in C: nothing in it ever gives up the interpreter's lock.
@pytest.mark.parametrize("endless", [lambda now, deadline: 1, min], ids=["python", "c"])
def test_one_that_always_asks_for_the_past_starves_nobody(endless):
    proc = RtpProc()
    channel = proc.create_channel(endless)
    recorder = Recorder(*[lambda now: now + MS] * 10)
    other = proc.create_channel(recorder)
    recorder.finished()
    other.close()
    channel.close()
    channel = proc.create_channel(endless)
    proc.shutdown()
    channel.close()


@pytest.mark.check
def test_random_commands_from_everywhere(monkeypatch):
    # Where some close themselves, and then fail.
    monkeypatch.setattr(sys, "unraisablehook", lambda args: None)
    seed = 5
    proc = RtpProc()
    end = time.monotonic() + 1.5
    draw = random.Random(seed)
    channels, wrong = [], []

    def command():
        choice = draw.randrange(5)
        if choice < 2 and len(channels) < 50:
            channels.append(proc.create_channel(call))
        elif channels and choice < 4:
            with contextlib.suppress(ChannelProcError, IndexError):
                channels.pop(draw.randrange(len(channels))).close()
        elif channels:
            del channels[: draw.randrange(3)]

    def call(now, deadline):
        if draw.random() < 0.05:
            command()
        if draw.random() < 0.05:
            raise ZeroDivisionError
        return now + draw.choice([0, 0, 1000, 100_000, 3 * MS])

    def work():
        try:
            while time.monotonic() < end:
                command()
        except (RuntimeError, ValueError) as error:
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()
    assert not wrong, f"seed {seed}"
    proc.shutdown()
    for channel in channels:
        channel.close()


# --- letting go


class Owner:
    def __call__(self, now, deadline):
        return now + FAR_NS


@pytest.mark.parametrize("how", ["close", "del", "shutdown", "drop all"])
def test_callbacks_are_let_go_of(how):
    proc = RtpProc()
    owner = Owner()
    gone = weakref.ref(owner)
    channel = proc.create_channel(owner)
    del owner
    assert gone() is not None
    if how == "close":
        channel.close()
    elif how == "shutdown":
        proc.shutdown()
    else:
        if how == "drop all":
            del proc
        del channel
    assert gone() is None


@pytest.mark.check
def test_kept_exceptions_are_let_go_of():
    class Marked(Exception):
        pass

    def fail(now, deadline):
        raise Marked

    def marked():
        gc.collect()
        return sum(isinstance(thing, Marked) for thing in gc.get_objects())

    proc = RtpProc()
    channel = proc.create_channel(fail)
    other = proc.create_channel(fail)
    assert marked() == 2
    del other
    assert marked() == 1
    proc.shutdown()
    assert marked() == 0
    channel.close()


def test_a_cycle_lasts_until_it_is_closed():
    owner = Owner()
    gone = weakref.ref(owner)
    proc = RtpProc()
    owner.channel = proc.create_channel(owner)
    del owner
    gc.collect()
    assert gone() is not None
    proc.shutdown()
    gc.collect()
    assert gone() is None
