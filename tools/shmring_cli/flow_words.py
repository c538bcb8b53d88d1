"""Flows of generated packets: options of a command, or words as ``pps=1k,size=200,to=:5004``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from rtworkers import units
from shmring.net import traffic
from shmring_cli import options, sending

DEFAULT_SECONDS = 10.0

Words = dict[str, Any]


class Bits(NamedTuple):
    """``20Mbit/s``"""

    bps: float


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


Rate = float | Bits | Ramp | Steps | Burst

_BITS = "bit/s"


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


def even(text: str) -> float | Bits:
    """Parse ``1000`` packets a second, or ``20Mbit/s`` with the headers of IP and UDP."""
    number = text.removesuffix(_BITS)
    try:
        value = units.rate(number)
    except ValueError:
        raise _wrong(text, "rate above 0", "1000, 50k or 20Mbit/s") from None
    return value if number == text else Bits(value)


def rate(text: str) -> Rate:
    """Parse what `even` parses, ``1k..100k/10s``, ``1k:5k:10k/2s`` or ``10/1ms/5us``."""
    if ".." in text:
        return _ramp(text)
    if ":" in text:
        return _steps(text)
    return _burst(text) if "/" in text and not text.endswith(_BITS) else even(text)


def _ramp(text: str) -> Ramp:
    rates, slash, time = text.partition("/")
    begin, _, end = rates.partition("..")
    if not (begin and end):
        raise _wrong(text, "ramp", "1k..100k or 1k..100k/10s")
    return Ramp(_or_zero(begin), _or_zero(end), options.seconds(time) if slash else None)


def _steps(text: str) -> Steps:
    rates, slash, time = text.partition("/")
    pps = [_or_zero(each) for each in rates.split(":")]
    return Steps(pps, options.seconds(time) if slash else None)


def _burst(text: str) -> Burst:
    parts = text.split("/")
    if len(parts) not in (2, 3) or not (parts[0].isascii() and parts[0].isdecimal()):
        raise _wrong(text, "burst", "10/1ms (packets/period) or 10/1ms/5us (with spacing)")
    period_s = options.seconds(parts[1])
    if period_s == 0:
        raise _wrong(text, "burst", "a period above 0, such as 10/1ms")
    return Burst(int(parts[0]), period_s, options.seconds(parts[2]) if len(parts) == 3 else 0.0)


def _or_zero(text: str) -> float:
    return 0.0 if text == "0" else options.rate(text)


def on_off(text: str) -> OnOff:
    """Parse ``10ms/90ms``."""
    on, slash, off = text.partition("/")
    if not slash:
        raise _wrong(text, "pair of times", "10ms/90ms: sending/silent")
    return OnOff(options.seconds(on), options.seconds(off))


def duration(text: str) -> float:
    """Parse a time, or ``forever``."""
    return math.inf if text == "forever" else options.seconds(text)


# --- the words ------------------------------------------------------------------------------------


WORDS: dict[str, Callable[[str], Any]] = {
    "pps": rate,
    "on-off": on_off,
    "size": size,
    "to": sending.destination,
    "after": options.seconds,
    "duration": duration,
    "count": options.count,
}
_SWITCHES = ("poisson",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe flows, and how long they last."""
    options.add_pps(
        parser,
        "packets a second (default 1000): 50k, a ramp 1k..100k/10s (over all or this time), steps "
        "1k:5k:10k/2s (each for this time), bursts 10/1ms or 10/1ms/5us (packets/period/gap), or "
        "20Mbit/s with the headers of IP and UDP",
        read=rate,
    )
    parser.add_argument(
        "--size",
        type=size,
        metavar="BYTES",
        help="payload: 200, 100-1400, 64*7:594*4:1518 or imix (frames of 64, 594, 1518; default "
        "200)",
    )
    parser.add_argument(
        "--flow",
        type=words_of,
        action="append",
        default=[],
        metavar="WORDS",
        help="a flow with its own words: pps=1k,size=200,to=ADDR:PORT,after=1s,duration=5s,"
        "count=9; poisson: random gaps; on-off=10ms/90ms: send and be silent. May be repeated. "
        "Other options are for flows that do not say it",
    )
    options.add_duration(
        parser,
        f"how long: 10s, 5m, 2h or forever (default {DEFAULT_SECONDS:g}s, or until --count)",
        read=duration,
    )
    options.add_count(parser, "packets of each flow, at most")


