"""The one table of columns: what plain text, the full screen and the page for browsers show.

A line of table.txt has the value's name, the head, and the troubles that highlight it. A value is
a field of `rtstat.table` (so its name is that of ``--sort``, and its unit and meaning are there),
the growth of a counter per second (``tx_failed/s``), or a function of `_OWN`.
Highlighted cells are in the list of troubles: the columns judge nothing themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

from rtstat.attached import process_text
from rtstat.fields import Value, section
from rtstat.screen.charts import short
from rtstat.table import FIELD
from rtstat.views import ChannelView, ReaderView, WorkerView
from rtstat.worst import Worst, sign
from shmring.observe.engines import PARTS
from shmring_cli.output import quantity

Mood = Literal["", "dim", "good", "warn", "bad"]
NOTHING = "·"
_TEXTS = ("", "state")
_WIDTHS = {"ns": 8, "bps": 11, "beat": 8, "": 8, "number": 7}
_HEALTH = ("failed", "stale", "closed", "new", "held", "ok", "open")


class Column(NamedTuple):
    """A column: what it shows of a row, and how."""

    name: str
    head: str
    unit: str
    """That of the field, or ``/s``, ``state``, ``beat``, ``core``. Empty: a text."""
    get: Callable[[Any], Value]
    help: str
    troubles: tuple[str, ...] = ()
    field: bool = False
    """Whether ``rtstat --json`` has the value under this name."""

    @property
    def left(self) -> bool:
        return self.unit in _TEXTS

    @property
    def width(self) -> int:
        """How wide it is at least, with room for an arrow."""
        return max(_WIDTHS.get(self.unit, 6), len(self.head) + 1)

    def key(self, view: Any) -> Any:
        """Return what rows are sorted by. Missing numbers come last."""
        value = self.get(view)
        if self.unit == "state":
            return _HEALTH.index(value) if value in _HEALTH else -1
        return str(value or "") if self.left else -1.0 if value is None else value

    def cell(self, view: Any, worst: Worst | None = None) -> tuple[str, Mood]:
        """Return the text, and how it is highlighted. Without `worst`, only by itself."""
        if self.name == "trouble":
            trouble = None if worst is None else worst.of(view)
            return NOTHING if trouble is None else trouble.name, ""
        value = self.get(view)
        text = written(value, self.unit)
        if self.unit == "state":
            return text, _MOODS.get(text, "bad")
        if self.unit == "beat" and view.health == "stale":
            return text, "bad"
        if value == "never":
            return text, "warn"
        if not value and not isinstance(value, str):
            return text, "dim"
        late = worst is not None and worst.has(view, self.troubles)
        return text, "warn" if late else ""


_MOODS: dict[str, Mood] = {"open": "good", "ok": "good", "new": "", "closed": "", "held": ""}


def written(value: Value, unit: str) -> str:
    """Return a value for people, in little room."""
    if unit == "core" and value is None:
        return "any"
    if value is None or value == "":
        return NOTHING
    if unit == "flag" or isinstance(value, bool):
        return "yes" if value else "no"
    if unit == "number" or not isinstance(value, (int, float)):
        return str(value)
    if unit == "share":
        return f"{100 * value:.{0 if value >= 0.0995 or value <= 0 else 1}f} %"
    if unit in ("/s", "pps"):
        return quantity(value, "").replace(" ", "") if value else "0"
    if unit in ("bps", "bytes"):
        return quantity(value, unit) if value else "0"
    if unit in ("ns", "beat"):
        return quantity(value, "ns")
    return short(int(value))


def name_of(view: Any, namespace: str | None = None) -> str:
    """Return ``namespace/channel`` or ``namespace/pool:slot``. namespace: left out."""
    name = f"{view.pool}:{view.slot}" if isinstance(view, WorkerView) else view.name
    return name if namespace else f"{view.namespace}/{name}"


def named(view: ChannelView | WorkerView, worst: Worst, namespace: str | None) -> tuple[str, Mood]:
    """Return the name with the sign of the worst trouble, and its mood."""
    trouble = worst.of(view)
    mood: Mood = "" if trouble is None else "bad" if trouble.severity == "broken" else "warn"
    return f"{sign(trouble)} {name_of(view, namespace)}", mood


def engine_state(channel: ChannelView) -> str:
    """Return the state of the engine's part in a few words, ``""`` for plain UDP."""
    if channel.figures_stale and channel.part is not None:
        return "stale"
    if channel.udt is not None:
        return channel.udt.state
    if channel.netflux is not None:
        return "alive" if channel.netflux.alive else "silent"
    if channel.rtp is not None and channel.rtp.loss is not None:
        return f"loss {written(channel.rtp.loss, 'share')}"
    return ""


