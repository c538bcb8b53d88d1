"""Answer STAMP test packets (RFC 8762), so that others can measure delay, loss and clocks to here.

`shmring clock HOST` on another host compares its clock with the one here. Senders of other
makers work, too: STAMP, and TWAMP Light with packets of at least 41 bytes, unauthenticated.
Replies have the kernel's time of the arrival and the time at which they leave. It answers until
it is stopped, and then says what it did.

The port 862 needs a privilege (root, or CAP_NET_BIND_SERVICE): without it, choose another one.
A reply is as long as its request, and never answers a reply, so nobody can use this host to
amplify traffic or to make two reflectors answer each other.

examples:
  shmring reflect                        on port 862 of all addresses
  shmring reflect :8620                  on another port, which needs no privilege
  shmring reflect 10.0.0.7               on one address: broadcasts are not answered
  shmring reflect --allow 10.0.0.0/8     only for this network
  shmring reflect --sessions 4096        replies are numbered: tells the direction of losses
  shmring reflect :8620 --duration 5m --json
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import ipaddress
import sys

import shmring
from rtworkers import units
from shmring.net import capture, probes
from shmring.net.probes import reflector as settings
from shmring_cli import options, realtime, sending
from shmring_cli.common import FINE, USAGE
from shmring_cli.output import address_text, json_line, room_text
from shmring_cli.report import Head


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "local",
        metavar="[ADDR][:PORT]",
        nargs="?",
        type=_local,
        help=f"where to answer (default: port {settings.PORT} of all addresses)",
    )
    parser.add_argument(
        "--sessions",
        type=_sessions,
        default=(0, settings.IDLE_S),
        metavar="N[/TIME]",
        help="be stateful: number the replies of each session (source address, port, SSID), "
        "instead of repeating the sequence of the request. At most N sessions at a time, and a "
        f"session ends after so long a silence (default {settings.IDLE_S:.0f}s)",
    )
    parser.add_argument(
        "--allow",
        type=_network,
        action="append",
        default=[],
        metavar="NETWORK",
        help="answer only this network or address; may be repeated (default: all)",
    )
    options.add_pps(
        parser,
        f"replies a second at most, 0: no limit (default {settings.MAX_PPS:.0f})",
        read=_rate,
        default=settings.MAX_PPS,
    )
    options.add_duration(parser, "stop after so long: 10s, 5m, 2h (default: never)")
    options.add_socket(parser)
    options.add_worker(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    try:
        return _run(arguments)
    except (shmring.errors.BadConfig, shmring.errors.BadAddress) as error:
        print(f"shmring reflect: {error}", file=sys.stderr)
        return USAGE


def _run(arguments: argparse.Namespace) -> int:
    with contextlib.ExitStack() as stack:
        lacking = stack.enter_context(realtime.shown("shmring reflect"))
        pool = stack.enter_context(sending.pool(arguments))
        sessions, idle_s = arguments.sessions
        reflector = stack.enter_context(
            probes.Reflector(
                arguments.local,
                stateful=bool(sessions),
                allow=arguments.allow,
                max_pps=arguments.pps or None,
                sessions=sessions or settings.SESSIONS,
                idle_s=idle_s,
                gso=arguments.gso,
                pool=pool,
            )
        )
        stack.enter_context(arguments.told.then(reflector.stop))
        print(f"answering on {address_text(reflector.local)}", file=sys.stderr, flush=True)
        print(room_text("queue", reflector.queue), file=sys.stderr, flush=True)
        report = reflector.serve(arguments.duration)
    if arguments.json:
        json_line(_head(report).document(report.to_dict(), lacking))
    else:
        _tell(report)
    return FINE


def _head(report: shmring.net.probes.ReflectorReport) -> Head:
    done = report.fates.answered
    return Head("reflect", done, "answered", report.seconds, report.lateness, report.late)


def _tell(report: shmring.net.probes.ReflectorReport) -> None:
    for line in _head(report).lines():
        print(line)
    if report.session_total:
        print(f"sessions: {report.session_total}, {report.sessions} of them still open")
    for field in dataclasses.fields(report.fates):
        if field.name != "answered" and (count := getattr(report.fates, field.name)):
            print(f"not answered: {count} {field.metadata['meaning']}")
    if report.not_queued:
        print(f"not answered: {report.not_queued} requests, because too many came at once")
    if report.failed:
        print(f"failed: {report.failed} replies were refused by the kernel: check the route")


def _rate(text: str) -> float:
    try:
        return units.number(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate: use 0, 1000 or 50k") from None


def _sessions(text: str) -> tuple[int, float]:
    number, slash, time = text.partition("/")
    return options.count(number), options.seconds(time) if slash else settings.IDLE_S


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}: use 10.0.0.0/8, fd00::/8 or 10.0.0.7") from None


def _local(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if colon and not host:
        text = f"0.0.0.0:{port}"
    try:
        found = capture.address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return ("" if colon and not host else found[0], found[1] or settings.PORT)