def words_of(text: str) -> Words:
    """Parse the words of a flow: ``pps=1k,size=200,poisson,to=10.0.0.7:5004``."""
    found: Words = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if name in found:
            raise argparse.ArgumentTypeError(f"{name} is there twice in {text!r}: give it once")
        if not equals and name in _SWITCHES:
            found[name] = True
        elif equals and name in WORDS:
            found[name] = WORDS[name](value)
        else:
            known = ", ".join([*(f"{each}=" for each in WORDS), *_SWITCHES])
            raise argparse.ArgumentTypeError(f"{part!r} says nothing of a flow: use {known}")
    return found


def flows(arguments: argparse.Namespace) -> list[traffic.Flow]:
    """Return the flows that the options of `add_arguments` describe. Raises `ValueError`."""
    common: Words = {
        name: value for name in ("pps", "size") if (value := getattr(arguments, name)) is not None
    }
    if arguments.duration is None and arguments.count is None:
        common["duration"] = DEFAULT_SECONDS
    else:
        common["duration"], common["count"] = arguments.duration, arguments.count
    return [_flow(_merged(common, words)) for words in arguments.flow or [{}]]


def _merged(common: Words, words: Words) -> Words:
    """The words of a flow, and the common ones that it does not replace."""
    replaced: set[str] = set()
    for group in ({"pps"}, {"size"}, {"duration", "count"}):
        if group & words.keys():
            replaced |= group
    return {**{name: value for name, value in common.items() if name not in replaced}, **words}


def _flow(words: Words) -> traffic.Flow:
    rate: Rate = words.get("pps", 1000.0)
    if "on-off" in words and isinstance(rate, Bits | Ramp | Steps):
        raise ValueError("on-off goes with packets a second or bursts: --pps 1k or --pps 10/1ms")
    how: dict[str, Any] = {"pps": _rate(rate, words)}
    if isinstance(rate, Bits):
        how["bps"] = rate.bps
    if isinstance(rate, Burst):
        how["burst"] = rate.packets
        how["spacing_ns"] = round(rate.spacing_s * 1e9)
    if "poisson" in words:
        how["pattern"] = "poisson"
    for name, own in (
        ("size", "size"),
        ("to", "to"),
        ("after", "after_s"),
        ("duration", "seconds"),
        ("count", "count"),
    ):
        if name in words:
            how[own] = words[name]
    return traffic.Flow(**how)


def _rate(rate: Rate, words: Words) -> float | traffic.Rate:
    if isinstance(rate, Bits):
        return 1000.0
    if isinstance(rate, Ramp):
        return traffic.ramp(rate.pps, rate.to_pps, _lasts(words, rate.seconds, "ramp"))
    if isinstance(rate, Steps):
        each_s = rate.seconds
        if each_s is None:
            each_s = _lasts(words, None, "steps") / len(rate.pps)
        return traffic.steps(rate.pps, each_s)
    pps = rate.packets / rate.period_s if isinstance(rate, Burst) else rate
    if "on-off" in words:
        return traffic.on_off(pps, *words["on-off"])
    return float(pps)


def _lasts(words: Words, given: float | None, name: str) -> float:
    """How long the rate changes: the time given with it, or all the time."""
    seconds = words.get("duration") if given is None else given
    if seconds is None or math.isinf(seconds):
        raise ValueError(f"{name} has no time: write /10s behind it, or give --duration")
    return float(seconds)
