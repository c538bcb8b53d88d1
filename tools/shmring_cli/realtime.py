"""What the workers of a command lack: two lines on stderr, once, and the long form for --json."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO

from shmring.errors import RealtimeWarning


@contextlib.contextmanager
def shown(name: str) -> Iterator[list[str]]:
    """Show the warnings of this block under the command's name, each `RealtimeWarning` once. Yield
    a list that gets the long forms of these."""
    found: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", RealtimeWarning)

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if isinstance(message, RealtimeWarning):
                if message.details in found:
                    return
                found.append(message.details)
            print(f"{name}: {message}", file=sys.stderr, flush=True)

        warnings.showwarning = show
        yield found
