"""How the compiled modules start: without the interpreter's lock, and more than once."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig

import pytest

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def run(script: str, lock: str = "1") -> subprocess.CompletedProcess[str]:
    """lock: PYTHON_GIL, which only a free-threaded build of Python reads."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    return subprocess.run(
        [sys.executable, "-P", "-c", script],
        env=env | ({"PYTHON_GIL": lock} if FREE_THREADED else {}),
        capture_output=True,
        text=True,
        timeout=60,
    )


def run_without_lock(script: str) -> subprocess.CompletedProcess[str]:
    """In a process whose interpreter says that it has no lock."""
    return run(f"import sys\nsys._is_gil_enabled = lambda: False\n{script}")


def test_rtpsynth_refuses_and_says_what_to_do() -> None:
    done = run_without_lock("import rtpsynth.RtpSynth")
    assert done.returncode == 1
    assert "ImportError: rtpsynth._core needs the interpreter's lock" in done.stderr
    assert "leave it at its default" in done.stderr


def test_shmring_needs_no_lock() -> None:
    done = run_without_lock("import shmring\nshmring.Channel")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not FREE_THREADED, reason="needs a free-threaded build of Python")
def test_shmring_leaves_the_lock_disabled() -> None:
    done = run(
        "import sys, shmring\nshmring.Channel, shmring.Pool, shmring.udt, shmring.net.tap\n"
        "assert not sys._is_gil_enabled()",
        lock="0",  # posix_ipc may declare nothing
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["shmring._hot", "rtpsynth._core"])
def test_a_second_import_gets_the_same_types(module: str) -> None:
    kind = {"shmring._hot": "Core", "rtpsynth._core": "RtpSynth"}[module]
    done = run(
        f"import importlib, sys\none = importlib.import_module({module!r})\n"
        f"del sys.modules[{module!r}]\n"
        f"two = importlib.import_module({module!r})\n"
        f"assert two is not one and two.{kind} is one.{kind}\n"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.version_info < (3, 13), reason="interpreters share one lock there")
def test_an_interpreter_with_its_own_lock_cannot_load_a_module() -> None:
    script = (
        "import shmring._hot\n"
        "import _interpreters as made\n"
        "failed = made.run_string(made.create(), 'import shmring._hot')\n"
        "if failed is not None:\n    raise RuntimeError(str(vars(failed)))"
    )
    done = run(script)
    assert done.returncode == 1
    assert "does not support loading in subinterpreters" in done.stderr
