"""What commands share: exit codes, the parser of a command line, an option, an error's text."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from typing import Any, NamedTuple, NoReturn

from rtworkers.similar import did_you_mean

FINE = 0
USAGE = 1
FAILED = 2


_FEW = 12
"""So many choices are listed even if one of them is what was meant."""


class Command(NamedTuple):
    """A subcommand: its name, the module that does the work, one line of help."""

    name: str
    module: str
    help: str
    asks: bool = False
    """Whether it looks at ``arguments.told``, an `ending.Told`. Others are interrupted."""


class Parser(argparse.ArgumentParser):
    """End wrong usage with exit code 1, because 2 means that something failed."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        hint = did_you_mean(str(value), known)
        if not hint or len(known) <= _FEW:
            hint = f" (choose from {', '.join(known)}){hint}"
        raise argparse.ArgumentError(action, f"invalid choice: {value!r}{hint}")

    def parse_args(  # pyright: ignore[reportIncompatibleMethodOverride]  # it has overloads
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        arguments, rest = self.parse_known_args(args, namespace)
        self._refuse(rest)
        return arguments

    def _refuse(self, words: list[str]) -> None:
        """End with wrong usage if there are `words` that no option or argument took."""
        if words:
            hint = did_you_mean(words[0].partition("=")[0], self._option_string_actions)
            self.error(f"unrecognized arguments: {' '.join(words)}{hint}")


class CommandParser(Parser):
    """A parser that accepts options before, between and after any number of
    positional arguments."""

    _intermixing = False

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride]  # it has overloads
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        # argparse's intermixed parsing calls this method, and does not support subcommands.
        if self._intermixing or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._intermixing = True
        try:
            arguments, rest = self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixing = False
        self._refuse(rest)
        return arguments, []


def add_gso(parser: argparse.ArgumentParser) -> None:
    """Add the option that keeps packets apart in captures."""
    parser.add_argument(
        "--no-gso",
        dest="gso",
        action="store_false",
        help="send each packet in a message of its own. Captures here show a message as one packet",
    )


def describe(error: BaseException) -> str:
    """Return an error's own text, without the errno that `str` puts before it."""
    if isinstance(error, OSError) and error.strerror and error.filename is None:
        return error.strerror
    return str(error) or type(error).__name__


def drop_output() -> None:
    """Write nothing more, also not at exit, because the reader of the output has left."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
