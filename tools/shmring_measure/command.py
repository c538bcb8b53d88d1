"""Measure a path by probes that `shmring reflect`, or any reflector of STAMP, sends back.

For each direction: delay, jitter, loss, reordering and duplicates. A probe counts from the moment
it really left, and one that this host sent late, or not at all, is not blamed on the network. The
last line says whose fault it was.

Round trips need no common clock. One-way delays do: --clock says what is assumed. With --listen
the command receives the stream of `shmring generate` and sends nothing.

examples:
  shmring reflect --sessions 4096                        on the other host
  shmring measure 10.0.0.7                               1000 probes a second for 10 seconds
  shmring measure 10.0.0.7:8620 --pps 50k --size 1400 --duration 5m
  shmring measure 10.0.0.7 --flow poisson,size=100-1400  every pattern of shmring generate
  shmring measure lab.example --clock measured           the hosts have different clocks
  shmring measure 10.0.0.7 --duration forever            until Ctrl-C, which prints the report
  shmring measure 10.0.0.7 --json --limit loss=0.1%      for a test: exit code 4 above 0.1 %
  shmring measure 10.0.0.7 --png path.png                delay over time, and its distribution
  shmring measure --listen 5004 --duration 10s           a stream from shmring generate
  shmring measure --listen 5004 --wait 30s               give up if none comes within 30 s

exit codes: 2 also if no reflector answers, 3 more probes left late here, or 4 more were lost in
the network than --limit allows
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import sys
from pathlib import Path

import shmring
from shmring.net import probes
from shmring_cli import flow_words, options, realtime, sending
from shmring_cli.common import FAILED, FINE, LATE, LOST, USAGE
from shmring_cli.output import (
    NS_PER_S,
    address_text,
    duration,
    json_line,
    paragraph,
    quantity,
    room_text,
    text_table,
)
from shmring_cli.report import Head
from shmring_measure.live import Live

DEFAULT_LATE_PERCENT = 10.0

_HEAD = ("", "min", "p50", "p99", "p99.9", "max", "jitter", "lost", "duplicates", "reordered")
_WAYS = (("to the reflector", "forward"), ("back", "backward"), ("round trip", "round"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "host",
        metavar="HOST[:PORT]",
        nargs="?",
        type=sending.reflector,
        help="the reflector (port 862 without one)",
    )
    parser.add_argument(
        "--listen",
        type=_place,
        metavar="[ADDR:]PORT",
        help="receive the stream of shmring generate instead",
    )
    parser.add_argument(
        "--wait",
        type=options.seconds,
        metavar="TIME",
        help="with --listen: end if no packet has come for so long (default: wait until Ctrl-C)",
    )
    _add_probes(parser)
    _add_limits(parser)
    options.add_json(parser)
    parser.add_argument(
        "--png", type=Path, metavar="FILE", help="draw delay over time and its distribution"
    )


def _add_probes(parser: argparse.ArgumentParser) -> None:
    flow_words.add_arguments(parser)
    parser.add_argument(
        "--clock",
        choices=("auto", "same", "measured"),
        default="auto",
        help="for one-way delays: same: both hosts have one clock; measured: take the offset of "
        "the other clock from the probes; auto: same if the first probes allow it",
    )
    options.add_local(parser, sending.address, "send from here")
    options.add_socket(parser, "interface", "ttl", "dscp")
    options.add_worker(parser)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout",
        type=options.seconds,
        default=1.0,
        metavar="TIME",
        help="a probe without a reply for so long is lost (default 1s)",
    )
    parser.add_argument(
        "--tolerance",
        type=options.limited("the tolerance", 0, 1),
        default=probes.LATE_NS / NS_PER_S,
        metavar="TIME",
        help="probes that left later than this are left out of the delays (default 50us)",
    )
    options.add_limit(parser, late=DEFAULT_LATE_PERCENT, loss=True)


def run(arguments: argparse.Namespace) -> int:
    live = Live(show=not arguments.json)
    try:  # before a pool starts
        _measurement(arguments, None, live)
    except ValueError as error:
        print(f"shmring measure: {error}", file=sys.stderr)
        return USAGE
    if arguments.png is not None:
        _check_picture(arguments.png)
    with realtime.shown("shmring measure") as lacking, sending.pool(arguments) as pool:
        measurement = _measurement(arguments, pool, live)
        with arguments.told.then(measurement.stop), live:
            if arguments.listen is not None and not arguments.json:
                where = address_text(arguments.listen)
                print(f"shmring measure: waiting for a sender to {where}", file=sys.stderr)
            report = measurement.run()
    if arguments.json:
        json_line(_head(report).document(report.to_dict(), lacking))
    else:
        _tell(report)
    if arguments.png is not None:
        from shmring_measure import picture

        picture.draw(arguments.png, report)
        if not arguments.json:
            print(arguments.png)
    return _exit_code(report, arguments)


def _measurement(
    arguments: argparse.Namespace, pool: shmring.Pool | None, live: Live
) -> probes.Measurement | probes.Listening:
    if (arguments.host is None) == (arguments.listen is None):
        raise ValueError("give the reflector, or --listen PORT: shmring measure 10.0.0.7")
    if arguments.listen is None and arguments.wait is not None:
        raise ValueError("--wait is for --listen: a reflector must run already")
    if arguments.listen is not None:
        return probes.Listening(
            arguments.listen,
            seconds=_listen_seconds(arguments.duration),
            wait=arguments.wait,
            timeout=arguments.timeout,
            pool=pool,
            progress=live,
        )
    return probes.Measurement(
        arguments.host,
        flow_words.flows(arguments),
        timeout=arguments.timeout,
        late_ns=round(arguments.tolerance * NS_PER_S),
        clock=arguments.clock,
        local=arguments.local,
        interface=arguments.interface,
        ttl=arguments.ttl,
        dscp=arguments.dscp,
        gso=arguments.gso,
        pool=pool,
        progress=live,
    )


def _listen_seconds(given: float | None) -> float | None:
    if given is None:
        return flow_words.DEFAULT_SECONDS
    return None if math.isinf(given) else given


def _check_picture(path: Path) -> None:
    """Raise an error if the picture cannot be written, before anything is measured."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError(
            '--png needs matplotlib, which is not installed: pip install "shmring[plot]"'
        )
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError(f"{path} cannot be written: choose an existing folder")


