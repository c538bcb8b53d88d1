"""`shmring bench rtp`: the drop-in `rtpsynth` beside the original, the same work for both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from shmring.cli import bench_rtp_peer as peer
from shmring.cli import bench_rtp_stream as stream
from shmring.cli import floor
from shmring.cli.measure import Figures, Plan, Row, Unavailable, alternate

BENCH = "rtp"
ORIGINAL = "rtpsynth"
MADE_BYTES = 170
C_PACKETS = 20_000_000
START_S = 30  # far beyond what a process needs to start and to end

Measure = Callable[[], Figures]


class Sides:
    """Our interpreter and the original's; what cannot run is left out, and the plan told once."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._pythons: dict[str, list[str]] = {}
        finders: Mapping[str, Callable[[], list[str]]] = {
            "shmring": peer.dropin,
            ORIGINAL: lambda: peer.original(plan.peer_python),
        }
        for system, find in finders.items():
            try:
                self._pythons[system] = find()
            except Unavailable as reason:
                plan.lacking.add(f"{system}: {reason}")

    def both(self, measure: Callable[[list[str]], Figures]) -> dict[str, Measure]:
        """The same measurement with each interpreter there is. Where the original fails, it is
        left out; where ours does, the command fails."""

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
        """A measurement that the original has no calls for."""
        return {
            system: attempt for system, attempt in self.both(measure).items() if system != ORIGINAL
        }

    def facts(self, python: list[str], work: str, seconds: float, **options: Any) -> dict[str, Any]:
        return peer.work(
            python,
            work,
            self._plan.namespace,
            3 * seconds + START_S,
            seconds=seconds,
            **options,
        )


def run(plan: Plan) -> Iterator[Row]:
    sides = Sides(plan)
    yield from _in_memory(plan, sides)
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
        yield from alternate(plan, BENCH, case, systems)


def _c_rate(plan: Plan, program: str) -> Figures:
    count = C_PACKETS if plan.seconds is None else round(C_PACKETS * min(1.0, plan.seconds))
    (facts,) = floor.run(program, count=count, bytes=MADE_BYTES, cpu=plan.worker_cpu)
    return {("rate", "pps"): facts["value"]}


# --- RtpChannel -----------------------------------------------------------------------------------


def _stream(plan: Plan) -> Iterator[Row]:
    def bind(system: str) -> Measure:
        return lambda: stream.measure(system, plan.run_s(4), plan.worker_cpu, plan.namespace)

    yield from alternate(
        plan, BENCH, "stream-20ms", {system: bind(system) for system in stream.SYSTEMS}
    )
