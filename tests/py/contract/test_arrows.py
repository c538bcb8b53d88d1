"""The arrows between the rooms of the house: who may include, call and import whom.

There are no circles: files include and call, and modules import, each other one way only, also
within a room.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

# Each folder of csrc, and the folders whose headers it may include beside its own.
# rows: headers that csrc/rows.py makes. They include base, and all may include them.
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
    "shmring_plc": set(),
    "shmring_plot": {"shmring_cli"},
    "shmring_bench": {"shmring_cli"},
    "shmring_measure": {"shmring_cli", "shmring_plot", "rtstat"},
    "peers": {"shmring_bench"},  # which finds it by its place, and only in the source tree
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

COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)
DEFINITION = re.compile(
    r"^(?P<head>[A-Za-z_][\w \t*]*?[ *])(?P<name>\w+)\([^;{}]*\)\s*\{", re.MULTILINE
)
USE = re.compile(r"(?<![\w.>])[A-Za-z_]\w+")

Graph = Mapping[str, Iterable[str]]


def c_includes(checkout: Path) -> Iterator[tuple[Path, str, re.Match[str]]]:
    for path in sorted((checkout / "csrc").rglob("*.[ch]")):
        folder = path.relative_to(checkout / "csrc").parts[0]
        for match in INCLUDE.finditer(path.read_text(encoding="utf-8")):
            yield path, folder, match


def imported_names(path: Path, *, with_members: bool = False) -> Iterator[tuple[int, str]]:
    """Modules that a file imports; with_members: with what it takes from them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            taken = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((node.lineno, name) for name in (taken if with_members else [node.module]))


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
        if target not in C_ARROWS[folder] | {folder, "rows"}:
            wrong.append(f"{path.relative_to(checkout)} includes {header}")
    assert not wrong


def test_only_the_server_of_rtpsynth_knows_shared_memory(checkout: Path) -> None:
    allowed = (
        "base/",
        "proto/",
        "python/rtpsynth/",
        "python/int_",
        "python/module_init",
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
        and not (checkout / "csrc" / match["ours"]).with_suffix(".toml").is_file()
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


@pytest.mark.parametrize("package", sorted(set(PY_ARROWS) - {"shmring", "workers/rtworkers"}))
def test_private_names_of_a_package_are_imported_by_itself_alone(
    checkout: Path, package: str
) -> None:
    wrong = [
        f"{path.relative_to(checkout)}:{line} imports {name}"
        for path in sorted((checkout / package).rglob("*.py"))
        for line, name in imported_names(path, with_members=True)
        if name.startswith(("shmring.", "rtworkers.")) and "._" in name
    ]
    assert not wrong


def test_containers_are_not_packages(checkout: Path) -> None:
    inits = [checkout / name / "__init__.py" for name in ("workers", "api", "tools")]
    assert not [str(path) for path in inits if path.exists()]


def circles(graph: Graph) -> list[list[str]]:
    """The strongly connected parts of more than one node (Tarjan)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = lowest[node] = len(order)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in order:
                visit(other)
            if other in stack:
                lowest[node] = min(lowest[node], lowest[other])
        if lowest[node] == order[node]:
            part = stack[stack.index(node) :]
            del stack[-len(part) :]
            if len(part) > 1:
                found.append(sorted(part))

    for node in graph:
        if node not in order:
            visit(node)
    return found


def without_text(source: str) -> str:
    return COMMENT_OR_STRING.sub(" ", source)


class CFile:
    """What a C file offers: functions. What it takes: names that it does not define itself."""

    def __init__(self, path: Path) -> None:
        text = without_text(path.read_text(encoding="utf-8"))
        defined = {match["name"]: match["head"] for match in DEFINITION.finditer(text)}
        self.offers = {name for name, head in defined.items() if "static" not in head.split()}
        self.takes = set(USE.findall(text)) - set(defined)


def calls(csrc: Path) -> dict[str, set[str]]:
    files = {str(path.relative_to(csrc)): CFile(path) for path in sorted(csrc.rglob("*.c"))}
    owners: dict[str, list[str]] = {}
    for name, file in files.items():
        for function in file.offers:
            owners.setdefault(function, []).append(name)
    graph: dict[str, set[str]] = {}
    for name, file in files.items():
        folder = str(Path(name).parent)
        graph[name] = set()
        for function in file.takes & owners.keys():
            # Two programs may have a function of one name. The one beside the caller is meant.
            beside = [owner for owner in owners[function] if str(Path(owner).parent) == folder]
            graph[name].update(beside or owners[function])
    return graph


def test_the_finder_finds_circles() -> None:
    graph = {"a": ["b"], "b": ["c"], "c": ["a", "d"], "d": ["e"], "e": [], "f": ["a"]}
    assert circles(graph) == [["a", "b", "c"]]


def test_c_files_call_each_other_one_way(checkout: Path) -> None:
    graph = calls(checkout / "csrc")
    assert sum(len(others) for others in graph.values()) > 300  # the reader above still reads
    assert circles(graph) == []


def test_headers_include_each_other_one_way(checkout: Path) -> None:
    csrc = checkout / "csrc"
    graph = {
        str(path.relative_to(csrc)): [
            match["ours"]
            for match in INCLUDE.finditer(path.read_text(encoding="utf-8"))
            if match["ours"]
        ]
        for path in sorted(csrc.rglob("*.h"))
    }
    assert circles(graph) == []


def modules(checkout: Path) -> Iterator[tuple[str, Path]]:
    for package in PY_ARROWS:
        top = checkout / package
        # A stub stands for its compiled module.
        for path in sorted([*top.rglob("*.py"), *top.rglob("*.pyi")]):
            parts = [top.name, *path.relative_to(top).with_suffix("").parts]
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def test_python_modules_import_each_other_one_way(checkout: Path) -> None:
    known = dict(modules(checkout))
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        graph[name] = set()
        if path.suffix == ".pyi":  # what a compiled module imports is not in its stub
            continue
        for _, imported in imported_names(path, with_members=True):  # also in functions
            if name.startswith(f"{imported}."):  # the package by name, to be looked into later
                continue
            target = imported if imported in known else imported.rpartition(".")[0]
            # A package's face collects what lies in it. Who lies in it may not look at the face.
            if target in known and target != name:
                graph[name].add(target)
    assert sum(len(others) for others in graph.values()) > 300
    assert circles(graph) == []
