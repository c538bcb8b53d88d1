"""`shmring bench netflux`: cycles, watchdog, a link's own measurements, many links, mailboxes."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import shmring
from shmring import room
from shmring.types import Impairment
from shmring_bench import floor, senders
from shmring_bench.measure import Figures, Plan, Row, alternate, cpu_ns, worker_pid
from shmring_bench.samples import median, quantile

LOOPBACK = "127.0.0.1"
PAYLOAD_BYTES = 62  # 64 with the header, like the floor
WATCHDOG_NS = 30_000_000
SILENCES = 20
LINKS = 200
LINK_CYCLE_NS = 5_000_000
CALLS = 20_000
CALLS_AT_ONCE = 100
DELAY_NS = 5_000_000
LOSS = 0.1
CYCLE_NS = 1_000_000
ANSWER_CYCLE_NS = 200_000
RECORD_BYTES = 20


def run(plan: Plan) -> Iterator[Row]:
    for case, cycle_ns in (("cycle-1ms", 1_000_000), ("cycle-250us", 250_000)):
        yield from alternate(
            plan,
            case,
            {
                "shmring": _cycle(plan, "netflux", cycle_ns),
                "floor": _cycle(plan, "floor", cycle_ns),
                "netflux-dropin": _cycle(plan, "netflux-dropin", cycle_ns),
                "time.sleep": _cycle(plan, "time.sleep", cycle_ns),
            },
        )
    yield from alternate(plan, "watchdog-30ms", {"shmring": lambda: _watchdog(plan)})
    yield from alternate(plan, "impaired-link", {"shmring": lambda: _impaired(plan)}, 1)
    yield from alternate(plan, f"{LINKS}-links-5ms", {"shmring": lambda: _links(plan)}, 1)
    yield from alternate(
        plan,
        f"values-{RECORD_BYTES}B",
        {"shmring": lambda: _values(plan), "netflux-dropin": lambda: _objects(plan)},
    )


# --- cycles ---------------------------------------------------------------------------------------


def _cycle(plan: Plan, system: str, cycle_ns: int) -> Callable[[], Figures]:
    """Measure how far the intervals at an independent receiver are from the cycle, and
    their mean."""

    def measure() -> Figures:
        count = max(10, round(plan.run_s(8) * 1e9 / cycle_ns))
        with floor.Receiver(count, cpu=plan.other_cpu, cycle_ns=cycle_ns) as receiver:
            job = senders.Job(receiver.port, count, cycle_ns, PAYLOAD_BYTES, plan.worker_cpu)
            facts = senders.run(system, job, plan.namespace)
            plan.lacking.update(facts["lacking"])
            received = receiver.result(10)
        errors = received.lateness
        return {
            ("interval_mean", "ns"): 1e9 / received.rate_pps,
            ("error_p50", "ns"): errors.error_ns(0.5),
            ("error_p99", "ns"): errors.error_ns(0.99),
            ("error_p999", "ns"): errors.error_ns(0.999),
            ("error_max", "ns"): errors.max_ns,
        }

    return measure


# --- the watchdog ---------------------------------------------------------------------------------


def _watchdog(plan: Plan) -> Figures:
    """Measure from the last datagram's arrival until an application that waited for the end of the
    link continued."""
    told_ns = []
    with (
        plan.on_other_core(),
        shmring.Pool(cpus=plan.cpus, namespace=plan.namespace) as pool,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as partner,
        pool.open(
            "link",
            shmring.Netflux(receive=RECORD_BYTES, watchdog_ns=WATCHDOG_NS),
            local=(LOOPBACK, 0),
        ) as link,
    ):
        partner.connect(_address(link))
        for _ in range(SILENCES):
            for number in range(5):
                partner.send(bytes([number, 0]) + bytes(RECORD_BYTES))
                time.sleep(0.002)
            arrival_ns = _last_arrival(link)
            told_ns.append(time.monotonic_ns() - arrival_ns)
    told_ns.sort()
    return {
        ("told_p50", "ns"): quantile(told_ns, 0.5),
        ("told_max", "ns"): told_ns[-1],
    }


def _last_arrival(link: shmring.netflux.Channel) -> int:
    """Wait until the watchdog has expired. Return when the last datagram arrived."""
    arrival_ns = 0
    while True:
        item = link.recv(timeout=5.0)
        if isinstance(item, shmring.netflux.Values):
            arrival_ns = item.timestamp_ns
        elif item.kind == "timeout":
            return arrival_ns


# --- what a link knows of itself ------------------------------------------------------------------


def _impaired(plan: Plan) -> Figures:
    """Run two links over an impaired path with a known delay and loss. Return how far one link's
    measurements are from these, in percent. The partner answers in its next, short cycle."""
    network = Impairment(loss=LOSS, delay_ns=DELAY_NS, seed=4)
    common: dict[str, Any] = {
        "send": RECORD_BYTES,
        "receive": RECORD_BYTES,
        "values": bytes(RECORD_BYTES),
    }
    local = (LOOPBACK, 0)
    far = shmring.Netflux(cycle_ns=ANSWER_CYCLE_NS, **common)
    near = shmring.Netflux(cycle_ns=CYCLE_NS, **common)
    with (
        plan.on_other_core(),
        shmring.Pool(cpus=plan.cpus, namespace=plan.namespace) as pool,
        pool.open("there", far, local=local, impair=network) as there,
        pool.open("here", near, local=local, remote=there.local, impair=network) as here,
    ):
        there.aim(_address(here))
        time.sleep(plan.run_s(20))
        found = here.netflux_stats()
    lost = found.partner_lost / (found.partner_lost + found.accepted)
    return {
        ("rtt_error", "percent"): _off(found.rtt.mean, 2 * DELAY_NS),
        ("loss_error", "percent"): _off(lost, LOSS),
        ("interval_error", "percent"): _off(found.partner_interval.mean, ANSWER_CYCLE_NS),
    }


def _off(found: float, real: float) -> float:
    return 100 * abs(found / real - 1)


# --- many links -----------------------------------------------------------------------------------


def _links(plan: Plan) -> Figures:
    """Run this many links on one worker, each to an open port. No partner answers."""
    engine = shmring.Netflux(
        send=PAYLOAD_BYTES,
        receive=PAYLOAD_BYTES,
        cycle_ns=LINK_CYCLE_NS,
        values=bytes(PAYLOAD_BYTES),
    )
    each = room.channel_bytes(engine, local=(LOOPBACK, 0), remote=(LOOPBACK, 9))
    count = plan.fitting(f"{LINKS} links", "links", LINKS, lambda n: n * each)
    with ExitStack() as stack:
        stack.enter_context(plan.on_other_core())
        pool = stack.enter_context(shmring.Pool(cpus=plan.cpus, namespace=plan.namespace))
        receiver = stack.enter_context(floor.Receiver(0, cpu=plan.other_cpu))
        links = [
            stack.enter_context(
                pool.open(
                    f"link{i}",
                    engine,
                    local=(LOOPBACK, 0),
                    remote=(LOOPBACK, receiver.port),
                )
            )
            for i in range(count)
        ]
        worker = worker_pid(pool)
        time.sleep(0.3)  # work left after opening
        for link in links:
            link.reset_stats()
        used, start = cpu_ns(worker), time.monotonic_ns()
        time.sleep(plan.run_s(10))
        used, took = cpu_ns(worker) - used, time.monotonic_ns() - start
        found = [link.stats() for link in links]
    sent = sum(one.engine.sent for one in found)
    skipped = sum(one.engine.skipped for one in found)
    return {
        ("missed", "percent"): 100 * skipped / (sent + skipped),
        ("late_p99", "ns"): median([one.lateness.percentile(99) for one in found]),
        ("late_max", "ns"): max(one.lateness.max for one in found),
        ("worker_cpu", "percent"): 100 * used / took,
    }


# --- mailboxes ------------------------------------------------------------------------------------


def _values(plan: Plan) -> Figures:
    """Measure one call each, in Python: bytes, no record."""
    payload = bytes(RECORD_BYTES)
    with (
        shmring.Pool(cpus=plan.cpus, namespace=plan.namespace) as pool,
        pool.open(
            "link",
            shmring.Netflux(
                send=RECORD_BYTES, receive=RECORD_BYTES, keep_values=True, values=payload
            ),
            local=(LOOPBACK, 0),
        ) as link,
    ):
        link.aim(_address(link))  # to itself, so that values arrive
        while link.snapshot() is None:
            time.sleep(0.001)
        return {
            ("update", "ns"): _call_ns(lambda: link.update(payload)),
            ("snapshot", "ns"): _call_ns(link.snapshot),
        }


def _objects(plan: Plan) -> Figures:
    """Measure the drop-in's calls, which convert a record to bytes and back."""
    with senders.netflux_main(plan.worker_cpu, port=9) as main:
        return {
            ("update", "ns"): _call_ns(lambda: main.set_send_data(value1=1.0)),
            ("snapshot", "ns"): _call_ns(main.get_recv_data),
        }


def _address(link: shmring.netflux.Channel) -> tuple[str, int]:
    assert link.local is not None
    return link.local


def _call_ns(call: Callable[[], object]) -> float:
    """Return the median of many batches, including the cost of the function call."""
    each = []
    for _ in range(CALLS // CALLS_AT_ONCE):
        start = time.perf_counter_ns()
        for _ in range(CALLS_AT_ONCE):
            call()
        each.append((time.perf_counter_ns() - start) / CALLS_AT_ONCE)
    return median(each)
