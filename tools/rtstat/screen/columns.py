"""The cells of the tables: how a row is written and sorted, and when it is highlighted.

Yellow and red cells are in the list of troubles. The columns judge nothing themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rtstat.attached import process_text
from rtstat.numbers import Times
from rtstat.screen.charts import short
from rtstat.screen.rows import Cell, Column, Mood
from rtstat.troubles import Trouble
from rtstat.views import ChannelView, ReaderView, WorkerView
from rtstat.worst import Worst, sign
from shmring_cli.output import address_text, duration, quantity

NOTHING = Cell("·", "dim")

_LATE = ("late", "dropped_late")
_LOST = ("send_failed", "kernel_drops", "overwritten")
_HEALTH_ORDER = ("failed", "stale", "closed", "new", "ok")


# --- cells ----------------------------------------------------------------------------------------


def ns(value: float | None) -> Cell:
    """A duration, or nothing for None."""
    return NOTHING if value is None else Cell(duration(value))


def rate(value: float | None) -> Cell:
    """Packets per second in at most six characters, dimmed if 0."""
    if value is None:
        return NOTHING
    return Cell(quantity(value, "").replace(" ", "")) if value else Cell("0", "dim")


def count(value: int) -> Cell:
    """A number of things, dimmed if 0."""
    return Cell(short(value), "" if value else "dim")


def share(value: float | None) -> Cell:
    """A share of 0 to 1, in percent, or nothing for None."""
    if value is None:
        return NOTHING
    if value <= 0:
        return Cell("0 %", "dim")
    return Cell(f"{100 * value:.0f} %" if value >= 0.0995 else f"{100 * value:.1f} %")


def _health(view: ChannelView | WorkerView) -> Cell:
    health = view.health
    if isinstance(view, ChannelView) and health == "ok":
        return Cell(view.state, "good" if view.state == "open" else "")
    mood: Mood = "good" if health == "ok" else "" if health in ("new", "closed") else "bad"
    return Cell(health, mood)


def _health_value(view: ChannelView | WorkerView) -> int:
    health = view.health
    return _HEALTH_ORDER.index(health) if health in _HEALTH_ORDER else -1


def _number(read: Callable[[Any], float | None]) -> Callable[[Any], float]:
    """A sort key that puts missing values last."""

    def value(view: Any) -> float:
        number = read(view)
        return -1.0 if number is None else float(number)

    return value


Judge = Callable[[], Worst]
"""Returns the troubles of the rows that are shown."""

# --- channels -------------------------------------------------------------------------------------


def _lateness(which: str, interval: bool) -> Callable[[ChannelView], int | None]:
    def read(channel: ChannelView) -> int | None:
        times: Times | None = channel.lateness_interval if interval else channel.lateness
        if times is None or not times.count:
            return None
        value: int = getattr(times, which)
        return value

    return read


def _lateness_column(
    name: str, head: str, which: str, judge: Judge | None = None
) -> Column[ChannelView]:
    """Of the last interval, highlighted in a late channel. Without `judge`: since it was opened."""
    read = _lateness(which, judge is not None)

    def write(channel: ChannelView) -> Cell:
        value = read(channel)
        if value is None:
            return NOTHING
        over = value > channel.facts.tolerance_ns
        late = over and judge is not None and judge().has(channel, _LATE)
        return Cell(duration(value), "warn" if late else "")

    return Column(name, head, write, _number(read), width=8)


def _beat(channel: ChannelView) -> Cell:
    age_ns = channel.heartbeat_age_ns
    if age_ns is None:
        return NOTHING
    return Cell(duration(age_ns), "bad" if not channel.served else "")


def _marked(
    judge: Judge, names: tuple[str, ...], write: Callable[[Any], Cell]
) -> Callable[[Any], Cell]:
    """Highlight what a cell says, except nothing and 0, if the row has one of these troubles."""

    def marked(view: ChannelView | WorkerView) -> Cell:
        found = write(view)
        return Cell(found.text, "warn") if not found.mood and judge().has(view, names) else found

    return marked


def _lost_key(channel: ChannelView) -> tuple[float, int]:
    return channel.lost_pps or 0.0, channel.lost


def _bits(value: float | None) -> Cell:
    return NOTHING if value is None else Cell(quantity(value, "bps")) if value else Cell("0", "dim")


def _end(address: tuple[str, int] | None) -> Cell:
    return NOTHING if address is None else Cell(address_text(address))


def engine_state(channel: ChannelView) -> str:
    """Return the state of the engine's part in a few words, ``""`` for plain UDP."""
    if channel.figures_stale and channel.part is not None:
        return "stale"
    if channel.udt is not None:
        return channel.udt.state
    if channel.netflux is not None:
        return "alive" if channel.netflux.alive else "silent"
    if channel.rtp is not None and channel.rtp.loss is not None:
        return f"loss {share(channel.rtp.loss).text}"
    return ""


