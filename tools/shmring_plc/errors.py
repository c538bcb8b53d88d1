"""Errors of the parsers of definitions."""

from __future__ import annotations

from shmring.errors import ShmringError


class DefinitionError(ShmringError, ValueError):
    """A definition in a controller's language is wrong, or uses an unsupported feature.

    `source`, `line` and `column` (both from 1) give the place.
    """

    def __init__(self, message: str, source: str, line: int, column: int) -> None:
        """source: the name of the text, such as its file name."""
        super().__init__(f"{source}:{line}:{column}: {message}")
        self.message = message
        self.source = source
        self.line = line
        self.column = column

    def __reduce__(self) -> tuple[type[DefinitionError], tuple[str, str, int, int]]:
        """Pickle the arguments, not the text."""
        return type(self), (self.message, self.source, self.line, self.column)
