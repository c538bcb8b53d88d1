"""What commands share: exit codes, the parser of a command line, an error's text."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from rtworkers.similar import did_you_mean

FINE = 0
USAGE = 1
FAILED = 2
LATE = 3
LOST = 4
BROKEN = 5

EXIT_CODES = {
    FINE: "success",
    USAGE: "wrong usage",
    FAILED: "the command could not do its work, or was interrupted",
    LATE: "this host was late or is troubled: late packets above a limit, fit with limits",
    LOST: "the network lost packets: more than a limit, or any in the demo",
    BROKEN: "something here is broken: a channel not served, a worker stale, a host unfit",
}
"""Each code means the same in every command."""


_FEW = 12
"""So many choices are listed even if one of them is what was meant."""


class Command(NamedTuple):
    """A subcommand: its name, the module that does the work, one line of help."""

    name: str
    module: str
    help: str
    group: str = ""
    """Under which title `shmring --help` shows it."""
    asks: bool = False
    """Whether it looks at ``arguments.told``, an `ending.Told`. Others are interrupted."""


class Parser(argparse.ArgumentParser):
    """End wrong usage with exit code 1, because 2 means that something failed. Options are not
    abbreviated, so that a new one changes nothing."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        hint = f": use {_MOVED_COMMANDS[value]}" if value in _MOVED_COMMANDS else ""
        hint = hint or did_you_mean(str(value), known)
        if not hint or len(known) <= _FEW:
            hint = f" (choose from {', '.join(known)}){hint}"
        raise argparse.ArgumentError(action, f"invalid choice: {value!r}{hint}")

    def parse_args(  # pyright: ignore[reportIncompatibleMethodOverride]  # it has overloads
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        if self._subparsers is None:
            self._refuse_gone(args or ())
        arguments, rest = self.parse_known_args(args, namespace)
        self._refuse(rest)
        return arguments

    def _refuse_gone(self, words: Sequence[str]) -> None:
        """End with wrong usage if an option is gone: its value must not be read as an argument."""
        for word in words:
            if word == "--":
                return
            option = word.partition("=")[0]
            if option not in self._option_string_actions and self._moved(option):
                self._refuse([word])

    def _moved(self, option: str) -> str:
        """Return what to write instead of an option that is gone, or nothing. A hint that names an
        option which this command does not have is of another command."""
        hint = moved(self.prog, option)
        named = [] if hint.startswith(("rtstat ", "shmring ")) else _FLAG.findall(hint)
        return hint if all(flag in self._option_string_actions for flag in named) else ""

    def _refuse(self, words: list[str]) -> None:
        """End with wrong usage if there are `words` that no option or argument took."""
        if words:
            option = words[0].partition("=")[0]
            hint = self._moved(option)
            hint = f": use {hint}" if hint else did_you_mean(option, self._option_string_actions)
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
        self._refuse_gone(args or ())
        self._intermixing = True
        try:
            arguments, rest = self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixing = False
        self._refuse(rest)
        return arguments, []


_FLAG = re.compile(r"(?<!\S)--?[a-z][a-z-]*")

_LOSSES = ("loss", "burst-loss", "duplicate", "corrupt", "reorder")
_IMPAIRMENTS = (*_LOSSES, "delay", "jitter", "rate", "queue", "seed")
_ACTIONS = ("end", "hold", "release", "purge")
_OF_NAMES = ("show", "why", "post-mortem", *_ACTIONS, "impair", "tap", "up")
_MOVED_COMMANDS = {"close": "end"}
_MOVED = {
    **dict.fromkeys(("ttl", "dscp", "interface", "mss"), "--socket {}=..."),
    **dict.fromkeys(("broadcast", "no-gso"), "--socket {}"),
    **dict.fromkeys(("cpu", "profile"), "--worker {}=..."),
    **dict.fromkeys(("ramp", "steps", "burst"), "its value with --pps"),
    "bps": "--pps 10Mbit/s",
    **dict.fromkeys(("padding", "stamp"), "--packet {}=..."),
    **{f"impair {name}": f"{name}=... alone" for name in _IMPAIRMENTS},
    **{f"impair {way}": f"{way} WORDS without the dashes" for way in ("forward", "backward")},
    "on-off": "the word on-off=... in --flow, each of which is a flow",
    "poisson": "the word poisson in --flow, each of which is a flow",
    "imix": "--size imix",
    "seconds": "--duration TIME",
    "rtstat duration": "-n for the number of snapshots",
    "late-limit": "--limit late=1%",
    "loss-limit": "--limit loss=1%",
    "late-us": "--tolerance 50us",
    "max-pps": "--pps",
    "impair idle": "--flows N/TIME",
    "reflect idle": "--sessions N/TIME",
    "stateful": "--sessions N",
    "replay map": "--to OLD=NEW",
    "impair timetable": "--at FILE",
    "after": "--keep BEFORE/AFTER",
    "bind": "--local",
    "timestamps": "--clock tai/ptp",
    "clock timeout": "--wait",
    **{f"{command} namespace": "NAMESPACE/NAME" for command in _OF_NAMES},
    **{f"{command} namespace": "--pool NAMESPACE/POOL" for command in ("send", "recv")},
    "all": "--namespace '*'",
    **{f"{command} channel": "its name without an option" for command in ("list", "errors")},
    "list sort": "rtstat --csv --fields namespace,name --sort FIELD",
    "verbose": "--all",
    "quick": "--duration 0.2 --runs 1",
    "peer-python": "$SHMRING_PEER_PYTHON",
    "once": "--plain",
    "from": "--range FROM..TO",
    "priority": "--policy fifo/80",
    "post-mortem": "rtstat post-mortem CHANNEL",
    "version": "shmring --version",
    **{
        f"user-{name}": f"--user-limits {name}={example}"
        for name, example in (
            ("channels", "..."),
            ("shm", "64Mi"),
            ("channel-shm", "24Mi"),
            ("connections", "..."),
        )
    },
    "plot all": "--channel '*'",
    "plot to": "--range FROM..TO",
    "demo rate": "--pps",
    "replay flow": "--only",
    "ls seconds": "rtstat --plain -n 1 --interval TIME",
    "rtstat seconds": "-n 1 --interval TIME",
    "show seconds": "--interval TIME",
    "why seconds": "--interval TIME",
}
"""Options that are gone, perhaps with their command before them, and what does the same now."""


def moved(prog: str, option: str) -> str:
    """Return what to write instead of an option that is gone, or nothing."""
    name = option.removeprefix("--")
    text = _MOVED.get(f"{prog.split()[-1]} {name}", _MOVED.get(name, ""))
    return text.format(name) if option.startswith("--") else ""


def describe(error: BaseException) -> str:
    """Return an error's own text, without the errno that `str` puts before it."""
    if isinstance(error, OSError) and error.strerror and error.filename is None:
        return error.strerror
    return str(error) or type(error).__name__


def drop_output() -> None:
    """Write nothing more, also not at exit, because the reader of the output has left."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
