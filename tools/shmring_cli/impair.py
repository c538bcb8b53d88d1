"""Stand between UDP programs as a bad network: loss, delay, a rate limit, both ways.

With --to the command is a proxy: clients send to WHERE instead of to the server, and their
datagrams reach it over an impaired path. Each client has an address of its own at the server,
so replies come back, over a path for the other direction. All clients share the two paths.
Ctrl-C ends the proxy and shows what it counted.

Without --to it changes a proxy that runs, by its name, or shows it. What is not named stays
as it is.

WORDS are for both directions. After forward (from clients to the server) or backward they are
for one: loss=1% delay=20ms backward down. Words are loss=SHARE (1% or 0.01), burst-loss=SHARE/N
(in bursts of N on average, default 4), duplicate=SHARE, corrupt=SHARE, reorder=SHARE/TIME (held
back, so that others overtake them), delay=TIME, jitter=TIME (even over delay - jitter to delay +
jitter, keeps the order), rate=RATE (bits a second of payload), queue=SIZE (payload that may wait
for the rate, default 50 ms of it), seed=N (the same seed loses the same datagrams; backward has
the next one), down (loses everything), up, clear (ends all impairments).

--at changes the proxy at a time since the start, to the millisecond. With one word it is a file
of such lines:
  10s    loss=5%,delay=50ms
  20s    forward down
  20.5s  forward up

examples:
  shmring impair :5004 --to 10.0.0.7:5004 loss=1% delay=20ms jitter=5ms
  shmring impair :5004 --to 10.0.0.7:5004 rate=10M,queue=64k --name link
  shmring impair 127.0.0.1:0 --to 127.0.0.1:5004 seed=7 forward burst-loss=5%/4
  shmring impair link loss=10%               change it from another shell
  shmring impair link backward down
  shmring impair link forward clear
  shmring impair link                        show it
  shmring impair :5004 --to 10.0.0.7:5004 --at 10s down --at 12s up --at 20s --loop
  shmring impair :5004 --to 10.0.0.7:5004 --at night.txt --duration 5m --json
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import time
from collections.abc import Iterator
from typing import Any

import shmring
from rtworkers import units
from shmring.proxy import Timetable, change, text_of
from shmring.proxy.timetable import apply
from shmring.udt import connecting
from shmring_cli import options, realtime
from shmring_cli.common import FAILED, FINE, USAGE, describe
from shmring_cli.ending import Told
from shmring_cli.output import NS_PER_S, Progress, address_text, json_line, quantity
from shmring_cli.report import Head

TICK_S = 0.2
WINDOW_S = 2.0
_WAYS = ("forward", "backward")
_PATHS = {"forward": "impair_tx", "backward": "impair_rx"}
_FLOWS = 4096
_IDLE_S = 60.0


_OPENING_ONLY: dict[str, tuple[str, Any]] = {
    "at": ("--at", []),
    "loop": ("--loop", False),
    "duration": ("--duration", None),
    "name": ("--name", None),
    "flows": ("--flows", (_FLOWS, _IDLE_S)),
    "gso": ("--socket", True),
    "pool": ("--pool", None),
    "cpu": ("--worker", None),
    "profile": ("--worker", "balanced"),
}
"""Arguments that only a new proxy has: their option, and what they are without it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "where",
        metavar="WHERE",
        help="[ADDR]:PORT to listen on; without --to the name of a proxy, or NAMESPACE/name",
    )
    parser.add_argument(
        "words", metavar="WORDS", nargs="*", help="loss=1%% delay=20ms backward down"
    )
    parser.add_argument("--to", metavar="HOST:PORT", help="the server")
    parser.add_argument(
        "--at",
        nargs="+",
        action="append",
        default=[],
        metavar=("TIME|FILE", "WORDS"),
        help="a change at this time: --at 10s loss=5%%; may be repeated. Or a file of such lines",
    )
    parser.add_argument("--loop", action="store_true", help="begin again after the last change")
    options.add_duration(parser, "end after this time (default: Ctrl-C)")
    options.add_placed(
        parser, "--name", "NAME", "of the channel, or NAMESPACE/NAME (default impair-PORT)"
    )
    parser.add_argument(
        "--flows",
        type=_flows,
        default=(_FLOWS, _IDLE_S),
        metavar="N[/TIME]",
        help=f"clients at a time, and after which silence the flow of one ends (default {_FLOWS}"
        f"/{_IDLE_S:.0f}s)",
    )
    options.add_socket(parser)
    options.add_pool(parser)
    options.add_worker(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    try:
        if arguments.to is None:
            _check_opening_only(arguments)
            return _act(arguments)
        return _serve(arguments, _Plan(arguments))
    except (shmring.errors.BadConfig, shmring.errors.BadAddress) as error:
        print(f"shmring impair: {describe(error)}", file=sys.stderr)
        return USAGE


def _check_opening_only(arguments: argparse.Namespace) -> None:
    if ":" in arguments.where:
        raise shmring.errors.BadConfig(
            f"{arguments.where!r} is an address: give the server, too, as in --to 10.0.0.7:5004"
        )
    for name, (option, otherwise) in _OPENING_ONLY.items():
        if getattr(arguments, name) != otherwise:
            raise shmring.errors.BadConfig(
                f"{option} is for a new proxy: give --to, or leave it out to change "
                f"{arguments.where!r}"
            )


def _changed(words: list[str], way: str, now: shmring.Impairment) -> shmring.Impairment:
    """Return `now` with what the words say of this way."""
    of: tuple[str, ...] = _WAYS
    for word in words:
        if word in _WAYS:
            of = (word,)
        elif way in of:
            now = change(word, now)
            if way == "backward" and of == _WAYS and "seed" in word:
                now = dataclasses.replace(now, seed=now.seed + 1)
    return now


# --- a proxy that runs ----------------------------------------------------------------------------


def _act(arguments: argparse.Namespace) -> int:
    """Change or show a proxy by its name."""
    space, slash, name = arguments.where.rpartition("/")
    ch = shmring.attach(name, namespace=space if slash else arguments.namespace)
    if not isinstance(ch, shmring.proxy.Channel):
        raise shmring.errors.BadConfig(f"channel {name!r} is no proxy: see shmring ls")
    with contextlib.closing(ch):
        wanted = {way: _changed(arguments.words, way, getattr(ch, way)) for way in _WAYS}
        changes = {way: one for way, one in wanted.items() if one != getattr(ch, way)}
        ch.set(**changes)
        if arguments.json:
            json_line(_head(ch.stats(), None).document(_facts(ch), []))
        else:
            _tell(ch, ch.stats(), None)
    return FINE


# --- serving --------------------------------------------------------------------------------------


class _Plan:
    """What the command line asks of a new proxy."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.local = _local(arguments.where)
        self.to = _server(arguments.to)
        self.ways = {
            way: _changed(arguments.words, way, shmring.Impairment(seed=number))
            for number, way in enumerate(_WAYS)
        }
        self.flows, idle_s = arguments.flows
        self.idle_ns = round(idle_s * NS_PER_S)
        self.duration_ns = (
            None if arguments.duration is None else round(arguments.duration * NS_PER_S)
        )
        self.times = _times(arguments.at, loop=arguments.loop)


def _times(at: list[list[str]], *, loop: bool) -> Timetable:
    files = [one[0] for one in at if len(one) == 1 and not _is_time(one[0])]
    if not files:
        return Timetable([" ".join(one) for one in at], loop=loop)
    if len(at) > 1:
        raise shmring.errors.BadConfig(f"--at {files[0]} is a file: put all changes into it")
    return Timetable.read(files[0], loop=loop)


def _is_time(text: str) -> bool:
    try:
        units.seconds(text)
    except ValueError:
        return False
    return True


def _serve(arguments: argparse.Namespace, plan: _Plan) -> int:
    engine = shmring.Proxy(
        flows=plan.flows,
        idle_ns=plan.idle_ns,
        socket=shmring.Socket(gso=arguments.gso),
    )
    name = arguments.name or f"impair-{plan.local[1] or plan.to[1]}"
    with contextlib.ExitStack() as stack:
        lacking = stack.enter_context(realtime.shown("shmring impair"))
        pool = stack.enter_context(_pool(arguments))
        ch = stack.enter_context(
            shmring.open(
                name,
                engine,
                pool=pool,
                namespace=arguments.namespace if isinstance(pool, str) else None,
                local=plan.local,
                remote=plan.to,
                impair=plan.ways["forward"],
                impair_rx=plan.ways["backward"],
            )
        )
        if not arguments.json:
            _greet(ch)
        seconds = _watch(ch, plan, arguments.told, show=not arguments.json)
        stats = ch.stats()
        if arguments.json:
            json_line(_head(stats, seconds).document(_facts(ch), lacking))
        else:
            _tell(ch, stats, seconds)
    return FINE if stats.state != "failed" else FAILED


def _greet(ch: shmring.proxy.Channel) -> None:
    print(f"{address_text(ch.local)} -> {address_text(ch.to)}, proxy {ch.name!r}")
    for way in _WAYS:
        print(f"{way:<9} {text_of(getattr(ch, way))}")
    sys.stdout.flush()


def _pool(arguments: argparse.Namespace) -> contextlib.AbstractContextManager[Any]:
    if arguments.pool is not None:
        return contextlib.nullcontext(arguments.pool)
    return shmring.Pool(
        cpus=None if arguments.cpu is None else [arguments.cpu],
        profile=arguments.profile,
        namespace=arguments.namespace,
    )


def _watch(ch: shmring.proxy.Channel, plan: _Plan, told: Told, *, show: bool) -> float:
    """Make the changes of the timetable and show the counters until the end. Return seconds."""
    begin_ns = time.monotonic_ns()
    meter = _Meter(ch, show=show)
    schedule = plan.times.schedule()
    following = next(schedule, None)
    while not told and ch.state != "failed":
        passed_ns = time.monotonic_ns() - begin_ns
        if plan.duration_ns is not None and passed_ns >= plan.duration_ns:
            break
        if following is not None and passed_ns >= following[0]:
            apply(ch, following[1])
            following = next(schedule, None)
            continue
        ends_ns = [passed_ns + int(TICK_S * NS_PER_S)]
        ends_ns += [plan.duration_ns] if plan.duration_ns is not None else []
        ends_ns += [following[0]] if following is not None else []
        meter.update()
        told.wait(max(0, min(ends_ns) - (time.monotonic_ns() - begin_ns)) / NS_PER_S)
    meter.done()
    return (time.monotonic_ns() - begin_ns) / NS_PER_S


class _Meter:
    """The line of live counters."""

    def __init__(self, ch: shmring.proxy.Channel, *, show: bool) -> None:
        self._ch = ch
        self._line = Progress(ch.name, show=show, width=0)
        self._seen: list[tuple[float, shmring.proxy.Stats]] = []

    def update(self) -> None:
        now, stats = time.monotonic(), self._ch.proxy_stats()
        self._seen.append((now, stats))
        while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW_S:
            self._seen.pop(0)
        then, before = self._seen[0]
        parts = [f"{stats.flows} flow{'' if stats.flows == 1 else 's'}"]
        for way in _WAYS:
            came = getattr(stats, f"{way}_received") - getattr(before, f"{way}_received")
            rate = quantity(came / (now - then), "pps") if now > then else "0 pps"
            waiting = getattr(stats, f"{way}_waiting")
            parts.append(f"{way} {rate}" + (f" ({waiting} on the way)" if waiting else ""))
        self._line.update(0.0, ", ".join(parts))

    def done(self) -> None:
        self._line.clear()


# --- counts ---------------------------------------------------------------------------------------


def _counts(stats: shmring.stats.ChannelStats[shmring.proxy.Stats], way: str) -> dict[str, int]:
    """Return what became of the datagrams of one way."""
    path, proxy = _PATHS[way], stats.engine
    lost = ("lost", "burst_lost", "queue_dropped", "duplicated", "reordered", "corrupted")
    own = ("received", "sent", "refused", "lost_takeover", "waiting")
    counts = {name: int(getattr(proxy, f"{way}_{name}")) for name in own}
    counts |= {name: int(getattr(stats, f"{path}_{name}")) for name in lost}
    return counts | ({"no_flow": proxy.forward_no_flow} if way == "forward" else {})


def _facts(ch: shmring.proxy.Channel) -> dict[str, Any]:
    stats = ch.stats()
    facts: dict[str, Any] = {
        "name": ch.name,
        "namespace": ch.namespace,
        "local": ch.local,
        "to": ch.to,
        "state": stats.state,
        "flows": {
            "open": stats.engine.flows,
            "opened": stats.engine.flows_opened,
            "idle": stats.engine.flows_idle,
            "displaced": stats.engine.flows_displaced,
            "lost": stats.engine.flows_lost,
        },
        "unreachable": stats.engine.unreachable,
        "kernel_drops": stats.rx_kernel_drops,
    }
    for way in _WAYS:
        impairment = dataclasses.asdict(getattr(ch, way))
        facts[way] = {"impairment": impairment, **_counts(stats, way)}
    return facts


_LABELS = {
    "lost": "lost",
    "burst_lost": "lost in bursts",
    "queue_dropped": "dropped by the queue",
    "duplicated": "duplicated",
    "reordered": "held back",
    "corrupted": "corrupted",
    "refused": "refused by the kernel",
    "lost_takeover": "lost with a worker",
    "no_flow": "without a flow",
    "waiting": "on the way",
}


def _head(stats: shmring.stats.ChannelStats[shmring.proxy.Stats], seconds: float | None) -> Head:
    passed = sum(getattr(stats.engine, f"{way}_sent") for way in _WAYS)
    return Head("impair", passed, "passed on", seconds, stats.lateness)


def _tell(
    ch: shmring.proxy.Channel,
    stats: shmring.stats.ChannelStats[shmring.proxy.Stats],
    seconds: float | None,
) -> None:
    for line in _head(stats, seconds).lines():
        print(line)
    for way in _WAYS:
        counts = _counts(stats, way)
        parts = [f"{counts['received']} received, {counts['sent']} sent"]
        parts += [f"{counts[name]} {label}" for name, label in _LABELS.items() if counts.get(name)]
        print(f"{way + ':':<10} {text_of(getattr(ch, way))}: {', '.join(parts)}")
    proxy = stats.engine
    print(f"flows:     {proxy.flows} open, {proxy.flows_opened} opened")
    for line in _notes(stats):
        print(line)


def _notes(stats: shmring.stats.ChannelStats[shmring.proxy.Stats]) -> Iterator[str]:
    proxy = stats.engine
    if proxy.forward_no_flow:
        yield "some clients got no flow: allow more, or end idle ones sooner: --flows N/TIME"
    if proxy.flows_displaced:
        yield f"all flows were in use: {proxy.flows_displaced} ended for new clients, --flows"
    if stats.rx_kernel_drops:
        yield (
            f"{stats.rx_kernel_drops} datagrams were dropped by the kernel before the proxy read "
            "them, and are not in these counts: a faster core, --worker cpu="
        )
    if proxy.unreachable:
        yield f"the server was unreachable {proxy.unreachable} times: does it run?"
    if proxy.flows_lost:
        yield f"a worker died, and {proxy.flows_lost} flows ended with it"


# --- words ----------------------------------------------------------------------------------------


def _flows(text: str) -> tuple[int, float]:
    number, slash, time = text.partition("/")
    return options.count(number), options.seconds(time) if slash else _IDLE_S


def _local(text: str) -> tuple[str, int]:
    host, port = _split("the address to listen on", text, "[ADDR]:PORT", least=0)
    return host or "0.0.0.0", port


def _server(text: str) -> tuple[str, int]:
    host, port = _split("--to", text, "HOST:PORT or [IPV6]:PORT", least=1)
    try:
        return connecting.resolve((host, port))
    except OSError as error:
        raise shmring.errors.BadConfig(f"--to {text}: {error.strerror}") from None


def _split(what: str, text: str, example: str, *, least: int) -> tuple[str, int]:
    """Return host and port. The host may only be empty if the port may be 0."""
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    good = colon and port.isascii() and port.isdecimal() and least <= int(port) < 65536
    if not good or (not bare and least) or (":" in bare and bare == host):
        raise shmring.errors.BadConfig(
            f"{what} is {text!r}: use {example}, with a port {least} to 65535"
        )
    return bare, int(port)
