"""The `rtstat` command: an overview by default, else one module per command or mode.

A command (``rtstat show NAME``) is a row of `COMMANDS` and a module, which is imported when the
command is called. The module has ``add_arguments(parser)`` and ``run(arguments) -> int``, and its
docstring is the help. So each command only loads what it needs. A signal interrupts a command, and
the overview and its modes look at ``arguments.told``. A mode is an option that replaces
the overview (``rtstat --plain`` is not one): a row of `rtstat.overview.MODES` and a module whose
``run(arguments)`` gets the arguments of the overview.
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from collections.abc import Sequence

from rtworkers.similar import did_you_mean
from shmring_cli.common import (
    FAILED,
    FINE,
    USAGE,
    Command,
    Parser,
    describe,
    drop_output,
)
from shmring_cli.ending import Told

COMMANDS = (
    Command("list", "rtstat.listing", "names of channels, one per line, for scripts"),
    Command("show", "rtstat.show", "everything about one channel, with its histogram"),
    Command("errors", "rtstat.errors", "the distinct errors of workers and channels"),
    Command("why", "rtstat.why", "why packets of a channel were late, and what to do"),
    Command("post-mortem", "rtstat.post_mortem", "what a channel left behind, dead or alive"),
)


_DESCRIPTION = """\
Show what every pool, worker and channel of this host does.

rtstat only reads shared memory. No process has to answer it or is woken by it, and nothing happens
to a channel if rtstat is stopped or killed. Only the keys E, H and P of the full screen act on a
channel, and each asks first. shmring top is the same command."""

_EPILOG = """\
examples:
  rtstat                             full screen, once a second; plain text in a pipe
  rtstat --plain                     overview, one snapshot
  rtstat --plain --sort late         the worst channels first
  rtstat --plain -i 1                one after the other
  rtstat --json                      everything, as one JSON document; fields: shmring help rtstat
  rtstat --json | jq .troubles       what is wrong
  rtstat --json-lines -i 5           a line every five seconds, until Ctrl-C
  rtstat --csv -i 1 --channel 'axis-*' --fields name,tx_pps,lateness_interval_p99_ns
  rtstat --csv=worker -i 10          a row per worker every ten seconds
  rtstat --record night.csv -i 1 -n 3600                then: shmring plot night.csv
  rtstat --serve-metrics 9464                           http://127.0.0.1:9464/metrics
  rtstat --serve-web 9465                               http://127.0.0.1:9465/
  rtstat show ctl                    one channel in detail
  rtstat errors                      each distinct error
  rtstat --plain --unhealthy         only what has a trouble
  rtstat --check                     one line for Nagios, systemd or a script

exit codes: 0 ok, 1 wrong usage, 2 failure, or no channel has the name, 3 troubled, 5 broken
"""


def main(argv: Sequence[str] | None = None, *, lasts: bool | None = None) -> int:
    """Run one command line, by default this process's. Return the exit code.

    lasts: whether the process ends afterwards. Default: if `argv` is None.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # without the letter for micro: ?s
    words = list(sys.argv[1:] if argv is None else argv)
    command = next((c for c in COMMANDS if words and c.name == words[0]), None)
    parser = whole_parser() if command is None else command_parser(command)
    if command is None and words and not words[0].startswith("-"):
        names = [c.name for c in COMMANDS]
        hint = did_you_mean(words[0], names)
        parser.error(f"there is no command {words[0]!r}: use {', '.join(names)}{hint}")
    arguments = parser.parse_args(words if command is None else words[1:])
    lasts = argv is None if lasts is None else lasts
    try:
        with Told(parser.prog, interrupts=command is not None, lasts=lasts) as arguments.told:
            return int(arguments.run(arguments))
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        drop_output()
        return FINE
    except ValueError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return USAGE
    except OSError as error:
        print(f"{parser.prog}: {describe(error)}", file=sys.stderr)
        return FAILED


def command_parser(command: Command) -> Parser:
    """Return the parser of one command."""
    module = importlib.import_module(command.module)
    parser = Parser(
        prog=f"rtstat {command.name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    parser.set_defaults(run=module.run)
    return parser


def whole_parser() -> Parser:
    """Return the parser of rtstat without a command."""
    from rtstat.screen.keys import epilog

    module = importlib.import_module("rtstat.overview")
    commands = "\n".join(f"  {command.name:<12} {command.help}" for command in COMMANDS)
    parser = Parser(
        prog="rtstat",
        usage="rtstat [options]\n       rtstat COMMAND [options]",
        description=f"{_DESCRIPTION}\n\ncommands (rtstat COMMAND --help):\n{commands}",
        epilog=f"{_EPILOG}\n{epilog()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    parser.set_defaults(run=module.run)
    return parser
