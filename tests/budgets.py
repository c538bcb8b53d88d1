"""Compare the lines of each room of the source tree with tests/budgets.txt.

A line of code is a line that is neither blank nor only a comment or a docstring. Usage, in a
checkout:

    budgets.py            name each room that is above its budget; exit code 1 if there is one
    budgets.py --write    write today's numbers, rounded up, into the table
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests" / "budgets.txt"

PRODUCT = ("csrc", "shmring", "workers", "api", "tools")
CODE = {".py": "Python", ".c": "C", ".h": "C", ".cpp": "C", ".js": "JavaScript"}
OTHER = {".toml": "TOML", ".html": "HTML"}
# What is data of the product. Elsewhere these are tables and configurations.
DATA = {".css": "CSS", ".json": "JSON", ".txt": "text", ".yml": "YAML"}
# What `make schema` writes. Its lines are also in the rooms of the files.
GENERATED = (
    *("shmring/_enums.py", "shmring/_numbers.py", "shmring/_option_rows.py"),
    "workers/rtworkers/layout.py",
)
GOALS = {"Python product": 38_000, "Python tests": 40_000}
# Folders whose subfolders are rooms.
DEEP = ("csrc/worker", "csrc/proto", "csrc/python", "csrc/worker/agents", "shmring/net")
_NOT_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def python_lines(text: str) -> int:
    """Return how many lines of a Python source are code."""
    prose: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                prose.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NOT_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - prose)


def c_lines(text: str) -> int:
    """Return how many lines of a C or JavaScript source are code."""
    text = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)
    text = re.sub(r"/\*.*?\*/", lambda found: "\n" * found[0].count("\n"), text, flags=re.S)
    return sum(1 for line in text.splitlines() if re.sub(r"//.*", "", line).strip())


def room_of(path: str) -> str:
    """Return the room of a file: a folder of the second level, below `DEEP` and tests a third."""
    parts = path.split("/")[:-1]
    depth = 3 if parts[0] == "tests" else 2
    depth += sum(1 for folder in DEEP if "/".join([*parts, ""]).startswith(f"{folder}/"))
    return "/".join(parts[:depth])


def count(path: str) -> tuple[str, int] | None:
    """Return the row of the table that a file belongs to, and how much it adds there."""
    top, suffix = path.split("/")[0], Path(path).suffix
    if suffix == ".md":
        if path.startswith(("tests/", ".github/")):
            return None
        of = "docs" if top == "docs" else "elsewhere"
        of = "docs/lab" if path.startswith("docs/lab/") else of
        return f"words of Markdown, {of}", len((ROOT / path).read_text("utf-8").split())
    data = suffix in DATA and top in PRODUCT and not path.endswith("CMakeLists.txt")
    if suffix in OTHER or data:
        row = f"{DATA[suffix]} product" if data else OTHER[suffix]
        return row, sum(map(bool, (ROOT / path).read_text("utf-8").split("\n")))
    if suffix not in CODE or top not in (*PRODUCT, "tests"):
        return None
    text = (ROOT / path).read_text("utf-8", "replace")
    lines_of_code = python_lines(text) if suffix == ".py" else c_lines(text)
    kind = "tests" if top == "tests" else "product"
    return f"{CODE[suffix]} {kind}, {room_of(path)}", lines_of_code


def measure() -> Counter[str]:
    """Return the size of each row, of the files that git knows."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    sizes: Counter[str] = Counter()
    for path in sorted(set(listed.stdout.splitlines())):
        row = count(path) if (ROOT / path).is_file() else None
        if row:
            sizes[row[0]] += row[1]
    sizes["generated Python"] = sum(
        python_lines((ROOT / path).read_text("utf-8")) for path in GENERATED
    )
    return sizes


def read_table(text: str) -> dict[str, int]:
    """Return the budget of each row."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {name: int(number) for number, name in (line.split(None, 1) for line in lines)}


def complaints(sizes: Counter[str], budgets: dict[str, int]) -> list[str]:
    """Return a sentence for each row that is above its budget, has none, or is no longer there."""
    said = []
    for row, size in sorted(sizes.items()):
        if row not in budgets:
            said.append(f"{row}: {size}, and no budget: add a row to tests/budgets.txt")
        elif size > budgets[row]:
            said.append(
                f"{row}: {size}, {size - budgets[row]} above the budget of {budgets[row]}: take "
                "something away, or raise it in tests/budgets.txt and say why in that commit"
            )
    said += [f"{row}: nothing is left: remove its row" for row in budgets if row not in sizes]
    return said


def rounded(row: str, size: int, old: int) -> int:
    """Return the budget to write for a row: a little more than its size."""
    if row.startswith("words"):
        return old  # the limits of the pages are fixed
    step = 10 if size < 1000 else 50
    return -(-size // step) * step


def main(arguments: list[str]) -> int:
    text = TABLE.read_text("utf-8")
    sizes, budgets = measure(), read_table(text)
    if arguments == ["--write"]:
        head = [line for line in text.splitlines() if line.startswith("#")]
        new = {row: rounded(row, sizes[row], budgets.get(row, 0)) for row in sorted(sizes)}
        TABLE.write_text("\n".join([*head, "", *(f"{n:6}  {r}" for r, n in new.items()), ""]))
        return 0
    for said in (complaint := complaints(sizes, budgets)):
        print(f"budget of {said}", file=sys.stderr)
    for kind, goal in GOALS.items():
        size = sum(number for row, number in sizes.items() if row.startswith(kind))
        print(f"{kind}: {size} lines of code, goal {goal}")
    return 1 if complaint else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
