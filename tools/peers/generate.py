"""Other generators, for `shmring bench generate`."""

from __future__ import annotations

import tempfile

from shmring.testing import netns
from shmring_bench import sniffed
from shmring_bench.generate import PATIENCE_S, PAYLOAD_BYTES, PORT, RATE_PPS
from shmring_bench.measure import Figures, Unavailable
from shmring_bench.veth import Link


def mgen(link: Link, seconds: float) -> Figures:
    """It does not end by itself."""
    on = f"0.0 ON 1 UDP DST {link.far.address}/{PORT} PERIODIC [{RATE_PPS} {PAYLOAD_BYTES}]"
    link.run(
        *("timeout", "--signal", "INT", str(seconds + 1), "mgen", "precise", "on"),
        *("event", on, "event", f"{seconds} OFF 1"),
        cpu=link.plan.worker_cpu,
        timeout_s=PATIENCE_S + seconds,
        fifo=True,
    )
    return {}


def trafgen(link: Link, seconds: float) -> Figures:
    head = (
        f"eth(daddr={link.far.mac}, saddr={link.near.mac}), "
        f"ipv4(saddr={link.near.address}, daddr={link.far.address}), udp(sport=40000, dport={PORT})"
    )
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as packet:
        packet.write(f"{{ {head}, fill(0x00, {PAYLOAD_BYTES}) }}\n")
        packet.flush()
        link.run(
            *("trafgen", "--dev", netns.INTERFACE, "--conf", packet.name, "--cpus", "1"),
            *("--num", str(round(seconds * RATE_PPS)), "--rate", f"{RATE_PPS}pps"),
            "--no-cpu-stats",
            cpu=link.plan.worker_cpu,
            timeout_s=PATIENCE_S + seconds,
            fifo=True,
        )
    return {}


def iperf3(link: Link, seconds: float) -> Figures:
    if seconds < 1 or seconds % 1:
        raise Unavailable(f"iperf3 runs for whole seconds, not {seconds:g} s (0: without end)")
    with sniffed.far(link, "iperf3", "--server", "--one-off", "--port", str(PORT)):
        link.run(
            *("iperf3", "--client", link.far.address, "--port", str(PORT), "--udp"),
            *("--length", str(PAYLOAD_BYTES), "--bitrate", str(RATE_PPS * PAYLOAD_BYTES * 8)),
            *("--time", str(round(seconds))),
            cpu=link.plan.worker_cpu,
            timeout_s=PATIENCE_S + seconds,
            fifo=True,
        )
    return {}


def itgsend(link: Link, seconds: float) -> Figures:
    with sniffed.far(link, "ITGRecv"):
        link.run(
            *("ITGSend", "-a", link.far.address, "-rp", str(PORT), "-T", "UDP"),
            *("-C", str(RATE_PPS), "-c", str(PAYLOAD_BYTES), "-t", str(round(seconds * 1000))),
            *("-l", "/dev/null"),
            cpu=link.plan.worker_cpu,
            timeout_s=PATIENCE_S + seconds,
            fifo=True,
        )
    return {}
