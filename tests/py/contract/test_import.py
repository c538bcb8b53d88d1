"""`import shmring` loads next to nothing, and every name is there when it is used."""

from __future__ import annotations

import ast
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import shmring

# What a program must not pay for before it uses it.
HEAVY = {
    *("asyncio", "cffi", "_cffi_backend", "dataclasses", "importlib.metadata", "inspect"),
    *("multiprocessing", "psutil", "socket", "ssl", "subprocess", "typing"),
}
RUNS = 5


def outcome(script: str, *flags: str) -> Any:
    """Return what a fresh interpreter prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-P", *flags, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


def test_importing_loads_next_to_nothing() -> None:
    loaded = outcome(
        "import json, sys\n"
        "before = set(sys.modules)\n"
        "import shmring\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))",
        "-I",
    )
    assert HEAVY.isdisjoint(loaded)
    assert len(loaded) <= 5, loaded


BLOCKING = """
import json, shmring, sys, warnings
warnings.simplefilter("ignore", shmring.errors.RealtimeWarning)
with shmring.open("x", local=("127.0.0.1", 0)) as ch:
    with shmring.attach("x") as other:
        ch.send(b"1", to=ch.local)
        assert other.recv(timeout=20).data == b"1"
    ch.flush()
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.usefixtures("shmring_namespace")
def test_a_blocking_program_loads_neither_asyncio_nor_statistics() -> None:
    loaded = outcome(BLOCKING)
    unwanted = {"asyncio", "concurrent.futures", "importlib.resources", "multiprocessing", "ssl"}
    assert unwanted.isdisjoint(loaded)
    assert {"difflib", "psutil", "tempfile"}.isdisjoint(loaded)
    assert {"shmring.stats", "shmring.rtp", "shmring.netflux", "shmring.cyclic"}.isdisjoint(loaded)


@pytest.mark.parametrize(
    ("command", "limit"), [("shmring --help", 40), ("shmring ls", 107), ("rtstat --json", 117)]
)
@pytest.mark.usefixtures("shmring_namespace")
def test_a_command_that_only_looks_loads_little(command: str, limit: int) -> None:
    program, *arguments = command.split()
    module = "rtstat.cli" if program == "rtstat" else "shmring_cli"
    loaded = outcome(
        "import contextlib, io, json, sys\n"
        f"before = set(sys.modules)\nimport {module}\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        f"    {module}.main({arguments})\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    unwanted = {"asyncio", "importlib.resources", "logging", "psutil", "subprocess", "tempfile"}
    assert unwanted.isdisjoint(loaded)
    assert {"shmring.pool", "shmring.channel", "shmring.stats"}.isdisjoint(loaded)
    assert len(loaded) <= limit, len(loaded)


def cpu_ms(statement: str) -> float:
    """Return what a statement costs, in CPU time: other processes do not count."""
    script = (
        f"import time\nt = time.process_time_ns()\n{statement}\nprint(time.process_time_ns() - t)"
    )
    return float(statistics.median(outcome(script) for _ in range(RUNS))) / 1e6


def test_importing_takes_less_than_a_library_it_is_built_on() -> None:
    assert cpu_ms("import shmring") < cpu_ms("import cffi")


@pytest.mark.parametrize("name", [*dir(shmring), "open", "gc", "udt", "net", "observe", "testing"])
def test_every_name_is_there(name: str) -> None:
    assert getattr(shmring, name) is not None


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'shmring' has no attribute 'opne'"):
        _ = shmring.opne  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="cannot import name 'Poll' from 'shmring'"):
        from shmring import Poll  # type: ignore[attr-defined]  # noqa: F401


def test_the_lists_of_names_agree() -> None:
    tree = ast.parse(Path(shmring.__file__).read_text(encoding="utf-8"))
    shown = next(node for node in tree.body if isinstance(node, ast.If))
    named = {
        alias.asname or alias.name: node.module
        for node in shown.body
        if isinstance(node, ast.ImportFrom) and node.module and node.module != "shmring"
        for alias in node.names
    }
    assert named == shmring._HOMES
    assert sorted(shmring.__all__) == sorted(named.keys() - {"open", "gc"})
    assert dir(shmring) == sorted({*dir(shmring), *named, "udt", "__version__"})


def test_the_front_fits_in_the_head() -> None:
    """Modules are rooms, not names."""
    assert len({*shmring.__all__, "open", "gc"}) <= 36


def test_a_star_import_brings_all_names_and_keeps_the_builtins() -> None:
    names: dict[str, Any] = {}
    exec("from shmring import *", names)
    assert set(shmring.__all__) <= names.keys()
    assert "open" not in names
    assert "gc" not in names


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert shmring.__version__ == version("shmring")


@pytest.mark.parametrize(
    "made",
    [
        "shmring.Impairment(loss=0.5)",
        "shmring.Verdict.ON_TIME",
        "shmring.Packet(b'x', 1, shmring.types.Stamp.KERNEL, bytes(24), 7)",
        "shmring.errors.BadConfig('x')",
        "shmring.rtp.Bye(1, 2, 3)",
    ],
)
def test_the_first_thing_that_a_program_does_is_to_unpickle(made: str) -> None:
    pickled = outcome(
        f"import json, pickle, shmring\nprint(json.dumps(list(pickle.dumps({made}))))"
    )
    shown = outcome(f"import json, pickle\nprint(json.dumps(repr(pickle.loads(bytes({pickled})))))")
    assert shown == outcome(f"import json, shmring\nprint(json.dumps(repr({made})))")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder like the source folder: the package without its compiled modules."""
    package = Path(shmring.__file__).parent
    shutil.copytree(package, tmp_path / "shmring", ignore=shutil.ignore_patterns("*.so"))
    return tmp_path


def run_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python as a user does who stands in `folder`."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_in_a_checkout_the_installed_package_is_imported(checkout: Path) -> None:
    ask = "import shmring.udt; print(shmring.__file__, shmring.udt.__file__, sep='\\n')"
    done = run_in(checkout, "-c", ask)
    package = Path(shmring.__file__).parent
    assert done.stderr == ""
    assert done.stdout.splitlines() == [shmring.__file__, str(package / "udt" / "__init__.py")]


def test_a_checkout_without_an_installed_package_says_so(checkout: Path) -> None:
    done = run_in(checkout, "-S", "-c", "import shmring")
    assert "is not installed: install it" in done.stderr
