"""The compiled modules rely on the interpreter's lock, and say so if it is switched off."""

from __future__ import annotations

import subprocess
import sys

import pytest

MODULES = [
    "shmring._hot",
    "rtpsynth._core",
]


def run(script: str) -> subprocess.CompletedProcess[str]:
    """In a process whose interpreter says that it has no lock."""
    script = f"import sys\nsys._is_gil_enabled = lambda: False\n{script}"
    return subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("module", MODULES)
def test_a_module_refuses(module: str) -> None:
    loader = "importlib.machinery.ExtensionFileLoader"
    done = run(
        "import importlib.machinery, importlib.util\n"
        f"found = importlib.util.find_spec({module!r}.partition('.')[0])\n"
        f"spec = importlib.machinery.PathFinder.find_spec({module!r}, "
        "found.submodule_search_locations)\n"
        f"assert isinstance(spec.loader, {loader}), spec\n"
        "spec.loader.create_module(spec)\n"
    )
    assert done.returncode == 1
    assert f"ImportError: {module} needs the interpreter's lock" in done.stderr


def test_shmring_says_why_it_cannot_be_imported() -> None:
    done = run("import shmring")
    assert done.returncode == 1
    assert "ImportError: shmring._hot needs the interpreter's lock" in done.stderr
