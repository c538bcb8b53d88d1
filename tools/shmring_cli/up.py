"""Serve a named pool until SIGTERM or SIGINT (Ctrl-C).

A named pool outlives the programs that use it: any process opens channels on it with
shmring.open(..., pool=NAME), and others attach to them. Its workers start with the first
channel on their core.

If this process dies, the workers continue, and the next `shmring up POOL` adopts them with
their channels and queued packets. SIGHUP requests exactly that: it ends this process
and leaves the workers. SIGTERM and SIGINT end everything.

As a service of systemd (Type=notify) it reports when it is ready, that it is alive
(WatchdogSec=), and that it stops. A unit: shmring help systemd.

examples:
  shmring up plant --cpus 2,3                two workers, on cores 2 and 3
  shmring up plant --cpus 3 --strict         fail if a core or a privilege is missing
  shmring up media --profile power           sleep instead of spinning
  kill -HUP PID; shmring up plant --cpus 3   a new version, without stopping traffic
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
import warnings

import shmring
from rtworkers import affinity
from shmring import errors
from shmring.pool import UserLimits
from shmring_cli import notify, options, realtime
from shmring_cli.common import FINE
from shmring_cli.ending import Told
from shmring_cli.output import json_line

_PRIORITY = 80


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_placed(
        parser, "name", "POOL", "its name for shmring.open(..., pool=POOL), or NAMESPACE/POOL"
    )
    parser.add_argument(
        "--cpus", type=_cpus, metavar="1,2", help="one worker on each (default: one, not pinned)"
    )
    parser.add_argument(
        "--policy",
        type=_policy,
        default=(None, _PRIORITY),
        metavar="POLICY",
        help="scheduling class: other, or fifo with its priority, 1 to 99 (default: "
        f"$SHMRING_POLICY, else fifo/{_PRIORITY})",
    )
    parser.add_argument(
        "--profile",
        choices=("balanced", "latency", "power"),
        default="balanced",
        help="how workers wait: learn, spin, or sleep (default balanced)",
    )
    parser.add_argument(
        "--strict", action="store_true", help="fail if a core or a privilege is missing"
    )
    parser.add_argument("--group", help="its members may use the pool")
    _add_user_limits(parser)
    parser.add_argument(
        "--worker-per-user",
        action="store_true",
        help="give each member of the group workers of his own, one on each of --cpus",
    )
    options.add_json(parser)


def _add_user_limits(parser: argparse.ArgumentParser) -> None:
    limits = UserLimits()
    mib = f"{limits.shm_bytes >> 20}Mi", f"{limits.channel_bytes >> 20}Mi"
    known = {
        "channels": options.Word("user_channels", options.whole),
        "shm": options.Word("user_shm", options.size),
        "channel-shm": options.Word("user_channel_shm", options.size),
        "connections": options.Word("user_connections", options.count),
    }
    text = (
        f"of one member of the group: channels={limits.channels} (open at a time), shm={mib[0]} "
        f"(memory of all of them), channel-shm={mib[1]} (of one), "
        f"connections={limits.connections} (to the pool); these are the defaults"
    )
    options.add_words(
        parser,
        "--user-limits",
        known,
        text,
        user_channels=limits.channels,
        user_shm=limits.shm_bytes,
        user_channel_shm=limits.channel_bytes,
        user_connections=limits.connections,
    )


def run(arguments: argparse.Namespace) -> int:
    told: Told = arguments.told
    told.also(signal.SIGHUP)
    told.hurries = False  # half of a pool must not stay behind
    with realtime.shown("shmring up") as lacking:
        _check_cores(arguments.cpus, arguments.strict)
        return _serve(arguments, told, lacking)


def _serve(arguments: argparse.Namespace, told: Told, lacking: list[str]) -> int:
    pool = shmring.Pool(
        arguments.name,
        cpus=arguments.cpus,
        priority=arguments.policy[1],
        policy=arguments.policy[0],
        profile=arguments.profile,
        namespace=arguments.namespace,
        strict=arguments.strict,
        group=arguments.group,
        user_limits=UserLimits(
            channels=arguments.user_channels,
            shm_bytes=arguments.user_shm,
            connections=arguments.user_connections,
            channel_bytes=arguments.user_channel_shm,
        ),
        worker_per_user=arguments.worker_per_user,
    )
    try:
        _say_ready(pool, lacking if arguments.json else None)
        notify.tell("READY=1", f"STATUS=pool {pool.name} in namespace {pool.namespace}")
        threading.Thread(target=_pass_on, args=(pool, told), daemon=True).start()
        # If this thread hangs, systemd hears nothing more.
        while not told.wait(notify.watchdog_s()):
            notify.tell("WATCHDOG=1")
        notify.tell("STOPPING=1")
    finally:
        if told.number == signal.SIGHUP:
            pool.detach()
        else:
            pool.close()
    return FINE


def _pass_on(pool: shmring.Pool, told: Told) -> None:
    """Another process may request the end of the pool, too."""
    pool.serve_forever()
    told.set()


def _check_cores(cpus: list[int] | None, strict: bool) -> None:
    """Report problems now that workers would meet when they start with the first channel."""
    lacking = [str(cpu) for cpu in affinity.check_cores(cpus) or () if not affinity.can_pin(cpu)]
    if not lacking:
        return
    text = (
        f"--cpus {','.join(lacking)}: the host has no such core, or this process may not use it: "
        f"use cores of {affinity.describe_cores()}, or widen the cpuset"
    )
    if strict:
        raise ValueError(text)
    warnings.warn(f"{text}. Their workers will run unpinned", errors.RealtimeWarning, stacklevel=2)


def _say_ready(pool: shmring.Pool, lacking: list[str] | None) -> None:
    """lacking: for a JSON object. None: for people."""
    adopted = pool.channels()
    if lacking is not None:
        json_line(
            {
                "ready": True,
                "pool": pool.name,
                "namespace": pool.namespace,
                "pid": os.getpid(),
                "adopted": adopted,
                "lacking": lacking,
            }
        )
        return
    kept = f", {len(adopted)} channels adopted" if adopted else ""
    print(f"pool {pool.name!r} in namespace {pool.namespace!r} is ready{kept}", flush=True)
    print(
        f'  open a channel on it:  shmring.open("name", pool="{pool.name}", '
        f'namespace="{pool.namespace}", ...)',
        flush=True,
    )


def _cpus(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of cores such as 1,2") from None


def _policy(text: str) -> tuple[str, int]:
    name, slash, priority = text.partition("/")
    if name not in ("fifo", "other") or (slash and name == "other"):
        raise argparse.ArgumentTypeError(f"{text!r} is unknown: use other, fifo or fifo/80")
    return name, options.count(priority) if slash else _PRIORITY
