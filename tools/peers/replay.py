"""The capture of `shmring bench replay`, played by tcpreplay and trafgen."""

from __future__ import annotations

import tempfile

from shmring.testing import netns
from shmring_bench.replay import Capture, frame_head, patience_s
from shmring_bench.veth import Link


def play_with_tcpreplay(link: Link, capture: Capture) -> None:
    """--timer gtod spins on the clock: of its timers the most exact one."""
    _tcpreplay(link, capture, "--timer", "gtod")


def _tcpreplay(link: Link, capture: Capture, *words: str) -> None:
    link.run(
        *("tcpreplay", "--intf1", netns.INTERFACE, "--preload-pcap", "--no-flow-stats"),
        *(*words, capture.path(link)),
        cpu=link.plan.worker_cpu,
        timeout_s=patience_s(capture),
        fifo=True,
    )


def hurry_with_tcpreplay(link: Link, capture: Capture, rounds: int) -> None:
    _tcpreplay(link, capture, "--topspeed", "--loop", str(rounds))


def hurry_with_trafgen(link: Link, capture: Capture, rounds: int) -> None:
    """It sends one packet again and again."""
    octets = ", ".join(f"0x{octet:02x}" for octet in frame_head(link, capture.payload_bytes))
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as packet:
        packet.write(f"{{ {octets} }}\n")
        packet.flush()
        link.run(
            *("trafgen", "--dev", netns.INTERFACE, "--conf", packet.name, "--cpus", "1"),
            *("--num", str(rounds * len(capture.times_ns)), "--no-cpu-stats"),
            cpu=link.plan.worker_cpu,
            timeout_s=patience_s(capture),
            fifo=True,
        )
