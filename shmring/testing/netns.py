"""Two hosts on one machine: network namespaces, joined by a pair of veth interfaces.

Each namespace lives as long as the process of its pool. This process ends when its standard input
does, which also happens when the test is killed, and then the kernel removes the interfaces.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Unpack

from shmring._opening import UDP, C, showing
from shmring.engine import Engine, OpenOptions
from shmring.pool import open as open_channel

INTERFACE = "shm0"
_PATIENCE_S = 60.0

# Its arguments: name of the pool, scheduling class, cores.
_HOLDER = """
import sys, shmring
sys.stdin.readline()
name, policy, *cpus = sys.argv[1:]
with shmring.Pool(name, policy=policy, cpus=[int(cpu) for cpu in cpus] or None):
    print("ready", flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True, slots=True)
class NetHost:
    """One of the two namespaces, with a named pool whose workers run in it."""

    pool: str
    """The name of the pool."""
    address: str
    """Its IPv4 address on the veth pair."""
    address6: str
    """Its IPv6 address there."""
    interface: str
    """The name of its interface."""
    mac: str
    """The Ethernet address of its interface."""
    pid: int
    """A process in the namespace, for ``nsenter --net --target PID``."""

    @showing(OpenOptions)
    def open(
        self,
        name: str,
        engine: Engine[C] = UDP,  # type: ignore[assignment]
        **options: Unpack[OpenOptions],
    ) -> C:
        """Open a channel on the pool of this host. Options: as `shmring.open`."""
        return open_channel(name, engine, pool=self.pool, **options)

    def run(self, *words: str) -> str:
        """Run a program in the namespace and return what it printed.

        ``host.run("tc", "qdisc", "add", "dev", host.interface, "root", "netem", "delay", "5ms")``
        Raises subprocess.CalledProcessError.
        """
        command = ["nsenter", "--net", "--target", str(self.pid), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def unavailable() -> str:
    """Why there can be no namespaces here. Empty: there can."""
    for program in ("unshare", "nsenter", "ip"):
        if shutil.which(program) is None:
            return f"{program} is not installed (util-linux, iproute2)"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True)
    return "" if tried.returncode == 0 else f"no privileges (root): {tried.stderr.strip()}"


@contextmanager
def two_hosts(
    policy: str, cpus: Sequence[int], right_cpus: Sequence[int] | None = None
) -> Iterator[tuple[NetHost, NetHost]]:
    """Two hosts on one link, with pools ``left`` and ``right`` in the current namespace of names.

    policy, cpus: as `shmring.Pool`. right_cpus: those of the pool ``right``, `cpus` if None.
    Nothing is left behind at the end.
    """
    cpus_of = {"left": cpus, "right": cpus if right_cpus is None else right_cpus}
    with ExitStack() as stack:
        holders = [_start(stack, name, policy, those) for name, those in cpus_of.items()]
        hosts = (_host(holders[0], "left", 1), _host(holders[1], "right", 2))
        _join(*hosts)
        for holder in holders:
            assert holder.stdin is not None
            holder.stdin.write("go\n")
            holder.stdin.flush()
        for holder in holders:
            assert holder.stdout is not None
            if holder.stdout.readline() != "ready\n":
                raise RuntimeError(f"a pool did not start in its namespace: {holder.args!r}")
        yield hosts


def _start(stack: ExitStack, name: str, policy: str, cpus: Sequence[int]) -> subprocess.Popen[str]:
    words = [
        "unshare",
        "--net",
        sys.executable,
        "-P",
        "-W",
        "ignore::RuntimeWarning",
        "-c",
        _HOLDER,
    ]
    words += [name, policy, *map(str, cpus)]
    holder = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    stack.callback(_end, holder)
    return holder


def _end(holder: subprocess.Popen[str]) -> None:
    try:
        holder.communicate(timeout=_PATIENCE_S)  # closes its standard input
    except subprocess.TimeoutExpired:
        holder.kill()
        holder.communicate()


def _host(holder: subprocess.Popen[str], name: str, number: int) -> NetHost:
    return NetHost(
        name,
        f"10.203.0.{number}",
        f"fd00:203::{number}",
        INTERFACE,
        f"02:00:0a:cb:00:{number:02x}",
        holder.pid,
    )


def _join(left: NetHost, right: NetHost) -> None:
    _wait_for_namespace(left)
    _wait_for_namespace(right)
    veth = ("ip", "link", "add", INTERFACE, "address", left.mac, "type", "veth")
    peer = ("peer", "name", INTERFACE, "address", right.mac, "netns", str(right.pid))
    left.run(*veth, *peer)
    for host in (left, right):
        host.run("ip", "link", "set", "lo", "up")
        host.run("ip", "address", "add", f"{host.address}/30", "dev", INTERFACE)
        host.run("ip", "address", "add", f"{host.address6}/64", "dev", INTERFACE, "nodad")
        host.run("ip", "link", "set", INTERFACE, "up")
    for host in (left, right):
        _wait_for_link(host)


def _wait_for_link(host: NetHost) -> None:
    """The kernel drops what is sent until it has noticed that the other end is up, up to a second
    later."""
    until_s = time.monotonic() + _PATIENCE_S
    while " state UP " not in host.run("ip", "-oneline", "link", "show", INTERFACE):
        if time.monotonic() > until_s:
            raise RuntimeError(f"the interface of {host.pool} did not come up")
        time.sleep(0.01)


def _wait_for_namespace(host: NetHost) -> None:
    """`unshare` enters the namespace a moment after it was started."""
    here = os.readlink("/proc/self/ns/net")
    until_s = time.monotonic() + _PATIENCE_S
    while os.readlink(f"/proc/{host.pid}/ns/net") == here:
        if time.monotonic() > until_s:
            raise RuntimeError(f"process {host.pid} did not enter a network namespace")
        time.sleep(0.001)