def _sum(
    name: str,
    head: str,
    read: Callable[[ChannelView], int],
    judge: Judge,
    names: tuple[str, ...],
) -> Column[ChannelView]:
    """A counter of what should not happen, since the channel was opened."""
    write = _marked(judge, names, lambda channel: count(read(channel)))
    return Column(name, head, write, read, width=max(6, len(head)))


def _counter(name: str, head: str, judge: Judge, trouble: str) -> Column[ChannelView]:
    return _sum(name, head, lambda ch: int(ch[name]), judge, (trouble,))


def _text(
    name: str, head: str, read: Callable[[ChannelView], str], width: int
) -> Column[ChannelView]:
    return Column(
        name, head, lambda ch: Cell(read(ch)) if read(ch) else NOTHING, read, width, left=True
    )


def _name(channel: ChannelView, all_namespaces: bool) -> str:
    return f"{channel.namespace}/{channel.name}" if all_namespaces else channel.name


def _worst_cell(text: str, trouble: Trouble | None) -> Cell:
    mood: Mood = "" if trouble is None else "bad" if trouble.severity == "broken" else "warn"
    return Cell(f"{sign(trouble)} {text}", mood)


def _worst_name(channel: ChannelView, judge: Judge) -> str:
    found = judge().of(channel)
    return "" if found is None else found.name


def _core(cpu: int | None) -> Cell:
    return Cell("any", "dim") if cpu is None else Cell(str(cpu))


_Reads = Callable[[ChannelView], float | None]


def _rate(name: str, head: str, read: _Reads) -> Column[ChannelView]:
    return Column(name, head, lambda ch: rate(read(ch)), _number(read), width=6)


def _bad_rate(
    name: str, head: str, read: Callable[[Any], float | None], judge: Judge, names: tuple[str, ...]
) -> Column[Any]:
    """A rate of what should not happen."""
    write = _marked(judge, names, lambda view: rate(read(view)))
    return Column(name, head, write, _number(read), width=len(head))


def _growth(name: str, head: str, judge: Judge, *names: str) -> Column[Any]:
    """How fast a counter of what should not happen grows."""
    return _bad_rate(f"{name}_rate", head, lambda view: view.rate(name), judge, names)


def _bits_per_second(name: str, head: str, read: _Reads) -> Column[ChannelView]:
    return Column(name, head, lambda ch: _bits(read(ch)), _number(read), width=11)


def _address(
    name: str, read: Callable[[ChannelView], tuple[str, int] | None]
) -> Column[ChannelView]:
    return Column(name, name, lambda ch: _end(read(ch)), lambda ch: read(ch) or (), 15, left=True)


def _fill(
    name: str, head: str, read: Callable[[ChannelView], float], judge: Judge, *names: str
) -> Column[ChannelView]:
    return Column(name, head, _marked(judge, names, lambda ch: share(read(ch))), read, width=7)


