"""List the channels and workers of this host.

The command only reads shared memory, and asks and disturbs no process. Counters count
since the channel was opened. Rates are those of 0.2 s. Heartbeat is the time since
the worker's last heartbeat: if it is above a second, all other values are stale.

Exit code 5 means that a worker is stale, that a channel is not served because it is stale or
failed (shmring gc removes it if its pool is dead), or that a file cannot be read. For what is
wrong beyond that, such as lost or late packets: rtstat --plain.

examples:
  shmring ls                   your namespace
  shmring ls --namespace '*'   every namespace on this host
  shmring ls --json            for programs, times in ns
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from typing import Any

import shmring
from rtworkers import health, page, paths
from rtworkers.similar import meant_namespace
from rtworkers.verdicts import LATE, VERDICTS
from shmring_cli import options
from shmring_cli.common import BROKEN, FINE
from shmring_cli.output import JsonRows, address_text, duration, quantity, text_table

_COUNTERS = (
    *("tx_sent", "tx_bytes", *VERDICTS),
    *("rx_received", "rx_bytes", "rx_kernel_drops", "rx_overwritten"),
)
_PAUSE_S = 0.2
_LOST = ("tx_failed", "rx_kernel_drops", "readers_lost")


@dataclasses.dataclass(slots=True)
class Row:
    """A channel, its counters, and their rates."""

    info: shmring.observe.ChannelInfo
    counters: dict[str, int]
    rtp: shmring.rtp.Stats | None
    """The statistics of an RTP channel. None: it is none, is gone, or cannot be read."""
    made_age_s: float
    """The age of its file."""
    tx_pps: float = 0.0
    rx_pps: float = 0.0

    @property
    def health(self) -> str:
        age_ns = self.info.heartbeat_age_ns if self.info.epoch else None
        return health.of_channel(self.info.state, age_ns, self.made_age_s)

    @property
    def served(self) -> bool:
        return health.served(self.health)

    @property
    def never_read(self) -> list[int | None]:
        """The processes that attached as readers and have never read. None: one in another pid
        namespace."""
        return [reader.pid for reader in self.info.readers if reader.never_read]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_namespace(parser, "$SHMRING_NAMESPACE, else 'default'")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    namespace = options.namespace_of(arguments, paths.default_namespace())
    rows = _channels(namespace)
    unreadable = shmring.observe.unreadable(namespace)
    workers = page.listed(namespace)
    now_ns = time.monotonic_ns()
    if arguments.json:
        found = JsonRows(arguments.json)
        for facts in (
            *(_channel_facts(row) for row in rows),
            *(_worker_facts(worker, now_ns) for worker in workers),
            *({"kind": "unreadable", **dataclasses.asdict(file)} for file in unreadable),
        ):
            found.add(facts)
        found.end()
    else:
        _print(rows, workers, namespace, now_ns)
        for file in unreadable:
            print(f"unreadable: {file.namespace}/{file.name} of {file.owner}: {file.reason}")
    stale = any(_health(worker, now_ns) == "stale" for worker in workers)
    served = all(row.served for row in rows)
    return FINE if served and not stale and not unreadable else BROKEN


# --- reading --------------------------------------------------------------------------------------


def _channels(namespace: str | None) -> list[Row]:
    """Return every channel, read twice for the rates."""
    before = {(info.namespace, info.name): info for info in shmring.channels(namespace)}
    if not before:
        return []
    start = time.monotonic()
    time.sleep(_PAUSE_S)
    rows = []
    for info in shmring.channels(namespace):
        key = (info.namespace, info.name)
        row = Row(info, _counters(info), _rtp(info), _made_age_s(info))
        elapsed = time.monotonic() - start
        if key in before and elapsed > 0:
            row.tx_pps = _rate(before[key], info, "tx_sent", elapsed)
            row.rx_pps = _rate(before[key], info, "rx_received", elapsed)
        rows.append(row)
    return rows


def _made_age_s(info: shmring.observe.ChannelInfo) -> float:
    """Return the age of a channel's file, or 0 if it is gone."""
    name = paths.channel_segment(info.namespace, info.name)
    try:
        return time.time() - paths.shm_file(name).lstat().st_ctime
    except OSError:
        return 0.0


def _rate(
    first: shmring.observe.ChannelInfo,
    now: shmring.observe.ChannelInfo,
    name: str,
    elapsed_s: float,
) -> float:
    return max(0, now[name] - first[name]) / elapsed_s


def _counters(info: shmring.observe.ChannelInfo) -> dict[str, int]:
    counters = {name: info[name] for name in _COUNTERS}
    return counters | {"readers_lost": info["shared_lost"] + info["readers_lost"]}


def _rtp(info: shmring.observe.ChannelInfo) -> shmring.rtp.Stats | None:
    if info.engine != "rtp":
        return None
    try:
        with shmring.attach(
            info.name, namespace=info.namespace, readonly=True, owner=info.owner_uid
        ) as watching:
            found = watching.stats().engine
    except Exception:  # whatever a file of any contents leads to stays with its row
        return None
    return found if isinstance(found, shmring.rtp.Stats) else None


def _health(worker: page.PageFacts, now_ns: int) -> str:
    return health.of_worker(now_ns - worker.heartbeat_ns)


# --- showing --------------------------------------------------------------------------------------


def _channel_facts(row: Row) -> dict[str, Any]:
    rtp = {"rtp": row.rtp.to_dict()} if row.rtp else {}
    return {
        "kind": "channel",
        **row.info.to_dict(),
        "health": row.health,
        "served": row.served,
        "never_read": row.never_read,
        **row.counters,
        "tx_pps": round(row.tx_pps, 1),
        "rx_pps": round(row.rx_pps, 1),
        **rtp,
    }


