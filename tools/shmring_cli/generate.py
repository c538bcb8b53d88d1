"""Send generated UDP packets at their times.

Flows have a rate (constant, a ramp, steps, bursts, on and off), even or random gaps, and sizes.
Each packet is a test packet of STAMP (RFC 8762) with its number, its deadline as timestamp, and
the number of its flow (SSID): `shmring reflect` and other reflectors answer it. Without a port
packets go to 862. At the end the command says how late packets were, and how much the gaps
between them differed from the schedule.

examples:
  shmring generate 10.0.0.7                                1000 packets a second for 10 s
  shmring generate 10.0.0.7 --pps 1k --size 200 --duration 5m
  shmring generate 10.0.0.7:5004 --pps 50k --flow poisson --size imix
  shmring generate 10.0.0.7 --pps 10/1ms                   ten packets at once, every millisecond
  shmring generate 10.0.0.7 --pps 1k..100k --duration 30s
  shmring generate 10.0.0.7 --size 1400 --flow on-off=10ms/90ms
  shmring generate 10.0.0.7 --flow pps=50,size=172,to=:5004 --flow pps=20Mbit/s,poisson
  shmring generate 10.0.0.7 --pps 1k..100k --dry-run       what would be sent

exit codes: 0 in time, 2 also if packets could not be sent, 3 more were late than --limit allows
"""

from __future__ import annotations

import argparse
import math
import sys

import shmring
from shmring.net import traffic
from shmring_cli import flow_words, options, realtime, sending
from shmring_cli.common import FINE, USAGE
from shmring_cli.output import address_text, json_line, quantity, text_table

_HEAD = ("flow", "to", "packets", "payload", "rate", "bits", "begins", "lasts")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "host",
        metavar="HOST[:PORT]",
        nargs="?",
        type=sending.destination,
        help="where flows go that do not say it; port 862 if there is none",
    )
    flow_words.add_arguments(parser)
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of gaps, sizes and padding (default 0)"
    )
    options.add_packet(parser)
    sending.add_where(parser)
    sending.add_when(parser)
    sending.add_report(parser, "list what the flows would send, send nothing")


def run(arguments: argparse.Namespace) -> int:
    show = sending.Show("generate", show=not arguments.json)
    try:  # before a pool starts
        flows = flow_words.flows(arguments)
        planned = _generator(arguments, flows)
    except ValueError as error:
        print(f"shmring generate: {error}", file=sys.stderr)
        return USAGE
    if arguments.dry_run:
        return _dry_run(planned, as_json=arguments.json)
    with realtime.shown("shmring generate") as lacking, sending.pool(arguments) as pool:
        generator = _generator(arguments, flows, pool, show)
        with arguments.told.then(generator.stop):
            report = generator.run()
    if arguments.json:
        json_line(sending.document("generate", report, lacking))
    else:
        show.done()
        sending.tell("generate", report)
        if not report.packets and not report.stopped:
            print("no packet was due in this time: see --dry-run")
    return sending.exit_code(report, arguments.late_limit)


def _generator(
    arguments: argparse.Namespace,
    flows: list[traffic.Flow],
    pool: shmring.Pool | None = None,
    progress: sending.Show | None = None,
) -> traffic.Generator:
    return traffic.Generator(
        arguments.host,
        flows,
        seed=arguments.seed,
        stamp=arguments.stamp,
        padding=arguments.padding,
        **sending.options_of(arguments, pool, progress),
    )


def _dry_run(generator: traffic.Generator, *, as_json: bool) -> int:
    flows = generator.flows
    if as_json:
        json_line({"flows": [flow.to_dict() for flow in flows]})
        return FINE
    print(text_table(_HEAD, [_row(number, flow) for number, flow in enumerate(flows, 1)]))
    total = sum(flow.packets for flow in flows)
    pps, bps = sum(flow.pps for flow in flows), sum(flow.bps for flow in flows)
    print(f"\n{_count(total)} packets, {quantity(pps, 'pps')}, {quantity(bps, 'bps')} in all")
    return FINE


def _row(number: int, flow: traffic.PlannedFlow) -> list[str]:
    return [
        str(number),
        address_text(flow.to),
        _count(flow.packets),
        quantity(flow.payload_bytes, "bytes"),
        quantity(flow.pps, "pps"),
        quantity(flow.bps, "bps"),
        f"{flow.after_s:.3f} s",
        "-" if math.isinf(flow.seconds) else f"{flow.seconds:.3f} s",
    ]


def _count(packets: float) -> str:
    return "endless" if math.isinf(packets) else f"{packets:.0f}"