def channel_columns(all_namespaces: bool, judge: Judge) -> list[Column[ChannelView]]:
    """Columns of the table of channels, the most important first. Sums come last."""
    return [
        Column(
            "channel",
            "   channel",
            lambda ch: _worst_cell(_name(ch, all_namespaces), judge().of(ch)),
            lambda ch: ch.key,
            width=14,
            left=True,
        ),
        *_well(judge),
        _text("trouble", "trouble", lambda ch: _worst_name(ch, judge), 14),
        *_ends(judge),
        *_closer(judge),
        *_since_opened(judge),
    ]


def _well(judge: Judge) -> list[Column[ChannelView]]:
    """What fits 80 columns beside the name."""
    late = _marked(judge, _LATE, lambda ch: share(ch.late_share))
    lost = _marked(judge, _LOST, lambda ch: rate(ch.lost_pps))
    return [
        Column("state", "state", _health, _health_value, width=6, left=True),
        Column("late", "late %", late, _number(lambda ch: ch.late_share), width=6),
        _lateness_column("p99", "p99", "p99_ns", judge),
        Column("lost", "lost/s", lost, _lost_key, width=6),
        Column("lag", "lag", lambda ch: count(ch.lag), lambda ch: ch.lag, width=6),
        _rate("tx_pps", "tx/s", lambda ch: ch.tx_pps),
        _rate("rx_pps", "rx/s", lambda ch: ch.rx_pps),
    ]


def _ends(judge: Judge) -> list[Column[ChannelView]]:
    return [
        _bad_rate("late_pps", "late/s", lambda ch: ch.late_pps, judge, _LATE),
        _text("engine", "engine", lambda ch: ch.engine, 8),
        _text("engine_state", "link", engine_state, 10),
        _bits_per_second("tx_bps", "tx bit/s", lambda ch: ch.tx_bps),
        _bits_per_second("rx_bps", "rx bit/s", lambda ch: ch.rx_bps),
        _address("local", lambda ch: ch.local),
        _address("remote", lambda ch: ch.remote),
    ]


def _readers(channel: ChannelView) -> Cell:
    return count(len(channel.readers))


def _closer(judge: Judge) -> list[Column[ChannelView]]:
    """What one looks at when the columns before it are not well."""
    full = ("reader_stuck", "overwritten")
    return [
        _lateness_column("p50", "p50", "p50_ns", judge),
        _lateness_column("max", "max", "max_ns", judge),
        _growth("tx_failed", "failed/s", judge, "send_failed"),
        _growth("rx_kernel_drops", "drops/s", judge, "kernel_drops"),
        _growth("rx_overwritten", "overwr/s", judge, "overwritten"),
        _fill("tx_fill", "tx full", lambda ch: ch.tx_fill, judge, "send_ring_full"),
        _fill("rx_fill", "rx full", lambda ch: ch.rx_fill, judge, *full),
        Column("beat", "beat", _beat, _number(lambda ch: ch.heartbeat_age_ns), width=8),
        _text("pool", "pool", lambda ch: ch.pool, 10),
        Column("core", "core", lambda ch: _core(ch.cpu), _number(lambda ch: ch.cpu), width=4),
        Column("readers", "readers", _readers, lambda ch: len(ch.readers), width=7),
    ]


def _since_opened(judge: Judge) -> list[Column[ChannelView]]:
    return [
        _lateness_column("p99_all", "p99 all", "p99_ns"),
        _lateness_column("max_all", "max all", "max_ns"),
        _sum("late_all", "late all", lambda ch: ch.late, judge, _LATE),
        _counter("tx_failed", "failed all", judge, "send_failed"),
        _counter("rx_kernel_drops", "drops all", judge, "kernel_drops"),
        _counter("rx_overwritten", "overwr all", judge, "overwritten"),
    ]


# --- workers --------------------------------------------------------------------------------------


def _worker_name(worker: WorkerView, all_namespaces: bool) -> str:
    name = f"{worker.pool}:{worker.slot}"
    return f"{worker.namespace}/{name}" if all_namespaces else name


