"""Puts small faults into the Python code, one at a time, to see if a test fails: `make mutants-py`.

    python -P tests/mutants.py [--seed N] [--count N] [--within FOLDER] [--tests PATH...] [--jobs N]

The seed chooses the mutants in `shmring`, `rtworkers` and `rtstat` by their text and function, not
by their line: an edit elsewhere leaves them as they are. Each runs against the tests that reach its
line, the quickest first, until one fails. Which tests reach what is measured once, and kept in
build/mutants with a copy of the installed packages, where the faults are made. --tests: only these
tests, and a measurement anew. tests/mutants.txt gets a line for each mutant. What was found is kept
in build/mutants, too: a run that was stopped continues there.

Not mutmut or cosmic-ray: both change a source tree in place and run tests in one process, and our
tests need an installed package with compiled modules and start processes of their own.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "mutants"
SITE = WORK / "site"
PACKAGES = ("shmring", "rtworkers", "rtstat")
MOST_SECONDS = 60
# How long the tests of a mutant may take together, by what each took alone. Others are left out.
TEST_SECONDS = 30
NO_TEST = "unreached"
SLOW = "slow"
"""Its tests do not end in time without the fault, either: this machine is busy."""

# --- mutants --------------------------------------------------------------------------------------

SWAPS: dict[type[ast.AST], type[ast.AST]] = {}
for one, other in (
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot)),
    *((ast.In, ast.NotIn), (ast.And, ast.Or), (ast.Add, ast.Sub), (ast.Mult, ast.FloorDiv)),
    *((ast.BitAnd, ast.BitOr), (ast.LShift, ast.RShift)),
):
    SWAPS |= {one: other, other: one}
# What only type checkers read, or what has no position of its own.
PASSED_OVER = ("annotation", "returns", "decorator_list", "pattern", "type_comment")


class Mutant(NamedTuple):
    file: str
    line: int
    """The first line of its statement: that is the one which is measured."""
    function: str
    start: int
    """Where the old text begins in the file, in bytes."""
    old: str
    new: str

    def __str__(self) -> str:
        old, new = (" ".join(text.split())[:100] for text in (self.old, self.new))
        return f"{self.file} {self.function}: {old} -> {new}"


def faults(node: ast.AST, place: str) -> Iterator[str]:
    """The texts that may stand in place of a node. place: the field that holds it."""
    match node:
        case ast.Name() | ast.Attribute() | ast.Call() | ast.NamedExpr() if place == "test":
            yield f"(not ({ast.unparse(node)}))"
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in SWAPS:
            yield unparsed(ast.Compare(left, [SWAPS[type(op)]()], [right]))
        case ast.BoolOp(op=op, values=values):
            yield unparsed(ast.BoolOp(SWAPS[type(op)](), values))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in SWAPS and not text_in(node):
            yield unparsed(ast.BinOp(left, SWAPS[type(op)](), right))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield unparsed(operand)
        case ast.Constant(value=bool(value)):
            yield str(not value)
        case ast.Constant(value=int(value)):
            yield str(value + 1)
        case ast.AugAssign(target=target, op=op, value=value) if type(op) in SWAPS:
            yield ast.unparse(ast.AugAssign(target, SWAPS[type(op)](), value))
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield "return None"
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.Raise():
            yield "pass"


def unparsed(node: ast.expr) -> str:
    return f"({ast.unparse(ast.fix_missing_locations(node))})"


def text_in(node: ast.AST) -> bool:
    """Whether texts are joined: a difference of them would fail in any test."""
    constants = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant))
    return any(isinstance(value, (str, bytes)) for value in constants)


def mutants_of(file: str, source: bytes) -> Iterator[Mutant]:
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def visit(node: ast.AST, place: str, function: str, statement: int) -> Iterator[Mutant]:
        if isinstance(node, ast.JoinedStr) or is_for_checkers(node):
            return
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            function = f"{function}.{node.name}".lstrip(".")
        if isinstance(node, (ast.stmt, ast.expr)):
            statement = node.lineno if isinstance(node, ast.stmt) else statement
            start = starts[node.lineno - 1] + node.col_offset
            end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
            old = source[start:end].decode()
            for new in faults(node, place) if function else ():
                yield Mutant(file, statement, function, start, old, new)
        for name, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and name not in PASSED_OVER:
                    yield from visit(child, name, function, statement)

    yield from visit(ast.parse(source), "", "", 0)


def is_for_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def chosen(seed: int, count: int, within: str) -> list[Mutant]:
    """The mutants of a seed, in the order of their files."""
    found = []
    for path in sorted(path for name in PACKAGES for path in (SITE / name).rglob("*.py")):
        file, alike = str(path.relative_to(SITE)), Counter[str]()
        if not file.startswith(within):
            continue
        for mutant in mutants_of(file, path.read_bytes()):
            alike[str(mutant)] += 1
            key = f"{seed} {mutant} {alike[str(mutant)]}"
            found.append((hashlib.sha256(key.encode()).digest(), mutant))
    return sorted(mutant for _, mutant in sorted(found)[:count])


# --- which tests reach what -----------------------------------------------------------------------

_SETTINGS = f"""\
[run]
source_pkgs = {", ".join(PACKAGES)}
parallel = true
data_file = {WORK / "data" / "lines"}
context = ${{SHMRING_MUTANTS_TEST-}}
patch = _exit
disable_warnings = module-not-imported, module-not-measured, no-data-collected
"""


class Measured(NamedTuple):
    seconds: dict[str, float]
    """Of each test that passed."""
    reach: dict[str, dict[str, list[str]]]
    """By file and line: the tests that reach it."""


class Plugin:
    """Names the running test to coverage, here and in the processes that it starts."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    def pytest_runtest_setup(self, item: Any) -> None:
        import coverage

        measuring = coverage.Coverage.current()
        if measuring is not None:
            measuring.switch_context(item.nodeid)
        os.environ["SHMRING_MUTANTS_TEST"] = item.nodeid

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.outcome != "passed":
            self.failed.add(report.nodeid)
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration

    def pytest_sessionfinish(self, session: Any) -> None:
        if not hasattr(session.config, "workerinput"):  # it has the reports of all workers
            passed = {test: s for test, s in self.seconds.items() if test not in self.failed}
            (WORK / "seconds.json").write_text(json.dumps(passed), encoding="utf-8")


