"""Runs `shmring-floor`, the bare-C program for comparison with the worker.

It has two roles: the independent receiver, which reads the kernel's timestamps of received packets,
and the floor, the same work in bare C to which every ratio refers.
"""

from __future__ import annotations

import importlib.resources
import json
import os
import subprocess
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import rtworkers
from shmring_bench.samples import Lateness


def binary() -> Path:
    """Return the path of the program. Raises `FileNotFoundError` with the fix."""
    path = Path(str(importlib.resources.files(rtworkers) / "bin" / "shmring-floor"))
    if not path.is_file():
        raise FileNotFoundError(
            None,
            f"{path} is missing: it is part of the wheel, pip install --force-reinstall shmring",
        )
    return path


def command(program: str, **options: int | None) -> list[str]:
    """Return the command line of one of its programs: ``count=5`` becomes ``--count 5``."""
    words = [str(binary()), program]
    for name, value in options.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(int(value))]
    return words


def run(program: str, timeout_s: float = 60, **options: int | None) -> list[dict[str, Any]]:
    """Run one of its programs to the end. Return the JSON objects that it printed."""
    done = subprocess.run(
        command(program, **options), capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if done.returncode != 0:
        raise OSError(None, done.stderr.strip() or f"shmring-floor {program} failed")
    return [json.loads(line) for line in done.stdout.splitlines()]


class Arrivals(NamedTuple):
    """Packets in the order of their arrival. Empty without `word_at`."""

    words: array[int]
    """Eight bytes of each payload, big-endian."""
    times_ns: array[int]
    """Kernel timestamps, CLOCK_MONOTONIC."""


@dataclass(frozen=True, slots=True)
class Received:
    """What the independent receiver measured in one run."""

    lateness: Lateness
    samples: array[int]
    """The same in the order of their arrival."""
    packets: int
    rate_pps: float
    longest_gap_ns: int
    kernel_drops: int
    """Datagrams for which its own socket buffer had no room."""
    arrivals: Arrivals


_NONE = Arrivals(array("q"), array("q"))


class Receiver:
    """The independent receiver as a context. It listens on `port` from entry on, and ends at exit.

    `count`: packets to wait for. 0 for any number, without recording their lateness. It also ends
    when nothing has arrived for `idle_ms` after the first packet. `echo` sends every packet back.
    `cycle_ns`: the packets have no deadline. Then lateness is how much longer than this the
    interval before each packet was. `word_at`: instead of lateness, the `Arrivals` are kept, with
    the eight bytes that begin there in each payload. `beside`: the receiver is in the network
    namespace of this process, and listens on all its addresses.
    """

    def __init__(
        self,
        count: int,
        *,
        cpu: int | None = None,
        gro: bool = False,
        echo: bool = False,
        idle_ms: int = 500,
        cycle_ns: int | None = None,
        word_at: int | None = None,
        beside: int | None = None,
        port: int = 0,
    ) -> None:
        self._samples_fd = os.memfd_create("shmring-samples", os.MFD_CLOEXEC)
        self._keeps_arrivals = word_at is not None
        words = [] if beside is None else ["nsenter", "--net", "--target", str(beside)]
        words += command(
            "receive",
            port=port,
            count=count,
            cpu=cpu,
            gro=gro,
            echo=echo,
            idle_ms=idle_ms,
            cycle_ns=cycle_ns,
            word_at=word_at,
            any=beside is not None,
            samples_fd=self._samples_fd if count else None,
        )
        self._process = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[self._samples_fd],
        )
        self.port: int = 0

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            _, errors = self._process.communicate()
            os.close(self._samples_fd)
            raise OSError(None, errors.strip() or "shmring-floor receive did not start")
        self.port = json.loads(line)["port"]
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
        os.close(self._samples_fd)

    @property
    def pid(self) -> int:
        return self._process.pid

    def result(self, timeout_s: float) -> Received:
        """Wait until it has all packets, or no more arrive. Raises `TimeoutError`."""
        try:
            output, errors = self._process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(
                f"not all packets arrived at port {self.port} in {timeout_s:.0f} s: is UDP on the "
                "interface filtered?"
            ) from None
        if self._process.returncode != 0:
            raise OSError(None, errors.strip() or "shmring-floor receive failed")
        values = {
            (fact["case"], fact["metric"]): fact["value"]
            for fact in map(json.loads, output.splitlines())
            if "metric" in fact
        }
        samples = array("q")
        samples.frombytes(os.pread(self._samples_fd, os.fstat(self._samples_fd).st_size, 0))
        arrivals = Arrivals(samples[0::2], samples[1::2]) if self._keeps_arrivals else _NONE
        if self._keeps_arrivals:
            samples = array("q")
        return Received(
            Lateness(samples),
            samples,
            int(values["packets", "received"]),
            values["rate", "mean"],
            int(values["gap", "longest"]),
            int(values["packets", "dropped"]),
            arrivals,
        )


def cores() -> tuple[int | None, int | None]:
    """Return two cores of this process: one for the sender or worker, one for everything else.

    They are the last and the first, or (None, None) if there is only one core.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        return None, None
    return allowed[-1], allowed[0]
