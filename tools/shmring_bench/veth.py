"""What the benches between two network namespaces share: the two hosts, the independent receiver in
the far one, and programs of any author in the near one."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shmring.testing import netns
from shmring_bench import floor
from shmring_bench.measure import Plan, Unavailable

QUIET_MS = 1000
"""After this time without a packet nothing more is expected."""
_PRIORITY = 50


@dataclass(frozen=True, slots=True)
class Link:
    """The two hosts of one run. Their addresses and Ethernet addresses are always the same."""

    near: netns.NetHost
    far: netns.NetHost
    plan: Plan

    def receiver(
        self, count: int, *, word_at: int | None = 0, port: int = 0, gro: bool = False
    ) -> floor.Receiver:
        """Return the receiver on the far host, on the other core than the worker's.

        It keeps the kernel's timestamps of `count` packets, each with the eight bytes of its
        payload from `word_at` on (``result(...).arrivals``).
        """
        return floor.Receiver(
            count,
            cpu=self.plan.other_cpu,
            gro=gro,
            idle_ms=QUIET_MS,
            word_at=word_at,
            beside=self.far.pid,
            port=port,
        )

    def run(
        self,
        *words: str,
        cpu: int | None,
        timeout_s: float,
        fifo: bool = False,
        fds: Sequence[int] = (),
    ) -> str:
        """Run a program on the near host, on one core or any (None). Return what it printed.

        fifo: under SCHED_FIFO, as the worker runs. fds: what it inherits. Raises `Unavailable` if
        it is not installed, fails, or runs longer than `timeout_s`.
        """
        if shutil.which(words[0]) is None:
            raise Unavailable(f"{words[0]} is not installed")
        how = [] if cpu is None else ["taskset", "--cpu-list", str(cpu)]
        how += ["chrt", "--fifo", str(_PRIORITY)] if fifo else []
        command = ["nsenter", "--net", "--target", str(self.near.pid), *how, *words]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
                pass_fds=fds,
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{words[0]} had not ended after {timeout_s:.0f} s") from None
        if done.returncode != 0:
            lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no reason given"]
            raise Unavailable(f"{words[0]} failed: {lines[-1]}")
        return done.stdout


@contextlib.contextmanager
def linked(plan: Plan) -> Iterator[Link]:
    """Two hosts for one run. Raises `Unavailable`.

    The near one's worker has the worker's core, the far one's has the other core: two workers on
    one core would wait for each other.
    """
    if reason := netns.unavailable():
        raise Unavailable(reason)
    near_cpus = plan.cpus or []
    far_cpus = near_cpus if plan.other_cpu is None else [plan.other_cpu]
    with _namespace(plan.namespace), netns.two_hosts("fifo", near_cpus, far_cpus) as (near, far):
        yield Link(near, far, plan)


@contextlib.contextmanager
def _namespace(name: str) -> Iterator[None]:
    """The pools of `two_hosts`, and of programs on the hosts, are in the namespace of this run."""
    before = os.environ.get("SHMRING_NAMESPACE")
    os.environ["SHMRING_NAMESPACE"] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ["SHMRING_NAMESPACE"]
        else:
            os.environ["SHMRING_NAMESPACE"] = before