def _worker_facts(worker: page.PageFacts, now_ns: int) -> dict[str, Any]:
    facts = dataclasses.asdict(worker)
    facts["heartbeat_age_ns"] = max(0, now_ns - facts.pop("heartbeat_ns"))
    return {"kind": "worker", "health": _health(worker, now_ns), **facts}


def _print(
    rows: list[Row], workers: list[page.PageFacts], namespace: str | None, now_ns: int
) -> None:
    if not rows and not workers:
        where = "on this host" if namespace is None else f"in namespace {namespace!r}"
        hint = "" if namespace is None else meant_namespace(namespace)
        print(f"no channels and no workers {where}{hint}")
        if namespace is not None:
            print("  shmring ls --namespace '*' shows every namespace")
        return
    if rows:
        print(text_table(_CHANNEL_HEAD, (_channel_cells(row, namespace is None) for row in rows)))
    streams = [row for row in rows if row.rtp]
    if streams:
        print("\n" + text_table(_RTP_HEAD, (_rtp_cells(row, namespace is None) for row in streams)))
    if workers:
        print(("\n" if rows else "") + text_table(_WORKER_HEAD, _worker_rows(workers, now_ns)))


_CHANNEL_HEAD = (
    "CHANNEL",
    "POOL",
    "STATE",
    "LOCAL",
    "",
    "REMOTE",
    "WAITING",
    "SENT",
    "RECEIVED",
    "LATE",
    "LOST",
    "EPOCH",
    "HEARTBEAT",
    "OPENED WITH",
)
_ARROWS = {"tx": "->", "rx": "<-", "duplex": "<->"}


def _name(row: Row, with_namespace: bool) -> str:
    return f"{row.info.namespace}/{row.info.name}" if with_namespace else row.info.name


def _channel_cells(row: Row, with_namespace: bool) -> tuple[str, ...]:
    info = row.info
    return (
        _name(row, with_namespace),
        info.pool,
        _state(row),
        address_text(info.local, "-"),
        _ARROWS.get(info.direction, "?"),
        address_text(info.remote, "-"),
        str(info.waiting),
        _counted(row.counters["tx_sent"], row.tx_pps),
        _counted(row.counters["rx_received"], row.rx_pps),
        str(sum(row.counters[name] for name in LATE)),
        str(sum(row.counters[name] for name in _LOST)),
        str(info.epoch),
        duration(info.heartbeat_age_ns),
        info.engine if info.opened_with is None else repr(info.opened_with),
    )


def _state(row: Row) -> str:
    info = row.info
    silent = info.opener_alive is False and not info.producers and info.direction != "rx"
    state = info.state.value if row.served else f"{row.health} (!)"
    return state + (", no producer" if silent else "") + _never_read(row.never_read)


def _never_read(pids: list[int | None]) -> str:
    """Return ``, 4711 never read`` for readers that have taken none of the packets for them."""
    if not pids:
        return ""
    who = " ".join("another" if pid is None else str(pid) for pid in pids)
    return f", {who} never read"


_RTP_HEAD = (
    "RTP",
    "SSRC",
    "SENT",
    "UNDERRUNS",
    "FROM",
    "DELIVERED",
    "LOST",
    "LATE",
    "JITTER",
    "DELAY",
    "RTT",
)


def _rtp_cells(row: Row, with_namespace: bool) -> tuple[str, ...]:
    rtp = row.rtp
    if rtp is None:
        return ()
    heard = rtp.remote_ssrc is not None
    return (
        _name(row, with_namespace),
        f"{rtp.ssrc:08x}",
        str(rtp.sent),
        str(rtp.underruns),
        f"{rtp.remote_ssrc:08x}" if heard else "-",
        str(rtp.delivered),
        str(rtp.lost),
        str(rtp.late),
        duration(rtp.jitter_ns) if heard else "-",
        duration(rtp.delay_ns) if heard else "-",
        "-" if rtp.rtt_ns is None else duration(rtp.rtt_ns),
    )


def _counted(total: int, pps: float) -> str:
    return f"{total} ({quantity(pps, 'pps')})" if pps else str(total)


_WORKER_HEAD = (
    "WORKER",
    "POOL",
    "CORE",
    "SCHEDULING",
    "PROFILE",
    "CHANNELS",
    "CPU",
    "LOCKED",
    "RESTARTS",
    "HEARTBEAT",
)


def _worker_rows(workers: list[page.PageFacts], now_ns: int) -> list[tuple[str, ...]]:
    return [
        (
            str(worker.pid) + ("" if _health(worker, now_ns) == "ok" else " stale (!)"),
            worker.pool,
            "any" if worker.cpu is None else str(worker.cpu),
            f"fifo {worker.priority}" if worker.policy == "fifo" else worker.policy,
            worker.profile,
            str(worker.channels),
            quantity(_cpu_percent(worker, now_ns), "percent"),
            "yes" if worker.memory_locked else "no",
            str(worker.restarts),
            duration(max(0, now_ns - worker.heartbeat_ns)),
        )
        for worker in workers
    ]


def _cpu_percent(worker: page.PageFacts, now_ns: int) -> float:
    """Return the share of its core that a worker has used since it started."""
    lived_ns = now_ns - worker.started_ns
    return 100 * worker.cpu_ns / lived_ns if lived_ns > 0 else 0.0
