"""All workers and channels of the host, one line each."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import Footer, Input, Static

from rtstat.screen import columns
from rtstat.screen.rows import RowsTable
from rtstat.selection import Selection
from rtstat.snapshot import Snapshot
from rtstat.views import ChannelView, WorkerView

_MOST_WORKERS = 8


class Overview(Screen[None]):
    """The first screen: workers above, channels below, and a filter on request."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter"),
        Binding("s", "sort(1)", "sort"),
        Binding("S", "sort(-1)", "sort back", show=False),
        Binding("i", "invert", "invert"),
        Binding("escape", "clear", "clear", show=False),
        Binding("tab", "other", "workers", show=False),
    ]

    app: Any  # RtstatApp, which imports this module

    def __init__(self, selection: Selection, *, all_namespaces: bool) -> None:
        super().__init__()
        self._channels: RowsTable[ChannelView] = RowsTable(
            columns.channel_columns(all_namespaces), lambda ch: ch.key, id="channels"
        )
        self._workers: RowsTable[WorkerView] = RowsTable(
            columns.worker_columns(all_namespaces), lambda w: w.key, id="workers"
        )
        self._selection = selection
        self._words = ""
        self._shot: Snapshot | None = None

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(id="title", classes="title")
            yield Static(id="trouble", classes="trouble")
            yield self._workers
            yield self._channels
        yield Input(
            placeholder="words to find; !word excludes",
            select_on_focus=False,
            id="filter",
        )
        yield Footer()

    def on_mount(self) -> None:
        self._channels.focus()

    @property
    def is_whole(self) -> bool:
        """Whether all parts exist."""
        return bool(self.query("#title") and self.query("#trouble"))

    def on_screen_resume(self) -> None:
        self.call_after_refresh(self.app.show)

    # --- showing ------------------------------------------------------------------------------

    def show(self, shot: Snapshot, title: str) -> None:
        """Show a snapshot, under a title line."""
        self._shot = shot
        self._fill()
        words = f"   filter: {self._words}" if self._words else ""
        self.query_one("#title", Static).update(title + words, layout=False)
        trouble = self.query_one("#trouble", Static)
        text = "   ".join(_troubles(shot))
        trouble.update(text, layout=False)
        if trouble.display != bool(text):
            trouble.display = bool(text)

    def _fill(self) -> None:
        if self._shot is None:
            return
        self._workers.show(_ordered(self._workers, self._selection.workers(self._shot)))
        self._workers.make_room(min(len(self._workers.rows), _MOST_WORKERS))
        self._channels.show(
            _ordered(
                self._channels,
                [
                    channel
                    for channel in self._selection.channels(self._shot)
                    if columns.matches(self._words, columns.channel_text(channel))
                ],
            )
        )

    # --- keys ---------------------------------------------------------------------------------

    def _table(self) -> RowsTable[Any]:
        return self._workers if self._workers.has_focus else self._channels

    def action_other(self) -> None:
        (self._channels if self._workers.has_focus else self._workers).focus()

    def action_sort(self, by: int) -> None:
        table = self._table()
        names = [None, *(column.name for column in table.columns)]
        table.sort_by(names[(names.index(table.sorted_by) + by) % len(names)])
        self._fill()

    def action_invert(self) -> None:
        table = self._table()
        table.descending = not table.descending
        self._fill()

    def on_rows_table_head_clicked(self, event: RowsTable.HeadClicked) -> None:
        table = event.table
        if table.sorted_by == event.column:
            table.descending = not table.descending
        else:
            table.sort_by(event.column)
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


def _ordered(table: RowsTable[Any], rows: list[Any]) -> list[Any]:
    column = next((c for c in table.columns if c.name == table.sorted_by), None)
    if column is None:
        return rows
    return sorted(rows, key=column.value, reverse=table.descending)


def _troubles(shot: Snapshot) -> list[str]:
    """Return in words what to check first."""
    texts = []
    stale = [worker for worker in shot.workers if not worker.healthy]
    if stale:
        names = ", ".join(f"{worker.pool}:{worker.slot}" for worker in stale[:4])
        texts.append(f"no heartbeat: {names}{' …' if len(stale) > 4 else ''}")
    sick = [channel for channel in shot.channels if not channel.healthy]
    if sick:
        names = ", ".join(f"{channel.name} {channel.health}" for channel in sick[:4])
        texts.append(f"{names}{' …' if len(sick) > 4 else ''}")
    wrong = [item for item in shot.unreadable if item.permitted]
    if wrong:
        texts.append(f"{wrong[0].name}: {wrong[0].reason}")
    hidden = len(shot.unreadable) - len(wrong)
    if hidden:
        texts.append(f"{hidden} of other users, hidden")
    return texts
