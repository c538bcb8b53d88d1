"""Send the UDP packets of a capture (pcap, pcapng) at their times.

Without --to the packets go where they went when they were captured: look first
with --dry-run. Packets leave at their times in the file, multiplied by --scale, or at an even
rate (--pps). Fragments, and packets that were captured in part, are counted and not
sent. At the end the command says how late packets were, and how much the gaps between them
differed from those in the file.

examples:
  shmring replay line.pcapng --dry-run                   which flows are in it
  shmring replay line.pcapng --to 127.0.0.1              all of it to this host, ports as captured
  shmring replay line.pcapng --to 10.0.0.7:5004 --only 239.0.0.1:5004 --loop forever
  shmring replay line.pcapng --to 239.0.0.1=239.9.0.1 --socket interface=eth1,ttl=4
  shmring replay line.pcapng --to 10.0.0.7 --scale 0.5   twice as fast
  shmring replay line.pcapng --to 10.0.0.7 --pps 100000
  shmring replay line.pcapng --to 10.0.0.7 --start 2026-11-23T08:00:00Z
  zcat line.pcap.gz | shmring replay - --to 10.0.0.7

exit codes: 0 in time, 2 also if packets could not be sent, 3 more were late than --limit allows
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import Any

import shmring
from shmring.net import capture
from shmring_cli import flow_words, options, realtime, sending
from shmring_cli.common import FINE, USAGE
from shmring_cli.output import NS_PER_S, address_text, json_line, quantity, text_table

_HEAD = ("source", "captured to", "sent to", "packets", "payload", "rate", "first", "last")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="capture, or - for standard input")
    _add_where(parser)
    _add_when(parser)
    sending.add_report(parser, "list the flows with their destinations, send nothing")


def _add_where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to",
        type=_target,
        action="append",
        default=[],
        metavar="[OLD=]NEW",
        help="where everything goes: ADDR[:PORT]; with OLD= instead of that destination: "
        "ADDR[:PORT] or NETWORK[:PORT]; may be repeated, the first that fits counts",
    )
    parser.add_argument(
        "--only",
        dest="flow",
        action="append",
        default=[],
        metavar="[SRC>]DST",
        help="send only these flows: ADDR[:PORT], NETWORK[:PORT] or *:PORT, with a source before "
        "'>'; may be repeated",
    )
    sending.add_where(parser)


def _add_when(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        metavar="F",
        help="multiply the gaps: 0.5 is twice as fast, 0 sends as fast as possible (default 1)",
    )
    options.add_pps(
        parser, "packets a second, evenly: 50k; or 20Mbit/s of frames", read=flow_words.even
    )
    parser.add_argument(
        "--loop",
        type=_loop,
        default=1,
        metavar="N",
        help="play it N times, or forever; the mean gap lies between the rounds",
    )
    sending.add_when(parser)


def run(arguments: argparse.Namespace) -> int:
    try:  # before a pool starts
        _player(arguments)
    except ValueError as error:
        print(f"shmring replay: {error}", file=sys.stderr)
        return USAGE
    return _dry_run(arguments) if arguments.dry_run else _replay(arguments)


# --- the table of flows ---------------------------------------------------------------------------


def _dry_run(arguments: argparse.Namespace) -> int:
    found = capture.flows(arguments.file, **_targets(arguments), flow=arguments.flow)
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
            "use --pps"
        )
    if found.cut_bytes:
        notes.append(f"the file ends inside a packet: {found.cut_bytes} bytes were left")
    return notes


# --- sending --------------------------------------------------------------------------------------


def _replay(arguments: argparse.Namespace) -> int:
    show = sending.Show("replay", show=not arguments.json)
    with realtime.shown("shmring replay") as lacking, sending.pool(arguments) as pool:
        player = _player(arguments, pool, show)
        with arguments.told.then(player.stop):
            report = player.run()
    if arguments.json:
        json_line(sending.document("replay", report, lacking))
    else:
        show.done()
        _tell(report)
    return sending.exit_code(report, arguments.late_limit)


def _player(
    arguments: argparse.Namespace,
    pool: shmring.Pool | None = None,
    progress: sending.Show | None = None,
) -> capture.Player:
    return capture.Player(
        arguments.file,
        **_targets(arguments),
        flow=arguments.flow,
        scale=arguments.scale,
        **_rate(arguments.pps),
        loop=arguments.loop,
        **sending.options_of(arguments, pool, progress),
    )


def _tell(report: capture.ReplayReport) -> None:
    sending.tell("replay", report)
    if report.rounds > 1:
        print(f"rounds: {report.rounds}")
    if not report.packets and not report.stopped:
        print("the file has no packets to send: see `shmring replay FILE --dry-run`")
    for line in _notes(report.capture):
        print(line)


# --- words ----------------------------------------------------------------------------------------


def _target(text: str) -> tuple[str | None, str]:
    old, equals, new = text.rpartition("=")
    if not new or (equals and not old):
        raise argparse.ArgumentTypeError(f"{text!r} is no destination: use NEW or OLD=NEW")
    return old or None, new


def _targets(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the destinations as `capture` takes them. Raises `ValueError`."""
    all_of_it = [new for old, new in arguments.to if old is None]
    if len(all_of_it) > 1:
        raise ValueError(
            f"--to {' and '.join(all_of_it)}: everything goes to one, others need OLD="
        )
    some: dict[str, str] = {}
    for old, new in arguments.to:
        if old is not None:
            some.setdefault(old, new)
    return {"to": all_of_it[0] if all_of_it else None, "map": some}


def _rate(given: float | flow_words.Bits | None) -> dict[str, Any]:
    if isinstance(given, flow_words.Bits):
        return {"bps": given.bps}
    return {"pps": given}


def _loop(text: str) -> int | None:
    if text == "forever":
        return None
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds: use 1 or more, or forever")
