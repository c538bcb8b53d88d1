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
  C  H  P      close, hold or release, purge the marked channel; each asks first
  /            filter: shows rows with all words, and without any !word
  s  S         sort by the next, the previous column   i       reverse the order
  0 1 2 3      the worst first; sort by late %, by p99, by lost/s
  left right   other columns; the names stay
  v            below the channels: the marked one in short, or the latest events
  tab          workers or channels
  p  space     pause                                   + -     faster, slower
  r            reset the view: count from now on (the channels' own counters stay)
  e            distinct errors of all workers, or of the channel on the screen
  q            quit: exit code 0 ok, 3 troubled, 4 broken

[b]Workers[/b]
  beat         time since the last heartbeat: all other values are as old as that
  sched        policy and priority in effect; only fifo gives reliable timing
  spin         share of the core spent awake, waiting for a deadline
  wake p99     requested wake-up time to running, in the last interval
  longest      the longest turn of its loop; above 1 ms something else ran
  missed       woke more than 1 ms late        rests   slept to stay below the real-time throttle

[b]Channels[/b], and their workers: the worst are first. !! broken   ! troubled
  late %       share of the packets with a deadline that were late in the last interval
  p99          start of sending after the deadline, in the last interval; "all": since it was opened
  lost/s       refused by the kernel (failed), dropped by it, its socket buffer full (drops), or
               overwritten in the rx ring before a reader took them (overwr)
  lag          packets that wait for the slowest reader
  link         state of the engine: a UDT connection, a Netflux link, the loss of RTP
  tx full      share of the tx ring in use     rx full  share that the slowest reader has not read
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
