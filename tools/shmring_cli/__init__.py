"""The `shmring` command: one module per subcommand, listed in one table.

A module has ``add_arguments(parser)`` and ``run(arguments) -> int``. Its docstring is the text of
``shmring COMMAND --help``, unless ``add_arguments`` sets another description. It is imported only
when its command is called, so that ``shmring ls`` stays fast. ``arguments.told`` says whether a
signal told the command to end.

`shmring_cli.common.EXIT_CODES` has the exit codes of all commands.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence, Set

from shmring_cli.common import (
    EXIT_CODES,
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
    Command("demo", "shmring_demo.command", "timed packets beside time.sleep, measured", "run"),
    Command("up", "shmring_cli.up", "serve a named pool for other processes", "run", asks=True),
    Command("end", "shmring_cli.acting", "end channels, whoever opened them", "run"),
    Command("hold", "shmring_cli.acting", "halt sending and receiving on channels", "run"),
    Command("release", "shmring_cli.acting", "let held channels continue", "run"),
    Command("purge", "shmring_cli.acting", "drop the packets that wait on channels", "run"),
    Command("ls", "shmring_cli.ls", "the channels and workers of this host", "look"),
    Command("top", "rtstat.top", "the same as rtstat: everything, live", "look"),
    Command("tap", "shmring_cli.tap", "packets of a channel for Wireshark", "look", asks=True),
    Command("plot", "shmring_plot.command", "pictures of recordings of rtstat", "look"),
    Command("generate", "shmring_cli.generate", "send generated packets", "network", asks=True),
    Command("replay", "shmring_cli.replay", "send a capture at its times", "network", asks=True),
    Command(
        "reflect",
        "shmring_cli.reflect",
        "answer STAMP test packets (RFC 8762)",
        "network",
        asks=True,
    ),
    Command(
        "measure", "shmring_measure.command", "delay, jitter, loss of a path", "network", asks=True
    ),
    Command("clock", "shmring_cli.clock", "how far another clock is", "network", asks=True),
    Command("impair", "shmring_cli.impair", "a bad network: a UDP proxy", "network", asks=True),
    Command("udt", "shmring_copy.command", "send and receive files over UDT", "copy", asks=True),
    Command("doctor", "shmring_doctor.command", "is this machine fit, and the fixes", "maintain"),
    Command("bench", "shmring_bench.command", "what shmring costs here, beside bare C", "maintain"),
    Command("gc", "shmring_cli.gc", "remove what dead processes left behind", "maintain"),
    Command("help", "shmring_cli.help", "show a page of the documentation", "maintain"),
    Command(
        "completion", "shmring_cli.completion", "completion for bash, zsh and fish", "maintain"
    ),
    Command("cflags", "shmring_cli.cflags", "compiler flags for C programs", "maintain"),
)

_DESCRIPTION = """\
UDP with a sense of time for Python: packets leave at the time you name, arrive with the
kernel's timestamp, and any process may attach to a channel by its name."""

_EPILOG = """\
start here:
  shmring demo                 five seconds of 1 kHz, with a histogram and a picture
  shmring COMMAND --help       what a command is for, with examples

exit codes:
""" + "\n".join(f"  {code}  {meaning}" for code, meaning in EXIT_CODES.items())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line, by default this process's. Return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["top"]:
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


class _Grouped(argparse.RawDescriptionHelpFormatter):
    """Shows the commands under the titles of their groups."""

    def _format_action(self, action: argparse.Action) -> str:
        if not isinstance(action, argparse._SubParsersAction):
            return super()._format_action(action)
        shown = {one.dest: one for one in action._get_subactions()}
        parts = []
        for group in dict.fromkeys(command.group for command in COMMANDS):
            parts.append(f"  {group}:\n")
            self._indent()
            for command in COMMANDS:
                if command.group == group:
                    parts.append(super()._format_action(shown[command.name]))
            self._dedent()
        return "".join(parts)


def _parser(called: Set[str]) -> argparse.ArgumentParser:
    """Return the parser. Only the commands in `called` are imported."""
    parser = Parser(
        prog="shmring",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=_Grouped,
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
