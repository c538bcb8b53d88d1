"""Arguments that the original reads as C integers: int, bool, and objects with ``__index__``. And
files, which it reads through their descriptors."""

from __future__ import annotations

import contextlib
import io
import operator
from typing import IO, Any

from shmring.udt.files import AnyFile as BinaryFile

AnyFile = BinaryFile | IO[str]


def integer(name: str, value: Any) -> int:
    """Return an argument as an int. Raises a `TypeError` that names it."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {value!r}") from None


def binary(file: AnyFile) -> BinaryFile:
    """Return a file that gives bytes: that below a text file, as in Python 2."""
    given: Any = file
    if isinstance(file, io.TextIOBase):
        with contextlib.suppress(ValueError):  # it is closed: the call that follows says so
            file.flush()
        given = getattr(file, "buffer", file)
    return given  # type: ignore[no-any-return]
