"""Show how far another host's clock is from this one, with a bound that contains the truth.

`shmring reflect` or another STAMP reflector (RFC 8762) must run on HOST. Each line has the
offset (remote - local clock), the bound of its error, the rate, and the round trip. The
true offset lies within the bound, whatever the delays in both directions were, if the clocks
drift apart by at most --drift and none is stepped. A step is reported, and the comparison
begins again.

examples:
  shmring clock 10.0.0.7                   a line per second, until Ctrl-C
  shmring clock 10.0.0.7:8620 --count 10
  shmring clock 10.0.0.7 --clock tai/ptp
  shmring clock 10.0.0.7 --json-lines >clock.jsonl

exit codes: 2 also without any reply, or if replies no longer come
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import shmring
from shmring.net.probes import ClockEstimate, RemoteClock
from shmring.net.probes import clock as settings
from shmring.net.probes.reflector import PORT
from shmring_cli import options, realtime, sending
from shmring_cli.common import FAILED, FINE, USAGE
from shmring_cli.ending import Told
from shmring_cli.output import duration, json_line
from shmring_cli.report import Head

_SILENT_NS = 3_000_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "host",
        metavar="HOST[:PORT]",
        type=sending.reflector,
        help=f"name or address of the reflector (default port {PORT})",
    )
    parser.add_argument(
        "--clock",
        type=_clock,
        default=("realtime", "ntp"),
        metavar="CLOCK[/STAMPS]",
        help="the local clock: realtime, tai or monotonic (default realtime), and the timestamps "
        "of the requests: ntp asks for UTC, ptp for TAI (default ntp)",
    )
    options.add_pps(parser, f"requests a second (default {settings.PPS:.0f})", default=settings.PPS)
    parser.add_argument(
        "--drift",
        type=float,
        default=settings.DRIFT_PPM,
        metavar="PPM",
        help="the clocks drift apart by at most so much "
        f"(default {settings.DRIFT_PPM:.0f}, two quartzes)",
    )
    options.add_interval(
        parser,
        "between lines (default 1s)",
        read=options.limited("the interval", 0.001, 86400),
        default=1.0,
    )
    options.add_count(parser, "end after so many lines")
    parser.add_argument(
        "--wait",
        type=options.limited("the wait", 0, 86400),
        default=settings.TIMEOUT_S,
        metavar="TIME",
        help=f"for the first reply (default {settings.TIMEOUT_S:.0f}s)",
    )
    options.add_json(parser, lines="estimate")


def run(arguments: argparse.Namespace) -> int:
    try:
        return _run(arguments)
    except (shmring.errors.BadConfig, shmring.errors.BadAddress) as error:
        print(f"shmring clock: {error}", file=sys.stderr)
        return USAGE


def _run(arguments: argparse.Namespace) -> int:
    host, port = arguments.host
    told: Told = arguments.told
    with realtime.shown("shmring clock") as lacking:
        clock = RemoteClock(
            host,
            port=port,
            clock=arguments.clock[0],
            timestamps=arguments.clock[1],
            pps=arguments.pps,
            drift_ppm=arguments.drift,
        )
    lines = 0
    found: list[dict[str, Any]] = []
    now = None
    with clock:
        if not _await_reply(clock, arguments.wait, told):
            return FAILED
        begin = time.monotonic()
        while arguments.count is None or lines < arguments.count:
            lines += 1
            _follow(clock, begin + lines * arguments.interval, told)
            if told:
                break
            before, now = now, clock.estimate()
            if arguments.json == "lines":
                json_line(now.to_dict() | {"lacking": lacking})
            elif arguments.json:
                found.append(now.to_dict())
            else:
                _tell(now, before)
    exchanges = 0 if now is None else now.answers.exchanges
    head = Head("clock", exchanges, "exchanged", time.monotonic() - begin, None)
    if arguments.json == "document":
        json_line(head.document({"estimates": found}, lacking))
    elif not arguments.json:
        print(*head.lines())
    return FAILED if now is not None and now.silent_ns > _SILENT_NS else FINE


def _await_reply(clock: RemoteClock, timeout: float, told: Told) -> bool:
    """Wait for the first reply. Return False if the command is told to end."""
    until = time.monotonic() + timeout
    while not told:
        left = max(0.0, until - time.monotonic())
        try:
            clock.wait(timeout=min(left, 0.2))
            return True
        except shmring.ReceiveTimeout:
            if not left:
                raise
    return False


def _follow(clock: RemoteClock, until: float, told: Told) -> None:
    while (left := until - time.monotonic()) > 0 and not told.wait(min(left, 0.5)):
        clock.update()


def _tell(now: ClockEstimate, before: ClockEstimate | None) -> None:
    if before is None:
        if not now.remote_synchronised:
            print("the remote clock says that it is not synchronised", file=sys.stderr)
        print(f"{'offset':>22}  {'bound':>10}  {'rate':>20}  {'round trip':>10}")
    for name in ("remote", "local"):
        field = "steps" if name == "remote" else "local_steps"
        steps = getattr(now, field) - (getattr(before, field) if before else 0)
        if steps:
            print(f"the {name} clock was stepped: the comparison began again")
    print(
        f"{now.offset_ns:>+19,} ns  {duration(now.bound_ns):>10}  "
        f"{now.rate_ppm:>+7.3f} +- {now.rate_bound_ppm:>5.3f} ppm  "
        f"{duration(now.round_trip_ns):>10}",
        flush=True,
    )


def _clock(text: str) -> tuple[str, str]:
    name, slash, stamps = text.partition("/")
    if name not in ("realtime", "tai", "monotonic") or (slash and stamps not in ("ntp", "ptp")):
        raise argparse.ArgumentTypeError(
            f"{text!r} is unknown: use realtime, tai or monotonic, perhaps with /ntp or /ptp"
        )
    return name, stamps or "ntp"
