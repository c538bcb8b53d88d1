"""One channel: its properties, its lateness now and over time, and its engine's part."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from rtstat import columns, why
from rtstat.numbers import Numbers
from rtstat.screen import acting, charts, pane, trouble_bar
from rtstat.screen.facts import facts_table
from rtstat.screen.history import History, Moment
from rtstat.screen.rows import RowsTable
from rtstat.screen.text import TextScreen
from rtstat.show import stale_mark
from rtstat.snapshot import Snapshot
from rtstat.views import ChannelView, ReaderView
from shmring_cli.output import duration, quantity

_SPARKS = (
    ("p99", "lateness p99, logarithmic", "ns"),
    ("late", "late packets", ""),
    ("tx", "sent", "pps"),
    ("rx", "received", "pps"),
)
_HISTOGRAMS = {
    "own_interval": "own cycle",
    "partner_interval": "partner's cycle",
    "gap": "silence of the partner",
    "rtt": "round trip",
    "lateness": "start of sending after the deadline",
    "wire_late": "on the wire after the deadline",
    "wire_early": "on the wire before the deadline",
    "immediate": "send call to start of sending, no deadline",
    "send_call": "time a send call took",
    "rx_delivery": "arrival to the ring",
}
_FROM_DEADLINE = ("lateness", "wire_late")
_BAR_LINES = 6
_SCROLL_BAR = 2


class ChannelScreen(Screen[None]):
    """The details of a channel. It follows the channel's name, also to a new worker or a new
    segment."""

    CSS = """
    ChannelScreen Grid { grid-size: 2; grid-columns: 1fr 1fr; grid-gutter: 0 1; height: auto;
                         grid-rows: auto; }
    ChannelScreen .box { border: round $primary; border-title-color: $foreground; padding: 0 1;
                         height: auto; }
    ChannelScreen #readers { height: auto; min-height: 2; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "back", "back"),
        Binding("t", "times", "interval / all"),
        Binding("n", "histogram", "next histogram"),
        Binding("w", "why", "why late"),
        *acting.BINDINGS,
    ]

    app: Any  # RtstatApp, which imports this module

    def __init__(self, key: tuple[str, str]) -> None:
        super().__init__()
        self.key = key
        self._interval = False
        self._histogram = 0
        self._last: ChannelView | None = None
        self._readers: RowsTable[ReaderView] = RowsTable(
            columns.READER, lambda reader: reader.slot, columns.Column.cell, id="readers"
        )

    def compose(self) -> ComposeResult:
        yield Static(id="title", classes="title", markup=False)
        yield Static(id="trouble", classes="trouble", markup=False)
        with VerticalScroll(), Grid():
            yield Static(id="facts", classes="box")
            yield Static(id="verdicts", classes="box")
            yield Static(id="histogram", classes="box")
            with VerticalScroll(classes="box", id="sparks"):
                for name, *_ in _SPARKS:
                    yield Static(id=f"spark-{name}", markup=False)
            yield Static(id="part", classes="box")
            with VerticalScroll(classes="box", id="readers-box"):
                yield self._readers
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        for name, title in (
            ("facts", "channel"),
            ("verdicts", "packets"),
            ("sparks", "over time"),
            ("readers-box", "readers"),
        ):
            self.query_one(f"#{name}").border_title = title
        self.query_one("#trouble").display = False

    @property
    def is_whole(self) -> bool:
        """Whether all parts exist: boxes get their content some time after they appear, and the
        parts of a screen that ends go one by one, the title among the first."""
        return all(self.query(f"#{part}") for part in ("title", "facts", "spark-rx", "readers"))

    def on_screen_resume(self) -> None:
        self.call_after_refresh(self.app.show)

    # --- showing ------------------------------------------------------------------------------

    def show(self, shot: Snapshot, title: str) -> None:
        """Show a snapshot, under a title line."""
        self.query_one("#title", Static).update(title, layout=False)
        channel = shot.channel(self.key[1], self.key[0])
        trouble = self.query_one("#trouble", Static)
        trouble.display = channel is None or bool(shot.troubles_of(channel))
        if channel is None:
            trouble.update(f"{self.key[1]} is gone: the last values are below")
            return
        bar = trouble_bar.lines(
            shot.troubles_of(channel), shot.namespace, self.size.width - 2, _BAR_LINES
        )
        trouble.update(Text("\n").join(bar))
        self._last = channel
        self._show(channel, self.app.history)

    def _show(self, channel: ChannelView, history: History) -> None:
        self.query_one("#facts", Static).update(facts_table(_facts(channel)))
        self.query_one("#verdicts", Static).update(facts_table(_verdicts(channel)))
        self._show_histogram(channel)
        self._show_sparks(history.of(channel.key))
        self._show_part(channel)
        self._readers.show(channel.readers)
        self._readers.make_room(max(1, len(channel.readers)))

    def _show_histogram(self, channel: ChannelView) -> None:
        name = self._histogram_name(channel)
        times = _holder(channel, name).times(name, interval=self._interval)
        box = self.query_one("#histogram", Static)
        span = "last interval" if self._interval else "all"
        box.border_title = f"{_HISTOGRAMS[name]}, {span}"
        width = max(20, box.size.width - 4)
        buckets = channel.buckets(name, interval=self._interval)
        tolerance_ns = channel.facts.tolerance_ns if name in _FROM_DEADLINE else None
        text = charts.histogram(buckets, width, tolerance_ns)
        box.update(f"{text}\n\n{charts.summary(times)}")

    def _histogram_name(self, channel: ChannelView) -> str:
        full = [
            name
            for name in _HISTOGRAMS
            if (count := f"{name}_count") in (numbers := _holder(channel, name)) and numbers[count]
        ]
        names = full or ["lateness"]
        return names[self._histogram % len(names)]

    def _show_sparks(self, moments: list[Moment]) -> None:
        values: dict[str, list[float]] = {
            "p99": [float(moment.p99_ns) for moment in moments],
            "late": [float(moment.late) for moment in moments],
            "tx": [moment.tx_pps for moment in moments],
            "rx": [moment.rx_pps for moment in moments],
        }
        seconds = [moment.seconds for moment in moments]
        width = max(20, self.query_one("#sparks").size.width - 4)
        for name, title, unit in _SPARKS:
            seen = values[name]
            lowest = pane.LOG_FROM_NS if name == "p99" else None
            text = title
            if seen:
                now, most = (
                    quantity(v, unit) if unit else charts.short(int(v))
                    for v in (seen[-1], max(seen))
                )
                text = f"{title}   now {now}   highest {most}"
            lines = [text, *charts.over_time(seen, seconds, width, lowest=lowest)]
            self.query_one(f"#spark-{name}", Static).update("\n".join(lines))

    def _show_part(self, channel: ChannelView) -> None:
        box = self.query_one("#part", Static)
        box.display = channel.part is not None
        box.border_title = channel.engine + stale_mark(channel)
        box.update(facts_table(columns.facts_of(channel)))

    # --- keys ---------------------------------------------------------------------------------

    def action_back(self) -> None:
        self.app.pop_screen()

    def action_times(self) -> None:
        self._interval = not self._interval
        self._again()

    def action_histogram(self) -> None:
        self._histogram += 1
        self._again()

    def action_why(self) -> None:
        namespace, name = self.key
        self.app.push_screen(
            TextScreen(
                "why packets were late",
                lambda shot: why.answer(shot, namespace, name, self.size.width - _SCROLL_BAR),
            )
        )

    def action_ask(self, action: str) -> None:
        """Ask whether to do this to the channel. A held one is released, not held."""
        if self._last is None:
            return
        self.app.push_screen(acting.question(action, self._last))

    def _again(self) -> None:
        if self._last is not None:
            self._show_histogram(self._last)


