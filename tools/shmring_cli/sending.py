"""What the commands that send packets at their times share: options, progress, report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import shmring
from shmring.net import capture, probes
from shmring.net.capture import routes
from shmring.net.lanes.lanes import SendingOptions
from shmring.net.lanes.report import SendingReport
from shmring.udt import connecting
from shmring_cli import options
from shmring_cli.common import FAILED, FINE, LATE
from shmring_cli.output import Progress, duration, quantity, room_text
from shmring_cli.report import Head, percentiles

DEFAULT_LATE_PERCENT = 1.0


# --- options --------------------------------------------------------------------------------------


def add_where(parser: argparse.ArgumentParser) -> None:
    """Add the options that say from where and how packets leave."""
    options.add_local(parser, address, "send from this address")
    options.add_socket(parser, "interface", "ttl", "broadcast")


def add_when(parser: argparse.ArgumentParser) -> None:
    """Add the options that say when the first packet leaves, and how the worker waits."""
    options.add_start(parser)
    options.add_late(parser)
    options.add_worker(parser)


def add_report(parser: argparse.ArgumentParser, dry_run: str) -> None:
    """Add the options of the report. dry_run: what --dry-run does."""
    options.add_dry_run(parser, dry_run)
    options.add_limit(parser, late=DEFAULT_LATE_PERCENT)
    options.add_json(parser)


def pool(arguments: argparse.Namespace) -> shmring.Pool:
    """Return the pool that --worker asks for."""
    return shmring.Pool(
        cpus=None if arguments.cpu is None else [arguments.cpu], profile=arguments.profile
    )


def options_of(
    arguments: argparse.Namespace, pool: shmring.Pool | None, progress: Show | None
) -> SendingOptions:
    """Return what `add_where` and `add_when` ask for, as `Player` and `Generator` take it."""
    return {
        "start": arguments.start,
        "local": arguments.local,
        "interface": arguments.interface,
        "ttl": arguments.ttl,
        "broadcast": arguments.broadcast,
        "gso": arguments.gso,
        "late": arguments.late,
        "pool": pool,
        "progress": progress,
    }


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


def head(tool: str, report: SendingReport) -> Head:
    """Return what the report of a tool that sends begins with."""
    return Head(tool, report.sent, "sent", report.seconds, report.lateness, report.late)


def document(tool: str, report: SendingReport, lacking: Sequence[str]) -> dict[str, Any]:
    """Return the JSON document. Its ``packets`` were sent, as those of all tools."""
    return head(tool, report).document({**report.to_dict(), "queued": report.packets}, lacking)


def tell(tool: str, report: SendingReport) -> None:
    """Print what was sent, and how good it was."""
    for line in head(tool, report).lines():
        print(line)
    if report.gap_error.count:
        print(f"gap error: {percentiles(report.gap_error)}")
    if report.slow_calls:
        print(f"slow: {report.slow_calls} packets left in time, in send calls of more than 100 µs")
    if report.queue.count:
        print(room_text("queue", report.queue))
    if report.failed:
        print(
            f"failed: {report.failed} packets were refused by the kernel: check the route to them, "
            "give multicast groups --socket interface=, and allow --socket broadcast"
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
    return host, port or probes.PORT
