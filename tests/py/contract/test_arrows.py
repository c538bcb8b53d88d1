"""The arrows between the rooms of the house: who may include, and import, whom."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

# Each folder of csrc, and the folders whose headers it may include beside its own.
C_ARROWS: dict[str, set[str]] = {
    "base": set(),
    "shm": {"base"},
    "proto": {"base"},
    "io": {"base"},
    "client": {"base", "shm", "proto"},  # proto: the tables of its statistics
    "worker": {"base", "shm", "proto", "io"},
    "python": {"base", "shm", "proto", "client"},
    "bench": {"base", "shm", "proto", "librtpsynth"},  # proto: its emulated links
    "librtpsynth": {"base", "proto"},
}

DROP_INS = {"rtudp", "udpcom", "rtpsynth", "udt4", "netflux"}

# Each tool, and the tools it builds on.
TOOLS: dict[str, set[str]] = {
    "shmring_cli": set(),
    "shmring_copy": {"shmring_cli"},
    "shmring_doctor": {"shmring_cli"},
    "shmring_plot": {"shmring_cli"},
    "shmring_bench": {"shmring_cli"},
    "shmring_demo": {"shmring_cli", "shmring_bench", "shmring_plot"},
    "rtstat": {"shmring_cli"},
}

# Each Python package, and which of ours it may import beside itself.
PY_ARROWS: dict[str, set[str]] = {
    "shmring": {"rtworkers"},
    "workers/rtworkers": set(),
    **{f"tools/{name}": {"shmring", "rtworkers", *below} for name, below in TOOLS.items()},
    **{f"api/{name}": {"shmring"} for name in DROP_INS},
    "api/udpcom": {"shmring", "rtudp"},  # rtudp's predecessor: the same type under its old name
}
OURS = {"shmring", "rtworkers", *TOOLS, *DROP_INS}

# Their headers are installed side by side, so they name each other without a folder.
PUBLIC = {"librtpsynth"}

INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"(?P<ours>[^"]+)"|<(?P<system>[^>]+)>)', re.MULTILINE)


def find_checkout() -> Path | None:
    for folder in Path(__file__).resolve().parents:
        if (folder / "csrc" / "CMakeLists.txt").is_file():
            return folder
    return None


@pytest.fixture(scope="module")
def checkout() -> Path:
    folder = find_checkout()
    if folder is None:
        pytest.skip("no source tree around these tests")
    return folder


def c_includes(checkout: Path) -> Iterator[tuple[Path, str, re.Match[str]]]:
    for path in sorted((checkout / "csrc").rglob("*.[ch]")):
        folder = path.relative_to(checkout / "csrc").parts[0]
        for match in INCLUDE.finditer(path.read_text(encoding="utf-8")):
            yield path, folder, match


def imported_names(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module


def test_every_c_folder_is_on_the_map(checkout: Path) -> None:
    folders = {path.relative_to(checkout / "csrc").parts[0] for path, _, _ in c_includes(checkout)}
    assert folders <= set(C_ARROWS)


def test_c_includes_follow_the_arrows(checkout: Path) -> None:
    wrong = []
    for path, folder, match in c_includes(checkout):
        header = match["ours"]
        if header is None:
            continue
        target = header.split("/", 1)[0] if "/" in header else folder
        if target not in C_ARROWS[folder] | {folder}:
            wrong.append(f"{path.relative_to(checkout)} includes {header}")
    assert not wrong


def test_only_the_server_of_rtpsynth_knows_shared_memory(checkout: Path) -> None:
    allowed = (
        "base/",
        "proto/",
        "python/rtpsynth/",
        "python/int_",
        "python/module_gil",
        "python/signature",
    )
    wrong = [
        f"{path.relative_to(checkout)} includes {match['ours']}"
        for path, _, match in c_includes(checkout)
        if path.parent.name == "rtpsynth"
        and not path.name.startswith("server")
        and match["ours"]
        and not match["ours"].startswith(allowed)
    ]
    assert not wrong


def test_includes_are_written_from_csrc_and_exist(checkout: Path) -> None:
    wrong = [
        f"{path.relative_to(checkout)} includes {match['ours']}"
        for path, folder, match in c_includes(checkout)
        if match["ours"]
        and not (checkout / "csrc" / match["ours"]).is_file()
        and not (folder in PUBLIC and (path.parent / match["ours"]).is_file())
    ]
    assert not wrong


def test_only_the_binding_knows_python(checkout: Path) -> None:
    wrong = [
        str(path.relative_to(checkout))
        for path, folder, match in c_includes(checkout)
        if (match["ours"] or match["system"]) == "Python.h" and folder != "python"
    ]
    assert not wrong


@pytest.mark.parametrize("package", sorted(PY_ARROWS))
def test_python_imports_follow_the_arrows(checkout: Path, package: str) -> None:
    allowed = PY_ARROWS[package] | {package.rsplit("/", 1)[-1]}
    wrong = []
    for path in sorted((checkout / package).rglob("*.py")):
        for line, name in imported_names(path):
            top = name.split(".", 1)[0]
            if top in OURS and top not in allowed:
                wrong.append(f"{path.relative_to(checkout)}:{line} imports {name}")
    assert not wrong


def test_containers_are_not_packages(checkout: Path) -> None:
    inits = [checkout / name / "__init__.py" for name in ("workers", "api", "tools")]
    assert not [str(path) for path in inits if path.exists()]
