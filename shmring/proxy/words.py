"""Impairments as text: ``loss=1%,delay=20ms,rate=10M``, on command lines and in timetables."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from shmring.errors import BadConfig
from shmring.types import Impairment

_TIMES = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9}
_FACTORS = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_MOST = 2.0**63
Fields = dict[str, Any]


def change(text: str, now: Impairment | None = None) -> Impairment:
    """Return `now` with what the text says, fields separated by commas. None: no impairment.

    ``loss=1%``, ``burst-loss=5%/4`` (share, mean packets of a burst), ``duplicate=0.1%``,
    ``corrupt=0.1%``, ``reorder=1%/5ms`` (share, extra delay), ``delay=20ms``, ``jitter=5ms``,
    ``rate=10M`` (bit/s), ``queue=64k`` (bytes), ``seed=7``. ``down`` loses everything, ``up`` ends
    that, ``clear`` ends all but the seed.

    Raises `BadConfig` for a word or value that is none.
    """
    fields: Fields = dataclasses.asdict(now or Impairment())
    for word in text.split(","):
        fields |= _read(word.strip(), int(fields["seed"]))
    return Impairment(**fields)


def text_of(impairment: Impairment) -> str:
    """Return the text that `change` reads, ``none`` without any impairment. The seed is left
    out."""
    return ",".join(_shown(impairment)) or "none"


# --- reading --------------------------------------------------------------------------------------


def _read(word: str, seed: int) -> Fields:
    if word in ("down", "up"):
        return {"loss": 1.0 if word == "down" else 0.0}
    if word == "clear":
        return dataclasses.asdict(Impairment(seed=seed))
    name, equals, value = word.partition("=")
    name = name.strip()
    if name not in _READERS or not equals:
        raise BadConfig(
            f"{word!r} is no impairment: use {', '.join(_READERS)} with a value, as in loss=1%, or "
            "down, up, clear"
        )
    return _READERS[name](name, value.strip())


def _number(name: str, text: str, units: dict[str, int], example: str, unit: str = "") -> float:
    """Return a number with one of the units, the longest that fits. `unit`: of numbers without."""
    stem, factor = text, units.get(unit, 1)
    for end in sorted(units, key=len, reverse=True):
        if text.endswith(end):
            stem, factor = text.removesuffix(end), units[end]
            break
    else:
        if unit and text.strip("0."):
            stem = ""
    try:
        value = float(stem) * factor
    except ValueError:
        value = -1.0
    if not 0 <= value < _MOST:
        raise BadConfig(f"{name} is {text!r}: use a number as in {example}")
    return value


def _share(name: str, text: str) -> float:
    if text.endswith("%"):
        return _number(name, text[:-1], {}, "1% or 0.01") / 100
    value = _number(name, text, {}, "1% or 0.01")
    if value > 1:
        raise BadConfig(f"{name} is {text}, which is above 1: did you mean {text}%?")
    return value


def _time(name: str, text: str) -> int:
    return round(_number(name, text, _TIMES, "20ms, 500us or 1.5s", "s"))


def _times(field: str) -> Callable[[str, str], Fields]:
    return lambda name, text: {field: _time(name, text)}


def _shares(field: str) -> Callable[[str, str], Fields]:
    return lambda name, text: {field: _share(name, text)}


def _bursts(name: str, text: str) -> Fields:
    share, slash, packets = text.partition("/")
    fields: Fields = {"burst_loss": _share(name, share)}
    if slash:
        fields["burst_packets"] = _number(name, packets, {}, "5%/4: share, packets of a burst")
    return fields


def _reorder(name: str, text: str) -> Fields:
    share, slash, extra = text.partition("/")
    fields: Fields = {"reorder": _share(name, share)}
    if slash:
        fields["reorder_extra_ns"] = _time(name, extra)
    return fields


def _rate(name: str, text: str) -> Fields:
    return {"rate_bps": round(_number(name, text, _FACTORS, "500k, 10M or 1G, bits per second"))}


def _queue(name: str, text: str) -> Fields:
    return {"queue_bytes": round(_number(name, text, _FACTORS | _BINARY, "64k or 1M, bytes"))}


def _seed(name: str, text: str) -> Fields:
    if not (text.isascii() and text.isdecimal()):
        raise BadConfig(f"{name} is {text!r}: use a whole number")
    return {"seed": int(text)}


_READERS: dict[str, Callable[[str, str], Fields]] = {
    "loss": _shares("loss"),
    "burst-loss": _bursts,
    "duplicate": _shares("duplicate"),
    "corrupt": _shares("corrupt"),
    "reorder": _reorder,
    "delay": _times("delay_ns"),
    "jitter": _times("jitter_ns"),
    "rate": _rate,
    "queue": _queue,
    "seed": _seed,
}
FIELDS = tuple(_READERS)
"""The words that have a value."""


# --- showing --------------------------------------------------------------------------------------


def _shown(one: Impairment) -> Iterator[str]:
    if one.loss:
        yield f"loss={_percent(one.loss)}"
    if one.burst_loss:
        yield f"burst-loss={_percent(one.burst_loss)}/{one.burst_packets:g}"
    for name in ("duplicate", "corrupt"):
        if share := getattr(one, name):
            yield f"{name}={_percent(share)}"
    if one.reorder:
        extra = f"/{_time_text(one.reorder_extra_ns)}" if one.reorder_extra_ns else ""
        yield f"reorder={_percent(one.reorder)}{extra}"
    for name in ("delay", "jitter"):
        if time_ns := getattr(one, f"{name}_ns"):
            yield f"{name}={_time_text(time_ns)}"
    if one.rate_bps:
        yield f"rate={_scaled(one.rate_bps)}"
    if one.queue_bytes:
        yield f"queue={_scaled(one.queue_bytes)}"


def _percent(share: float) -> str:
    return f"{share * 100:.15g}%"


def _time_text(time_ns: int) -> str:
    unit, factor = next(
        (unit, factor)
        for unit, factor in (("s", 10**9), ("ms", 10**6), ("us", 10**3), ("ns", 1))
        if time_ns % factor == 0
    )
    return f"{time_ns // factor}{unit}"


def _scaled(number: int) -> str:
    for unit, factor in sorted(_FACTORS.items(), key=lambda item: -item[1]):
        if number % factor == 0:
            return f"{number // factor}{unit}"
    return str(number)


__all__ = ["FIELDS", "change", "text_of"]
