"""How a command learns that it shall end: SIGINT and SIGTERM, for all commands in one way.

A handler runs between two instructions of the main thread, also while that thread holds a lock. A
handler that wants the same lock waits forever, and one that raises may do so anywhere. So no
handler here does anything. Python writes the number of each signal to a pipe
(`signal.set_wakeup_fd`), and a thread reads it.

A command that runs until it is told looks at `Told`. One that ends by itself is interrupted by
KeyboardInterrupt, as Python does it, but once.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Self

from shmring_cli.common import FAILED

HURRY_S = 2.0
"""A signal that comes so long after the first one ends the process at once. One that comes earlier
changes nothing: service managers and `timeout` send two in a row."""

_ENDING = (signal.SIGINT, signal.SIGTERM)


class Ended(Exception):
    """The command was told to end."""


class Told:
    """Whether this process was told to end, by a signal or by itself. Any thread may ask."""

    def __init__(self, name: str, *, interrupts: bool = False, lasts: bool = False) -> None:
        """name: of the program, for its last words. interrupts: raise KeyboardInterrupt in the main
        thread. lasts: the process ends afterwards, so signals have no effect after the ``with``
        block. Otherwise they have the effect that they had before it."""
        self.number: int | None = None
        """The first signal that told so. None: there was none."""
        self.hurries = True
        """Whether a later signal ends the process at once."""
        self._name = name
        self._interrupts = interrupts
        self._lasts = lasts
        self._ends: set[int] = set(_ENDING)
        self._told = threading.Event()
        self._told_at = 0.0
        self._lock = threading.Lock()  # of threads, and never taken in a handler
        self._at_end: Callable[[], object] | None = None
        self._calls: dict[int, Callable[[], object]] = {}
        self._early: list[int] = []
        self._before: dict[int, Any] = {}
        self._read_fd, self._write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._write_fd, False)
        self._thread = threading.Thread(target=self._listen, name="signals", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if threading.current_thread() is threading.main_thread():  # others cannot
            self._fd_before = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
            for number in _ENDING:
                self._hear(number)
            if self._lasts:
                atexit.register(self._ignore)
        return self

    def __exit__(self, *_: object) -> None:
        self._interrupts = False
        if self._lasts:
            return
        if self._before:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._fd_before)
        os.close(self._write_fd)  # which ends the thread
        self._thread.join()
        os.close(self._read_fd)

    # --- asking -----------------------------------------------------------------------------------

    def __bool__(self) -> bool:
        return self._told.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds. Return whether it was told."""
        return self._told.wait(timeout)

    def check(self) -> None:
        """Raise `Ended` if it was told."""
        if self:
            raise Ended

    @contextlib.contextmanager
    def then(self, call: Callable[[], object]) -> Iterator[None]:
        """In this block, `call` is called once when it is told, by another thread, or at once if it
        was told before."""
        with self._lock:
            self._at_end = call
            if self._told.is_set():
                call()
        try:
            yield
        finally:
            with self._lock:
                self._at_end = None

    # --- further signals, from the main thread ----------------------------------------------------

    def also(self, number: int) -> None:
        """Let another signal tell to end, too."""
        self._ends.add(number)
        self._hear(number)

    def keep(self, number: int) -> None:
        """Keep a signal for `on`. It does not tell to end."""
        self._ends.discard(number)
        self._hear(number)

    def on(self, number: int, call: Callable[[], object]) -> None:
        """Call `call` for each signal of this number that was kept or comes, in another thread."""
        with self._lock:
            self._calls[number] = call
            for _ in range(self._early.count(number)):
                call()

    # --- telling ----------------------------------------------------------------------------------

    def set(self, number: int | None = None) -> None:
        """Tell to end."""
        with self._lock:
            if self._told.is_set():
                return
            self.number = number
            self._told_at = time.monotonic()
            self._told.set()
            if self._at_end is not None:
                self._at_end()

    def _hear(self, number: int) -> None:
        before = signal.signal(number, self._handle)
        self._before.setdefault(number, before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """What Python calls in the main thread. The number is already in the pipe."""
        if self._interrupts:
            self._interrupts = False
            raise KeyboardInterrupt

    def _listen(self) -> None:
        while numbers := os.read(self._read_fd, 512):
            for number in numbers:
                self._take(number)

    def _take(self, number: int) -> None:
        if number in self._ends:
            if self and self.hurries and time.monotonic() - self._told_at > HURRY_S:
                print(f"{self._name}: ended at once", file=sys.stderr, flush=True)
                os._exit(FAILED)
            self.set(number)
            return
        with self._lock:
            call = self._calls.get(number)
            if call is None:
                self._early.append(number)
            else:
                call()

    def _ignore(self) -> None:
        """Ignore signals while Python itself ends: it would let them kill the process."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)
