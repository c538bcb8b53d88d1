"""The clock and the keys of the view, and what its screens share: watch, last snapshot, history."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.timer import Timer
from textual.widgets import DataTable

from rtstat import errors, timeline
from rtstat.clocks import Clocks
from rtstat.screen import ink, trouble_bar
from rtstat.screen.detail import ChannelScreen
from rtstat.screen.help import HelpScreen
from rtstat.screen.history import History
from rtstat.screen.overview import Overview
from rtstat.screen.rows import RowsTable
from rtstat.screen.text import TextScreen
from rtstat.selection import Selection
from rtstat.snapshot import Snapshot, Watch
from shmring import observe
from shmring_cli.common import FINE
from shmring_cli.ending import Told

_SECOND_SNAPSHOT_S = 0.25
_FASTEST_S = 0.1
_SLOWEST_S = 60.0


class RtstatApp(App[int]):
    """rtstat's full screen. It ends with `Selection.exit_code` of the last snapshot."""

    TITLE = "rtstat"
    ENABLE_COMMAND_PALETTE = False

    CSS = f"""
    Screen {{ background: {ink.GROUND}; color: {ink.TEXT}; }}
    * {{
        scrollbar-size-vertical: 1;
        scrollbar-color: {ink.DIM}; scrollbar-background: {ink.HEAD};
        scrollbar-color-hover: {ink.TEXT}; scrollbar-background-hover: {ink.HEAD};
        scrollbar-color-active: {ink.TEXT}; scrollbar-background-active: {ink.HEAD};
    }}
    .title {{ height: 1; background: {ink.TITLE}; color: {ink.TEXT}; padding: 0 1; }}
    .trouble {{ height: auto; background: {ink.GROUND}; color: {ink.TEXT}; padding: 0 1; }}
    Overview #filter {{ dock: bottom; display: none; height: 3; margin-bottom: 1; }}
    Overview #filter.open {{ display: block; }}
    Overview #below {{ height: 1fr; padding: 0 1; color: {ink.TEXT}; }}
    Footer, Footer * {{ background: {ink.HEAD}; color: {ink.TEXT}; }}
    FooterKey .footer-key--key {{ background: {ink.HEAD}; color: {ink.WARN}; }}
    FooterKey .footer-key--description {{ background: {ink.HEAD}; color: {ink.TEXT}; }}
    RowsTable, RowsTable:focus {{
        background: {ink.GROUND}; background-tint: {ink.GROUND} 0%; height: 1fr;
        overflow-x: hidden;
        & > .datatable--header, & > .datatable--header-hover {{
            background: {ink.HEAD}; color: {ink.TEXT}; text-style: bold;
        }}
        & > .datatable--fixed, & > .datatable--even-row, & > .datatable--odd-row {{
            background: {ink.GROUND}; color: {ink.TEXT};
        }}
        & > .datatable--cursor, & > .datatable--fixed-cursor {{
            background: {ink.MARK_AWAY}; color: {ink.TEXT}; text-style: none;
        }}
        & > .datatable--hover {{ background: {ink.GROUND}; }}
    }}
    RowsTable:focus {{
        & > .datatable--cursor, & > .datatable--fixed-cursor {{ background: {ink.MARK}; }}
    }}
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave", "quit"),
        Binding("ctrl+c", "leave", "quit", show=False, priority=True),
        Binding("p,space", "pause", "pause", show=False),
        Binding("e", "errors", "errors", show=False),
        Binding("r", "reset", "reset view", show=False),
        Binding("plus", "pace(0.5)", "faster", show=False),
        Binding("minus", "pace(2)", "slower", show=False),
        Binding("question_mark,h", "help", "help"),
    ]

    def __init__(self, watch: Watch, selection: Selection, *, interval_s: float) -> None:
        """`watch` is closed by its owner."""
        super().__init__()
        self.history = History()
        self.shot: Snapshot | None = None
        self.paused = False
        self._watch = watch
        self._interval_s = interval_s
        self._overview = Overview(selection, watch.namespace)
        self._selection = selection
        self._since = 0.0
        self._timer: Timer | None = None
        self._loop_here: asyncio.AbstractEventLoop | None = None
        self._leaves = False

    def get_default_screen(self) -> Overview:
        return self._overview

    def on_mount(self) -> None:
        # The first snapshot shows what exists. A second one, soon after, adds the rates.
        self._take()
        self.set_timer(min(_SECOND_SNAPSHOT_S, self._interval_s), self._tick)
        self._timer = self.set_interval(self._interval_s, self._tick)
        self._loop_here = asyncio.get_running_loop()
        if self._leaves:
            self.action_leave()

    def leave(self) -> None:
        """End it. Any thread may call this, at any time."""
        self._leaves = True
        if self._loop_here is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                self._loop_here.call_soon_threadsafe(self.action_leave)

    # --- reading --------------------------------------------------------------------------------

    def _tick(self) -> None:
        if not self.paused:
            self.read()

    def read(self) -> None:
        """Read once, and show the result."""
        self._take()
        self.show()

    def _take(self) -> None:
        self.shot = self._watch.read()
        self.history.add(self.shot)

    def show(self) -> None:
        """Show the last snapshot on the active screen. Screens call this when they appear."""
        if self.shot is None or not self.screen_stack:
            return  # no snapshot yet, or the program is ending
        screen = self.screen
        if isinstance(screen, (Overview, ChannelScreen, TextScreen)) and screen.is_whole:
            screen.show(self.shot, self._title(self.shot))

    def _title(self, shot: Snapshot) -> str:
        """Return the verdict with the worst troubles, then as much else as the line holds."""
        clock = time.strftime("%H:%M:%S", time.localtime(shot.real_ns / 1e9))
        pace = "PAUSED" if self.paused else f"every {self._interval_s:g} s"
        last = f"{pace}  {clock}"
        if self._since:
            begun = time.strftime("%H:%M:%S", time.localtime(self._since))
            last = f"counting since {begun}  {last}"
        where = "all namespaces" if shot.namespace is None else f"namespace {shot.namespace}"
        width = self.size.width - 2
        troubles = self._selection.troubles(shot)
        room = max(20, width - len(last) - 2)
        verdict = trouble_bar.title(troubles, shot.namespace, room, empty=shot.is_empty)
        for more in (where, socket.gethostname(), _extent(shot)):
            if len(verdict) + len(more) + len(last) + 4 <= width:
                last = f"{more}  {last}"
        return f"{verdict}{last:>{max(0, width - len(verdict))}}"

    # --- keys -----------------------------------------------------------------------------------

    def action_leave(self) -> None:
        self.exit(FINE if self.shot is None else self._selection.exit_code(self.shot))

    def action_pause(self) -> None:
        self.paused = not self.paused
        self.show()

    def action_reset(self) -> None:
        self._watch.rebase()
        self._since = time.time()
        self.history = History()
        self.read()

    def action_pace(self, factor: float) -> None:
        self._interval_s = min(max(self._interval_s * factor, _FASTEST_S), _SLOWEST_S)
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_interval(self._interval_s, self._tick)
        self.show()

    def action_errors(self) -> None:
        """Show the errors of all workers, or of the channel on the screen."""
        screen = self.screen
        if isinstance(screen, TextScreen):
            return
        key = screen.key if isinstance(screen, ChannelScreen) else None
        self.push_screen(
            TextScreen("distinct errors", lambda shot: errors.text(_errors_of(shot, key)))
        )

    def action_help(self) -> None:
        self.push_screen(HelpScreen())

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        table = event.data_table
        assert isinstance(table, RowsTable)
        if table.id == "channels":
            self.push_screen(ChannelScreen(table.marked_key))
        elif table.id == "workers":
            namespace, pool, slot = table.marked_key
            self.push_screen(
                TextScreen(
                    f"flight recorder of worker {pool}:{slot}",
                    lambda _: _recorded(namespace, pool, slot, self.size.width - 2),
                )
            )


def run(namespace: str | None, selection: Selection, interval_s: float, told: Told) -> int:
    """Show the full screen until the user leaves it. Return the exit code."""
    with Watch(namespace) as watch:
        app = RtstatApp(watch, selection, interval_s=interval_s)
        with told.then(app.leave):
            return app.run() or FINE


def _errors_of(shot: Snapshot, key: tuple[str, str] | None) -> list[observe.DistinctError]:
    return [e for e in shot.errors if key in (None, (e.namespace, e.channel))]


def _recorded(namespace: str, pool: str, slot: int, width: int) -> str:
    found = [e for w in observe.workers(pool, namespace) if w.slot == slot for e in w.events]
    if not found:
        return "nothing was recorded"
    return timeline.event_table(found[::-1], Clocks.now(), width)


def _extent(shot: Snapshot) -> str:
    return (
        f"{_many(len(shot.pools), 'pool')}, {_many(len(shot.workers), 'worker')}, "
        f"{_many(len(shot.channels), 'channel')}"
    )


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
