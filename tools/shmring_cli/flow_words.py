"""Flows of generated packets in words: options of a command, or ``pps=1k,size=200,to=:5004``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from shmring import traffic
from shmring_cli import sending

DEFAULT_SECONDS = 10.0

Words = dict[str, Any]


class Ramp(NamedTuple):
    """``1k..100k/10s``"""

    pps: float
    to_pps: float
    seconds: float | None


class Steps(NamedTuple):
    """``1k:5k:10k/2s``"""

    pps: list[float]
    seconds: float | None


class Burst(NamedTuple):
    """``10/1ms/5us``"""

    packets: int
    period_s: float
    spacing_s: float


class OnOff(NamedTuple):
    """``10ms/90ms``"""

    on_s: float
    off_s: float


# --- values ---------------------------------------------------------------------------------------


def _wrong(text: str, what: str, use: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"{text!r} is no {what}: use {use}")


def size(text: str) -> traffic.Sizes:
    """Parse ``200``, ``100-1400``, ``64*7:594*4:1518`` or ``imix``."""
    if text == "imix":
        return "imix"
    try:
        if ":" in text or "*" in text:
            parts = [part.partition("*") for part in text.split(":")]
            return {int(number): int(weight or 1) for number, _, weight in parts}
        least, dash, most = text.partition("-")
        return (int(least), int(most)) if dash else int(least)
    except ValueError:
        raise _wrong(text, "size", "200, 100-1400, 64*7:594*4:1518*1 or imix") from None


def ramp(text: str) -> Ramp:
    """Parse ``1k..100k`` or ``1k..100k/10s``."""
    rates, slash, time = text.partition("/")
    begin, dots, end = rates.partition("..")
    if not (begin and dots and end):
        raise _wrong(text, "ramp", "1k..100k or 1k..100k/10s")
    begin_pps, end_pps = (0.0 if each == "0" else sending.rate(each) for each in (begin, end))
    return Ramp(begin_pps, end_pps, sending.seconds(time) if slash else None)


def steps(text: str) -> Steps:
    """Parse ``1k:5k:10k`` or ``1k:5k:10k/2s``."""
    rates, slash, time = text.partition("/")
    pps = [0.0 if each == "0" else sending.rate(each) for each in rates.split(":")]
    return Steps(pps, sending.seconds(time) if slash else None)


def burst(text: str) -> Burst:
    """Parse ``10/1ms`` or ``10/1ms/5us``."""
    parts = text.split("/")
    if len(parts) not in (2, 3) or not (parts[0].isascii() and parts[0].isdecimal()):
        raise _wrong(text, "burst", "10/1ms (packets/period) or 10/1ms/5us (with spacing)")
    period_s = sending.seconds(parts[1])
    if period_s == 0:
        raise _wrong(text, "burst", "a period above 0, such as 10/1ms")
    return Burst(int(parts[0]), period_s, sending.seconds(parts[2]) if len(parts) == 3 else 0.0)


def on_off(text: str) -> OnOff:
    """Parse ``10ms/90ms``."""
    on, slash, off = text.partition("/")
    if not slash:
        raise _wrong(text, "pair of times", "10ms/90ms: sending/silent")
    return OnOff(sending.seconds(on), sending.seconds(off))


def duration(text: str) -> float:
    """Parse a time, or ``forever``."""
    return math.inf if text == "forever" else sending.seconds(text)


def packets(text: str) -> int:
    """Parse ``1000`` or ``10k``."""
    value = sending.rate(text)
    if value != int(value):
        raise _wrong(text, "number of packets", "1 or more")
    return int(value)


# --- the words ------------------------------------------------------------------------------------


class Word(NamedTuple):
    """One property of a flow."""

    parse: Callable[[str], Any]
    metavar: str
    help: str


WORDS: dict[str, Word] = {
    "pps": Word(sending.rate, "RATE", "packets a second: 1000, 50k, 1.5M (default 1000)"),
    "bps": Word(sending.rate, "RATE", "bits a second with IP and UDP headers: 10M, 1G"),
    "ramp": Word(ramp, "A..B[/TIME]", "from A to B packets a second, over all or this time"),
    "steps": Word(steps, "A:B:..[/TIME]", "A packets a second, then B, each for this time"),
    "burst": Word(burst, "N/PERIOD[/GAP]", "N packets at once in every period, or with gaps"),
    "on-off": Word(on_off, "ON/OFF", "send for ON, be silent for OFF, and so on"),
    "size": Word(size, "BYTES", "payload: 200, 100-1400, 64*7:594*4:1518 or imix (default 200)"),
}
_RATES = frozenset({"pps", "bps", "ramp", "steps", "burst"})
_SWITCHES = {"poisson": True, "imix": True}
_OF_A_FLOW: dict[str, Callable[[str], Any]] = {
    **{name: word.parse for name, word in WORDS.items()},
    "to": sending.destination,
    "after": sending.seconds,
    "seconds": duration,
    "count": packets,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe flows, and how long they last."""
    for name, word in WORDS.items():
        parser.add_argument(f"--{name}", type=word.parse, metavar=word.metavar, help=word.help)
    parser.add_argument(
        "--imix", action="store_true", help="as --size imix: frames of 64, 594, 1518"
    )
    parser.add_argument(
        "--poisson", action="store_true", help="random gaps (exponentially distributed)"
    )
    parser.add_argument(
        "--flow",
        type=words_of,
        action="append",
        default=[],
        metavar="WORDS",
        help="a flow with its own words: pps=1k,size=200,poisson,to=ADDR:PORT,after=1s; may be "
        "repeated. The options above are for flows that do not say it",
    )
    parser.add_argument(
        "--seconds",
        type=duration,
        metavar="TIME",
        help=f"how long: 10, 5m, 2h or forever (default {DEFAULT_SECONDS:g}, or until --count)",
    )
    parser.add_argument("--count", type=packets, metavar="N", help="packets of each flow, at most")