def _holder(channel: ChannelView, name: str) -> Numbers:
    """Return what has a histogram: the channel, or its engine's part."""
    part = channel.part
    return part if part is not None and f"{name}_count" in part else channel


def _facts(channel: ChannelView) -> list[tuple[str, str]]:
    facts = channel.facts
    age_ns = channel.heartbeat_age_ns
    return [
        ("name", f"{channel.namespace} / [b]{channel.name}[/b]   in pool {channel.pool}"),
        ("engine", f"{channel.engine} {facts.direction}, reading {facts.reading}"),
        ("state", _state(channel)),
        ("address", _addresses(channel)),
        ("processes", _plain(pane.processes(channel))),
        (
            "worker",
            f"pid {channel.worker_pid}, core {'any' if channel.cpu is None else channel.cpu}, "
            f"number {channel.epoch} to serve it",
        ),
        ("heartbeat", "never" if age_ns is None else f"{duration(age_ns)} ago"),
        (
            "late packets",
            f"are {'dropped' if facts.late == 'drop' else 'sent all the same'}; "
            f"late is more than {duration(facts.tolerance_ns)}",
        ),
        ("launch time", _plain(facts.txtime_reason) or "not requested"),
        ("memory", quantity(facts.segment_bytes, "bytes")),
    ]


def _state(channel: ChannelView) -> str:
    since = f"{channel.state}, open for {duration(channel.age_s * 1e9)}"
    return f"{since}; {_plain(channel.facts.failure)}" if channel.facts.failure else since


def _addresses(channel: ChannelView) -> str:
    return _plain(f"{pane.addresses(channel)}   {channel.facts.interface}")


def _plain(text: str) -> str:
    """Return text that others chose, without tags of the terminal's markup."""
    return text.replace("[", "\\[")


def _verdicts(channel: ChannelView) -> list[tuple[str, str]]:
    lines = [
        (name.replace("_", " "), _with_delta(channel, f"tx_{name}", number))
        for name, number in channel.verdicts.items()
    ]
    lines.append(("immediate", _with_delta(channel, "tx_immediate", channel["tx_immediate"])))
    lines.append(("waiting", f"{channel.tx_waiting:>12}   tx ring {channel.tx_fill:.0%} full"))
    lines.append(("received", _with_delta(channel, "rx_received", channel["rx_received"])))
    for name, text in (("rx_kernel_drops", "kernel drops"), ("rx_overwritten", "overwritten")):
        lines.append((text, _with_delta(channel, name, channel[name])))
    return lines


def _with_delta(channel: ChannelView, name: str, number: int) -> str:
    grown = channel.delta(name)
    text = f"{number:>12,}".replace(",", " ")
    return f"{text}   +{grown}" if grown else text
