"""Which lines tests reach. `make coverage` prints for each part how many lines `make test` and
`make check` reach: it builds the product with counters, and runs the two one after the other.

    python -P tests/reached.py run NAME PYTEST-ARGUMENT...

runs tests of Python with what is installed, and keeps the lines that they and the processes they
start reach in build/reached/NAME. `table NAME...` compares each name with all of them together.
`lines NAME NAME` prints the lines that only the second reaches.

A process that is killed takes its lines with it, so the numbers are never too high.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import coverage

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "build" / "reached"
TREE = DATA / "pip"
SITE = DATA / "site"
PARTS = ["shmring", "workers", "csrc/shm", "csrc/client", "csrc/worker"]
SIDE_BY_SIDE = str((os.cpu_count() or 1) + 1)

# A file's lines by its path in the repository.
Lines = dict[str, set[int]]


def call(*words: str, **environment: str) -> bool:
    """Run a program, and say whether it succeeded."""
    wanted = os.environ | environment
    return subprocess.run(words, cwd=ROOT, env=wanted, check=False).returncode == 0


def must(*words: str, **environment: str) -> None:
    if not call(*words, **environment):
        sys.exit(f"failed: {' '.join(words)}")


# --- running -------------------------------------------------------------------------------------


def build() -> None:
    """Install the product with counters into build/reached/site, and build all tests of C."""
    settings = ["build-dir=build/reached/pip", "install.strip=false"]
    settings += ["cmake.define.RT_COVERAGE=ON", "cmake.define.RT_TESTS=all"]
    shutil.rmtree(SITE, ignore_errors=True)
    words = [sys.executable, "-m", "pip", "install", "-qq", "--no-build-isolation", "--no-deps"]
    for setting in settings:
        words += ["--config-settings", setting]
    must(*words, "--target", str(SITE), str(ROOT))
    must("cmake", "--build", str(TREE), "--target", "c_tests", "--parallel", SIDE_BY_SIDE)


def run_python(name: str, arguments: list[str], **environment: str) -> bool:
    """Run pytest, and keep what it reached under `name`."""
    folder = DATA / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment |= {"COVERAGE_FILE": str(folder / "python"), "PYTHONSAFEPATH": "1"}
    tool = [sys.executable, "-P", "-m", "coverage"]
    passed = call(*tool, "run", "-m", "pytest", "-q", *arguments, **environment)
    call(*tool, "combine", "-q", **environment)
    return passed


def run_all(name: str, ctest_arguments: list[str], pytest_arguments: list[str]) -> bool:
    """Run tests of C and of Python with the product that `build` made."""
    for counters in TREE.rglob("*.gcda"):
        counters.unlink()
    # The filter does not know the calls that write the counters.
    environment = {"SHMRING_SYSCALL_FILTER": "off", "PYTHONPATH": str(SITE)}
    words = ["ctest", "--test-dir", str(TREE), "--parallel", SIDE_BY_SIDE, "--output-on-failure"]
    passed = call(*words, *ctest_arguments, **environment)
    words = ["-n", SIDE_BY_SIDE, "--dist", "loadfile", "--no-loadscope-reorder"]
    passed &= run_python(name, words + pytest_arguments, **environment)
    every, reached = read_counters()
    kept = {file: [sorted(every[file]), sorted(reached.get(file, ()))] for file in every}
    (DATA / name / "c.json").write_text(json.dumps(kept), encoding="utf-8")
    return passed


def read_counters() -> tuple[Lines, Lines]:
    """The lines of C that could be reached and those that were, as gcov reads them."""
    every: Lines = {}
    reached: Lines = {}
    notes = sorted(str(path) for path in TREE.rglob("*.gcno"))
    for i in range(0, len(notes), 20):
        words = ["gcov", "--json-format", "--stdout", *notes[i : i + 20]]
        done = subprocess.run(words, cwd=TREE, capture_output=True, text=True, check=True)
        for report in filter(lambda line: line.startswith("{"), done.stdout.splitlines()):
            for file in json.loads(report)["files"]:
                path = os.path.relpath(TREE / file["file"], ROOT)
                if path.startswith("csrc/"):
                    numbers = {line["line_number"]: line["count"] for line in file["lines"]}
                    every.setdefault(path, set()).update(numbers)
                    reached.setdefault(path, set()).update(n for n, c in numbers.items() if c)
    return every, reached


# --- showing -------------------------------------------------------------------------------------


def lines_of(name: str) -> tuple[Lines, Lines]:
    """The lines that could be reached and those that were."""
    settings = ROOT / "pyproject.toml"
    measured = coverage.Coverage(data_file=DATA / name / "python", config_file=settings)
    measured.load()
    every: Lines = {}
    reached: Lines = {}
    for path in [*ROOT.glob("shmring/**/*.py"), *ROOT.glob("workers/**/*.py")]:
        _, statements, _, missing, _ = measured.analysis2(str(path))
        file = str(path.relative_to(ROOT))
        every[file] = set(statements)
        reached[file] = every[file].difference(missing)
    of_c = DATA / name / "c.json"
    if of_c.exists():
        for file, (all_of_it, some) in json.loads(of_c.read_text(encoding="utf-8")).items():
            every[file] = set(all_of_it)
            reached[file] = set(some)
    return every, reached


def union(several: list[Lines]) -> Lines:
    return {file: set().union(*(s.get(file, ()) for s in several)) for s in several for file in s}


def count(lines: Lines, part: str) -> int:
    return sum(len(numbers) for file, numbers in lines.items() if file.startswith(part + "/"))


def table(names: list[str]) -> None:
    measured = [lines_of(name) for name in names]
    every = union([m[0] for m in measured])
    together = union([m[1] for m in measured])
    print("".join(f"{head:>15}" for head in ["", "lines", "reached", *names]))
    for part in PARTS:
        whole = count(together, part)
        if whole:
            cells = [count(m[1], part) for m in measured]
            shares = [f"{cell} {cell / whole:7.1%}" for cell in cells]
            print("".join(f"{c:>15}" for c in [part, str(count(every, part)), str(whole), *shares]))


def ranges(numbers: set[int]) -> str:
    runs = [
        [number for _, number in group]
        for _, group in groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0])
    ]
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)


def lines(few: str, many: str) -> None:
    seen = lines_of(few)[1]
    reached = lines_of(many)[1]
    lacking = {file: numbers - seen.get(file, set()) for file, numbers in reached.items()}
    for file, numbers in sorted(lacking.items(), key=lambda item: -len(item[1])):
        if numbers:
            print(f"{len(numbers):5} {file}: {ranges(numbers)}")


def main() -> int:
    match sys.argv[1:]:
        case ["all"]:
            build()
            passed = run_all("test", ["-L", "quick"], [])
            passed &= run_all("rest", ["-LE", "quick"], ["--check", "-m", "check"])
            print("make test runs what is called test, make check that and the rest:")
            table(["test", "rest"])
            if not passed:
                print("tests failed or broke off, so the numbers are too low", file=sys.stderr)
            return 0 if passed else 1
        case ["run", name, *arguments]:
            return 0 if run_python(name, arguments) else 1
        case ["table", *names] if names:
            table(names)
        case ["lines", few, many]:
            lines(few, many)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
