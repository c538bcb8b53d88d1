"""Calls every public method of every kind of object from several threads, with absurd arguments.

    python tests/py/system/absurd/storm.py --seed 7 --calls 500000

Only documented exceptions may come out. A crash ends this process, and a call that takes too long
is shown with all stacks.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import faulthandler
import inspect
import itertools
import operator
import os
import random
import resource
import sys
import threading
import time
import traceback
import typing
import warnings
from typing import Any

from kinds import CLOSING, Slot, World, end
from values import ABSURD, WAITS, OwnError, argument

import shmring
from shmring import udt
from shmring._channel_base import ChannelEnd

EXPECTED = (shmring.ShmringError, TypeError, ValueError, BufferError, OwnError)
LONGEST_CALL_S = 60.0
# Beyond what the process needs, so that an absurd size is a MemoryError at once.
MOST_BYTES = 8 << 30
CLOSING_SHARE = 0.01
POOL_SHARE = 0.1
NOT_WAITED_S = 0.002


class Parameters:
    """The parameters of a method, by name."""

    def __init__(self, method: Any) -> None:
        self.is_async = inspect.iscoroutinefunction(method)
        self.required: list[str] = []
        self.optional: list[str] = []
        self.by_name: list[str] = []
        for name, parameter in list(inspect.signature(method).parameters.items())[1:]:
            if parameter.kind is parameter.VAR_KEYWORD:
                (options,) = typing.get_args(parameter.annotation)
                self.by_name += options.__annotations__
            elif parameter.kind is parameter.KEYWORD_ONLY:
                self.by_name.append(name)
            elif parameter.default is parameter.empty:
                self.required.append(name)
            else:
                self.optional.append(name)


_known: dict[Any, Parameters] = {}


def parameters_of(method: Any) -> Parameters:
    """Of a method of an object: `inspect` takes longer than most calls."""
    key = type(method.__self__), method.__name__
    found = _known.get(key)
    if found is None:
        found = _known[key] = Parameters(getattr(*key))
    return found


class Caller:
    """One thread with its own sequence of calls."""

    def __init__(self, world: World, seed: str, calls: int) -> None:
        self.draw = random.Random(seed)
        self.world = world
        self.words = world.words(self.draw)
        self.calls = calls
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.faults: dict[str, str] = {}
        self.now: tuple[float, str, Any, Any] | None = None
        self.done = False
        self.times: collections.Counter[str] = collections.Counter()
        self.thread = threading.Thread(target=self.run, name=f"caller {seed}", daemon=True)

    def run(self) -> None:
        loop = asyncio.new_event_loop()
        while self.outcomes.total() < self.calls:
            slot = self.draw.choice(self.world.slots)
            name = self.draw.choice(slot.methods)
            closes = name.rpartition(".")[2] in CLOSING
            share = CLOSING_SHARE if closes else POOL_SHARE if slot.kind == "pool" else 1
            if self.draw.random() < share:
                self.one(slot, name, loop)
        loop.close()
        self.done = True

    def one(self, slot: Slot, name: str, loop: asyncio.AbstractEventLoop) -> None:
        thing = slot.take(self.draw)
        method = operator.attrgetter(name)(thing)
        parameters = parameters_of(method)
        given, named = (), {}
        try:
            given, named = self.arguments(parameters)
            self.now = time.monotonic(), f"{slot.kind}.{name}", given, named
            if parameters.is_async:
                result = loop.run_until_complete(soon(method(*given, **named)))
            else:
                result = method(*given, **named)
            use(result)
            outcome = "returned"
        except EXPECTED as caught:
            outcome = type(caught).__name__
        except Exception as caught:
            outcome = f"{type(caught).__name__} !"
            text = f"{slot.kind}.{name} {outcome}"
            stack = "".join(traceback.format_exception(caught)[-8:])
            shown = f"{slot.kind}.{name} {shorter(given)} {shorter(named)}\n{stack}"
            self.faults.setdefault(text, shown)
        if self.now:
            self.times[f"{slot.kind}.{name}"] += time.monotonic() - self.now[0]
        self.now = None
        self.outcomes[f"{slot.kind}.{name} {outcome}"] += 1
        if name.rpartition(".")[2] in CLOSING:
            slot.renew(thing)

    def arguments(self, parameters: Parameters) -> tuple[list[Any], dict[str, Any]]:
        draw, words = self.draw, self.words
        given = [argument(name, draw, words) for name in parameters.required]
        named = {
            name: argument(name, draw, words)
            for name in (*parameters.optional, *parameters.by_name)
            if name in WAITS or draw.random() < 0.2
        }
        if draw.random() < 0.01:
            given.append(draw.choice(ABSURD))
        if draw.random() < 0.01:
            named["no_such"] = draw.choice(ABSURD)
        return given, named


async def soon(call: Any) -> Any:
    """Await a call that may wait without a limit."""
    try:
        async with asyncio.timeout(NOT_WAITED_S) as limit:
            return await call
    except TimeoutError:
        if limit.expired():
            return None
        raise


def use(result: Any) -> None:
    """Do with a result what a program does."""
    if isinstance(result, ChannelEnd):
        end(result)
    elif isinstance(result, tuple) and result and isinstance(result[0], udt.UdtSocket):
        result[0].close(linger=0)
    elif hasattr(result, "__exit__"):
        with result as lent:
            list(itertools.islice(lent, 2))
    elif hasattr(result, "__next__"):
        list(itertools.islice(result, 5))


def shorter(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 300 else f"{text[:300]}..."


def watch(callers: list[Caller], world: World) -> None:
    """Wait for all, and end the process with all stacks if one does not return."""
    while any(caller.thread.is_alive() for caller in callers):
        world.keep_moving()
        for caller in callers:
            if (now := caller.now) and time.monotonic() - now[0] > LONGEST_CALL_S:
                print("does not return:", now[1], shorter(now[2]), shorter(now[3]), flush=True)
                faulthandler.dump_traceback(all_threads=True)
                sys.stdout.flush()
                os._exit(3)
        time.sleep(0.02)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(10**9)))
    parser.add_argument("--calls", type=int, default=500_000)
    parser.add_argument("--threads", type=int, default=6)
    parser.add_argument("--table", action="store_true", help="show times and results")
    options = parser.parse_args()
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    warnings.simplefilter("ignore")
    print(f"seed {options.seed}", flush=True)
    with shmring.Pool(policy="other") as pool:
        world = World(pool)
        before = [worker.pid for worker in pool.workers()]
        began = time.monotonic()
        callers = [
            Caller(world, f"{options.seed}-{number}", options.calls // options.threads)
            for number in range(options.threads)
        ]
        for caller in callers:
            caller.thread.start()
        watch(callers, world)
        took = time.monotonic() - began
        after = [worker.pid for worker in pool.workers()]
        assert after == before, "a worker was replaced"
        with pool.open("afterwards", local=("127.0.0.1", 0)) as last:
            last.send(b"x", to=last.local)
            assert last.recv(timeout=20).data == b"x"
        world.close()
    outcomes = sum((caller.outcomes for caller in callers), collections.Counter())
    if options.table:
        for name, seconds in sum((c.times for c in callers), collections.Counter()).most_common(25):
            print(f"{seconds:8.2f} s {name}")
        for outcome, times in sorted(outcomes.items()):
            print(f"{times:8} {outcome}")
    faults = {text: shown for caller in callers for text, shown in caller.faults.items()}
    for text, shown in faults.items():
        print(f"--- {text}\n{shown}")
    assert all(caller.done for caller in callers), "a thread of the test has failed"
    total = sum(outcomes.values())
    returned = sum(times for text, times in outcomes.items() if text.endswith(" returned"))
    print(f"{total} calls in {took:.1f} s, {returned} of them returned, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
