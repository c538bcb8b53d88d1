"""Captures sent to groups, to everybody and to nobody."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shmring
from shmring.testing import captures as c

T = 1_795_288_288_555_810_862
PATIENCE_S = 60.0
PACKETS = 20


def to(host: str, port: int) -> io.BytesIO:
    source = ("fe80::1", 40000) if ":" in host else ("10.0.0.1", 40000)
    frames = [
        (T + i * 100_000, c.udp(b"%d" % i, to=(host, port), source=source)) for i in range(PACKETS)
    ]
    return io.BytesIO(c.pcap(frames))


def numbers(channel: shmring.Channel) -> list[int]:
    return [int(channel.recv(timeout=PATIENCE_S).data) for _ in range(PACKETS)]


@pytest.mark.check
def test_a_captured_group_stays_a_group(shmring_pool: shmring.Pool, shmring_replay: Any) -> None:
    member = shmring_pool.open(
        "member",
        shmring.Udp(
            socket=shmring.Socket(multicast=shmring.Multicast(groups=[("239.255.7.9", "lo")]))
        ),
        local=("0.0.0.0", 0),
    )
    assert member.local is not None
    report = shmring_replay(to("239.255.7.9", member.local[1]), interface="lo", ttl=1)
    assert (report.sent, report.failed) == (PACKETS, 0)
    assert numbers(member) == list(range(PACKETS))


@pytest.mark.check
@pytest.mark.parametrize("group", ["ff02::7:9", "ff15::7:9", "239.255.7.9"])
def test_groups_over_a_wire(shmring_netns: Any, group: str, tmp_path: Path) -> None:
    """A group of the link needs its interface. The others have no route but by it."""
    left, right = shmring_netns
    everything = "::" if ":" in group else "0.0.0.0"
    member = right.open(
        "member",
        shmring.Udp(
            socket=shmring.Socket(multicast=shmring.Multicast(groups=[(group, right.interface)]))
        ),
        local=(everything, 0),
    )
    path = tmp_path / "groups.pcap"
    path.write_bytes(to(group, member.local[1]).getvalue())
    how = ("--socket", f"interface={left.interface},ttl=1", "--limit", "late=100%", "--json")
    command = (sys.executable, "-P", "-m", "shmring_cli", "replay", str(path), *how)
    facts = json.loads(left.run(*command))
    assert (facts["sent"], facts["failed"]) == (PACKETS, 0)
    assert facts["capture"]["flows"][0]["to"][0].partition("%")[0] == group
    assert numbers(member) == list(range(PACKETS))


@pytest.mark.check
def test_everybody_needs_permission(shmring_pool: shmring.Pool, shmring_replay: Any) -> None:
    there = shmring_pool.open("there", shmring.Udp(direction="rx"), local=("0.0.0.0", 0))
    assert there.local is not None
    everybody = "127.255.255.255"
    refused = shmring_replay(to(everybody, there.local[1]))
    assert (refused.packets, refused.sent, refused.failed) == (PACKETS, 0, PACKETS)
    assert shmring_replay(to(everybody, there.local[1]), broadcast=True).sent == PACKETS
    assert numbers(there) == list(range(PACKETS))


def test_nobody_listens(shmring_pool: shmring.Pool, shmring_replay: Callable[..., Any]) -> None:
    """The answers of the closed port are no failure of a packet."""
    there = shmring_pool.open("there", shmring.Udp(direction="rx"), local=("127.0.0.1", 0))
    assert there.local is not None
    port = there.local[1]
    there.close()
    report = shmring_replay(to("127.0.0.1", port))
    assert (report.sent, report.failed) == (PACKETS, 0)
