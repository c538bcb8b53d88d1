"""The `shmring` command: one module per subcommand, listed in one table.

A module has ``add_arguments(parser)`` and ``run(arguments) -> int``. Its docstring is the text of
``shmring COMMAND --help``, unless ``add_arguments`` sets another description. It is imported only
when its command is called, so that ``shmring ls`` stays fast. ``arguments.told`` says whether a
signal told the command to end.

Exit codes: 0 success, 1 wrong usage, 2 failure. `_EPILOG` has those that some commands add.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence, Set

from shmring_cli.common import (
    FAILED,
    FINE,
    USAGE,
    Command,
    CommandParser,
    Parser,
    describe,
    drop_output,
)
from shmring_cli.ending import Told

COMMANDS = (
    Command(
        "demo", "shmring_demo.command", "timed packets, measured by the kernel, and time.sleep"
    ),
    Command("up", "shmring_cli.up", "serve a named pool that other processes attach to", asks=True),
    Command("ls", "shmring_cli.ls", "the channels and workers of this host"),
    Command("top", "rtstat.top", "the same as rtstat: what every pool, worker and channel does"),
    Command("close", "shmring_cli.acting", "close channels, whoever opened them, dead or alive"),
    Command("hold", "shmring_cli.acting", "halt sending and receiving on channels"),
    Command("release", "shmring_cli.acting", "let held channels continue"),
    Command("purge", "shmring_cli.acting", "drop the packets that wait on channels"),
    Command(
        "impair", "shmring_cli.impair", "a bad network between UDP programs: a proxy", asks=True
    ),
    Command(
        "tap",
        "shmring_cli.tap",
        "copy the packets of a channel to pcapng, for Wireshark",
        asks=True,
    ),
    Command(
        "replay",
        "shmring_cli.replay",
        "send the UDP packets of a capture at their times",
        asks=True,
    ),
    Command("generate", "shmring_cli.generate", "send generated packets at their times", asks=True),
    Command("reflect", "shmring_cli.reflect", "answer STAMP test packets (RFC 8762)", asks=True),
    Command(
        "clock", "shmring_cli.clock", "how far another host's clock is, with a bound", asks=True
    ),
    Command(
        "measure",
        "shmring_measure.command",
        "delay, jitter and loss of a path, by direction",
        asks=True,
    ),
    Command(
        "udt",
        "shmring_copy.command",
        "send and receive files over UDT, with resume and hash check",
        asks=True,
    ),
    Command("bench", "shmring_bench.command", "what shmring costs here, compared with bare C"),
    Command(
        "plot", "shmring_plot.command", "pictures of recordings: lateness over time, before/after"
    ),
    Command("doctor", "shmring_doctor.command", "check if this machine is fit, and show the fixes"),
    Command("gc", "shmring_cli.gc", "remove what dead processes left behind"),
    Command("help", "shmring_cli.help", "show a page of the documentation"),
    Command("completion", "shmring_cli.completion", "completion of commands for bash, zsh, fish"),
    Command("cflags", "shmring_cli.cflags", "compiler flags for C programs that use channels"),
)

_DESCRIPTION = """\
UDP with a sense of time for Python: packets leave at the time you name, arrive with the
kernel's timestamp, and any process may attach to a channel by its name."""

_EPILOG = """\
start here:
  shmring demo                 five seconds of 1 kHz, with a histogram and a picture
  shmring COMMAND --help       what a command is for, with examples

exit codes: 0 success, 1 wrong usage, 2 failure
  shmring ls         2 also if a worker is stale, a channel not served, or a file unreadable
  shmring demo       2 also if a packet was lost
  shmring replay     2 also if packets could not be sent, 3 too many packets were late
  shmring generate   the same
  shmring clock      2 also without any reply, or if replies no longer come
  shmring measure    2 also if no reflector answers, 3 more were lost or late than a limit allows
  shmring doctor     2 unfit, 3 fit with limits
  shmring top        3 troubled, 4 broken
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line, by default this process's. Return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["top"] and not {"-h", "--help"} & set(words[1:2]):
        return int(importlib.import_module("rtstat.cli").main(words[1:], lasts=argv is None))
    called = next((word for word in words if not word.startswith("-")), "")
    interrupts = not any(command.asks for command in COMMANDS if command.name == called)
    name = f"shmring {called}"
    try:
        with Told(name, interrupts=interrupts, lasts=argv is None) as told:
            arguments = _parser({called}).parse_args(words)  # which imports the command
            arguments.told = told
            return int(arguments.run(arguments))
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        drop_output()
        return FAILED
    except (OSError, ValueError) as error:
        print(f"{name}: {describe(error)}", file=sys.stderr)
        return FAILED


def whole_parser() -> argparse.ArgumentParser:
    """Return the parser with all commands in full."""
    return _parser({command.name for command in COMMANDS})


def _parser(called: Set[str]) -> argparse.ArgumentParser:
    """Return the parser. Only the commands in `called` are imported."""
    parser = Parser(
        prog="shmring",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    parser.set_defaults(run=_no_command, command="", parser=parser)
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", parser_class=CommandParser
    )
    for command in COMMANDS:
        if command.name not in called:
            commands.add_parser(command.name, help=command.help)
            continue
        module = importlib.import_module(command.module)
        sub = commands.add_parser(
            command.name,
            help=command.help,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
        sub.set_defaults(run=module.run, command=command.name)
    return parser


def _no_command(arguments: argparse.Namespace) -> int:
    if arguments.version:
        from importlib.metadata import version

        print(f"shmring {version('shmring')}")
        return FINE
    arguments.parser.print_help()
    return USAGE