def _scheduling(worker: WorkerView) -> Cell:
    if worker.priority:
        return Cell(f"{worker.policy} {worker.priority}", "good")
    return Cell(worker.policy)


def _worker_beat(worker: WorkerView) -> Cell:
    return Cell(duration(worker.heartbeat_age_ns), "" if worker.alive else "bad")


def _wake(worker: WorkerView) -> int | None:
    times = worker.wake_latency_interval
    return times.p99_ns if times is not None and times.count else None


def _worker_sum(name: str, head: str, judge: Judge, *names: str) -> Column[WorkerView]:
    """A counter of what should not happen, since the worker started."""
    write = _marked(judge, names, lambda w: count(w[name]))
    return Column(name, head, write, lambda w: w[name], width=len(head))


def worker_columns(all_namespaces: bool, judge: Judge) -> list[Column[WorkerView]]:
    """Columns of the table of workers. The heartbeat is first: all other values are as old
    as that."""
    return [
        Column(
            "worker",
            "   worker",
            lambda w: _worst_cell(_worker_name(w, all_namespaces), judge().of(w)),
            lambda w: w.key,
            width=14,
            left=True,
        ),
        *_PROCESS,
        *_LOOP,
        _growth("missed_wakes", "missed/s", judge),
        _growth("forced_rests", "rests/s", judge),
        _worker_sum("missed_wakes", "missed all", judge),
        _worker_sum("forced_rests", "rests all", judge),
        _worker_sum("restarts", "restarts", judge, "worker_restarted"),
    ]


def _locked(worker: WorkerView) -> Cell:
    return Cell("yes" if worker.memory_locked else "no")


def _longest(worker: WorkerView) -> Cell:
    return Cell(duration(worker["longest_loop_ns"]))


_PROCESS: tuple[Column[WorkerView], ...] = (
    Column("state", "state", _health, _health_value, width=7, left=True),
    Column("beat", "beat", _worker_beat, lambda w: w.heartbeat_age_ns, width=8),
    Column("pid", "pid", lambda w: Cell(str(w.pid)), lambda w: w.pid, width=7),
    Column("core", "core", lambda w: _core(w.cpu), _number(lambda w: w.cpu), width=4),
    Column("cpu", "CPU", lambda w: share(w.cpu_share), lambda w: w.cpu_share, width=6),
    Column("wake", "wake p99", lambda w: ns(_wake(w)), _number(_wake), width=8),
    Column("scheduling", "sched", _scheduling, lambda w: (w.policy, w.priority), width=8),
    Column("locked", "locked", _locked, lambda w: w.memory_locked, width=6),
)

_LOOP: tuple[Column[WorkerView], ...] = (
    Column("profile", "profile", lambda w: Cell(w.profile), lambda w: w.profile, width=8),
    Column("channels", "chans", lambda w: count(w["channels"]), lambda w: w["channels"], width=5),
    Column("spin", "spin", lambda w: share(w.spin_share), lambda w: w.spin_share, width=6),
    Column("loop", "longest", _longest, lambda w: w["longest_loop_ns"], width=8),
)


# --- readers --------------------------------------------------------------------------------------


def _reader(reader: ReaderView) -> str:
    return process_text(reader.pid, reader.process_name)


def _taken(reader: ReaderView) -> Cell:
    return Cell("never", "warn") if reader.never_read else count(reader.taken)


def reader_columns() -> list[Column[ReaderView]]:
    """Columns of the readers of one channel."""
    return [
        Column("pid", "reader", lambda r: Cell(_reader(r)), lambda r: r.pid or 0, 24, left=True),
        Column("taken", "taken", _taken, lambda r: r.taken, 8),
        Column("lag", "lag", lambda r: count(r.waiting), lambda r: r.waiting, 8),
        Column("lost", "lost", lambda r: count(r.lost), lambda r: r.lost, 8),
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
