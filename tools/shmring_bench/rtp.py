"""`shmring bench rtp`: the drop-in `rtpsynth` compared with the original, with the same work."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from shmring_bench import child, floor, peers
from shmring_bench import rtp_stream as stream
from shmring_bench.measure import Figures, Plan, Row, Unavailable, alternate
from shmring_bench.samples import Lateness

ORIGINAL = "rtpsynth"
MADE_BYTES = 170
C_PACKETS = 20_000_000
SPACING_S = 0.0085  # mean of the random phase in rtp_work
LEAST_SAMPLES = 20
START_S = 30  # much longer than a process needs to start and end
_WORK = Path(__file__).with_name("rtp_work.py")

Measure = Callable[[], Figures]


class Sides:
    """Our interpreter and the original's. An interpreter that cannot run is left out, and the plan
    is told once."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._pythons: dict[str, list[str]] = {}
        finders: Mapping[str, Callable[[], list[str]]] = {
            "shmring": _dropin,
            ORIGINAL: lambda: peers.load("rtp").original(plan.peer_python),
        }
        for system, find in finders.items():
            try:
                self._pythons[system] = find()
            except Unavailable as reason:
                plan.lacks(f"{system}: {reason}")

    def both(self, measure: Callable[[list[str]], Figures]) -> dict[str, Measure]:
        """Return the same measurement with each interpreter. If the original fails, it is left out.
        If ours fails, the command fails."""

        def bind(system: str, python: list[str]) -> Measure:
            def attempt() -> Figures:
                try:
                    return measure(python)
                except OSError as error:
                    if system != ORIGINAL:
                        raise
                    raise Unavailable(error.strerror or str(error)) from error

            return attempt

        return {system: bind(system, python) for system, python in self._pythons.items()}

    def ours(self, measure: Callable[[list[str]], Figures]) -> dict[str, Measure]:
        """A measurement for which the original has no calls."""
        return {
            system: attempt for system, attempt in self.both(measure).items() if system != ORIGINAL
        }

    def facts(self, python: list[str], work: str, seconds: float, **options: Any) -> dict[str, Any]:
        return _work(
            python,
            work,
            self._plan.namespace,
            3 * seconds + START_S,
            seconds=seconds,
            **options,
        )


def _dropin() -> list[str]:
    """Return the command that starts this interpreter. Raises `Unavailable` if its `rtpsynth` is
    not ours: the two packages have the same name, and the last installed one wins."""
    owners = importlib.metadata.packages_distributions().get("rtpsynth", [])
    if owners and owners != ["shmring"]:
        raise Unavailable(
            f"the rtpsynth of {sys.executable} comes from {', '.join(sorted(set(owners)))}: "
            "measure with a Python that only has shmring"
        )
    return [sys.executable, "-P"]


def _work(
    python: list[str], name: str, namespace: str, timeout_s: float, **options: Any
) -> dict[str, Any]:
    """Run one workload in a separate process. Return its result. Raises `OSError` with its last
    output."""
    command = [*python, str(_WORK), name, json.dumps(options)]
    printed = child.output(command, name, namespace, timeout_s)
    facts: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return facts


def run(plan: Plan) -> Iterator[Row]:
    sides = Sides(plan)
    yield from _in_memory(plan, sides)
    yield from _server(plan, sides)
    yield from _proc(plan, sides)
    yield from _stream(plan)


# --- packets and samples in memory ----------------------------------------------------------------


def _in_memory(plan: Plan, sides: Sides) -> Iterator[Row]:
    def rate(work: str, **options: Any) -> Callable[[list[str]], Figures]:
        def measure(python: list[str]) -> Figures:
            facts = sides.facts(python, work, plan.run_s(1), **options)
            return {("rate", "pps"): 1e9 / facts["item_ns"]}

        return measure

    def duration(function_name: str) -> Callable[[list[str]], Figures]:
        def measure(python: list[str]) -> Figures:
            facts = sides.facts(python, "call", plan.run_s(0.5), function_name=function_name)
            return {("call", "ns"): facts["item_ns"]}

        return measure

    def c_rate(program: str) -> Measure:
        return lambda: _c_rate(plan, program)

    bare = {"floor": c_rate("rtp")}
    cases = {
        "next-pkt": {**sides.both(rate("next_pkt")), **bare},
        "next-pkt-payload": {**sides.both(rate("next_pkt_payload")), **bare},
        "next-pkts": {**sides.ours(rate("next_pkts")), **bare},
        "c-next-pkt": {"shmring": c_rate("rtp-synth"), **bare},
        "c-next-pkts": {"shmring": c_rate("rtp-synth-many"), **bare},
        "jbuf-in-order": sides.both(rate("udp_in", shuffled=False)),
        "jbuf-shuffled": sides.both(rate("udp_in", shuffled=True)),
        "jbuf-many": sides.ours(rate("udp_in_many")),
        "linear2ulaw": sides.both(duration("linear2ulaw")),
        "ulaw2linear": sides.both(duration("ulaw2linear")),
        "resample-8k-16k": sides.both(duration("resample_linear")),
    }
    for case, systems in cases.items():
        yield from alternate(plan, case, systems)


