"""Made-up machines: trees of /proc and /sys, and what a worker would say on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from rtworkers.examine import Examination
from shmring_doctor.finding import Finding
from shmring_doctor.host import Host

Make = Callable[[Mapping[str, str | bytes]], Host]

# What `shmring-worker --examine 2000` prints on a machine that is fit.
FIT_WORKER = (
    '{"fact": "setup", "policy": "fifo", "priority": 80, "cpu": 3, "memory_locked": true, '
    '"capabilities": ["cap_sys_nice", "cap_net_admin", "cap_ipc_lock"]}',
    '{"fact": "clock", "read_ns": 21.3, "tick_ns": 4000000, "tai_offset_s": 37, '
    '"synchronised": true, "max_error_ns": 120000}',
    *(
        f'{{"fact": "feature", "name": "{name}", "works": true, "reason": ""}}'
        for name in ("ipv6", "gso", "gro", "rx_stamps", "tx_stamps", "buffers")
    ),
    '{"fact": "latency", "on_tick": false, "n": 1500, "min_ns": 900, "p50_ns": 2100, '
    '"p99_ns": 5000, "max_ns": 9000, "beyond_margin": 0}',
    '{"fact": "latency", "on_tick": true, "n": 500, "min_ns": 950, "p50_ns": 3100, '
    '"p99_ns": 9000, "max_ns": 14000, "beyond_margin": 0}',
    '{"fact": "confinement", "files": "", "calls": ""}',
)


@pytest.fixture
def machine(tmp_path: Path) -> Make:
    """Makes a host of the files given by their absolute names. Text that begins with ``-> `` makes
    a symbolic link."""

    def make(files: Mapping[str, str | bytes]) -> Host:
        for name, content in files.items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif content.startswith("-> "):
                path.symlink_to(content.removeprefix("-> "))
            else:
                path.write_text(content, encoding="utf-8")
        return Host(tmp_path)

    return make


@pytest.fixture
def fit_worker() -> Examination:
    """What a worker says on a machine that is fit; pinned to core 3."""
    return Examination.parse(3, FIT_WORKER)


@pytest.fixture
def by_id() -> Callable[[list[Finding]], dict[str, Finding]]:
    """Findings by their ids; fails on two of the same id and subject."""

    def index(findings: list[Finding]) -> dict[str, Finding]:
        keys = [(finding.id, finding.subject) for finding in findings]
        assert len(set(keys)) == len(keys)
        return {finding.id: finding for finding in findings}

    return index


@pytest.fixture
def expect() -> Callable[[Finding, str, Iterable[str]], None]:
    """Check a row of a table: the status of a finding, and parts of what it says. A fix that it
    offers is a part of its own; what begins with ``!`` is not said."""

    def check(finding: Finding, status: str, says: Iterable[str]) -> None:
        assert finding.status == status, finding
        told = "\n".join([finding.measured, *(fix.text for fix in finding.fixes)])
        for words in says:
            assert (words.removeprefix("!") in told) != words.startswith("!"), told

    return check
