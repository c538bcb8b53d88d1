"""The question before a channel is ended, held, released or purged, and the answer to it."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from rtstat.views import ChannelView
from shmring_cli.acting import ACTIONS, sentence
from shmring_cli.common import describe

BINDINGS: tuple[BindingType, ...] = (
    Binding("E", "ask('end')", "end", show=False),
    Binding("H", "ask('hold')", "hold / release", show=False),
    Binding("P", "ask('purge')", "purge", show=False),
)
"""Of the screens that show a channel: their `action_ask` shows the `question`."""
_EFFECTS = {
    "end": "Every attached process gets ChannelClosed, and {waiting} are dropped.",
    "hold": "Nothing is sent or received until it is released. {waiting}.",
    "release": "It sends and receives again. {waiting}.",
    "purge": "{waiting} are dropped, and unread ones that arrived. It stays open.",
}


class ActingScreen(ModalScreen[None]):
    """Asks, does it on `y`, and says what was done. Any of the other keys leaves."""

    CSS = """
    ActingScreen { align: center middle; }
    ActingScreen Vertical {
        width: 80; max-width: 96%; height: auto;
        border: round $warning; background: $surface; padding: 0 1;
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "act", "yes"),
        Binding("n,escape,q,enter", "dismiss", "no"),
    ]

    def __init__(self, action: str, channel: ChannelView) -> None:
        super().__init__()
        self._action = action
        self._namespace, self._name = channel.key
        waiting = f"{channel.tx_waiting} packets that wait"
        if action in ("hold", "release"):
            waiting = f"{channel.tx_waiting} packets wait"
        effect = _EFFECTS[action].format(waiting=waiting)
        self._question = f"{action.capitalize()} {self._namespace}/{self._name}?  {effect}"
        self._asked = False

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self._question, id="question", markup=False)
            yield Static("y  yes      n  no", id="answer", markup=False)

    def action_act(self) -> None:
        if not self._asked:
            self._asked = True
            self._say("...")
            self._act()

    @work(thread=True)
    def _act(self) -> None:
        """Outside of the event loop: a stopped worker takes seconds not to answer."""
        try:
            text = sentence(ACTIONS[self._action](self._name, namespace=self._namespace))
        except (OSError, ValueError) as error:
            text = describe(error)
        self.app.call_from_thread(self._say, f"{text}\n\nenter  back")

    def _say(self, text: str) -> None:
        self.query_one("#answer", Static).update(text)


def question(action: str, channel: ChannelView) -> ActingScreen:
    """Return the question. A channel that is held is released instead of held."""
    if action == "hold" and channel.state == "held":
        action = "release"
    return ActingScreen(action, channel)
