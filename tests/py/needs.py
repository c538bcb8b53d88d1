"""What tests need of the machine: the only place that tries, skips, and tells what would help.

    @pytest.mark.needs("fifo", "netns")     # words of `NEEDS`
    @pytest.mark.program("tshark")          # programs, also those in /usr/sbin and /sbin
    @pytest.mark.module("pyarrow")          # optional Python packages
    @pytest.mark.shm_mb(200)                # so much of /dev/shm must be free

Fixtures, and tests that find out on their way, call `require`, `require_program` and
`require_module`, or at the top of a file `pytest.importorskip`. Each word is tried once a process,
when a test first asks for it. C tests use the same words: `TEST_NEEDS` of ../c/rt_test.h.

At its end pytest shows one table of what was skipped, and writes it to ``$SHMRING_TEST_SKIPS``: a
line ``NUMBER<tab>REASON`` for each reason. What the C tests skipped is in it if
``$SHMRING_CTEST_LOG`` names the log of ctest.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import functools
import mmap
import os
import re
import resource
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

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


def _may_give_capabilities() -> bool:
    """Whether a program gets what is written on its file."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        program = shutil.copy("/bin/true", folder)
        capabilities = "cap_sys_nice,cap_net_admin,cap_ipc_lock+ep"
        return (
            not os.statvfs(program).f_flag & os.ST_NOSUID
            and _succeeds("setcap", capabilities, program)
            and _succeeds(program, user=NOBODY, group=NOBODY, extra_groups=[])
        )


def _has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        return True
    return False


def _may_forge() -> bool:
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
    ):
        return True
    return False


ADD = "unshare --net tc qdisc add dev lo root"
NEEDS = {
    "fifo": Need(_may_be_real_time, "docker run --cap-add SYS_NICE, or as root"),
    "libpcap": Need(
        lambda: ctypes.util.find_library("pcap") is not None, "apt install libpcap0.8"
    ),
    "mlock": Need(_may_lock_memory, "docker run --cap-add IPC_LOCK, or as root"),
    "netns": Need(
        lambda: _succeeds("unshare", "--net", "ip", "link"),
        "docker run --cap-add SYS_ADMIN --cap-add NET_ADMIN, or as root",
    ),
    "pidns": Need(
        lambda: _succeeds("unshare", "--pid", "--fork", "--mount-proc", "true"),
        "docker run --cap-add SYS_ADMIN, or as root",
    ),
    "cubic": Need(None, "modprobe tcp_cubic"),
    "files": Need(
        lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 8192, "ulimit -n 8192, as root"
    ),
    "mount": Need(
        lambda: _succeeds("unshare", "--mount", "mount", "-t", "tmpfs", "none", "/dev/shm"),
        "docker run --cap-add SYS_ADMIN, or as root",
    ),
    "fuse": Need(
        lambda: os.access("/dev/fuse", os.W_OK), "modprobe fuse, docker run --device /dev/fuse"
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
        lambda: bool(Path("/usr/include/udt/udt.h").exists() and shutil.which("g++")),
        "apt install libudt-dev g++",
    ),
    "libsrt": Need(
        lambda: bool(Path("/usr/include/srt/srt.h").exists() and shutil.which("g++")),
        "apt install libsrt-openssl-dev g++",
    ),
    "ipv6": Need(_has_ipv6, "sysctl net.ipv6.conf.lo.disable_ipv6=0"),
    "raw": Need(_may_forge, "docker run --cap-add NET_RAW, or as root"),
    "tun": Need(lambda: os.access("/dev/net/tun", os.W_OK), "docker run --device /dev/net/tun"),
    "setcap": Need(_may_give_capabilities, "apt install libcap2-bin, run as root"),
    "cores": Need(lambda: len(os.sched_getaffinity(0)) > 1, "a machine with two cores"),
}