# --- the report -----------------------------------------------------------------------------------


def _head(report: probes.MeasureReport) -> Head:
    done = "sent to here" if report.listening else "sent"
    return Head("measure", report.sent, done, report.seconds, report.lateness, report.late)


def _tell(report: probes.MeasureReport) -> None:
    for line in _head(report).lines():
        print(line)
    print()
    ways = (("one way", "forward"),) if report.listening else _WAYS
    print(text_table(_HEAD, [_row(report, label, way) for label, way in ways]))
    print()
    for label, text in _notes(report):
        print(f"{label}: {text}")
    print(room_text("queue", report.queue, "probes"))
    print(paragraph(report.verdict + ".", "verdict", indent=""))


def _row(report: probes.MeasureReport, label: str, way: str) -> list[str]:
    delays: probes.Delays = getattr(report, way)
    times = [
        duration(delays.min_ns),
        *(duration(delays.percentile(p)) for p in (50, 99, 99.9)),
        duration(delays.max_ns),
        duration(delays.jitter_ns),
    ]
    ending = "" if way == "round" or report.listening else f"_{way}"
    known = not ending or report.reflector_counts
    counts = [
        str(getattr(report, f"{name}{ending}")) if known else "?"
        for name in ("lost", "duplicates", "reordered")
    ]
    return [label, *(times if delays.count else ["-"] * len(times)), *counts]


def _notes(report: probes.MeasureReport) -> list[tuple[str, str]]:
    notes: list[tuple[str, str]] = []
    if report.bursts:
        bursts = f"{report.bursts} bursts, the longest had {report.longest_burst} packets"
        notes.append(("loss", f"{quantity(report.loss_share * 100, 'percent')}, {bursts}"))
    if report.reordered:
        share = quantity(report.reordered_share * 100, "percent")
        notes.append(
            ("reordering", f"{share}, {report.most_extent} packets must be held back to undo it")
        )
    if report.restarts:
        who = "sender" if report.listening else "reflector"
        notes.append((who, f"it began anew {report.restarts} times"))
    for count, text in (
        (report.impossible, "had times that contradict each other and are left out"),
        (report.foreign, "answered nothing that was sent"),
        (report.strangers, "came from others, or were no STAMP packets"),
        (report.too_old, "were older than the statistics keep"),
        (report.unreported, "have no report of their departure"),
    ):
        if count:
            notes.append(("ignored", f"{count} packets {text}"))
    notes.append(("clocks", report.clocks.text))
    return notes


def _exit_code(report: probes.MeasureReport, arguments: argparse.Namespace) -> int:
    if not report.received or report.failed:
        return FAILED
    lost = 100 * report.lost_in_network / report.sent if report.sent else 0.0
    if arguments.loss_limit is not None and lost > arguments.loss_limit:
        return LOST
    return LATE if 100 * report.late_share > arguments.late_limit else FINE


# --- words ----------------------------------------------------------------------------------------


def _place(text: str) -> tuple[str, int]:
    """An address with a port, or a port alone."""
    if text.isascii() and text.isdecimal():
        return "0.0.0.0", int(text)
    return sending.address(text)
