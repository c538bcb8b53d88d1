"""Show how far another host's clock is from this one, with a bound that contains the truth.

`shmring reflect` or another STAMP reflector (RFC 8762) must run on HOST. Each line has the
offset (remote - local clock), the bound of its error, the rate, and the round trip. The
true offset lies within the bound, whatever the delays in both directions were, if the clocks
drift apart by at most --drift and none is stepped. A step is reported, and the comparison
begins again.

examples:
  shmring clock 10.0.0.7                   a line per second, until Ctrl-C
  shmring clock 10.0.0.7:8620 --count 10
  shmring clock 10.0.0.7 --clock tai --timestamps ptp
  shmring clock 10.0.0.7 --json >clock.jsonl

exit codes: 0 done, 1 wrong usage, 2 failure (also without any reply)
"""

from __future__ import annotations

import argparse
import sys
import time

import shmring
from shmring.stamp import clock as settings
from shmring.stamp.reflector import PORT
from shmring_cli import realtime, sending
from shmring_cli.common import FAILED, FINE, USAGE
from shmring_cli.ending import Told
from shmring_cli.output import duration, json_line

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
        choices=("realtime", "tai", "monotonic"),
        default="realtime",
        help="the local clock (default realtime)",
    )
    parser.add_argument(
        "--timestamps",
        choices=("ntp", "ptp"),
        default="ntp",
        help="of the requests: ntp asks for UTC, ptp for TAI (default ntp)",
    )
    parser.add_argument(
        "--pps",
        type=float,
        default=settings.PPS,
        metavar="N",
        help=f"requests a second (default {settings.PPS:.0f})",
    )
    parser.add_argument(
        "--drift",
        type=float,
        default=settings.DRIFT_PPM,
        metavar="PPM",
        help="the clocks drift apart by at most so much "
        f"(default {settings.DRIFT_PPM:.0f}, two quartzes)",
    )
    parser.add_argument(
        "--interval", type=float, default=1.0, metavar="SECONDS", help="between lines (default 1)"
    )
    parser.add_argument("--count", type=int, metavar="N", help="end after so many lines")
    parser.add_argument(
        "--timeout",
        type=float,
        default=settings.TIMEOUT_S,
        metavar="SECONDS",
        help=f"wait so long for the first reply (default {settings.TIMEOUT_S:.0f})",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line")


def run(arguments: argparse.Namespace) -> int:
    try:
        return _run(arguments)
    except (shmring.BadConfig, shmring.BadAddress) as error:
        print(f"shmring clock: {error}", file=sys.stderr)
        return USAGE


def _run(arguments: argparse.Namespace) -> int:
    if not 0.001 <= arguments.interval <= 86400:
        raise shmring.BadConfig(f"interval is {arguments.interval}: it must be 0.001 to 86400 s")
    if not 0 <= arguments.timeout <= 86400:
        raise shmring.BadConfig(f"timeout is {arguments.timeout}: it must be 0 to 86400 s")
    if arguments.count is not None and arguments.count < 1:
        raise shmring.BadConfig(f"count is {arguments.count}: it must be 1 or more")
    host, port = arguments.host
    told: Told = arguments.told
    with realtime.shown("shmring clock") as lacking:
        clock = shmring.RemoteClock(
            host,
            port=port,
            clock=arguments.clock,
            timestamps=arguments.timestamps,
            pps=arguments.pps,
            drift_ppm=arguments.drift,
        )
    lines = 0
    now = None
    with clock:
        if not _await_reply(clock, arguments.timeout, told):
            return FAILED
        begin = time.monotonic()
        while arguments.count is None or lines < arguments.count:
            lines += 1
            _follow(clock, begin + lines * arguments.interval, told)
            if told:
                break
            before, now = now, clock.estimate()
            if arguments.json:
                json_line(now.to_dict() | {"lacking": lacking})
            else:
                _tell(now, before)
    return FAILED if now is not None and now.silent_ns > _SILENT_NS else FINE


def _await_reply(clock: shmring.RemoteClock, timeout: float, told: Told) -> bool:
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


def _follow(clock: shmring.RemoteClock, until: float, told: Told) -> None:
    while (left := until - time.monotonic()) > 0 and not told.wait(min(left, 0.5)):
        clock.update()


def _tell(now: shmring.ClockEstimate, before: shmring.ClockEstimate | None) -> None:
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
