"""Help on keys and columns."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from rtstat.screen.facts import facts_table
from rtstat.screen.keys import KEYS

_WORKERS = (
    ("beat", "time since the last heartbeat: all other values are as old as that"),
    ("sched", "policy and priority in effect; only fifo gives reliable timing"),
    ("spin", "share of the core spent awake, waiting for a deadline"),
    ("wake p99", "from the requested wake-up time to running, in the last interval"),
    ("longest", "the longest turn of its loop; above 1 ms something else ran"),
    ("missed/s", 'wake-ups more than 1 ms late; "all": since the worker started'),
    ("rests/s", "sleeps to stay below the real-time throttle"),
)
_CHANNELS = (
    ("!!  !", "broken, troubled: these rows are first"),
    ("late %", "share of the packets with a deadline that were late in the last interval"),
    ("p99", "start of sending after the deadline, in the last interval"),
    ("lost/s", "refused by the kernel, dropped by it, or overwritten before a reader took them"),
    ("lag", "packets that wait for the slowest reader"),
    ("link", "state of the engine: a UDT connection, a Netflux link, the loss of RTP"),
    ("tx full", "share of the tx ring in use"),
    ("rx full", "share of the rx ring that the slowest reader has not read"),
    ("... all", "since the channel was opened, or since key r"),
)


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
            yield Static(facts_table(_WORKERS))
            yield Static("\n[b]Columns of channels[/b]")
            yield Static(facts_table(_CHANNELS))
