"""`shmring bench udt`: streams over `shmring.udt`, libudt, libsrt and TCP."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import shmring
from shmring import udt
from shmring_bench.measure import (
    TARGET,
    Figures,
    Plan,
    Row,
    alternate,
    cpu_ns,
    resident_bytes,
    worker_pid,
)
from shmring_bench.samples import median
from shmring_bench.udt_ends import Link, System, transfer, tunnel

ORIGINAL = "libudt"
LOOPBACK = "127.0.0.1"
OURS = System("shmring")
OURS_BBR = System("shmring", {"congestion": "bbr"})
LIBUDT, LIBSRT, TCP = System("libudt"), System("libsrt"), System("tcp")
TCP_CONTROLS = ("cubic", "bbr")
"""The congestion control of TCP's streams where it matters. Elsewhere it is the
kernel's default."""
WARM_UP_S = 0.5
LINK_BPS = 100_000_000
ONE_WAY_S = 0.05
LOSSES = {0.0: 95.0, 0.001: 90.0, 0.01: 80.0}
"""Rate of the path, and the share of it to reach, in percent."""
STREAMS = 10
SHARED_BPS = 200_000_000
SHARED_ONE_WAY_S = 0.01
IDLE = 1000
SETTLE_S = 0.5
LONG_S = 60.0
LONG_BYTES = 10_000_000_000
LONG_SETTLED = 0.2
FLAT_BYTES = 4 << 20
AT_MOST = frozenset({"worker_cpu", "memory_beside_rings", "memory_growth"})
"""Metrics whose targets are upper bounds."""


@dataclass(frozen=True, slots=True)
class Target:
    """The target of one of our metrics: `bound`, and a multiple of other systems' values."""

    metric: str
    bound: float = 0.0
    times: Mapping[str, float] = field(default_factory=dict)
    """The factors by system."""


def _with_targets(rows: Iterable[Row], *targets: Target) -> Iterator[Row]:
    """Yield the rows of a case, and then those of a system `target`."""
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        found[row.system, row.metric] = row
        yield row
    for target in targets:
        of_metric = [row for (_, metric), row in found.items() if metric == target.metric]
        bounds = [
            factor * found[system, target.metric].value
            for system, factor in target.times.items()
            if (system, target.metric) in found
        ]
        value = max((target.bound, *bounds))
        if of_metric and value > 0:
            yield of_metric[0]._replace(system=TARGET, value=value)


def run(plan: Plan) -> Iterator[Row]:
    libudt = _clean(plan, LIBUDT, LIBUDT)
    yield from _with_targets(
        alternate(
            plan,
            "stream-mss1500",
            {
                "shmring": _clean(plan, OURS, OURS),
                "shmring-bbr": _clean(plan, OURS_BBR, OURS_BBR),
                "libudt": libudt,
                "libsrt": _clean(plan, LIBSRT, LIBSRT),
                "tcp": _clean(plan, TCP, TCP),
            },
        ),
        Target("rate", times={"libudt": 3, "libsrt": 1}),
    )
    for case, ours in (
        ("to-libudt", _clean(plan, OURS, LIBUDT)),
        ("from-libudt", _clean(plan, LIBUDT, OURS)),
    ):
        yield from _with_targets(
            alternate(plan, case, {"shmring": ours, "libudt": libudt}),
            Target("rate", times={"libudt": 1}),
        )
    for loss, share in LOSSES.items():
        yield from _with_targets(
            alternate(plan, f"100Mbit-100ms-{100 * loss:g}%", _long_paths(plan, loss), 1),
            Target("of_link", share, {"libudt": 1}),
        )
    yield from _with_targets(
        alternate(
            plan,
            f"{STREAMS}-streams",
            {
                "shmring": _shared(plan, OURS),
                "shmring-bbr": _shared(plan, OURS_BBR),
                "libudt": _shared(plan, LIBUDT),
                "libsrt": _shared(plan, LIBSRT),
            },
            1,
        ),
        Target("jain_index", 95),
    )
    for control in TCP_CONTROLS:
        yield from _with_targets(
            alternate(plan, f"beside-tcp-{control}", _all_beside_tcp(plan, control), 1),
            Target("of_fair_share", 20),
            Target("tcp_of_fair_share", 20),
        )
    yield from _with_targets(
        alternate(plan, f"idle-{IDLE}", {"shmring": lambda: _idle(plan)}, 1),
        Target("worker_cpu", 3),
        Target("memory_beside_rings", 64 << 10),
    )
    yield from _with_targets(
        alternate(plan, "long-transfer", {"shmring": lambda: _long(plan)}, 1),
        Target("memory_growth", FLAT_BYTES),
    )


