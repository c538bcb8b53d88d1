"""Captures as foreign programs read them: tshark and capinfos, of Wireshark."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import needs
import pytest

PATIENCE_S = 60.0
_OFFSET = re.compile(r"times of packets are CLOCK_\w+ \+ (\d+) ns")


def read_with(name: str, *arguments: str) -> str:
    needs.require_program(name)
    done = subprocess.run(
        [name, *arguments], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class Seen(NamedTuple):
    """A packet as tshark tells it."""

    time_ns: int
    comments: list[str]
    interface: str
    direction: int
    payload: bytes
    source: tuple[str, int]
    target: tuple[str, int]
    sums: tuple[str, str]
    """Of the checksums of IP and UDP: 1 is good, 3 there is none."""

    @property
    def facts(self) -> dict[str, str]:
        """``name=value`` of the first comment."""
        return dict(word.split("=", 1) for word in self.comments[0].split() if "=" in word)


_FIELDS = (
    "frame.time_epoch",
    "frame.comment",
    "frame.interface_name",
    "frame.packet_flags_direction",
    "udp.payload",
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "udp.srcport",
    "udp.dstport",
    "ip.checksum.status",
    "udp.checksum.status",
)


def _one(line: str) -> Seen:
    columns = dict(zip(_FIELDS, line.split("\t"), strict=True))
    seconds, fraction = columns["frame.time_epoch"].split(".")
    assert len(fraction) == 9
    source = columns["ip.src"] or columns["ipv6.src"]
    target = columns["ip.dst"] or columns["ipv6.dst"]
    return Seen(
        int(seconds) * 10**9 + int(fraction),
        columns["frame.comment"].split("|"),
        columns["frame.interface_name"],
        int(columns["frame.packet_flags_direction"], 16),
        bytes.fromhex(columns["udp.payload"].replace(":", "")),
        (source, int(columns["udp.srcport"])),
        (target, int(columns["udp.dstport"])),
        (columns["ip.checksum.status"], columns["udp.checksum.status"]),
    )


@pytest.fixture
def mapped() -> Callable[[int], bool]:
    """Whether a worker has the memory of any tap mapped."""
    return lambda pid: "memfd:shmring-tap" in Path(f"/proc/{pid}/maps").read_text()


@pytest.fixture
def dissected() -> Callable[..., list[list[str]]]:
    """Fields of the Lua dissector: a row for every packet that a filter lets through."""

    def read(path: Path, *fields: str, where: str = "frame") -> list[list[str]]:
        lua = subprocess.run(
            [sys.executable, "-P", "-m", "shmring_cli", "tap", "--dissector"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        words = (word for field in fields for word in ("-e", f"shmring.{field}"))
        script = f"lua_script:{lua}"
        lines = read_with(
            "tshark", "-X", script, "-r", str(path), "-Y", where, "-T", "fields", *words
        )
        return [line.split("\t") for line in lines.splitlines()]

    return read


@pytest.fixture
def tshark() -> Callable[[Path], list[Seen]]:
    """The packets of a file."""

    def read(path: Path) -> list[Seen]:
        lines = read_with(
            "tshark", "-r", str(path), "-n", "-T", "fields", "-E", "aggregator=|",
            "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
            *(word for field in _FIELDS for word in ("-e", field)),
        )  # fmt: skip
        return [_one(line) for line in lines.splitlines()]

    return read


@pytest.fixture
def decoded() -> Callable[..., list[list[str]]]:
    """Fields of the packets of a file, with the protocol on that port told."""

    def read(path: Path, port: int, protocol: str, *fields: str) -> list[list[str]]:
        lines = read_with(
            "tshark", "-r", str(path), "-n", "-d", f"udp.port=={port},{protocol}", "-T", "fields",
            *(word for field in fields for word in ("-e", field)),
        )  # fmt: skip
        return [line.split("\t") for line in lines.splitlines()]

    return read


@pytest.fixture
def capinfos() -> Callable[[Path], str]:
    """What capinfos says of a file."""
    return lambda path: read_with("capinfos", str(path))


@pytest.fixture
def real_offset_ns(capinfos: Callable[[Path], str]) -> Callable[[Path], int]:
    """What a file says is to be taken from its times to get those of the channel's clock."""

    def read(path: Path) -> int:
        found = _OFFSET.search(capinfos(path))
        assert found is not None
        return int(found[1])

    return read
