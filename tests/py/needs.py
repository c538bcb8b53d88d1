"""What tests need of the machine: the only place that tries, skips, and tells what would help.

    @pytest.mark.needs("fifo", "netns")     # words of `NEEDS`
    @pytest.mark.program("tshark")          # programs, also those in /usr/sbin and /sbin
    @pytest.mark.module("pyarrow")          # optional Python packages
    @pytest.mark.shm_mb(200)                # so much of /dev/shm must be free

Fixtures, and tests that find out on their way, call `require`, `require_program` and
`require_module` instead. Each word is tried once a process, when a test first asks for it. C tests
use the same words: `TEST_NEEDS` of ../c/rt_test.h.

At its end pytest shows one table of what was skipped, and writes it to ``$SHMRING_TEST_SKIPS``: a
line ``NUMBER<tab>REASON`` for each reason. What the C tests skipped is in it if
``$SHMRING_CTEST_LOG`` names the log of ctest.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import importlib.util
import mmap
import os
import re
import resource
import shutil
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

NOBODY = 65534
PATIENCE_S = 60

# An ordinary user's PATH leaves these out, and the programs there run all the same.
os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"


# --- what can be needed ---------------------------------------------------------------------------


class Need(NamedTuple):
    """Something that a machine may lack, and what gives it."""

    tried: Callable[[], bool] | None
    """None: only C tests need it."""
    enabled_by: str


def _succeeds(*words: str, **options: Any) -> bool:
    try:
        done = subprocess.run(words, capture_output=True, timeout=PATIENCE_S, **options)
    except OSError:
        return False
    return done.returncode == 0


def _may_be_real_time() -> bool:
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(80))
    except OSError:
        return False
    os.sched_setscheduler(0, *before)
    return True


def _may_lock_memory() -> bool:
    libc = ctypes.CDLL(None)
    with mmap.mmap(-1, 16 << 20) as memory:
        start = ctypes.c_char.from_buffer(memory)
        locked = libc.mlock(ctypes.byref(start), ctypes.c_size_t(len(memory))) == 0
        del start
    return bool(locked)


def _may_give_files_away() -> bool:
    with tempfile.NamedTemporaryFile() as file, contextlib.suppress(OSError):
        os.chown(file.name, NOBODY, NOBODY)
        return True
    return False


def _has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        return True
    return False


NEEDS = {
    "fifo": Need(_may_be_real_time, "docker run --cap-add SYS_NICE, or as root"),
    "mlock": Need(_may_lock_memory, "docker run --cap-add IPC_LOCK, or as root"),
    "netns": Need(
        lambda: _succeeds("unshare", "--net", "ip", "link"),
        "docker run --cap-add SYS_ADMIN --cap-add NET_ADMIN, or as root",
    ),
    "pidns": Need(
        lambda: _succeeds("unshare", "--pid", "--fork", "--mount-proc", "true"),
        "docker run --cap-add SYS_ADMIN, or as root",
    ),
    "qdisc": Need(
        lambda: _succeeds("unshare", "--net", *["tc", "qdisc", "add", "dev", "lo", "root", "fq"]),
        "apt install iproute2, docker run --cap-add SYS_ADMIN --cap-add NET_ADMIN",
    ),
    "files": Need(
        lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 8192, "ulimit -n 8192, as root"
    ),
    "mount": Need(
        lambda: _succeeds("unshare", "--mount", "mount", "-t", "tmpfs", "none", "/dev/shm"),
        "docker run --cap-add SYS_ADMIN, or as root",
    ),
    "userns": Need(
        lambda: _succeeds("unshare", "--user", "--map-root-user", "--net", "--mount", "true"),
        "sysctl kernel.unprivileged_userns_clone=1, docker run --security-opt seccomp=unconfined",
    ),
    "ptrace": Need(
        lambda: _succeeds("strace", "-o", "/dev/null", "true"),
        "apt install strace, docker run --cap-add SYS_PTRACE",
    ),
    "unprivileged": Need(
        lambda: _succeeds("true", user=NOBODY, group=NOBODY, extra_groups=[]), "run as root"
    ),
    "chown": Need(_may_give_files_away, "run as root"),
    "userfaultfd": Need(None, "docker run --security-opt seccomp=unconfined"),
    "libudt": Need(
        lambda: Path("/usr/include/udt/udt.h").exists() and shutil.which("g++") is not None,
        "apt install libudt-dev g++",
    ),
    "ipv6": Need(_has_ipv6, "sysctl net.ipv6.conf.lo.disable_ipv6=0"),
    "cores": Need(lambda: len(os.sched_getaffinity(0)) > 1, "a machine with two cores"),
}

# Packages of Debian whose names are not those of their programs.
PACKAGES = {
    "capinfos": "tshark",
    "gst-launch-1.0": "gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good",
    "ip": "iproute2",
    "man": "man-db",
    "nm": "binutils",
    "promtool": "prometheus",
    "setcap": "libcap2-bin",
    "setpriv": "util-linux",
    "sipp": "sip-tester",
    "swapoff": "mount",
    "systemd-analyze": "systemd",
    "tc": "iproute2",
    "unshare": "util-linux",
}
# The foreign ends, which .ci/run installs. With CI=true their absence is a failure.
PEERS = frozenset(
    ["capinfos", "ffmpeg", "gst-launch-1.0", "libudt", "sipp", "strace", "tmux", "tshark"]
)

DISTRIBUTIONS = {"cyclonedx": "cyclonedx-python-lib", "prometheus_client": "prometheus-client"}


# --- asking for it --------------------------------------------------------------------------------


@functools.cache
def lacking(word: str) -> bool:
    """Whether the machine does not have what a word of `NEEDS` stands for."""
    tried = NEEDS[word].tried
    return tried is None or not tried()


def skip(reason: str, *, is_peer: bool = False) -> None:
    """Skip, or fail where CI installs what is missing."""
    if is_peer and os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, which CI installs", pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def require(*words: str) -> None:
    for word in words:
        if lacking(word):
            skip(f"needs {word}", is_peer=word in PEERS)


def require_program(*names: str) -> None:
    for name in names:
        if shutil.which(name) is None:
            skip(f"needs program {name}", is_peer=name in PEERS)


def require_module(name: str) -> ModuleType:
    """Import an optional module, at the top of a file, too."""
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        skip(f"needs module {name.partition('.')[0]}")
    return importlib.import_module(name)


def require_shm_mb(number: int) -> None:
    if shutil.disk_usage("/dev/shm").free >> 20 < number:
        skip(f"needs {number} MB of shared memory")


def enabled_by(reason: str) -> str:
    """Return the line that lets the tests run which were skipped for this reason, if one does."""
    match reason.split():
        case ["needs", "program", name]:
            return f"apt install {PACKAGES.get(name, name)}"
        case ["needs", "module", name]:
            return f".venv/bin/pip install {DISTRIBUTIONS.get(name, name)}"
        case ["needs", _, "MB", *_]:
            return "docker run --shm-size 1g"
        case ["needs", word] if word in NEEDS:
            return NEEDS[word].enabled_by
    return ""


# --- hooks ----------------------------------------------------------------------------------------

MARKS = {
    "needs": ("needs(word, ...): rights and devices", require),
    "program": ("program(name, ...): programs that must be installed", require_program),
    "module": ("module(name, ...): Python packages", lambda *names: [*map(require_module, names)]),
    "shm_mb": ("shm_mb(n): MB of shared memory that must be free", require_shm_mb),
}
# What fixtures of the product need, with which they skip in words of their own.
FIXTURES = {"shmring_netns": "netns"}

_files: dict[str, str] = {}  # whole files that were skipped, and why


def pytest_configure(config: pytest.Config) -> None:
    for line, _ in MARKS.values():
        config.addinivalue_line("markers", line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("needs"):
            unknown = set(mark.args) - NEEDS.keys()
            if unknown:
                raise pytest.UsageError(f"{item.nodeid}: unknown needs {sorted(unknown)}")
        for fixture in FIXTURES.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.needs(FIXTURES[fixture]))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for name, (_, check) in MARKS.items():
        for mark in item.iter_markers(name):
            check(*mark.args)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _files[report.nodeid] = _reason(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # of pytest-xdist, which tells only of failures
        session.config.workeroutput["skipped_files"] = _files


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _files.update(getattr(node, "workeroutput", {}).get("skipped_files", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = terminalreporter.stats.get("skipped", [])
    reasons = [_reason(report) for report in reports if isinstance(report, pytest.TestReport)]
    counts = Counter([*reasons, *_files.values(), *_of_ctest()])
    told = os.environ.get("SHMRING_TEST_SKIPS")
    if told:
        lines = (f"{counts[reason]}\t{reason}\n" for reason in sorted(counts))
        Path(told).write_text("".join(lines), encoding="utf-8")
    if counts:
        terminalreporter.section("skipped")
        for line in _table(counts):
            terminalreporter.write_line(line)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return " ".join(text.removeprefix("Skipped: ").split())


def _of_ctest() -> Iterator[str]:
    """What C tests printed as they were skipped."""
    log = os.environ.get("SHMRING_CTEST_LOG")
    if log and Path(log).exists():
        text = Path(log).read_text(encoding="utf-8", errors="replace")
        yield from re.findall(r"^skipped: (.*?) *$", text, re.M)


def _table(counts: Counter[str]) -> Iterable[str]:
    rows = [(str(count), reason, enabled_by(reason)) for reason, count in counts.most_common()]
    rows.insert(0, ("tests", "reason", "enabled by"))
    width = max(len(reason) for _, reason, _ in rows)
    for count, reason, line in rows:
        yield f"{count:>5}  {reason:<{width}}  {line}".rstrip()
