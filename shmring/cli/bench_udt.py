"""`shmring bench udt`: streams over `shmring.udt` beside libudt, libsrt and TCP."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import shmring
from shmring import udt
from shmring.cli.bench_udt_ends import Link, System, transfer, tunnel
from shmring.cli.measure import Figures, Plan, Row, alternate, cpu_ns, resident_bytes
from shmring.cli.samples import median

BENCH = "udt"
ORIGINAL = "libudt"
LOOPBACK = "127.0.0.1"
OURS, OURS_BBR = System("shmring"), System("shmring", {"congestion": "bbr"})
LIBUDT, LIBSRT, TCP = System("libudt"), System("libsrt"), System("tcp")
WARM_UP_S = 0.5
LINK_BPS = 100_000_000
ONE_WAY_S = 0.05
LOSSES = (0.0, 0.001, 0.01)
STREAMS = 10
SHARED_BPS = 200_000_000
SHARED_ONE_WAY_S = 0.01
IDLE = 1000
SETTLE_S = 0.5
LONG_S = 60.0
LONG_BYTES = 10_000_000_000
LONG_SETTLED = 0.2


def run(plan: Plan) -> Iterator[Row]:
    yield from alternate(
        plan,
        BENCH,
        "stream-mss1500",
        {
            "shmring": _clean(plan, OURS, OURS),
            "shmring-bbr": _clean(plan, OURS_BBR, OURS_BBR),
            "libudt": _clean(plan, LIBUDT, LIBUDT),
            "libsrt": _clean(plan, LIBSRT, LIBSRT),
            "tcp": _clean(plan, TCP, TCP),
        },
    )
    libudt = _clean(plan, LIBUDT, LIBUDT)
    for case, ours in (
        ("to-libudt", _clean(plan, OURS, LIBUDT)),
        ("from-libudt", _clean(plan, LIBUDT, OURS)),
    ):
        yield from alternate(plan, BENCH, case, {"shmring": ours, "libudt": libudt})
    for loss in LOSSES:
        link = Link(ONE_WAY_S, LINK_BPS, loss)
        yield from alternate(
            plan,
            BENCH,
            f"100Mbit-100ms-{100 * loss:g}%",
            {
                "shmring": _long_path(plan, OURS, link),
                "shmring-bbr": _long_path(plan, OURS_BBR, link),
                "libudt": _long_path(plan, LIBUDT, link),
                "libsrt": _long_path(plan, LIBSRT, link),
            },
            1,
        )
    yield from alternate(
        plan,
        BENCH,
        f"{STREAMS}-streams",
        {
            "shmring": _shared(plan, OURS),
            "shmring-bbr": _shared(plan, OURS_BBR),
            "libudt": _shared(plan, LIBUDT),
            "libsrt": _shared(plan, LIBSRT),
        },
        1,
    )
    yield from alternate(
        plan,
        BENCH,
        "beside-tcp",
        {
            "shmring": _beside_tcp(plan, OURS),
            "shmring-bbr": _beside_tcp(plan, OURS_BBR),
            "libudt": _beside_tcp(plan, LIBUDT),
            "tcp": _beside_tcp(plan, TCP),
        },
        1,
    )
    yield from alternate(plan, BENCH, f"idle-{IDLE}", {"shmring": lambda: _idle(plan)}, 1)
    yield from alternate(plan, BENCH, "long-transfer", {"shmring": lambda: _long(plan)}, 1)


# --- one stream -----------------------------------------------------------------------------------


def _clean(plan: Plan, source: System, sink: System) -> Callable[[], Figures]:
    """As fast as it goes over loopback; what it costs is of all processes of both ends."""

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


def _long_path(plan: Plan, system: System, link: Link) -> Callable[[], Figures]:
    """How much of the emulated link's rate arrives: from the start on, and in the second half."""

    def measure() -> Figures:
        seconds = plan.run_s(16)
        with transfer(plan, system, system, link=link) as streams:
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
    """Streams that start together and share a link: how even their shares are in the second half
    (Jain's index: 100 % where all are the same, 100 % / streams where one has all)."""

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


def _beside_tcp(plan: Plan, system: System) -> Callable[[], Figures]:
    """One stream and one of TCP, which start together and share a link: what each has in the second
    half, in percent of half of the link."""

    def measure() -> Figures:
        seconds = plan.run_s(16)
        link = Link(SHARED_ONE_WAY_S, LINK_BPS)
        with (
            tunnel(plan, link) as place,
            transfer(plan, system, system, place=place) as stream,
            transfer(plan, TCP, TCP, place=place) as other,
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
    """So many connections on one worker that nothing is sent on, half of them to the others.
    Memory is of the worker and of the application, for each connection."""
    with ExitStack() as stack:
        stack.enter_context(plan.on_other_core())
        pool = stack.enter_context(shmring.Pool(cpus=plan.cpus, namespace=plan.namespace))
        listener = stack.enter_context(udt.listen((LOOPBACK, 0), pool=pool))
        port = stack.enter_context(udt.Port((LOOPBACK, 0), pool=pool))
        (worker,) = pool.workers()
        pids = worker.pid, os.getpid()
        rings, others = -_shared_bytes(*pids), -_own_bytes(*pids)
        for _ in range(IDLE // 2):
            near = udt.connect(listener.local, port=port)
            stack.callback(near.close, 0)
            far, _ = listener.accept(timeout=10)
            stack.callback(far.close, 0)
        _settle(worker.pid)
        rings, others = rings + _shared_bytes(*pids), others + _own_bytes(*pids)
        used_ns, start_ns = cpu_ns(worker.pid), time.monotonic_ns()
        time.sleep(plan.run_s(10))
        used_ns, took_ns = cpu_ns(worker.pid) - used_ns, time.monotonic_ns() - start_ns
    return {
        ("worker_cpu", "percent"): 100 * used_ns / took_ns,
        ("rings", "bytes"): rings / IDLE,
        ("memory_beside_rings", "bytes"): others / IDLE,
    }


def _settle(worker: int) -> None:
    """An idle worker takes its time to get the memory of its channels."""
    before = 0
    while (now := _shared_bytes(worker)) > before:
        before = now
        time.sleep(SETTLE_S)


def _shared_bytes(*pids: int) -> int:
    """What processes share counts once."""
    return sum(resident_bytes(pid) for pid in pids) - _own_bytes(*pids)


def _own_bytes(*pids: int) -> int:
    """Memory that a process shares with nobody and that is of no file."""
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    lines = [line for text in rollups for line in text.splitlines()]
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Anon:"))


# --- memory over time -----------------------------------------------------------------------------


def _long(plan: Plan) -> Figures:
    """Memory of both ends with their workers, after a fifth of a long transfer and at its end."""
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
