"""Send the UDP packets of a capture (pcap, pcapng) at their times.

Without --to and --map the packets go where they went when they were captured: look first
with --dry-run. Packets leave at their times in the file, multiplied by --scale, or at an even
rate (--pps, --bps). Fragments, and packets that were captured in part, are counted and not
sent. At the end the command says how late packets were, and how much the gaps between them
differed from those in the file.

examples:
  shmring replay line.pcapng --dry-run                   which flows are in it
  shmring replay line.pcapng --to 127.0.0.1              all of it to this host, ports as captured
  shmring replay line.pcapng --to 10.0.0.7:5004 --flow 239.0.0.1:5004 --loop forever
  shmring replay line.pcapng --map 239.0.0.1=239.9.0.1 --interface eth1 --ttl 4
  shmring replay line.pcapng --to 10.0.0.7 --scale 0.5   twice as fast
  shmring replay line.pcapng --to 10.0.0.7 --pps 100000
  shmring replay line.pcapng --to 10.0.0.7 --start 2026-11-23T08:00:00Z
  zcat line.pcap.gz | shmring replay - --to 10.0.0.7

exit codes: 0 in time, 1 wrong usage, 2 failure (also if packets could not be sent),
3 more packets were late than --late-limit allows
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import signal
import sys
import warnings
from datetime import datetime
from typing import Any

import shmring
from shmring import capture
from shmring_cli.common import FAILED, FINE, USAGE
from shmring_cli.output import (
    NS_PER_S,
    Progress,
    address_text,
    duration,
    json_line,
    quantity,
    text_table,
)

LATE = 3
DEFAULT_LATE_PERCENT = 1.0

_UNITS = {"k": 10**3, "m": 10**6, "g": 10**9}
_HEAD = ("source", "captured to", "sent to", "packets", "payload", "rate", "first", "last")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="capture, or - for standard input")
    _add_where(parser)
    _add_when(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="list the flows with their destinations, send nothing",
    )
    parser.add_argument(
        "--late-limit",
        type=float,
        metavar="PERCENT",
        default=DEFAULT_LATE_PERCENT,
        help="exit code 3 if more packets were late (default 1)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as a JSON object")


def _add_where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to", metavar="ADDR[:PORT]", help="where everything goes that --map does not name"
    )
    parser.add_argument(
        "--map",
        type=_mapping,
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="replace a destination: ADDR[:PORT] or NETWORK[:PORT]; may be repeated, the first "
        "that fits counts",
    )
    parser.add_argument(
        "--flow",
        action="append",
        default=[],
        metavar="[SRC>]DST",
        help="send only these flows: ADDR[:PORT], NETWORK[:PORT] or *:PORT, with a source before "
        "'>'; may be repeated",
    )
    parser.add_argument(
        "--local", type=_address, metavar="ADDR[:PORT]", help="send from this address"
    )
    parser.add_argument(
        "--interface", metavar="NAME", help="for multicast and link-local destinations"
    )
    parser.add_argument("--ttl", type=int, metavar="N", help="hop limit of the packets")
    parser.add_argument(
        "--broadcast", action="store_true", help="allow sending to broadcast addresses"
    )


def _add_when(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        metavar="F",
        help="multiply the gaps: 0.5 is twice as fast, 0 sends as fast as possible (default 1)",
    )
    parser.add_argument(
        "--pps", type=_rate, metavar="RATE", help="packets a second, evenly: 1000, 50k, 1.5M"
    )
    parser.add_argument(
        "--bps", type=_rate, metavar="RATE", help="bits a second with IP and UDP headers: 10M, 1G"
    )
    parser.add_argument(
        "--loop",
        type=_loop,
        default=1,
        metavar="N",
        help="play it N times, or forever; the mean gap lies between the rounds",
    )
    parser.add_argument(
        "--start",
        type=_start,
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


def run(arguments: argparse.Namespace) -> int:
    if arguments.late_limit < 0:
        print(
            f"shmring replay: --late-limit is {arguments.late_limit}: it must be 0 or above",
            file=sys.stderr,
        )
        return USAGE
    return _dry_run(arguments) if arguments.dry_run else _replay(arguments)


# --- the table of flows ---------------------------------------------------------------------------


def _dry_run(arguments: argparse.Namespace) -> int:
    found = capture.flows(
        arguments.file, to=arguments.to, map=dict(arguments.map), flow=arguments.flow
    )
    if arguments.json:
        json_line(found.to_dict())
        return FINE
    print(text_table(_HEAD, _rows(found)))
    print(f"\n{found.packets} packets to send, {found.seconds:.3f} s")
    for line in _notes(found):
        print(line)
    return FINE


def _rows(found: capture.CaptureSummary) -> list[list[str]]:
    begin_ns = min((flow.first_ns for flow in found.flows), default=0)
    return [
        [
            address_text(flow.source),
            address_text(flow.destination),
            address_text(flow.to, "-"),
            str(flow.packets),
            quantity(flow.payload_bytes, "bytes"),
            quantity(flow.rate_pps, "pps"),
            *(f"{(at_ns - begin_ns) / NS_PER_S:.3f} s" for at_ns in (flow.first_ns, flow.last_ns)),
        ]
        for flow in found.flows
    ]


def _notes(found: capture.CaptureSummary) -> list[str]:
    """What the file has beside whole UDP datagrams, and what a tester should know of it."""
    fates = found.fates
    notes = [
        f"{getattr(fates, field.name)} {field.metadata['meaning']}"
        for field in dataclasses.fields(fates)
        if field.name != "udp" and getattr(fates, field.name)
    ]
    if fates.other_link:
        notes.append(
            f"link type {found.other_link} is not supported: capture on another interface, or "
            "convert the file with `editcap -T ether`"
        )
    if fates.truncated:
        notes.append("capture again with `tcpdump -s 0`, which keeps whole packets")
    if found.packets_without_time:
        notes.append(
            f"{found.packets_without_time} packets have no time and are sent with the one before: "
            "use --pps or --bps"
        )
    if found.cut_bytes:
        notes.append(f"the file ends inside a packet: {found.cut_bytes} bytes were left")
    return notes


# --- sending --------------------------------------------------------------------------------------


class _Show:
    """The progress line."""

    def __init__(self, *, show: bool) -> None:
        self._line = Progress("replay", show=show)

    def __call__(self, now: capture.Progress) -> None:
        rate = quantity(now.rate_pps, "pps")
        text = f"{now.sent} sent, {rate}, {now.late} late, p99 {duration(now.p99_ns)}"
        if now.round > 1:
            text += f", round {now.round}"
        self._line.update(now.share or 0.0, text)

    def done(self, text: str) -> None:
        self._line.done(text)


def _replay(arguments: argparse.Namespace) -> int:
    show = _Show(show=not arguments.json)
    with warnings.catch_warnings(record=True) as caught, _pool(arguments) as pool:
        warnings.simplefilter("always", shmring.RealtimeWarning)
        player = capture.Player(
            arguments.file,
            to=arguments.to,
            map=dict(arguments.map),
            flow=arguments.flow,
            scale=arguments.scale,
            pps=arguments.pps,
            bps=arguments.bps,
            loop=arguments.loop,
            start=arguments.start,
            local=arguments.local,
            interface=arguments.interface,
            ttl=arguments.ttl,
            broadcast=arguments.broadcast,
            late=arguments.late,
            pool=pool,
            progress=show,
        )
        with _stopped_by_signals(player):
            report = player.run()
    if arguments.json:
        json_line(report.to_dict())
    else:
        show.done(_summary(report))
        _tell(report, [str(each.message) for each in caught])
    return _exit_code(report, arguments.late_limit)


def _pool(arguments: argparse.Namespace) -> shmring.Pool:
    return shmring.Pool(
        cpus=None if arguments.cpu is None else [arguments.cpu],
        profile=arguments.profile or "balanced",
    )


def _stopped_by_signals(player: capture.Player) -> contextlib.ExitStack:
    """SIGINT and SIGTERM end the replay with its report. A second SIGINT ends the command."""

    def hear(*_: Any) -> None:
        player.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    stack = contextlib.ExitStack()
    for number in (signal.SIGINT, signal.SIGTERM):
        stack.callback(signal.signal, number, signal.signal(number, hear))
    return stack


def _summary(report: capture.ReplayReport) -> str:
    rate = report.sent / report.seconds if report.seconds > 0 else 0.0
    text = f"{report.sent} packets in {report.seconds:.3f} s, {quantity(rate, 'pps')}"
    if report.rounds > 1:
        text += f", {report.rounds} rounds"
    return text


def _tell(report: capture.ReplayReport, warned: list[str]) -> None:
    for label, values in (("lateness", report.lateness), ("gap error", report.gap_error)):
        if values.count:
            shown = [f"p{p} {duration(values.percentile(p))}" for p in (50, 99)]
            print(f"{label}: {', '.join(shown)}, max {duration(values.max)}")
    if report.lateness.count:
        print(f"late: {report.late} packets, {quantity(report.late_share * 100, 'percent')}")
    if report.failed:
        print(
            f"failed: {report.failed} packets were refused by the kernel: check the route to them"
        )
    if report.not_sent:
        print(f"not sent: {report.not_sent} packets were dropped or cancelled")
    if not report.packets:
        print("the file has no packets to send: see `shmring replay FILE --dry-run`")
    for line in [*_notes(report.capture), *warned]:
        print(line)


def _exit_code(report: capture.ReplayReport, late_percent: float) -> int:
    if report.failed or not report.packets:
        return FAILED
    return LATE if report.late_share * 100 > late_percent else FINE


# --- words ----------------------------------------------------------------------------------------


def _mapping(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (equals and old and new):
        raise argparse.ArgumentTypeError(f"{text!r} is no mapping: use OLD=NEW")
    return old, new


def _address(text: str) -> tuple[str, int]:
    try:
        return capture.address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _rate(text: str) -> float:
    factor = _UNITS.get(text[-1:].lower(), 1)
    with contextlib.suppress(ValueError):
        value = float(text[:-1] if factor > 1 else text) * factor
        if 0 < value < float("inf"):
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is no rate above 0: use 1000, 50k, 10M or 1G")


def _loop(text: str) -> int | None:
    if text == "forever":
        return None
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds: use 1 or more, or forever")


def _start(text: str) -> datetime | int:
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
