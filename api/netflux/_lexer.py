"""Words of IEC 61131-3 texts, with their places."""

from __future__ import annotations

import re
from typing import NamedTuple

from .errors import DefinitionError


class Token(NamedTuple):
    """One word. Kinds: name quoted number based time string wstring pragma symbol end."""

    kind: str
    text: str
    line: int
    column: int

    def shown(self) -> str:
        """For messages."""
        return "the end of the text" if self.kind == "end" else repr(self.text)

    def is_word(self, *words: str) -> bool:
        """Whether it is one of these keywords (in upper case) or symbols."""
        return self.kind in ("name", "symbol") and self.text.upper() in words


_WORDS = re.compile(
    r"""
    (?P<time>(?:TIME|LTIME|LT|T)\#[-+]?[0-9][0-9A-Za-z_.]*)
  | (?P<based>[0-9]+\#[0-9A-Fa-f_]+)
  | (?P<number>[0-9][0-9_]*(?:\.[0-9][0-9_]*)?(?:[eE][-+]?[0-9]+)?)
  | (?P<name>[^\W\d]\w*)
  | (?P<string>'(?:\$.|[^'$\n])*')
  | (?P<wstring>"(?:\$.|[^"$\n])*")
  | (?P<symbol>:=|\.\.|[][:;,.()+*/=\#<>-])
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_QUOTED = re.compile(r'"[^"\n]+"')
_BLANK = re.compile(r"\s+|//[^\n]*")
_COMMENTS = {"(*": "*)", "/*": "*/"}


class Lexer:
    """Reads a text word by word. `quoted_names`: "..." is a name, as in SCL, not a string."""

    def __init__(self, text: str, source: str, *, quoted_names: bool) -> None:
        """source: name of the text in messages."""
        self._text = text
        self._source = source
        self._quoted_names = quoted_names
        self._at = 0
        self._line = 1
        self._line_start = 0

    def error(self, message: str, token: Token) -> DefinitionError:
        """Make an error that points at a word."""
        return DefinitionError(message, self._source, token.line, token.column)

    def _here(self) -> Token:
        return Token("end", "", self._line, self._at - self._line_start + 1)

    def _take(self, length: int) -> str:
        taken = self._text[self._at : self._at + length]
        lines = taken.count("\n")
        if lines:
            self._line += lines
            self._line_start = self._at + taken.rindex("\n") + 1
        self._at += length
        return taken

    def _skip_comment(self, opening: str) -> None:
        """Skip a comment. Comments of the same kind nest."""
        start = self._here()
        closing = _COMMENTS[opening]
        depth = 0
        while self._at < len(self._text):
            two = self._text[self._at : self._at + 2]
            if two == opening:
                depth += 1
            elif two == closing:
                depth -= 1
            self._take(2 if two in (opening, closing) else 1)
            if depth == 0:
                return
        raise self.error(f"this comment is not closed by {closing}", start)

    def _skip_blanks(self) -> None:
        while self._at < len(self._text):
            blank = _BLANK.match(self._text, self._at)
            two = self._text[self._at : self._at + 2]
            if blank:
                self._take(blank.end() - self._at)
            elif two in _COMMENTS:
                self._skip_comment(two)
            else:
                return

    def _pragma(self, here: Token) -> Token:
        end = self._text.find("}", self._at)
        if end < 0:
            raise self.error("this pragma is not closed by }", here)
        return here._replace(kind="pragma", text=self._take(end + 1 - self._at)[1:-1].strip())

    def next(self) -> Token:
        """Return the next word. At the end of the text its kind is "end"."""
        self._skip_blanks()
        here = self._here()
        if self._at >= len(self._text):
            return here
        if self._text[self._at] == "{":
            return self._pragma(here)
        if self._quoted_names:
            quoted = _QUOTED.match(self._text, self._at)
            if quoted:
                return here._replace(kind="quoted", text=self._take(len(quoted[0]))[1:-1])
        word = _WORDS.match(self._text, self._at)
        if word is None:
            raise self.error(f"unexpected character {self._text[self._at]!r}", here)
        return here._replace(kind=str(word.lastgroup), text=self._take(len(word[0])))

    def skip_line(self, line: int) -> None:
        """Skip the rest of a line if it is the current one."""
        if self._line == line:
            end = self._text.find("\n", self._at)
            self._take((len(self._text) if end < 0 else end + 1) - self._at)
