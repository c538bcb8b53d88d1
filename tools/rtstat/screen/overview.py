"""All workers and channels of the host, one line each."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Input, Static

from rtstat import columns
from rtstat.screen import acting, pane, trouble_bar
from rtstat.screen.rows import RowsTable
from rtstat.selection import Selection
from rtstat.snapshot import Snapshot
from rtstat.views import ChannelView, WorkerView
from rtstat.worst import Worst

_MOST_WORKERS = 8
_LEAST_BELOW = 4


class Overview(Screen[None]):
    """The first screen: workers above, channels below, and a filter on request."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter"),
        Binding("0", "by('')", "worst first", show=False),
        Binding("1", "by('late_share')", "late"),
        Binding("2", "by('lateness_interval_p99_ns')", "p99"),
        Binding("3", "by('lost_pps')", "lost"),
        Binding("s", "sort(1)", "sort", show=False),
        Binding("S", "sort(-1)", "sort back", show=False),
        Binding("i", "invert", "invert", show=False),
        Binding("v", "below", "events"),
        Binding("escape", "clear", "clear", show=False),
        Binding("tab", "other", "workers", show=False),
        *acting.BINDINGS,
    ]

    app: Any  # RtstatApp, which imports this module

    def __init__(self, selection: Selection, namespace: str | None) -> None:
        super().__init__()
        self._channels: RowsTable[ChannelView] = RowsTable(
            columns.CHANNEL, lambda ch: ch.key, self._cell, id="channels"
        )
        self._workers: RowsTable[WorkerView] = RowsTable(
            columns.WORKER, lambda w: w.key, self._cell, id="workers"
        )
        self._selection = selection
        self._namespace = namespace
        self._words = ""
        self._shot: Snapshot | None = None
        self._worst = Worst()
        self._shows_events = False

    def _cell(
        self, column: columns.Column, view: ChannelView | WorkerView
    ) -> tuple[str, columns.Mood]:
        if column.name in ("channel", "worker"):
            return columns.named(view, self._worst, self._namespace)
        return column.cell(view, self._worst)

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(id="title", classes="title", markup=False)
            yield Static(id="trouble", classes="trouble", markup=False)
            yield self._workers
            yield self._channels
            yield Static(id="below", markup=False)
        yield Input(
            placeholder="words to find; !word excludes",
            select_on_focus=False,
            id="filter",
        )
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._channels.focus()

    @property
    def is_whole(self) -> bool:
        """Whether all parts exist."""
        return bool(self.query("#title") and self.query("#below"))

    def on_screen_resume(self) -> None:
        self.call_after_refresh(self.app.show)

    # --- showing ------------------------------------------------------------------------------

    def show(self, shot: Snapshot, title: str) -> None:
        """Show a snapshot, under a title line."""
        self._shot = shot
        self._worst = Worst(shot.troubles)
        words = f"filter: {self._words}   " if self._words else ""
        self.query_one("#title", Static).update(words + title, layout=False)
        bar = self.query_one("#trouble", Static)
        lines = self._bar(shot)
        bar.update(Text("\n").join(lines))
        bar.styles.height = len(lines)
        bar.display = bool(lines)
        self._fill(len(lines))

    def _bar(self, shot: Snapshot) -> list[Text]:
        width, height = self.size.width - 2, trouble_bar.room(self.size.height)
        troubles = self._selection.troubles(shot)
        lines = trouble_bar.lines(troubles, shot.namespace, width, height)
        hidden = sum(not item.permitted for item in shot.unreadable)
        return [*lines, Text(f"{hidden} of other users, hidden")] if hidden else lines

    def _fill(self, bar: int | None = None) -> None:
        shot = self._shot
        if shot is None:
            return
        workers = sorted(self._selection.workers(shot), key=self._worst.place)
        self._workers.show(self._workers.ordered(workers))
        rows = min(len(workers), _MOST_WORKERS, max(1, self.size.height // 6))
        self._workers.make_room(rows)
        found = [
            channel
            for channel in self._selection.worst_first(shot)
            if matches(self._words, channel_text(channel))
        ]
        self._channels.show(self._channels.ordered(found))
        if bar is None:
            bar = int(self.query_one("#trouble").size.height)
        self._share_out(self.size.height - 2 - bar - rows - 1, len(found))

    def _share_out(self, height: int, rows: int) -> None:
        """Give the channels the lines they need, and the part below them the rest, if any."""
        rest = height - rows - 1
        below = self.query_one("#below", Static)
        below.display = rest >= _LEAST_BELOW and rows > 0
        if below.display:
            self._channels.make_room(rows)
            self._show_below(rest)
        else:
            self._channels.styles.height = "1fr"

    def _show_below(self, height: int) -> None:
        width = self.size.width - 2
        if self._shows_events:
            lines = pane.events(self.app.history.happened, width)
        else:
            lines = self._marked_lines(width)
        self.query_one("#below", Static).update("\n".join(lines[:height]), layout=False)

    def _marked_lines(self, width: int) -> list[str]:
        channel = self._channels.marked_row
        if channel is None or self._shot is None:
            return []
        moments = self.app.history.of(channel.key)
        return pane.channel(channel, self._shot.troubles_of(channel), moments, width)

    def on_data_table_row_highlighted(self, _event: DataTable.RowHighlighted) -> None:
        below = self.query_one("#below", Static)
        if below.display:
            self._show_below(below.size.height)

    def on_resize(self) -> None:
        self.call_after_refresh(self.app.show)

    # --- keys ---------------------------------------------------------------------------------

    def _table(self) -> RowsTable[Any]:
        return self._workers if self._workers.has_focus else self._channels

    def action_other(self) -> None:
        (self._channels if self._workers.has_focus else self._workers).focus()

    def action_sort(self, by: int) -> None:
        table = self._table()
        names = [None, *(column.name for column in table.all_columns)]
        table.sort_by(names[(names.index(table.sorted_by) + by) % len(names)])
        self._fill()

    def action_by(self, name: str) -> None:
        """Sort the channels by a column, the largest first. Without a name: the worst first."""
        self._channels.sort_by(name or None)
        self._fill()
        self._channels.mark_first()

    def action_ask(self, action: str) -> None:
        channel = self._channels.marked_row
        if channel is not None and self._channels.has_focus:
            self.app.push_screen(acting.question(action, channel))

    def action_below(self) -> None:
        self._shows_events = not self._shows_events
        self._fill()

    def action_invert(self) -> None:
        self._table().invert()
        self._fill()

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        table, index = event.data_table, event.column_index
        assert isinstance(table, RowsTable)
        name = table.named(index)
        if table.sorted_by == name:
            table.invert()
        else:
            table.sort_by(name)
        self._fill()

    def action_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.add_class("open")
        field.focus()

    def action_clear(self) -> None:
        self.query_one("#filter", Input).value = ""
        self._close_filter()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._words = event.value.strip()
        self._fill()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        self._close_filter()

    def _close_filter(self) -> None:
        self.query_one("#filter", Input).remove_class("open")
        self._channels.focus()


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