def _c_rate(plan: Plan, program: str) -> Figures:
    count = C_PACKETS if plan.seconds is None else round(C_PACKETS * min(1.0, plan.seconds))
    (facts,) = floor.run(program, count=count, bytes=MADE_BYTES, cpu=plan.worker_cpu)
    return {("rate", "pps"): facts["value"]}


# --- RtpServer ------------------------------------------------------------------------------------


def _server(plan: Plan, sides: Sides) -> Iterator[Row]:
    count = max(LEAST_SAMPLES, round(plan.run_s(2.5) / SPACING_S))

    def send(python: list[str]) -> Figures:
        with floor.Receiver(count, cpu=plan.other_cpu) as receiver:
            sides.facts(python, "server_send", count * SPACING_S, port=receiver.port, count=count)
            received = receiver.result(10)
        return _lost(received.lateness, count)

    def receive(python: list[str]) -> Figures:
        facts = sides.facts(python, "server_receive", count * SPACING_S, count=count)
        return _lost(Lateness(facts["late_ns"]), count)

    def own_callback(python: list[str]) -> Figures:
        facts = sides.facts(python, "server_own_callback", plan.run_s(2))
        return {
            ("rate", "pps"): facts["rate"],
            ("overrun", "percent"): 100 * facts["lost"] / max(facts["sent"], 1),
        }

    def many(channels: int, rate_hz: int) -> Callable[[list[str]], Figures]:
        def measure(python: list[str]) -> Figures:
            facts = sides.facts(
                python, "server_many", plan.run_s(2), channels=channels, rate_hz=rate_hz
            )
            return {
                ("rate", "pps"): facts["rate"],
                ("cpu_per_packet", "ns"): facts["cpu_ns"],
                ("lost", "percent"): 100 * facts["lost"] / max(facts["sent"], 1),
            }

        return measure

    yield from alternate(plan, "server-send", sides.both(send))
    yield from alternate(plan, "server-receive", sides.both(receive))
    yield from alternate(plan, "server-own-callback", sides.both(own_callback))
    for channels, rate_hz in ((1024, 100), (4096, 50)):
        yield from alternate(
            plan, f"server-{channels}x{rate_hz}", sides.both(many(channels, rate_hz))
        )


def _proc(plan: Plan, sides: Sides) -> Iterator[Row]:
    def measure(python: list[str]) -> Figures:
        facts = sides.facts(python, "proc_period", plan.run_s(3), period_ns=1_000_000)
        return _lateness(Lateness(facts["late_ns"]))

    yield from alternate(plan, "proc-1ms", sides.both(measure))


def _lateness(late: Lateness) -> dict[tuple[str, str], float]:
    return {
        ("mean", "ns"): sum(late.values_ns) / max(len(late), 1),
        ("p50", "ns"): late.signed_ns(0.5),
        ("p99", "ns"): late.signed_ns(0.99),
        ("max", "ns"): late.max_ns,
    }


def _lost(late: Lateness, count: int) -> Figures:
    return {**_lateness(late), ("lost", "percent"): 100 * (count - len(late)) / count}


# --- the channel ----------------------------------------------------------------------------------


def _stream(plan: Plan) -> Iterator[Row]:
    def bind(system: str) -> Measure:
        return lambda: stream.measure(system, plan.run_s(4), plan.worker_cpu, plan.namespace)

    def bare() -> Figures:
        return stream.measure_floor(plan.run_s(4), plan.worker_cpu, plan.other_cpu)

    systems = {system: bind(system) for system in stream.SYSTEMS}
    yield from alternate(plan, "stream-20ms", {**systems, "floor": bare})
