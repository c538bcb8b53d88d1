"""`shmring bench bulk`: packets a second from Python to Python, and the cost of one call."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import shmring
from shmring import room
from shmring_bench import floor
from shmring_bench.measure import Figures, Plan, Row, alternate

# Packets in flight at most: both rings and the socket's buffer hold as many, so only the system can
# lose a packet.
WINDOW = 16384
SEND_AT_ONCE = 2048
RCVBUF_BYTES = 64 << 20
FLOOR_SEGMENTS = {64: 64, 1400: 46}
CALLS = 1000
SOCKET_CALLS = 100  # as many as a receive buffer of the default size holds
REPEATS = 20


def run(plan: Plan) -> Iterator[Row]:
    for payload_bytes in (64, 1400):
        yield from alternate(
            plan,
            f"loopback-{payload_bytes}B",
            {
                "shmring": _python_to_python(plan, payload_bytes),
                "floor": _floor(plan, payload_bytes),
            },
        )
    yield from alternate(
        plan, "one-call-64B", {"shmring": _calls(plan), "socket": _socket_calls(plan)}
    )


def _python_to_python(plan: Plan, payload_bytes: int) -> Callable[[], Figures]:
    def measure() -> Figures:
        with ExitStack() as stack:
            stack.enter_context(plan.on_other_core())
            window = _window(plan, payload_bytes)
            sender, receiver = _pair(plan, stack, payload_bytes, window)
            seconds = plan.run_s(2)
            sent, received, elapsed_s = _pump(sender, receiver, payload_bytes, seconds, window)
        return {
            ("rate", "pps"): received / elapsed_s,
            ("throughput", "bps"): 8 * payload_bytes * received / elapsed_s,
            ("lost", "percent"): 100 * (sent - received) / sent,
        }

    return measure


def _window(plan: Plan, payload_bytes: int) -> int:
    def bytes_of(window: int) -> int:
        return 2 * room.channel_bytes(
            shmring.Udp(tx=shmring.Queue(2 * window, payload_bytes), direction="tx"),
        )

    return plan.fitting(f"bulk of {payload_bytes} bytes", "packets in flight", WINDOW, bytes_of)


def _pair(
    plan: Plan, stack: ExitStack, payload_bytes: int, window: int
) -> tuple[shmring.Channel, shmring.Channel]:
    pool = stack.enter_context(shmring.Pool(cpus=plan.cpus, namespace=plan.namespace))
    receiver = stack.enter_context(
        pool.open(
            "bulk-rx",
            shmring.Udp(
                tx=shmring.Queue(1024, payload_bytes),
                rx=2 * window,
                direction="rx",
                socket=shmring.Socket(rcvbuf_bytes=RCVBUF_BYTES),
            ),
            local=("127.0.0.1", 0),
        )
    )
    sender = stack.enter_context(
        pool.open(
            "bulk-tx",
            shmring.Udp(
                tx=shmring.Queue(2 * window, payload_bytes),
                direction="tx",
                reports="off",
                socket=shmring.Socket(tx_stamp="off"),
            ),
            remote=receiver.local,
        )
    )
    return sender, receiver


def _pump(
    sender: shmring.Channel,
    receiver: shmring.Channel,
    payload_bytes: int,
    seconds: float,
    window: int,
) -> tuple[int, int, float]:
    """Send and receive in turn, with at most the window in flight. Return packets sent and
    received, and the seconds it took."""
    at_once = min(SEND_AT_ONCE, window // 2)
    batch = bytes(at_once * payload_bytes)
    into = bytearray(window * payload_bytes)
    sent = received = 0
    start = time.monotonic()
    end = start + seconds
    while time.monotonic() < end:
        if sent - received + at_once <= window:
            sender.send_many(batch, size=payload_bytes, timeout=5.0)
            sent += at_once
        received += _take(receiver, into, 0.0, window)
    while received < sent and (taken := _take(receiver, into, 0.5, window)):
        received += taken
    return sent, received, time.monotonic() - start


def _take(receiver: shmring.Channel, into: bytearray, timeout_s: float, window: int) -> int:
    try:
        return len(receiver.recv_many(window, timeout=timeout_s, out=into))
    except TimeoutError:
        return 0


def _floor(plan: Plan, payload_bytes: int) -> Callable[[], Figures]:
    def measure() -> Figures:
        rows = floor.run(
            "bulk",
            seconds=max(1, round(plan.run_s(2))),
            bytes=payload_bytes,
            segments=FLOOR_SEGMENTS[payload_bytes],
            cpu=plan.worker_cpu,
        )
        rate = {row["metric"]: row["value"] for row in rows}["received"]
        return {("rate", "pps"): rate, ("throughput", "bps"): 8 * payload_bytes * rate}

    return measure


def _calls(plan: Plan) -> Callable[[], Figures]:
    """send() and recv() of one packet. The worker is held, or all packets are there already."""

    def measure() -> Figures:
        payload = bytes(64)
        send_ns, recv_ns = [], []
        with ExitStack() as stack:
            stack.enter_context(plan.on_other_core())
            sender, receiver = _pair(plan, stack, 64, _window(plan, 64))
            for _ in range(REPEATS):
                sender.hold()
                send_ns.append(_per_call_ns(CALLS, sender.send, payload))
                sender.release()
                while receiver.rx_waiting < CALLS:
                    time.sleep(0.001)
                recv_ns.append(_per_call_ns(CALLS, receiver.recv))
        return {("send", "ns"): min(send_ns), ("recv", "ns"): min(recv_ns)}

    return measure


def _socket_calls(plan: Plan) -> Callable[[], Figures]:
    def measure() -> Figures:
        payload = bytes(64)
        send_ns, recv_ns = [], []
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RCVBUF_BYTES)
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(5)
            sender.connect(receiver.getsockname())
            for _ in range(REPEATS):
                send_ns.append(_per_call_ns(SOCKET_CALLS, sender.send, payload))
                recv_ns.append(_per_call_ns(SOCKET_CALLS, receiver.recv, 2048))
        return {("send", "ns"): min(send_ns), ("recv", "ns"): min(recv_ns)}

    return measure


def _per_call_ns(calls: int, call: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter_ns()
    for _ in range(calls):
        call(*arguments)
    return (time.perf_counter_ns() - start) / calls
