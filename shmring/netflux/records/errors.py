"""Errors of records."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from shmring.errors import ShmringError


class RecordError(ShmringError, ValueError):
    """A class cannot be a payload, or a value or a payload does not fit the class.

    `path` names the field, such as ``axes[2].position``. It is empty if there is none.
    """

    def __init__(self, message: str, path: str = "") -> None:
        """The text is message, with path in front if there is one."""
        super().__init__(f"{path}: {message}" if path else message)
        self.message = message
        self.path = path

    def __reduce__(self) -> tuple[type[RecordError], tuple[str, str]]:
        """Pickle the arguments, not the text."""
        return type(self), (self.message, self.path)


@contextlib.contextmanager
def within(outer: str) -> Iterator[None]:
    """Put the name of the field that contains another one in front of the path of its errors."""
    try:
        yield
    except RecordError as error:
        joint = "." if error.path and not error.path.startswith("[") else ""
        raise RecordError(error.message, f"{outer}{joint}{error.path}") from None