# --- one stream -----------------------------------------------------------------------------------


def _clean(plan: Plan, source: System, sink: System) -> Callable[[], Figures]:
    """Run one stream as fast as possible over loopback. Costs cover all processes of both ends."""

    def measure() -> Figures:
        seconds = plan.run_s(4)
        with transfer(plan, source, sink) as streams:
            streams.run_for(WARM_UP_S)
            used_ns, start_ns = streams.cpu_ns(), time.monotonic_ns()
            streams.run_for(seconds)
            used_ns, end_ns = streams.cpu_ns() - used_ns, time.monotonic_ns()
            (rate_bps,) = streams.samples.rates_bps(start_ns, end_ns)
        return {
            ("rate", "bps"): rate_bps,
            ("rate_per_core", "bps"): rate_bps * (end_ns - start_ns) / used_ns,
            ("cpu", "percent"): 100 * used_ns / (end_ns - start_ns),
        }

    return measure


def _long_paths(plan: Plan, loss: float) -> dict[str, Callable[[], Figures]]:
    link = Link(ONE_WAY_S, LINK_BPS, loss)
    return {
        "shmring": _long_path(plan, OURS, link),
        "shmring-bbr": _long_path(plan, OURS_BBR, link),
        "libudt": _long_path(plan, LIBUDT, link),
        "libsrt": _long_path(plan, LIBSRT, link),
        **{f"tcp-{name}": _long_path(plan, _tcp(name), link) for name in TCP_CONTROLS},
    }


def _tcp(control: str) -> System:
    return System("tcp", {"congestion": control})


