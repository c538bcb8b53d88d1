"""What the commands that send packets at their times share: options, progress, report."""

from __future__ import annotations

import argparse
import contextlib
from datetime import datetime

import shmring
from shmring import capture, stamp
from shmring.capture import routes
from shmring.lanes.report import SendingReport
from shmring.udt import connecting
from shmring_cli.common import FAILED, FINE, add_gso
from shmring_cli.output import NS_PER_S, Progress, duration, quantity, room_text

LATE = 3
DEFAULT_LATE_PERCENT = 1.0

_SECONDS = {"us": 1e-6, "ms": 1e-3, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNITS = {"k": 10**3, "m": 10**6, "g": 10**9}


# --- options --------------------------------------------------------------------------------------


def add_where(parser: argparse.ArgumentParser) -> None:
    """Add the options that say from where and how packets leave."""
    parser.add_argument(
        "--local", type=address, metavar="ADDR[:PORT]", help="send from this address"
    )
    parser.add_argument(
        "--interface", metavar="NAME", help="for multicast and link-local destinations"
    )
    parser.add_argument("--ttl", type=int, metavar="N", help="hop limit of the packets")
    parser.add_argument(
        "--broadcast", action="store_true", help="allow sending to broadcast addresses"
    )
    add_gso(parser)


def add_when(parser: argparse.ArgumentParser) -> None:
    """Add the options that say when the first packet leaves, and how the worker waits."""
    parser.add_argument(
        "--start",
        type=start,
        metavar="TIME",
        help="of the first packet: 2026-11-23T08:00:00Z, or tai:SECONDS of CLOCK_TAI (default now)",
    )
    parser.add_argument(
        "--late", choices=("send", "drop"), default="send", help="packets past their time"
    )
    parser.add_argument(
        "--profile", choices=("balanced", "latency", "power"), help="how the worker waits"
    )
    parser.add_argument("--cpu", type=int, metavar="N", help="core of the worker")


def add_report(parser: argparse.ArgumentParser, dry_run: str) -> None:
    """Add the options of the report. dry_run: what --dry-run does."""
    parser.add_argument("--dry-run", action="store_true", help=dry_run)
    parser.add_argument(
        "--late-limit",
        type=_percent,
        metavar="PERCENT",
        default=DEFAULT_LATE_PERCENT,
        help="exit code 3 if more packets were late (default 1)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as a JSON object")


def pool(arguments: argparse.Namespace) -> shmring.Pool:
    """Return the pool that the options of `add_when` ask for."""
    return shmring.Pool(
        cpus=None if arguments.cpu is None else [arguments.cpu],
        profile=arguments.profile or "balanced",
    )


# --- while it runs --------------------------------------------------------------------------------


class Show:
    """The progress line."""

    def __init__(self, label: str, *, show: bool) -> None:
        self._line = Progress(label, show=show)

    def __call__(self, now: capture.Progress) -> None:
        rate = quantity(now.rate_pps, "pps")
        text = f"{now.sent} sent, {rate}, {now.late} late, p99 {duration(now.p99_ns)}"
        if now.round > 1:
            text += f", round {now.round}"
        self._line.update(now.share or 0.0, text)

    def done(self) -> None:
        """Take the line away."""
        self._line.clear()


# --- the report -----------------------------------------------------------------------------------


def tell(report: SendingReport, rounds: int = 1) -> None:
    """Print what was sent, and how good it was."""
    rate = report.sent / report.seconds if report.seconds > 0 else 0.0
    played = f", {rounds} rounds" if rounds > 1 else ""
    print(f"packets: {report.sent} in {report.seconds:.3f} s, {quantity(rate, 'pps')}{played}")
    for label, values in (("lateness", report.lateness), ("gap error", report.gap_error)):
        if values.count:
            shown = [f"p{p} {duration(values.percentile(p))}" for p in (50, 99)]
            print(f"{label}: {', '.join(shown)}, max {duration(values.max)}")
    if report.lateness.count:
        print(f"late: {report.late} packets, {quantity(report.late_share * 100, 'percent')}")
    if report.slow_calls:
        print(f"slow: {report.slow_calls} packets left in time, in send calls of more than 100 µs")
    if report.queue.count:
        print(room_text("queue", report.queue))
    if report.failed:
        print(
            f"failed: {report.failed} packets were refused by the kernel: check the route to them, "
            "give multicast groups an --interface, and allow broadcast with --broadcast"
        )
    if report.not_sent:
        print(f"not sent: {report.not_sent} packets were dropped or cancelled")


def exit_code(report: SendingReport, late_percent: float) -> int:
    """Return the exit code that the report deserves."""
    if report.failed or not report.packets:
        return FAILED
    return LATE if report.late_share * 100 > late_percent else FINE


# --- words ----------------------------------------------------------------------------------------


def address(text: str) -> tuple[str, int]:
    """Parse ``10.0.0.7:5004``. Without a port it is 0."""
    try:
        return capture.address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def destination(text: str) -> str:
    """Parse ``10.0.0.7:5004``, ``[::1]``, ``:5004`` or ``name:5004``. A name is looked up."""
    try:
        host, port = routes.split(text, "destination")
        if host:
            host, _ = connecting.resolve((host, 0))
        elif port is None:
            raise ValueError("it has neither host nor port")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise argparse.ArgumentTypeError(f"{text!r} is no destination: {reason}") from None
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"


def reflector(text: str) -> tuple[str, int]:
    """Parse a name or address, perhaps with a port: ``lab.example:8620``, ``[::1]:8620``, ``::1``.
    Without a port it is that of STAMP."""
    try:
        host, port = routes.split(text, "host")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if host in ("", "*"):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no host: use 10.0.0.7, lab.example:8620 or [::1]:8620"
        )
    return host, port or stamp.PORT


def rate(text: str) -> float:
    """Parse ``50k``."""
    factor = _UNITS.get(text[-1:].lower(), 1)
    with contextlib.suppress(ValueError):
        value = float(text[:-1] if factor > 1 else text) * factor
        if 0 < value < float("inf"):
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is no rate above 0: use 1000, 50k, 10M or 1G")


def seconds(text: str) -> float:
    """Parse ``500us``, ``10ms``, ``2.5`` (seconds), ``5m``, ``3h``, ``2d``."""
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    with contextlib.suppress(ValueError, KeyError):
        value = float(number) * _SECONDS[text[len(number) :]]
        if 0 <= value < float("inf"):
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is no time: use 500us, 10ms, 2.5, 5m, 3h or 2d")


def start(text: str) -> datetime | int:
    """Parse an ISO 8601 time, local without a zone, or ``tai:SECONDS``."""
    kind, colon, seconds = text.partition(":")
    with contextlib.suppress(ValueError):
        if kind == "tai" and colon:
            whole, _, rest = seconds.partition(".")
            return int(whole) * NS_PER_S + int(rest[:9].ljust(9, "0"))
        return datetime.fromisoformat(text)
    raise argparse.ArgumentTypeError(
        f"{text!r} is no time: use 2026-11-23T08:00:00Z (ISO 8601) or tai:1795420837.5"
    )


def _percent(text: str) -> float:
    with contextlib.suppress(ValueError):
        if float(text) >= 0:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no share: it must be 0 or above, in percent")
