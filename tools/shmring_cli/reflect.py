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
  shmring reflect --stateful             replies are numbered: tells the direction of losses
  shmring reflect :8620 --seconds 60 --json

exit codes: 0 stopped, 1 wrong usage, 2 failure
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import ipaddress
import sys

import shmring
from shmring import capture, stamp
from shmring.stamp import reflector as settings
from shmring_cli import realtime, sending
from shmring_cli.common import FINE, USAGE, add_gso
from shmring_cli.output import address_text, duration, json_line, room_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "local",
        metavar="[ADDR][:PORT]",
        nargs="?",
        type=_local,
        help=f"where to answer (default: port {settings.PORT} of all addresses)",
    )
    parser.add_argument(
        "--stateful",
        action="store_true",
        help="number the replies of each session (source address, port, SSID), instead of "
        "repeating the sequence of the request",
    )
    parser.add_argument(
        "--allow",
        type=_network,
        action="append",
        default=[],
        metavar="NETWORK",
        help="answer only this network or address; may be repeated (default: all)",
    )
    parser.add_argument(
        "--max-pps",
        type=_rate,
        default=settings.MAX_PPS,
        metavar="RATE",
        help=f"replies a second at most, 0: no limit (default {settings.MAX_PPS:.0f})",
    )
    parser.add_argument(
        "--sessions",
        type=int,
        default=settings.SESSIONS,
        metavar="N",
        help=f"with --stateful: sessions at a time (default {settings.SESSIONS})",
    )
    parser.add_argument(
        "--idle",
        type=float,
        default=settings.IDLE_S,
        metavar="SECONDS",
        help="with --stateful: forget a session that is silent for so long "
        f"(default {settings.IDLE_S:.0f})",
    )
    parser.add_argument(
        "--seconds",
        type=sending.seconds,
        metavar="TIME",
        help="stop after so long: 10, 5m, 2h (default: never)",
    )
    add_gso(parser)
    parser.add_argument(
        "--profile", choices=("balanced", "latency", "power"), help="how the worker waits"
    )
    parser.add_argument("--cpu", type=int, metavar="N", help="core of the worker")
    parser.add_argument("--json", action="store_true", help="print the report as a JSON object")


def run(arguments: argparse.Namespace) -> int:
    try:
        return _run(arguments)
    except (shmring.BadConfig, shmring.BadAddress) as error:
        print(f"shmring reflect: {error}", file=sys.stderr)
        return USAGE


def _run(arguments: argparse.Namespace) -> int:
    with contextlib.ExitStack() as stack:
        lacking = stack.enter_context(realtime.shown("shmring reflect"))
        pool = stack.enter_context(
            shmring.Pool(
                cpus=None if arguments.cpu is None else [arguments.cpu],
                profile=arguments.profile or "balanced",
            )
        )
        reflector = stack.enter_context(
            stamp.Reflector(
                arguments.local,
                stateful=arguments.stateful,
                allow=arguments.allow,
                max_pps=arguments.max_pps or None,
                sessions=arguments.sessions,
                idle_s=arguments.idle,
                gso=arguments.gso,
                pool=pool,
            )
        )
        stack.enter_context(arguments.told.then(reflector.stop))
        print(f"answering on {address_text(reflector.local)}", file=sys.stderr, flush=True)
        print(room_text("queue", reflector.queue), file=sys.stderr, flush=True)
        report = reflector.serve(arguments.seconds)
    if arguments.json:
        json_line(report.to_dict() | {"lacking": lacking})
    else:
        _tell(report)
    return FINE


def _tell(report: shmring.ReflectorReport) -> None:
    print(f"{report.fates.answered} requests answered in {report.seconds:.1f} s")
    if report.lateness.count:
        shown = [f"p{p} {duration(report.lateness.percentile(p))}" for p in (50, 99)]
        print(f"lateness of replies: {', '.join(shown)}, max {duration(report.lateness.max)}")
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
    return 0.0 if text == "0" else sending.rate(text)


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
