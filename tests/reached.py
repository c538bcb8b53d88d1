"""Which lines tests reach: `python -P tests/reached.py run NAME PYTEST-ARGUMENT...` runs tests of
Python and keeps the lines that they and the processes they start reach in build/reached/NAME;
`table NAME [NAME...]` compares: each name with all of them together, `lines NAME NAME` prints the
lines that only the second reaches.

A process that is killed takes its lines with it, so what is shown is never too much.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import coverage

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "build" / "reached"
PARTS = ["shmring", "workers"]

# A file's lines by its path in the tree.
Lines = dict[str, set[int]]


def run(name: str, arguments: list[str]) -> int:
    """Run pytest, and keep what it reached under `name`."""
    folder = DATA / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = os.environ | {"COVERAGE_FILE": str(folder / "python"), "PYTHONSAFEPATH": "1"}
    tool = [sys.executable, "-P", "-m", "coverage"]
    command = [*tool, "run", "-m", "pytest", "-q", *arguments]
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    subprocess.run([*tool, "combine", "-q"], cwd=ROOT, env=environment, check=False)
    return status


def python_lines(name: str) -> tuple[Lines, Lines]:
    """The lines that could be reached and those that were."""
    measured = coverage.Coverage(
        data_file=DATA / name / "python", config_file=ROOT / "pyproject.toml"
    )
    measured.load()
    every: Lines = {}
    reached: Lines = {}
    for path in [*ROOT.glob("shmring/**/*.py"), *ROOT.glob("workers/**/*.py")]:
        _, statements, _, missing, _ = measured.analysis2(str(path))
        file = str(path.relative_to(ROOT))
        every[file] = set(statements)
        reached[file] = every[file].difference(missing)
    return every, reached


def union(several: list[Lines]) -> Lines:
    return {file: set().union(*(s.get(file, ()) for s in several)) for s in several for file in s}


def count(lines: Lines, part: str) -> int:
    return sum(len(numbers) for file, numbers in lines.items() if file.startswith(part + "/"))


def table(names: list[str]) -> None:
    measured = [python_lines(name) for name in names]
    every = union([m[0] for m in measured])
    together = union([m[1] for m in measured])
    print("".join(f"{head:>14}" for head in ["", "lines", "reached", *names]))
    for part in PARTS:
        whole = count(together, part)
        cells = [count(m[1], part) for m in measured]
        shares = [f"{cell} {cell / whole:6.1%}" for cell in cells]
        print("".join(f"{c:>14}" for c in [part, str(count(every, part)), str(whole), *shares]))


def ranges(numbers: set[int]) -> str:
    runs = [
        [number for _, number in group]
        for _, group in groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0])
    ]
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)


def lines(few: str, many: str) -> None:
    seen = python_lines(few)[1]
    lacking = {file: reached - seen[file] for file, reached in python_lines(many)[1].items()}
    for file, numbers in sorted(lacking.items(), key=lambda item: -len(item[1])):
        if numbers:
            print(f"{len(numbers):5} {file}: {ranges(numbers)}")


def main() -> int:
    match sys.argv[1:]:
        case ["run", name, *arguments]:
            return run(name, arguments)
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