# What the disciplines of queueing are set up with, in tests or to try them.
for _kind, _words in {
    "etf": "clockid CLOCK_TAI delta 300000",
    "fq": "",
    "netem": "delay 1ms",
    "pfifo": "limit 100",
    "prio": "",
    "tbf": "rate 64kbit burst 2000 limit 2000",
}.items():
    NEEDS[f"qdisc {_kind}"] = Need(
        functools.partial(_succeeds, "sh", "-c", f"{ADD} {_kind} {_words}"),
        f"modprobe sch_{_kind}, apt install iproute2, docker run --cap-add NET_ADMIN",
    )

# Packages of Debian whose names are not those of their programs.
PACKAGES = {
    "capinfos": "tshark",
    "gst-launch-1.0": "gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good",
    "ip": "iproute2",
    "man": "man-db",
    "nm": "binutils",
    "nsenter": "util-linux",
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
    [
        "capinfos",
        "ffmpeg",
        "gst-launch-1.0",
        "libsrt",
        "libudt",
        "promtool",
        "sipp",
        "strace",
        "tmux",
        "tshark",
    ]
)

DISTRIBUTIONS = {"cyclonedx": "cyclonedx-python-lib", "prometheus_client": "prometheus-client"}


# --- asking for it --------------------------------------------------------------------------------


@functools.cache
def lacking(word: str) -> bool:
    """Whether the machine does not have what a word of `NEEDS` stands for."""
    tried = NEEDS[word].tried
    return tried is None or not tried()


def skip(need: str) -> NoReturn:
    """Skip, or fail where CI installs what is missing.

    need: a word of `NEEDS`, or one of "program NAME", "module NAME", "peer NAME", and "N MB of
        shared memory".
    """
    is_peer = need.removeprefix("program ") in PEERS or need.startswith("peer ")
    if is_peer and os.environ.get("CI") == "true":
        pytest.fail(f"needs {need}, which CI installs", pytrace=False)
    pytest.skip(f"needs {need}", allow_module_level=True)


def require(*words: str) -> None:
    for word in words:
        if lacking(word):
            skip(word)


def require_program(*names: str) -> None:
    for name in names:
        if shutil.which(name) is None:
            skip(f"program {name}")


def require_module(name: str) -> Any:
    return pytest.importorskip(name)


def require_shm_mb(number: int) -> None:
    if shutil.disk_usage("/dev/shm").free >> 20 < number:
        skip(f"{number} MB of shared memory")


_patience_s = 60.0  # of a process for all its tests: somebody else may have the memory for good


def await_shm_mb(number: int) -> None:
    """Wait until tests that run side by side have left so much of /dev/shm."""
    global _patience_s
    while shutil.disk_usage("/dev/shm").free >> 20 < number and _patience_s > 0:
        time.sleep(0.02)
        _patience_s -= 0.02


def enabled_by(reason: str) -> str:
    """Return the line that lets the tests run which were skipped for this reason, if one does."""
    match reason.split():
        case ["needs", "program", name]:
            return f"apt install {PACKAGES.get(name, name)}"
        case ["needs", "module", name]:
            return f".venv/bin/pip install {DISTRIBUTIONS.get(name, name)}"
        case ["needs", "peer", *_]:
            return "access to a package index"
        case ["needs", _, "MB", *_]:
            return "docker run --shm-size 1g"
        case ["needs", *words] if " ".join(words) in NEEDS:
            return NEEDS[" ".join(words)].enabled_by
    return ""


# --- hooks ----------------------------------------------------------------------------------------

MARKS = {
    "needs": ("needs(word, ...): rights and devices", require),
    "program": ("program(name, ...): programs that must be installed", require_program),
    "module": ("module(name): a Python package", require_module),
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
    text = " ".join(text.removeprefix("Skipped: ").split())
    module = re.match(r"could not import '(\w+)", text)  # as pytest.importorskip says it
    return f"needs module {module[1]}" if module else text


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
