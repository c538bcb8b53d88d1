"""Help on keys and columns."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from rtstat import columns
from rtstat.screen.facts import facts_table
from rtstat.screen.keys import KEYS


class HelpScreen(ModalScreen[None]):
    """A screen over the active one. Any of the keys below closes it."""

    CSS = """
    HelpScreen { align: center middle; }
    HelpScreen Static { padding: 0 1 0 0; }
    HelpScreen VerticalScroll {
        width: 100; max-width: 96%; height: auto; max-height: 90%;
        border: round $primary; background: $surface; padding: 0 1;
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,h,q,enter", "dismiss", "back")
    ]

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static("[b]Keys[/b]")
            yield Static(facts_table((" ".join(key.names), key.meaning) for key in KEYS))
            yield Static("\n[b]Columns of workers[/b]")
            yield Static(facts_table((column.head, column.help) for column in columns.WORKER))
            yield Static("\n[b]Columns of channels[/b]")
            yield Static(facts_table((column.head, column.help) for column in columns.CHANNEL))
