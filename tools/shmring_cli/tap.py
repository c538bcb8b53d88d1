"""Copy the packets of a channel to pcapng, for Wireshark, tshark and similar programs.

Every packet has its time in ns, its direction, and a comment with its sequence number and
verdict. The command disturbs nothing: the worker copies into memory of this command and
never waits for it, so the command may be slow, stopped or killed. What it does not read in
time is overwritten, and the file says how much that was.

With --keep it writes only on a trigger: the last seconds, and some more. Triggers are the
first late packet (late), a signal by its name (SIGUSR1), and shmring.net.tap.trigger() or
`shmring tap CHANNEL --mark TEXT` from any process (api).

examples:
  shmring tap ctl | wireshark -k -i -           watch it
  shmring tap ctl -o ctl.pcapng --duration 10s   ten seconds into a file
  shmring tap ctl --direction tx | tshark -r - -T fields -e frame.time -e frame.comment
  tshark -X lua_script:"$(shmring tap --dissector)" -r ctl.pcapng -Y shmring.late
  shmring tap ctl -o late.pcapng --keep 10s/2s
  kill -USR1 PID                                write it now, like the next line
  shmring tap ctl --mark "the arm stood still"
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.resources
import json
import os
import signal
import sys
from functools import partial

from shmring.net import tap
from shmring_cli import options
from shmring_cli.common import FAILED, FINE, USAGE

DEFAULT_KEEP_S = 10.0
DEFAULT_AFTER_S = 1.0
DEFAULT_TRIGGERS = ("late", "SIGUSR1", "api")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_placed(parser, "channel", "CHANNEL", "name, or NAMESPACE/name")
    _add_output(parser)
    _add_triggers(parser)
    _add_limits(parser)
    _add_details(parser)
    _add_other_work(parser)
    options.add_json(parser)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", metavar="FILE", default="-", help="file or pipe (default: stdout)"
    )
    parser.add_argument(
        "--direction", choices=("tx", "rx", "both"), default="both", help="(default both)"
    )


def _add_triggers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep",
        type=_keep,
        metavar="BEFORE[/AFTER]",
        help="keep this time (500ms, 10s, 2m), write it on a trigger, and this time after it "
        "(default 1s); with --trigger: default 10s",
    )
    parser.add_argument(
        "--trigger",
        type=triggers,
        metavar="LIST",
        help="late, api, signals by name (default with --keep: late,SIGUSR1,api)",
    )
    parser.add_argument("--again", action="store_true", help="keep recording after a trigger")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    options.add_duration(parser, "end after this time")
    options.add_count(parser, "end after this number of packets")


def _add_details(parser: argparse.ArgumentParser) -> None:
    """Add what is copied of a packet, with which time, and into how much memory."""
    parser.add_argument(
        "--snap",
        type=options.size,
        metavar="BYTES",
        default=0,
        help="copied per datagram (default all)",
    )
    parser.add_argument(
        "--not-sent", action="store_true", help="also packets that got a verdict but were not sent"
    )
    parser.add_argument(
        "--times",
        choices=("auto", "sent", "wire"),
        default="auto",
        help="of sent packets: start of the send call, or the timestamp if there is one; auto: the "
        "timestamp if every packet gets one (stamp_every=1)",
    )
    parser.add_argument(
        "--buffer",
        type=options.size,
        metavar="SIZE",
        default=tap.DEFAULT_BUFFER_BYTES,
        help="memory that the worker writes to (default 16Mi)",
    )


def _add_other_work(parser: argparse.ArgumentParser) -> None:
    """Add what the command does instead of copying packets."""
    parser.add_argument(
        "--dissector",
        action="version",
        version=str(importlib.resources.files("shmring_cli") / "wireshark" / "shmring.lua"),
        help="print the path of the Lua file that makes fields of the comments, and stop; "
        "colour rules are beside it",
    )
    parser.add_argument("--mark", metavar="TEXT", help="trigger the running taps, and end")


def run(arguments: argparse.Namespace) -> int:
    if arguments.mark is not None:
        return _mark(arguments)
    wanted = arguments.trigger
    keep, after = arguments.keep or (None, DEFAULT_AFTER_S)
    if wanted is not None and keep is None:
        keep = DEFAULT_KEEP_S
    if keep is not None and wanted is None:
        wanted = DEFAULT_TRIGGERS
    to_stdout = arguments.output == "-"
    if to_stdout and sys.stdout.isatty():
        print(
            "shmring tap: a terminal cannot show pcapng: use -o FILE, or pipe it into "
            "wireshark -k -i -",
            file=sys.stderr,
        )
        return USAGE
    # Unbuffered, because the tap already collects its output.
    sink = os.fdopen(os.dup(1), "wb", buffering=0) if to_stdout else arguments.output
    signals = [signal.Signals[name] for name in wanted or () if name not in tap.TRIGGERS]
    for number in signals:
        arguments.told.keep(number)  # until the tap exists
    running = tap.open(
        arguments.channel,
        sink,
        namespace=arguments.namespace,
        direction=arguments.direction,
        keep=keep,
        triggers=[name for name in wanted or () if name in tap.TRIGGERS],
        after=after,
        again=arguments.again,
        count=arguments.count,
        snap=arguments.snap,
        not_sent=arguments.not_sent,
        times=arguments.times,
        buffer_bytes=arguments.buffer,
    )
    for number in signals:
        arguments.told.on(number, partial(running.trigger, number.name))
    with arguments.told.then(running.stop):
        if not running.wait(timeout=arguments.duration):
            running.close()
    _summary(arguments, running, to_stdout)
    return FAILED if running.ended == "channel failed" else FINE


def _mark(arguments: argparse.Namespace) -> int:
    count = tap.trigger(arguments.channel, arguments.mark, namespace=arguments.namespace)
    if arguments.json:
        print(json.dumps({"taps": count}))
    else:
        print(f"{count} taps of {arguments.channel}" if count else "this channel has no taps")
    return FINE if count else FAILED


def _summary(arguments: argparse.Namespace, running: tap.Tap, to_stdout: bool) -> None:
    stats = running.stats()
    stream = sys.stderr if to_stdout else sys.stdout
    if arguments.json:
        facts = {"channel": arguments.channel, "ended": running.ended}
        print(json.dumps({**facts, **dataclasses.asdict(stats)}), file=stream)
        return
    text = f"{stats.written} packets written, {stats.seen} seen, {stats.late} late"
    if stats.lost:
        text += f", {stats.lost} lost: use a larger --buffer, or a smaller --snap"
    if stats.restarts:
        text += f", {stats.restarts} changes of worker"
    print(f"shmring tap {arguments.channel}: {running.ended}; {text}", file=sys.stderr)


# --- words ----------------------------------------------------------------------------------------


def _keep(text: str) -> tuple[float, float]:
    before, slash, after = text.partition("/")
    return options.seconds(before), options.seconds(after) if slash else DEFAULT_AFTER_S


def triggers(text: str) -> tuple[str, ...]:
    """Parse a list of names that may include signals."""
    names = tuple(name for name in text.split(",") if name)
    for name in names:
        if name in tap.TRIGGERS:
            continue
        number = signal.Signals.__members__.get(name)
        if number is None or number in (signal.SIGKILL, signal.SIGSTOP):
            raise argparse.ArgumentTypeError(
                f"{name!r} is not a trigger: use late, api or a signal such as SIGUSR1"
            )
    if not names:
        raise argparse.ArgumentTypeError("name at least one: late, api or a signal such as SIGUSR1")
    return names
