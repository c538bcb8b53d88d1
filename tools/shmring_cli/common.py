"""What commands share: exit codes, the parser of a command line, an error's text."""

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
            option = words[0].partition("=")[0]
            hint = moved(self.prog, option)
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
        self._intermixing = True
        try:
            arguments, rest = self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixing = False
        self._refuse(rest)
        return arguments, []


_MOVED = {
    **dict.fromkeys(("ttl", "dscp", "interface", "mss"), "--socket {}=..."),
    **dict.fromkeys(("broadcast", "no-gso"), "--socket {}"),
    **dict.fromkeys(("cpu", "profile"), "--worker {}=..."),
    **dict.fromkeys(("ramp", "steps", "burst"), "its value with --pps"),
    "on-off": "--flow on-off=...",
    "bps": "--pps 10Mbit/s",
    **dict.fromkeys(("padding", "stamp"), "--packet {}=..."),
    **dict.fromkeys(("loss", "burst-loss", "duplicate", "corrupt", "reorder"), "{}=... alone"),
    **dict.fromkeys(("delay", "jitter", "rate", "queue", "seed"), "{}=... alone"),
    **dict.fromkeys(("forward", "backward"), "{} WORDS without the dashes"),
    "poisson": "--flow poisson",
    "imix": "--size imix",
    "seconds": "--duration TIME",
    "duration": "-n for the number of snapshots",
    "late-limit": "--limit late=1%",
    "loss-limit": "--limit loss=1%",
    "late-us": "--tolerance 50us",
    "max-pps": "--pps",
    "idle": "N/TIME as the value of --sessions or --flows",
    "stateful": "--sessions N",
    "map": "--to OLD=NEW",
    "timetable": "--at FILE",
    "after": "--keep BEFORE/AFTER",
    "bind": "--local",
    "timestamps": "--clock tai/ptp",
    "timeout": "--wait",
    "namespace": "NAMESPACE/NAME",
    "all": "--namespace '*'",
    "channel": "its name without an option",
    "verbose": "--all",
    "quick": "--duration 0.2 --runs 1",
    "peer-python": "$SHMRING_PEER_PYTHON",
    "once": "--plain",
    "from": "--range FROM..TO",
    "priority": "--policy fifo/80",
    "post-mortem": "rtstat post-mortem CHANNEL",
    "version": "shmring --version",
    **{
        f"user-{name}": f"--user-limits {name}=..."
        for name in ("channels", "shm", "channel-shm", "connections")
    },
    "plot all": "--channel '*'",
    "plot to": "--range FROM..TO",
    "demo rate": "--pps",
    "replay flow": "--only",
    "ls seconds": "rtstat --plain --interval TIME",
    "rtstat seconds": "--interval TIME",
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
