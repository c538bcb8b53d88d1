"""A text without its comments and pragmas, and the positions of errors in it."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable

from .errors import DefinitionError
from .tree import Token

# Strings and the free text of a title are skipped: they cannot contain comments.
_PARTS = re.compile(
    r"""'(?:\$.|[^'$\n])*' | "[^"\n]*" | \bTITLE[ \t]*=[^\n]*
    | (?P<line>//[^\n]*) | (?P<pragma>\{[^}]*\}?) | (?P<comment>\(\*|/\*)""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_CLOSING = {"(*": "*)", "/*": "*/"}
_MOST_CHARACTERS = 1 << 18
_LONGEST_MESSAGE = 600


class Text:
    """A text to parse. source: its name in messages."""

    def __init__(self, text: str, source: str) -> None:
        """Raise DefinitionError if it is too long."""
        self.text = text.removeprefix("\ufeff")
        self._source = source
        if len(text) > _MOST_CHARACTERS:
            message = f"{len(text)} characters; at most {_MOST_CHARACTERS}: read it in parts"
            raise self.error(message, Token("", 1, 1))
        self._line_ends = [end.start() for end in re.finditer(r"\n", self.text)]

    def place(self, at: int) -> Token:
        """The line and column of an index."""
        line = bisect.bisect_left(self._line_ends, at)
        return Token("", line + 1, at - (self._line_ends[line - 1] if line else -1))

    def error(self, message: str, token: Token) -> DefinitionError:
        """Make an error that points at a word. What it quotes of the text may be very long."""
        if len(message) > _LONGEST_MESSAGE:
            half = _LONGEST_MESSAGE // 2
            message = f"{message[:half]} ... {message[-half:]}"
        return DefinitionError(message, self._source, token.line, token.column)

    def plain(self, pragma: Callable[[int, str], None]) -> str:
        """Return the text with blanks for comments and pragmas. Each pragma is reported: index,
        contents."""
        parts: list[str] = []
        at = 0
        while part := _PARTS.search(self.text, at):
            parts.append(self.text[at : part.start()])
            end = part.end()
            if part["comment"]:
                end = self._comment_end(part.start(), part["comment"])
            elif part["pragma"]:
                if not part["pragma"].endswith("}"):
                    raise self.error("this pragma is not closed by }", self.place(part.start()))
                pragma(part.start(), part["pragma"][1:-1].strip())
            found = self.text[part.start() : end]
            parts.append(re.sub(r"[^\n]", " ", found) if part.lastgroup else found)
            at = end
        return "".join((*parts, self.text[at:]))

    def _comment_end(self, start: int, opening: str) -> int:
        """Find the end of a comment. Comments of the same kind nest."""
        closing = _CLOSING[opening]
        depth = 0
        marks = re.compile(f"{re.escape(opening)}|{re.escape(closing)}")
        for mark in marks.finditer(self.text, start):
            depth += 1 if mark[0] == opening else -1
            if depth == 0:
                return mark.end()
        raise self.error(f"this comment is not closed by {closing}", self.place(start))
