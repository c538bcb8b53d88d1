"""Impairments as text: ``loss=1%,delay=20ms,rate=10M``, on command lines and in timetables."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from rtworkers import units
from shmring.errors import BadConfig
from shmring.types import Impairment

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


def _said(name: str, text: str, read: Callable[[str], float]) -> float:
    try:
        return read(text)
    except ValueError as error:
        raise BadConfig(f"{name} is {text!r}: {error}") from None


def _share(name: str, text: str) -> float:
    return _said(name, text, units.share)


def _time(name: str, text: str) -> int:
    if text.strip("0.") and text[-1].isdecimal():  # of milliseconds or of seconds?
        raise BadConfig(f"{name} is {text!r}, without a unit: use a time as in 20ms or 1.5s")
    return round(_said(name, text, units.nanoseconds))


def _times(field: str) -> Callable[[str, str], Fields]:
    return lambda name, text: {field: _time(name, text)}


def _shares(field: str) -> Callable[[str, str], Fields]:
    return lambda name, text: {field: _share(name, text)}


def _bursts(name: str, text: str) -> Fields:
    share, slash, packets = text.partition("/")
    fields: Fields = {"burst_loss": _share(name, share)}
    if slash:
        fields["burst_packets"] = _said(name, packets, units.number)
    return fields


def _reorder(name: str, text: str) -> Fields:
    share, slash, extra = text.partition("/")
    fields: Fields = {"reorder": _share(name, share)}
    if slash:
        fields["reorder_extra_ns"] = _time(name, extra)
    return fields


def _rate(name: str, text: str) -> Fields:
    return {"rate_bps": round(_said(name, text, units.number))}


def _queue(name: str, text: str) -> Fields:
    return {"queue_bytes": round(_said(name, text, units.size))}


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
    for unit, factor in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number % factor == 0:
            return f"{number // factor}{unit}"
    return str(number)


__all__ = ["change", "text_of"]