def _state(view: ChannelView | WorkerView) -> str:
    return view.state if isinstance(view, ChannelView) and view.health == "ok" else view.health


def _scheduling(worker: WorkerView) -> str:
    return f"{worker.policy} {worker.priority}" if worker.priority else worker.policy


def _taken(reader: ReaderView) -> Value:
    return "never" if reader.never_read else reader.taken


def _process(reader: ReaderView) -> str:
    return process_text(reader.pid, reader.process_name)


_OWN: dict[str, tuple[str, Callable[[Any], Value], str]] = {
    "channel": ("", name_of, "!! broken, ! troubled: these rows are first"),
    "worker": ("", name_of, "its pool and its slot there"),
    "state": ("state", _state, "new, open, held, closed, failed, or stale: no heartbeat, 1 s"),
    "trouble": ("", lambda channel: None, "the worst trouble"),
    "lag": ("packets", lambda channel: channel.lag, "packets that wait for the slowest reader"),
    "link": ("", engine_state, "of the engine: a UDT connection, a Netflux link, the loss of RTP"),
    "sched": ("", _scheduling, "policy and priority; only fifo gives reliable timing"),
    "reader": ("", _process, "the process"),
    "reads": ("", _taken, "packets it took"),
}
_UNITS = {"heartbeat_age_ns": "beat", "cpu": "core"}
"""Units that are not those of the fields."""


def _columns(scope: str) -> Iterator[Column]:
    for line in section(f"{scope} columns"):
        name, head, *troubles = (cell.strip() for cell in line.split("|"))
        yield _column(scope, name, head, tuple(" ".join(troubles).split()))


def _measured(count: Callable[[Any], Value], get: Callable[[Any], Value]) -> Callable[[Any], Value]:
    """Return the getter of a percentile, which a histogram without entries does not have."""
    return lambda view: get(view) if count(view) else None


def _column(scope: str, name: str, head: str, troubles: tuple[str, ...] = ()) -> Column:
    if name in _OWN and scope not in PARTS:
        unit, get, text = _OWN[name]
        return Column(name, head, unit, get, text, troubles, field=name in ("channel", "state"))
    counter = name.removesuffix("/s")
    field = FIELD[scope, counter]
    if name != counter:
        return Column(
            name, head, "/s", lambda view: view.rate(counter), f"{field.help}, per second", troubles
        )
    stem = name.removesuffix("_ns").rpartition("_")[0]
    entries = FIELD.get((scope, f"{stem}_count"))
    get = field.get if entries is None else _measured(entries.get, field.get)
    unit = _UNITS.get(name, field.unit or ("" if field.kind == "fixed" else "number"))
    if name in ("profile", "engine", "pool", "local", "remote"):
        unit = ""
    return Column(name, head, unit, get, field.help, troubles, field=True)


# --- engines --------------------------------------------------------------------------------------

def _of_engine(engine: str) -> Iterator[Column]:
    """Return the part's columns: counters as rates, and their sums last."""
    fields = [FIELD[engine, name] for name in PARTS[engine].shown]
    counters = [field for field in fields if field.kind == "accumulated"]
    for field in fields:
        rate = field in counters
        head, name = f"{field.label}{'/s' if rate else ''}", f"{field.name}{'/s' if rate else ''}"
        yield _column(engine, name, head)
    for field in counters:
        yield _column(engine, field.name, f"{field.label} all")


def facts_of(channel: ChannelView) -> Iterable[tuple[str, str]]:
    """Return labels and values of the engine's part, with the growth. Empty for plain UDP."""
    part = channel.part
    if part is None:
        return
    for name in PARTS[channel.engine].shown:
        field = FIELD[channel.engine, name]
        value = field.get(part)
        plain = isinstance(value, int) and field.unit not in ("flag", "ns", "bytes", "pps", "share")
        grown = part.delta(name) if field.kind == "accumulated" else None
        yield (
            field.label,
            (f"{value:,}".replace(",", " ") if plain else written(value, field.unit))
            + (f"   +{grown}" if grown else ""),
        )


CHANNEL = tuple(_columns("channel"))
WORKER = tuple(_columns("worker"))
READER = tuple(_columns("reader"))
ENGINES = {engine: tuple(_of_engine(engine)) for engine in PARTS}
UNREADABLE = tuple(
    _column("unreadable", name, head)._replace(unit="")
    for name, head in (("channel", "unreadable"), *((n, n) for n in ("kind", "health", "reason")))
)
