"""Files to and from libudt's own programs: `shmring udt send --plain`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from shmring.udt.errors import Code, udt_error
from shmring_copy import send


class Leaving:
    """A connection whose receiver leaves while the sender waits for acknowledgements."""

    connected = True

    def stats(self) -> Any:
        return SimpleNamespace(unsent_bytes=1400)

    def flush(self, *, timeout: float) -> None:
        raise udt_error(Code.ECONNLOST, "flush")


def test_a_receiver_that_leaves_with_everything_is_no_failure() -> None:
    meter: Any = SimpleNamespace(tick=lambda: None)
    sock: Any = Leaving()
    send._await_receiver(sock, meter)
