"""Measure what shmring costs on this machine, compared with bare C that does the same work.

  timed   time from a packet's deadline to the receiver's kernel: at 1 kHz, at 50 thousand
          a second, and while the worker is saturated
  bulk    packets a second from Python to Python over loopback, and the cost of one call
  rtt     a packet there and back
  impair  what a UDP proxy adds to a datagram's time, and how exact its delay is
  ipc     messages a second between two cores; memory and CPU of queues and idle workers
  netflux cycles of a link at an independent receiver, its watchdog, 200 links, mailboxes
  cyclic  cycles at an independent receiver, alone and beside 512 other channels
  ticks   how late tasks and threads wake up for an instant
  rtp     the drop-in rtpsynth and the original, which pip fetches once into a virtual
          environment below the user's cache folder, unless $SHMRING_PEER_PYTHON has it
  udt     streams over shmring.udt, libudt, libsrt and TCP, over loopback and an impaired
          path; programs for the two libraries are built once, below the user's cache folder
  observe a timed channel while tools read it and are killed; rtstat's own cost, with 1000
          channels on its screen and 100 in one JSON object
  flood   a timed channel while unknown sources flood another one of its worker: noise,
          RTP streams, Netflux, requests for UDT connections
  pacing  bursts of video streams between two network namespaces, by the models of
          SMPTE ST 2110-21: leaky bucket and virtual receive buffer. 720p50-narrow-10min and
          others run for ten minutes if they are named
  replay  a capture played between two network namespaces: errors of the gaps, drift, and
          full speed, beside tcpreplay and trafgen. The case drift-10min runs if it is named
  generate  200 000 generated packets a second between two network namespaces, beside mgen,
          trafgen, iperf3 and D-ITG
  clock   offset of the clock in another network namespace, which is 0, and its bound
  measure probes between two network namespaces: one-way delay beside bare C, round trips
          beside irtt and D-ITG
  all     all of them

Systems: `shmring`; `floor`, bare C with nothing between it and the kernel, in the same run;
and others by their names. Runs of the systems alternate, medians are reported. All packets
stay on this machine, in a separate namespace. If packets of shmring are missing, the exit
code is 2.

examples:
  shmring bench timed                     a table
  shmring bench all --json-lines >bench.jsonl         bench, case, system, metric, value, unit (ns
                                          pps bps bytes percent per_s packets verdict), lacking
  shmring bench bulk --duration 0.2 --runs 1          a quick look
  shmring bench rtp next-pkt ulaw2linear  two cases only
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Iterator

from rtworkers.similar import did_you_mean
from shmring_bench import (
    bulk,
    clock,
    cyclic,
    flood,
    floor,
    generate,
    impair,
    ipc,
    netflux,
    observe,
    pacing,
    probes,
    replay,
    rtp,
    rtt,
    senders,
    ticks,
    timed,
    udt,
)
from shmring_bench.measure import TARGET, Plan, Row
from shmring_cli import options
from shmring_cli.common import FAILED, FINE, USAGE
from shmring_cli.output import JsonRows, paragraph, quantity, table

BENCHES: dict[str, Callable[[Plan], Iterator[Row]]] = {
    "timed": timed.run,
    "bulk": bulk.run,
    "rtt": rtt.run,
    "impair": impair.run,
    "ipc": ipc.run,
    "rtp": rtp.run,
    "cyclic": cyclic.run,
    "ticks": ticks.run,
    "netflux": netflux.run,
    "udt": udt.run,
    "observe": observe.run,
    "flood": flood.run,
    "pacing": pacing.run,
    "clock": clock.run,
    "replay": replay.run,
    "generate": generate.run,
    "measure": probes.run,
}
AT_MOST = frozenset[str]().union(
    *(one.AT_MOST for one in (udt, pacing, replay, generate, clock, impair, probes))
)
"""Metrics whose targets are upper bounds."""
REFERENCES = (rtp.ORIGINAL, udt.ORIGINAL, "floor")
"""The systems that ratios in a table refer to: the first of them that was measured."""
DEFAULT_RUNS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "bench", metavar="BENCH", choices=(*BENCHES, "all"), help="what to measure: a name above"
    )
    parser.add_argument("case", nargs="*", help="the cases to run (default: all of them)")
    options.add_duration(
        parser,
        "length of each run (default: what the case needs)",
        read=options.limited("the duration", 0.05, 600),
    )
    parser.add_argument(
        "--runs", type=_runs, default=DEFAULT_RUNS, help=f"of each system (default {DEFAULT_RUNS})"
    )
    options.add_json(parser, lines="figure")


def run(arguments: argparse.Namespace) -> int:
    plan = _plan(arguments)
    names = list(BENCHES) if arguments.bench == "all" else [arguments.bench]
    found = JsonRows(arguments.json)
    failures = sum(_run_bench(name, plan, found) for name in names)
    found.end()
    for text in sorted(plan.lacking):
        print(paragraph(text, "lacking", indent=""), file=sys.stderr)
    unknown = sorted(plan.cases - plan.known_cases.keys())
    if unknown:
        text = f"unknown case {', '.join(unknown)}: use {', '.join(plan.known_cases)}"
        text += did_you_mean(unknown[0], plan.known_cases)
        print(f"shmring bench: {text}", file=sys.stderr)
        return USAGE
    return FAILED if failures else FINE


def _plan(arguments: argparse.Namespace) -> Plan:
    worker_cpu, other_cpu = floor.cores()
    return Plan(
        arguments.duration,
        arguments.runs,
        worker_cpu,
        other_cpu,
        f"bench-{os.getpid()}",
        frozenset(arguments.case),
        os.environ.get("SHMRING_PEER_PYTHON"),
    )


def _run_bench(name: str, plan: Plan, found: JsonRows) -> int:
    """Return how many measurements failed, because packets are missing."""
    rows = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for row in BENCHES[name](plan):
            rows.append(row)
            plan.lacking.update(senders.long_forms(caught))
            lacking = [plan.lacking[what] for what in sorted(plan.lacking)]
            found.add({"bench": name, **row._asdict(), "lacking": lacking})
    if not found:
        _print(name, rows)
    return sum(row.is_failure for row in rows)


def _runs(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 100")
    return value


def _print(name: str, rows: list[Row]) -> None:
    for case in dict.fromkeys(row.case for row in rows):
        chosen = [row for row in rows if row.case == case]
        metrics = list(dict.fromkeys(row.metric for row in chosen))
        systems = list(dict.fromkeys(row.system for row in chosen))
        values = {(row.system, row.metric): row for row in chosen}
        print(f"{name}: {case}")
        lines = [
            (system, *(_cell(values, system, metric) for metric in metrics)) for system in systems
        ]
        print(table(("", *metrics), lines, indent="  ") + "\n", flush=True)


def _cell(values: dict[tuple[str, str], Row], system: str, metric: str) -> str:
    row = values.get((system, metric))
    if row is None:
        return ""
    text = quantity(row.value, row.unit)
    if system == TARGET:
        return f"{'≤' if metric in AT_MOST else '≥'} {text}"
    other = next((name for name in REFERENCES if (name, metric) in values), system)
    against = values[other, metric].value
    if other == system or against == 0 or metric.startswith("signed"):
        return text
    return f"{text} ({_ratio(row.value / against)} x)"


def _ratio(value: float) -> str:
    return f"{value:.0f}" if value >= 99.5 else f"{value:.2g}"
