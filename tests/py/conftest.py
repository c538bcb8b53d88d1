"""What holds for every test: they run against the installed package."""

from __future__ import annotations

import gc
import importlib
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

# On a busy machine any example, and drawing any, may take long. What is drawn is always the same,
# so that nothing fails by chance; HYPOTHESIS_RANDOM=1 draws anew.
settings.register_profile(
    "busy",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=not os.environ.get("HYPOTHESIS_RANDOM"),
)
settings.load_profile("busy")

# Tests import needs.py, and the models beside this file, by name.
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "models")]
pytest_plugins = ["needs"]

import after_kill  # noqa: E402
import rooms  # noqa: E402

# Processes started with -c or -m would otherwise find the sources in the current folder first,
# which hold no compiled parts.
os.environ["PYTHONSAFEPATH"] = "1"

# A worker that makes a system call which its filter does not know dies of it, and its test fails.
os.environ.setdefault("SHMRING_SYSCALL_FILTER", "kill")

# A pool asks for real-time priority only in tests that are about it. Fixtures of the product set
# this, too, but not every test uses them.
os.environ.setdefault("SHMRING_POLICY", "other")

# A shell without job control starts what it puts in the background with SIGINT ignored, and
# Python then leaves it so.
signal.signal(signal.SIGINT, signal.default_int_handler)


# Folders, and a file, that take longest.
LONGEST = {"chaos", "bench", "exhaustion", "interop", "test_docs.py"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--check", action="store_true", help="run the tests of `make check`, too")
    parser.addoption("--room", choices=rooms.PYTHON, help="run the tests of one room (rooms.py)")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the files of other rooms than --room. Without --check, do not import a file of long
    tests: to rewrite its assertions takes longer than many a test.
    """
    if collection_path.suffix != ".py":
        return None
    room = config.getoption("room")
    if room and rooms.room_of(collection_path.relative_to(HERE).as_posix()) != room:
        return True
    if config.getoption("check"):
        return None
    text = collection_path.read_text(encoding="utf-8")
    return bool(re.search(r"^pytestmark = \[?\s*pytest\.mark\.check\b", text, re.M)) or None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the long tests without --check. Begin with the longest files: pytest-xdist
    hands out whole files, in this order.
    """
    if not config.getoption("check"):
        long = [item for item in items if item.get_closest_marker("check")]
        items[:] = [item for item in items if not item.get_closest_marker("check")]
        config.hook.pytest_deselected(items=long)
    items.sort(key=lambda item: LONGEST.isdisjoint(item.path.parts))


def pytest_collection_finish() -> None:
    """Let collections of garbage pass over what pytest keeps of thousands of tests: many tests ask
    for one, and each would take a tenth of a second.
    """
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "check: a long test, left out unless --check is given")
    config.add_cleanup(after_kill.watch())


def pytest_runtest_logfinish() -> None:
    """Give back shared memory where there is little, as in a container with 64 MB: an exception
    that a test has caught keeps the test's channels alive until they are collected."""
    if shutil.disk_usage("/dev/shm").free < 56 << 20:
        gc.collect()


@pytest.fixture(scope="session")
def rtp_jbuf_model() -> ModuleType:
    """models/rtp_jbuf.py: `Model`, `Outcome`, `parse`, `datagram`, `random_stream`."""
    return importlib.import_module("rtp_jbuf")
