"""Help on keys and columns."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

_TEXT = """\
[b]Keys[/b]
  enter        details of the marked channel, flight recorder of the marked worker
  escape       back, or no filter
  w            in a channel's details: which packets were late and why
  /            filter: shows rows with all words, and without any !word
  s  S         sort by the next, the previous column   i       reverse the order
  tab          workers or channels
  p  space     pause                                   + -     faster, slower
  r            reset the view: count from now on (the channels' own counters stay)
  e            distinct errors of all workers, or of the channel on the screen
  q            quit: exit code 0 healthy, 2 not

[b]Workers[/b]
  beat         time since the last heartbeat: all other values are as old as that
  sched        policy and priority in effect; only fifo gives reliable timing
  spin         share of the core spent awake, waiting for a deadline
  wake p99     requested wake-up time to running, in the last interval
  longest      the longest turn of its loop; above 1 ms something else ran
  missed       woke more than 1 ms late        rests   slept to stay below the real-time throttle

[b]Channels[/b]
  p50 p99 max  start of sending after the deadline, in the last interval; "all": since it was opened
  late         packets whose verdict is one of the late ones; yellow while it grows
  failed       packets that the kernel refused
  tx full      share of the tx ring in use     rx full  share that the slowest reader has not read
  drops        dropped by the kernel, its socket buffer full (the worker came too late)
  overwr       overwritten in the rx ring before a reader took them (the reader came too late)
  lag          packets that wait for the slowest reader     lost  packets that readers lost
"""


class HelpScreen(ModalScreen[None]):
    """A screen over the active one. Any of the keys below closes it."""

    CSS = """
    HelpScreen { align: center middle; }
    HelpScreen VerticalScroll {
        width: 104; max-width: 96%; height: auto; max-height: 90%;
        border: round $primary; background: $surface; padding: 0 1;
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,h,q,enter", "dismiss", "back")
    ]

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(_TEXT)
