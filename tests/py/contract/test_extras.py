"""Whatever needs an extra names it where the extra is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUN_COMMAND = "import {module}; sys.exit({module}.main({words!r}))"
CASES = {
    "plot": ("matplotlib", RUN_COMMAND.format(module="shmring_cli", words=["plot", "a.csv"])),
    "demo": (
        "matplotlib",
        RUN_COMMAND.format(
            module="shmring_cli", words=["demo", "--duration", "0.2", "--png", "a.png"]
        ),
    ),
    "parquet": (
        "pyarrow",
        RUN_COMMAND.format(module="rtstat.cli", words=["--record", "a.parquet", "-n", "1"]),
    ),
    "metrics": (
        "prometheus_client",
        RUN_COMMAND.format(module="rtstat.cli", words=["--serve-metrics", "0"]),
    ),
    "plc": ("lark", "import shmring_plc"),
    "numpy": ("numpy", "import rtpsynth.headers; rtpsynth.headers.header_dtype()"),
    "doctor": (
        "pyroute2",
        RUN_COMMAND.format(module="shmring_cli", words=["doctor", "--quick", "--all"]),
    ),
}


def without(module: str, code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a Python that does not find the module."""
    hide = (
        f"import sys; sys.modules[{module!r}] = None\nimport importlib.util as u; f = u.find_spec\n"
    )
    hide += f"u.find_spec = lambda n, *a: None if n.split('.')[0] == {module!r} else f(n, *a)\n"
    return subprocess.run(
        [sys.executable, "-P", "-c", hide + code],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
        check=False,
    )


@pytest.mark.parametrize("extra", CASES)
def test_a_missing_extra_is_named(extra: str, tmp_path: Path) -> None:
    done = without(*CASES[extra], tmp_path)
    assert f'pip install "shmring[{extra}]"' in done.stdout + done.stderr


def test_the_array_of_a_batch_names_its_extra(tmp_path: Path) -> None:
    code = "import shmring.batch as b; b.PacketBatch._as_array(None, {})"
    done = without("numpy", code, tmp_path)
    assert "the array of a batch needs numpy, which is not installed" in done.stderr


@pytest.mark.check
def test_the_pytest_plugin_needs_no_extra(tmp_path: Path) -> None:
    for module in ("numpy", "matplotlib", "pyarrow", "prometheus_client", "textual", "lark"):
        assert without(module, "import shmring.pytest_plugin", tmp_path).returncode == 0


def test_rtstat_in_a_terminal_names_the_extra_of_its_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    from rtstat import cli, overview

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True, raising=False)
    assert not overview._wants_screen(cli.whole_parser().parse_args([]))
    assert 'pip install "shmring[screen]"' in capsys.readouterr().err
