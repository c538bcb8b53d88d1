"""A screen of text that is rebuilt at each snapshot: errors, a worker's flight recorder, why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from rtstat.snapshot import Snapshot


class TextScreen(Screen[None]):
    """Shows the text that a function makes from a snapshot. Read errors are shown as text."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,backspace", "back", "back")]

    app: Any  # RtstatApp, which imports this module

    def __init__(self, head: str, make: Callable[[Snapshot], str]) -> None:
        super().__init__()
        self._head = head
        self._make = make

    def compose(self) -> ComposeResult:
        yield Static(id="title", classes="title", markup=False)
        with VerticalScroll():
            # Text that other processes wrote is not markup.
            yield Static(id="text", markup=False)
        yield Footer(show_command_palette=False)

    @property
    def is_whole(self) -> bool:
        """Whether all parts exist."""
        return bool(self.query("#title") and self.query("#text"))

    def on_screen_resume(self) -> None:
        self.query_one(VerticalScroll).focus()
        self.call_after_refresh(self.app.show)

    def show(self, shot: Snapshot, title: str) -> None:
        """Show a snapshot, under a title line."""
        self.query_one("#title", Static).update(f"{title}   {self._head}", layout=False)
        try:
            text = self._make(shot)
        except OSError as error:
            text = str(error)
        self.query_one("#text", Static).update(text)

    def action_back(self) -> None:
        self.app.pop_screen()