def pytest_configure(config: Any) -> None:
    """This file is a plugin of pytest, too."""
    config.pluginmanager.register(Plugin())


def measure(tests: list[str], jobs: int) -> Measured:
    """Run the tests once, without faults. Return what they reach."""
    import coverage

    shutil.rmtree(WORK, ignore_errors=True)
    (WORK / "data").mkdir(parents=True)
    for name in PACKAGES:
        package = Path(__import__(name).__file__ or "").parent
        shutil.copytree(package, SITE / name)
    settings = WORK / "coverage.ini"
    settings.write_text(_SETTINGS, encoding="utf-8")
    words = ["-p", "mutants", "-n", str(jobs), "--dist", "loadfile", *tests]
    path = os.pathsep.join([str(SITE), str(ROOT / "tests")])
    environment = {"COVERAGE_PROCESS_START": str(settings), "PYTHONPATH": path}
    run_tests(words, environment, None)
    data = coverage.Coverage(data_file=str(WORK / "data" / "lines"), config_file=str(settings))
    data.combine()
    lines = data.get_data()
    reach = {
        str(Path(file).relative_to(SITE)): {
            str(line): [test for test in tests if test]
            for line, tests in lines.contexts_by_lineno(file).items()
        }
        for file in lines.measured_files()
    }
    seconds = json.loads((WORK / "seconds.json").read_text("utf-8"))
    measured = Measured(seconds, reach)
    (WORK / "measured.json").write_text(json.dumps(measured), encoding="utf-8")
    return measured


def tests_of(mutant: Mutant, measured: Measured) -> list[str]:
    """The tests that reach a mutant, the quickest first, as far as the time reaches."""
    found = measured.reach.get(mutant.file, {}).get(str(mutant.line), [])
    left, taken = float(TEST_SECONDS), []
    for test in sorted({*found} & measured.seconds.keys(), key=measured.seconds.__getitem__):
        left -= measured.seconds[test]
        if left < 0 and taken:
            break
        taken.append(test)
    return taken


# --- running --------------------------------------------------------------------------------------


def run_tests(words: list[str], environment: dict[str, str], limit: float | None) -> int | None:
    """Run pytest. Return its exit code, or None if it was stopped at the limit."""
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    out = subprocess.DEVNULL if limit else None
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        stdout=out,
        stderr=out,
        start_new_session=True,
    ) as running:
        try:
            return running.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)


def verdict(mutant: Mutant, measured: Measured) -> str:
    """Put the fault in, run its tests, and take it out."""
    tests = tests_of(mutant, measured)
    if not tests:
        return NO_TEST
    path = SITE / mutant.file
    source, stat = path.read_bytes(), path.stat()
    end = mutant.start + len(mutant.old.encode())
    words, place = ["-x", *tests], {"PYTHONPATH": str(SITE)}
    path.write_bytes(source[: mutant.start] + mutant.new.encode() + source[end:])
    try:
        code = run_tests(words, place, MOST_SECONDS)
    finally:
        path.write_bytes(source)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    if code is None and run_tests(words, place, MOST_SECONDS) is None:
        return SLOW
    return {0: "survived", None: "killed (hung)"}.get(code, "killed")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=33)
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--within", default="", help="files whose path begins so")
    parser.add_argument("--tests", nargs="+", default=[])
    parser.add_argument("--jobs", type=int, default=(os.cpu_count() or 1) + 1, help="to measure")
    parser.add_argument("--to", type=Path, default=ROOT / "tests" / "mutants.txt")
    arguments = parser.parse_args()
    kept = WORK / "measured.json"
    if arguments.tests or not kept.exists():
        measured = measure(arguments.tests, arguments.jobs)
    else:
        measured = Measured(*json.loads(kept.read_text("utf-8")))
    lines: list[str] = []
    counts = Counter[str]()
    verdicts = WORK / "verdicts.json"
    known: dict[str, str] = json.loads(verdicts.read_text("utf-8")) if verdicts.exists() else {}
    for mutant in chosen(arguments.seed, arguments.count, arguments.within):
        began, key = time.monotonic(), f"{mutant.start} {mutant}"
        if key not in known:
            known[key] = verdict(mutant, measured)
            verdicts.write_text(json.dumps(known), encoding="utf-8")
        counts[known[key].partition(" ")[0]] += 1
        lines.append(f"{known[key]:14} {mutant}")
        print(f"{time.monotonic() - began:5.1f} s  {lines[-1]}", flush=True)
    numbers = ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))
    head = f"# seed {arguments.seed} {arguments.within}: {numbers}".replace(" :", ":")
    arguments.to.write_text("\n".join([head, *lines, ""]), encoding="utf-8")
    print(head)


if __name__ == "__main__":
    main()
