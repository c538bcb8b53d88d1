"""What rtstat shows of the engines, against their own statistics; and the whole of its table."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

import shmring
from rtpsynth.RtpServer import RtpServer
from rtstat.snapshot import Watch
from rtstat.table import FIELD, FIELDS, KINDS, values
from shmring import udt
from shmring.udt import compat

HERE = "127.0.0.1"
PATIENCE_S = 20.0
# None of the names, units and kinds may change by accident: other programs read them.
UNITS = {
    "", "ns", "us", "s", "bytes", "bps", "pps", "ppb", "share", "flag", "id", "number", "errno",
    "packets", "frames", "calls", "times", "events", "entries", "records", "slots", "spurts",
    "compounds", "flows", "members", "units", "ntp", "workers", "channels", "readers", "producers",
    "reports", "errors", "loops", "instants", "requests", "connections", "ports", "sockets",
    "cycles",
}  # fmt: skip


def test_rtp(shmring_namespace, shmring_pool, eventually):
    there = shmring_pool.open(
        "phone",
        shmring.Rtp(
            codec="pcmu",
            playout=shmring.rtp.Playout(min_delay_ns=100_000_000, first_delay_ns=100_000_000),
        ),
        local=(HERE, 0),
    )
    here = shmring_pool.open(
        "caller",
        shmring.Rtp(codec="pcmu"),
        local=(HERE, 0),
        remote=there.local,
    )
    with Watch(shmring_namespace) as watch:
        for _ in range(20):
            here.send(bytes(160))
        eventually(lambda: watch.read().channel("phone").rtp["delivered"] >= 10)
        eventually(lambda: watch.read().channel("caller").rtp["sent"] >= 20)

        def same() -> Any:
            """A snapshot and stats between which no packet arrived and none was played."""
            view, stats = watch.read().channel("phone").rtp, there.stats().engine
            return (view, stats) if all(view[n] == getattr(stats, n) for n in counted) else None

        counted = ("ssrc", "delivered", "received", "lost", "highest_seq", "resyncs")
        view, stats = eventually(same)
        facts = values("rtp", view)
    assert view.remote_ssrc == stats.remote_ssrc == here.stats().engine.ssrc
    assert view["target_ns"] > 0
    assert (view.rtt_ns, facts["rtt_ns"], facts["bye_mono_ns"]) == (None, None, None)
    assert all(facts[name] == getattr(stats, name) for name in counted)
    here.close()
    there.close()


def test_udt(shmring_namespace, eventually):
    with (
        udt.listen((HERE, 0)) as listener,
        udt.connect(listener.local) as client,
        Watch(shmring_namespace) as watch,
    ):
        server, _ = listener.accept(timeout=PATIENCE_S)
        with server:
            client.sendall(bytes(100_000))
            got = 0
            while got < 100_000:
                got += len(server.recv(100_000, timeout=PATIENCE_S))
            shot = watch.read()
            ends = [c for c in shot.channels if c.udt is not None]
            ports = [part for c in shot.channels if (part := c.part_of("udt-port"))]
            sender = next(c.udt for c in ends if c.udt["sent_bytes"] == 100_000)
            assert len(ends) == 2
            assert sender.state == "connected"
            assert sender["socket_id"] == compat.facts(client).socket_id
            assert sender.window_packets > 0
            assert sum(port["sockets"] for port in ports) == 2
            assert sum(port["accepted"] for port in ports) == 1
            assert values("udt", sender)["rtt_ns"] == sender["rtt_us"] * 1000


def test_netflux(shmring_namespace, shmring_pool, eventually):
    here = shmring_pool.open(
        "here",
        shmring.Netflux(send=4, receive=4, cycle_ns=2_000_000, watchdog_ns=10**10),
        local=(HERE, 0),
    )
    there = shmring_pool.open(
        "there",
        shmring.Netflux(send=4, receive=4, values=b"abcd"),
        local=(HERE, 0),
        remote=here.local,
    )
    here.aim(there.local)
    here.update(b"1234")
    with Watch(shmring_namespace) as watch:
        eventually(lambda: watch.read().channel("here").netflux["acknowledged"] >= 20)
        channel = watch.read().channel("here")
        view = channel.netflux
        facts = values("netflux", view)
        assert (view.alive, view.heard, view["cycle_ns"], view.watch_ns) == (
            True,
            True,
            2_000_000,
            10**10,
        )
        assert 0 < view.last_rtt_ns <= view.times("rtt").max_ns
        assert view.times("rtt").count >= 20
        assert facts["accepted"] >= facts["rtt_count"] // 2 > 0
        assert sum(n for _, n in channel.buckets("rtt")) == facts["rtt_count"]
        other = watch.read().channel("there").netflux
        assert other["cycle_ns"] == 5_000_000
        here.configure(cycle_ns=4_000_000)
        eventually(lambda: watch.read().channel("here").netflux["cycle_ns"] == 4_000_000)
    here.close()
    there.close()


def test_mux(shmring_namespace):
    server = RtpServer()
    try:
        server.create_channel(lambda *arguments: None)
        with Watch(shmring_namespace) as watch:
            (mux,) = [c.part_of("mux") for c in watch.read().channels if c.engine == "mux"]
        assert mux["open"] == 1
        assert values("mux", mux) == {"open": 1, "lost": 0}
    finally:
        server.shutdown()
        shmring.close_default_pool()


def test_every_row_of_the_table_is_complete():
    for scope, fields in FIELDS.items():
        names = [field.name for field in fields]
        assert len(names) == len(set(names)), scope
        for field in fields:
            assert field.kind in KINDS, field
            assert field.unit in UNITS, field
            assert field.label, field
            assert FIELD[scope, field.name] is field


@pytest.mark.parametrize("snapshots", [1, 2])
def test_every_value_can_be_had_and_is_json(
    shmring_namespace, shmring_pool, shmring_open, snapshots
):
    shmring_open("ctl")
    shmring_pool.open("rtp", shmring.Rtp(codec="pcmu"), local=(HERE, 0), remote=(HERE, 9))
    shmring.attach("ctl", namespace=shmring_namespace).try_recv()
    with Watch(shmring_namespace) as watch:
        for _ in range(snapshots):
            shot = watch.read()
            time.sleep(0.01)
        found: dict[str, Any] = {
            "snapshot": shot,
            "pool": shot.pools[0],
            "worker": shot.workers[0],
            "channel": shot.channel("ctl"),
            "rtp": shot.channel("rtp").rtp,
        }
        for scope, view in found.items():
            row = values(scope, view)
            json.dumps(row, allow_nan=False)
            assert list(row) == [field.name for field in FIELDS[scope]]
            for field in FIELDS[scope]:
                if field.kind == "interval" and snapshots == 1 and scope not in ("worker", "rtp"):
                    assert row[field.name] is None, field
                if field.kind == "accumulated":
                    assert row[field.name] is not None, field
                    assert row[field.name] >= 0, field
