"""A log that a lasting error cannot fill."""

from __future__ import annotations

import logging
import time

PERIOD_S = 10.0
KEPT = 64


class RareLog:
    """Logs each distinct message (without its arguments) at most every ten seconds, with the number
    of suppressed ones. One thread at a time."""

    def __init__(self, log: logging.Logger, period_s: float = PERIOD_S) -> None:
        self._log = log
        self._period_s = period_s
        self._said: dict[str, tuple[float, int]] = {}

    def warning(self, message: str, *arguments: object) -> None:
        self._say(logging.WARNING, message, arguments, trace=False)

    def exception(self, message: str, *arguments: object) -> None:
        """Like `warning`, with the current exception."""
        self._say(logging.ERROR, message, arguments, trace=True)

    def _say(self, level: int, message: str, arguments: tuple[object, ...], *, trace: bool) -> None:
        now = time.monotonic()
        said_at, held_back = self._said.get(message, (-self._period_s, 0))
        if now - said_at < self._period_s:
            self._said[message] = (said_at, held_back + 1)
            return
        if len(self._said) >= KEPT:
            self._said.clear()
        self._said[message] = (now, 0)
        again = f" (and {held_back} times since the last line)" if held_back else ""
        self._log.log(level, message + "%s", *arguments, again, exc_info=trace)


__all__ = ["RareLog"]
