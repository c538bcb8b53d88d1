"""The cells of the tables: how a row is written and sorted, and when it is highlighted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rtstat.numbers import NS_PER_S, Times
from rtstat.screen.rows import Cell, Column
from rtstat.views import ChannelView, ReaderView, WorkerView
from shmring_cli.output import duration, quantity

NOTHING = Cell("·", "dim")

_RING_NEARLY_FULL = 0.8
_OLD_HEARTBEAT_NS = NS_PER_S // 2
_NS_PER_MS = 1_000_000
_HEALTH_ORDER = ("failed", "stale", "closed", "new", "ok")


# --- cells ----------------------------------------------------------------------------------------


def ns(value: float | None) -> Cell:
    """A duration, or nothing for None."""
    return NOTHING if value is None else Cell(duration(value))


def rate(value: float | None) -> Cell:
    """Packets per second, dimmed if 0."""
    if value is None:
        return NOTHING
    return Cell(quantity(value, "pps")) if value else Cell("0", "dim")


def count(value: int) -> Cell:
    """A number of things, dimmed if 0."""
    return Cell(short(value), "" if value else "dim")


def trouble(value: int, grown: int | None, mood: str = "bad") -> Cell:
    """A number of things that should not happen: highlighted while it grows, else plain."""
    if not value:
        return Cell("0", "dim")
    return Cell(short(value), mood if grown else "")  # type: ignore[arg-type]


def share(value: float, alarm: float = 2.0) -> Cell:
    """A share of 0 to 1, in percent, highlighted from `alarm` on."""
    if value <= 0:
        return Cell("0 %", "dim")
    text = f"{100 * value:.0f} %" if value >= 0.0995 else f"{100 * value:.1f} %"
    return Cell(text, "warn" if value >= alarm else "")


def short(value: int) -> str:
    """A whole number in at most six characters."""
    for limit, unit, letter in ((10**5, 1, ""), (10**8, 10**3, "k"), (10**11, 10**6, "M")):
        if value < limit:
            return f"{value // unit}{letter}"
    return f"{value // 10**9}G"


def _health(view: ChannelView | WorkerView) -> Cell:
    health = view.health
    if isinstance(view, ChannelView) and health == "ok":
        return Cell(view.state, "good" if view.state == "open" else "warn")
    return Cell(health, "good" if health == "ok" else "warn" if health == "new" else "bad")


def _health_value(view: ChannelView | WorkerView) -> int:
    health = view.health
    return _HEALTH_ORDER.index(health) if health in _HEALTH_ORDER else -1


def _number(read: Callable[[Any], float | None]) -> Callable[[Any], float]:
    """A sort key that puts missing values last."""

    def value(view: Any) -> float:
        number = read(view)
        return -1.0 if number is None else float(number)

    return value


# --- channels -------------------------------------------------------------------------------------


def _lateness(which: str, interval: bool) -> Callable[[ChannelView], int | None]:
    def read(channel: ChannelView) -> int | None:
        times: Times | None = channel.lateness_interval if interval else channel.lateness
        if times is None or not times.count:
            return None
        value: int = getattr(times, which)
        return value

    return read


def _late_cell(which: str, interval: bool) -> Callable[[ChannelView], Cell]:
    read = _lateness(which, interval)

    def write(channel: ChannelView) -> Cell:
        value = read(channel)
        if value is None:
            return NOTHING
        over = interval and bool(channel.late_delta) and value > channel.facts.tolerance_ns
        return Cell(duration(value), "warn" if over else "")

    return write


def _lateness_column(name: str, head: str, which: str, interval: bool) -> Column[ChannelView]:
    return Column(
        name, head, _late_cell(which, interval), _number(_lateness(which, interval)), width=8
    )


def _beat(channel: ChannelView) -> Cell:
    age_ns = channel.heartbeat_age_ns
    if age_ns is None:
        return NOTHING
    return Cell(duration(age_ns), "bad" if not channel.healthy else "")


def _lag(channel: ChannelView) -> int:
    return max((reader.waiting for reader in channel.readers), default=0)


def _readers_lost(channel: ChannelView) -> int:
    return sum(reader.lost for reader in channel.readers)


def _name(channel: ChannelView, all_namespaces: bool) -> str:
    return f"{channel.namespace}/{channel.name}" if all_namespaces else channel.name


def channel_columns(all_namespaces: bool) -> list[Column[ChannelView]]:
    """Columns of the table of channels."""
    return [
        Column(
            "channel",
            "channel",
            lambda ch: Cell(_name(ch, all_namespaces)),
            lambda ch: ch.key,
            width=14,
            left=True,
        ),
        Column("state", "state", _health, _health_value, width=7, left=True),
        Column(
            "engine", "engine", lambda ch: Cell(ch.engine), lambda ch: ch.engine, width=8, left=True
        ),
        Column("core", "core", lambda ch: _core(ch.cpu), _number(lambda ch: ch.cpu), width=4),
        Column("tx_pps", "tx/s", lambda ch: rate(ch.tx_pps), _number(lambda c: c.tx_pps), width=9),
        Column("rx_pps", "rx/s", lambda ch: rate(ch.rx_pps), _number(lambda c: c.rx_pps), width=9),
        _lateness_column("p50", "p50", "p50_ns", True),
        _lateness_column("p99", "p99", "p99_ns", True),
        _lateness_column("max", "max", "max_ns", True),
        _lateness_column("p99_all", "p99 all", "p99_ns", False),
        _lateness_column("max_all", "max all", "max_ns", False),
        Column(
            "late",
            "late",
            lambda ch: trouble(ch.late, ch.late_delta, "warn"),
            lambda ch: ch.late,
            width=6,
        ),
        Column(
            "failed",
            "failed",
            lambda ch: trouble(ch["tx_failed"], ch.delta("tx_failed")),
            lambda ch: ch["tx_failed"],
            width=6,
        ),
        Column(
            "tx_fill",
            "tx full",
            lambda ch: share(ch.tx_fill, _RING_NEARLY_FULL),
            lambda ch: ch.tx_fill,
            width=7,
        ),
        Column(
            "rx_fill",
            "rx full",
            lambda ch: share(ch.rx_fill, _RING_NEARLY_FULL),
            lambda ch: ch.rx_fill,
            width=7,
        ),
        Column(
            "drops",
            "drops",
            lambda ch: trouble(ch["rx_kernel_drops"], ch.delta("rx_kernel_drops")),
            lambda ch: ch["rx_kernel_drops"],
            width=6,
        ),
        Column(
            "overwritten",
            "overwr",
            lambda ch: trouble(ch["rx_overwritten"], ch.delta("rx_overwritten")),
            lambda ch: ch["rx_overwritten"],
            width=6,
        ),
        Column(
            "readers", "readers", lambda c: count(len(c.readers)), lambda c: len(c.readers), width=7
        ),
        Column("lag", "lag", lambda ch: count(_lag(ch)), _lag, width=6),
        Column(
            "readers_lost", "lost", lambda ch: trouble(_readers_lost(ch), 0), _readers_lost, width=6
        ),
        Column("beat", "beat", _beat, _number(lambda ch: ch.heartbeat_age_ns), width=8),
        Column("pool", "pool", lambda ch: Cell(ch.pool), lambda ch: ch.pool, width=10, left=True),
    ]


def _core(cpu: int | None) -> Cell:
    return Cell("any", "dim") if cpu is None else Cell(str(cpu))


# --- workers --------------------------------------------------------------------------------------


def _worker_name(worker: WorkerView, all_namespaces: bool) -> str:
    name = f"{worker.pool}:{worker.slot}"
    return f"{worker.namespace}/{name}" if all_namespaces else name


def _scheduling(worker: WorkerView) -> Cell:
    if worker.priority:
        return Cell(f"{worker.policy} {worker.priority}", "good")
    return Cell(worker.policy, "warn")


def _worker_beat(worker: WorkerView) -> Cell:
    age_ns = worker.heartbeat_age_ns
    mood = "bad" if not worker.healthy else "warn" if age_ns > _OLD_HEARTBEAT_NS else ""
    return Cell(duration(age_ns), mood)  # type: ignore[arg-type]


def _wake(worker: WorkerView) -> int | None:
    times = worker.wake_latency_interval
    return times.p99_ns if times is not None and times.count else None


def worker_columns(all_namespaces: bool) -> list[Column[WorkerView]]:
    """Columns of the table of workers. The heartbeat is first: all other values are as old
    as that."""
    return [
        Column(
            "worker",
            "worker",
            lambda w: Cell(_worker_name(w, all_namespaces)),
            lambda w: w.key,
            width=14,
            left=True,
        ),
        Column("state", "state", _health, _health_value, width=7, left=True),
        Column("beat", "beat", _worker_beat, lambda w: w.heartbeat_age_ns, width=8),
        Column("pid", "pid", lambda w: Cell(str(w.pid)), lambda w: w.pid, width=7),
        Column("core", "core", lambda w: _core(w.cpu), _number(lambda w: w.cpu), width=4),
        Column("scheduling", "sched", _scheduling, lambda w: (w.policy, w.priority), width=8),
        Column(
            "locked",
            "locked",
            lambda w: Cell("yes") if w.memory_locked else Cell("no", "warn"),
            lambda w: w.memory_locked,
            width=6,
        ),
        Column("profile", "profile", lambda w: Cell(w.profile), lambda w: w.profile, width=8),
        Column(
            "channels", "chans", lambda w: count(w["channels"]), lambda w: w["channels"], width=5
        ),
        Column("cpu", "CPU", lambda w: share(w.cpu_share, 0.9), lambda w: w.cpu_share, width=6),
        Column("spin", "spin", lambda w: share(w.spin_share, 0.9), lambda w: w.spin_share, width=6),
        Column("wake", "wake p99", lambda w: ns(_wake(w)), _number(_wake), width=8),
        Column(
            "loop",
            "longest",
            lambda w: Cell(
                duration(w["longest_loop_ns"]), "warn" if w["longest_loop_ns"] > _NS_PER_MS else ""
            ),
            lambda w: w["longest_loop_ns"],
            width=8,
        ),
        Column(
            "missed",
            "missed",
            lambda w: trouble(w["missed_wakes"], w.delta("missed_wakes"), "warn"),
            lambda w: w["missed_wakes"],
            width=6,
        ),
        Column(
            "rests",
            "rests",
            lambda w: trouble(w["forced_rests"], w.delta("forced_rests"), "warn"),
            lambda w: w["forced_rests"],
            width=6,
        ),
        Column(
            "restarts",
            "restarts",
            lambda w: trouble(w["restarts"], w.delta("restarts"), "warn"),
            lambda w: w["restarts"],
            width=8,
        ),
    ]


# --- readers --------------------------------------------------------------------------------------


def reader_columns() -> list[Column[ReaderView]]:
    """Columns of the readers of one channel."""
    return [
        Column("pid", "reader", lambda r: Cell(f"pid {r.pid}"), lambda r: r.pid, 12, left=True),
        Column("taken", "taken", lambda r: count(r.taken), lambda r: r.taken, 8),
        Column("lag", "lag", lambda r: count(r.waiting), lambda r: r.waiting, 8),
        Column("lost", "lost", lambda r: trouble(r.lost, 0), lambda r: r.lost, 8),
    ]


# --- filtering ------------------------------------------------------------------------------------


def matches(words: str, text: str) -> bool:
    """Return whether `text` has all `words`, and none of those that begin with ``!``. Case is
    ignored."""
    text = text.lower()
    for word in words.lower().split():
        if word.startswith("!"):
            if len(word) > 1 and word[1:] in text:
                return False
        elif word not in text:
            return False
    return True


def channel_text(channel: ChannelView) -> str:
    """Return the text that a filter of channels searches."""
    return (
        f"{channel.namespace}/{channel.name} {channel.pool} {channel.engine} "
        f"{channel.state} {channel.health} {channel.facts.direction}"
    )