def _long_path(plan: Plan, system: System, link: Link) -> Callable[[], Figures]:
    """Measure which share of the impaired path's rate arrives: from the start on, and in the second
    half. TCP has the path between two network namespaces, the others through a relay."""

    def measure() -> Figures:
        seconds = plan.run_s(16)
        with ExitStack() as stack:
            through: dict[str, Any] = {"link": link}
            if system.name == TCP.name:
                through = {"place": stack.enter_context(tunnel(plan, link))}
            streams = stack.enter_context(transfer(plan, system, system, **through))
            start_ns = time.monotonic_ns()
            streams.run_for(seconds)
            end_ns = time.monotonic_ns()
            (whole_bps,) = streams.samples.rates_bps(start_ns, end_ns)
            (later_bps,) = streams.samples.rates_bps((start_ns + end_ns) // 2, end_ns)
        return {
            ("rate", "bps"): whole_bps,
            ("of_link", "percent"): 100 * whole_bps / link.rate_bps,
            ("of_link_later", "percent"): 100 * later_bps / link.rate_bps,
        }

    return measure


# --- many streams ---------------------------------------------------------------------------------


def _shared(plan: Plan, system: System) -> Callable[[], Figures]:
    """Start streams together that share a path. Measure how even their shares are in the second
    half (Jain's index: 100 % if all are equal, 100 % / streams if one has all)."""

    def measure() -> Figures:
        seconds = plan.run_s(16)
        link = Link(SHARED_ONE_WAY_S, SHARED_BPS)
        with transfer(plan, system, system, STREAMS, link=link) as streams:
            start_ns = time.monotonic_ns()
            streams.run_for(seconds)
            end_ns = time.monotonic_ns()
            rates_bps = streams.samples.rates_bps((start_ns + end_ns) // 2, end_ns)
        total_bps = sum(rates_bps)
        squares = sum(rate_bps**2 for rate_bps in rates_bps)
        return {
            ("jain_index", "percent"): 100 * total_bps**2 / (STREAMS * squares) if squares else 0.0,
            ("slowest", "bps"): min(rates_bps),
            ("median", "bps"): median(rates_bps),
            ("of_link", "percent"): 100 * total_bps / link.rate_bps,
        }

    return measure


def _all_beside_tcp(plan: Plan, control: str) -> dict[str, Callable[[], Figures]]:
    other = _tcp(control)
    return {
        "shmring": _beside_tcp(plan, OURS, other),
        "shmring-bbr": _beside_tcp(plan, OURS_BBR, other),
        "libudt": _beside_tcp(plan, LIBUDT, other),
        "tcp": _beside_tcp(plan, other, other),
    }


def _beside_tcp(plan: Plan, system: System, tcp: System) -> Callable[[], Figures]:
    """Start one stream and one of TCP together on a shared path. Measure the share of each in the
    second half, in percent of half of the path's rate."""

    def measure() -> Figures:
        seconds = plan.run_s(16)
        link = Link(SHARED_ONE_WAY_S, LINK_BPS)
        with (
            tunnel(plan, link) as place,
            transfer(plan, system, system, place=place) as stream,
            transfer(plan, tcp, tcp, place=place) as other,
        ):
            start_ns = time.monotonic_ns()
            stream.run_for(seconds)
            end_ns = time.monotonic_ns()
            other.run_for(0)
            later_ns = (start_ns + end_ns) // 2
            (stream_bps,) = stream.samples.rates_bps(later_ns, end_ns)
            (other_bps,) = other.samples.rates_bps(later_ns, end_ns)
        share_bps = link.rate_bps / 2
        return {
            ("of_fair_share", "percent"): 100 * stream_bps / share_bps,
            ("tcp_of_fair_share", "percent"): 100 * other_bps / share_bps,
        }

    return measure


# --- idle connections -----------------------------------------------------------------------------


def _idle(plan: Plan) -> Figures:
    """Open this many connections on one worker without traffic, half of them to the others. Memory
    is that of the worker and of the application, per connection."""
    with ExitStack() as stack:
        stack.enter_context(plan.on_other_core())
        pool = stack.enter_context(shmring.Pool(cpus=plan.cpus, namespace=plan.namespace))
        all_of_us: udt.PortOptions = {"max_per_source": IDLE}
        listener = stack.enter_context(
            udt.listen((LOOPBACK, 0), pool=pool, port_options=all_of_us)
        )
        port = stack.enter_context(udt.Port((LOOPBACK, 0), pool=pool))
        worker = worker_pid(pool)
        pids = worker, os.getpid()
        rings, others = -_shared_bytes(*pids), -_own_bytes(*pids)
        for _ in range(IDLE // 2):
            near = udt.connect(listener.local, port=port)
            stack.callback(near.close, linger=0)
            far, _ = listener.accept(timeout=10)
            stack.callback(far.close, linger=0)
        _settle(worker)
        rings, others = rings + _shared_bytes(*pids), others + _own_bytes(*pids)
        used_ns, start_ns = cpu_ns(worker), time.monotonic_ns()
        time.sleep(plan.run_s(10))
        used_ns, took_ns = cpu_ns(worker) - used_ns, time.monotonic_ns() - start_ns
    return {
        ("worker_cpu", "percent"): 100 * used_ns / took_ns,
        ("rings", "bytes"): rings / IDLE,
        ("memory_beside_rings", "bytes"): others / IDLE,
    }


def _settle(worker: int) -> None:
    """Wait until an idle worker has allocated the memory of its channels."""
    before = 0
    while (now := _shared_bytes(worker)) > before:
        before = now
        time.sleep(SETTLE_S)


def _shared_bytes(*pids: int) -> int:
    """Return the memory that processes share, counted once."""
    return sum(resident_bytes(pid) for pid in pids) - _own_bytes(*pids)


def _own_bytes(*pids: int) -> int:
    """Return the memory that a process shares with no other process and with no file."""
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    lines = [line for text in rollups for line in text.splitlines()]
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Anon:"))


# --- memory over time -----------------------------------------------------------------------------


def _long(plan: Plan) -> Figures:
    """Measure the memory of both ends with their workers, after a fifth of a long transfer and at
    its end."""
    seconds = plan.run_s(LONG_S)
    with transfer(plan, OURS, OURS) as streams:
        start_ns = time.monotonic_ns()
        streams.run_for(LONG_SETTLED * seconds)
        settled = streams.resident_bytes()
        while time.monotonic_ns() < start_ns + seconds * 1e9:
            streams.run_for(min(1.0, seconds / 10))
            if sum(streams.samples.received[-1]) >= LONG_BYTES:
                break
        end = streams.resident_bytes()
        return {
            ("transferred", "bytes"): sum(streams.samples.received[-1]),
            ("memory", "bytes"): end,
            ("memory_growth", "bytes"): end - settled,
        }
