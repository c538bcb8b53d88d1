"""The keys, and what the columns mean."""

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
  /            filter: all words must be found, !word must not
  s  S         sort by the next, the previous column   i       the other way round
  tab          workers or channels
  p  space     pause                                   + -     faster, slower
  r            reset the view: count from now on (the channels' own counters stay)
  e            distinct errors: each problem once, of all or of the channel in front
  q            quit: exit code 0 healthy, 2 not

[b]Workers[/b]
  beat         since the worker last said that it runs: all else is as old as that
  sched        policy and priority in force; anything but fifo is a guess about time
  spin         share of the core spent awake, waiting for a deadline
  wake p99     asked wake-up time to running, in the last interval
  longest      the longest turn of its loop; above 1 ms something else ran
  missed       woke more than 1 ms late        rests   slept to stay below the real-time throttle

[b]Channels[/b]
  p50 p99 max  start of sending after the deadline, in the last interval; "all": since it was opened
  late         packets whose verdict is one of the late ones; yellow while it grows
  failed       packets that the kernel refused
  tx full      share of the tx ring in use     rx full  what the slowest reader has yet to take
  drops        dropped by the kernel, its socket buffer full (the worker came too late)
  overwr       overwritten in the rx ring before a reader took them (the reader came too late)
  lag          packets the slowest reader has before it        lost  what readers lost by that
"""


class HelpScreen(ModalScreen[None]):
    """Over whatever is in front; any of the keys below closes it."""

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