def words_of(text: str) -> Words:
    """Parse the words of a flow: ``pps=1k,size=200,poisson,to=10.0.0.7:5004``."""
    found: Words = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if name in found:
            raise argparse.ArgumentTypeError(f"{name} is there twice in {text!r}: give it once")
        if not equals and name in _SWITCHES:
            found[name] = True
        elif equals and name in _OF_A_FLOW:
            found[name] = _OF_A_FLOW[name](value)
        else:
            known = ", ".join([*(f"{each}=" for each in _OF_A_FLOW), *_SWITCHES])
            raise argparse.ArgumentTypeError(f"{part!r} says nothing of a flow: use {known}")
    return found


def flows(arguments: argparse.Namespace) -> list[traffic.Flow]:
    """Return the flows that the options of `add_arguments` describe. Raises `ValueError`."""
    common: Words = {
        name: value
        for name in (*WORDS, *_SWITCHES)
        if (value := getattr(arguments, name.replace("-", "_"))) is not None
        and value is not False
    }
    if arguments.seconds is None and arguments.count is None:
        common["seconds"] = DEFAULT_SECONDS
    else:
        common["seconds"], common["count"] = arguments.seconds, arguments.count
    return [_flow(_merged(common, words)) for words in arguments.flow or [{}]]


def _merged(common: Words, words: Words) -> Words:
    """The words of a flow, and the common ones that it does not replace."""
    replaced: set[str] = set()
    for group in (_RATES, {"size", "imix"}, {"seconds", "count"}):
        if group & words.keys():
            replaced |= group
    return {**{name: value for name, value in common.items() if name not in replaced}, **words}


def _flow(words: Words) -> traffic.Flow:
    rates = sorted(_RATES & words.keys())
    if len(rates) > 1:
        raise ValueError(f"{' and '.join(rates)}: give one of them")
    if "on-off" in words and not {"pps", "burst"} & words.keys() and rates:
        raise ValueError(f"{rates[0]} and on-off: on-off goes with pps or burst")
    if "size" in words and "imix" in words:
        raise ValueError("size and imix: give one of them")
    how: dict[str, Any] = {"pps": _rate(words)}
    if "bps" in words:
        how["bps"] = words["bps"]
    if "burst" in words:
        how["burst"] = words["burst"].packets
        how["spacing_ns"] = round(words["burst"].spacing_s * 1e9)
    if "size" in words or "imix" in words:
        how["size"] = words.get("size", "imix")
    if "poisson" in words:
        how["pattern"] = "poisson"
    for name, own in (
        ("to", "to"),
        ("after", "after_s"),
        ("seconds", "seconds"),
        ("count", "count"),
    ):
        if name in words:
            how[own] = words[name]
    return traffic.Flow(**how)


def _rate(words: Words) -> float | traffic.Rate:
    if "ramp" in words:
        given: Ramp = words["ramp"]
        return traffic.ramp(given.pps, given.to_pps, _lasts(words, given.seconds, "ramp"))
    if "steps" in words:
        some: Steps = words["steps"]
        each_s = some.seconds
        if each_s is None:
            each_s = _lasts(words, None, "steps") / len(some.pps)
        return traffic.steps(some.pps, each_s)
    pps = words.get("pps", 1000.0)
    if "burst" in words:
        pps = words["burst"].packets / words["burst"].period_s
    if "on-off" in words:
        return traffic.on_off(pps, *words["on-off"])
    return float(pps)


def _lasts(words: Words, given: float | None, name: str) -> float:
    """How long the rate changes: the time given with it, or all the time."""
    seconds = words.get("seconds") if given is None else given
    if seconds is None or math.isinf(seconds):
        raise ValueError(f"{name} has no time: write /10s behind it, or give seconds")
    return float(seconds)
