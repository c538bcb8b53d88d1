"""Reads ``csrc/rows/*.toml``, and makes a header of C of each: ``rows.py FOLDER``.

The rows are the only declarations of options, counters, gauges, histograms and events, and of the
numbers, enumerators and structs that Python reads from shared memory. CMake runs this program
before it compiles anything. `schema.py` makes Python and the tables of the documentation of the
same rows.

A file begins with the headers that its own header includes. Its tables are, by their `kind`:

    counter    name = [unit, meaning]
    gauge      name = [unit, meaning, number that stands for "not known", if there is one]
    histogram  name = meaning
    event      name = [FACT, BURST or ERROR, meaning, what its three numbers are]
    enum       name = number, or [number, meaning]
    struct     name = type, or [type, meaning], or a table: see rows/config.toml
    limits     name = a table: see rows/rtp.toml

Counters to events become a macro X(...) of the table's name and an enum, whose numbers follow the
order of the rows. They are stored in shared memory, so a new row goes to the end.
"""

from __future__ import annotations

import json
import struct
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

_TYPES = {"uint8_t": "B", "uint16_t": "H", "int16_t": "h", "uint32_t": "I", "uint64_t": "Q"}
_TYPES |= {"int64_t": "q", "double": "d", "char": "s"}
_TYPES |= {"rt_a32_t": "I", "rt_a64_t": "Q", "rt_ai64_t": "q"}


class Row(NamedTuple):
    """A row: its cells are those of its kind, without its meaning."""

    name: str
    cells: tuple[Any, ...]
    meaning: str
    option: dict[str, Any] = {}  # noqa: RUF012
    """What else a field of a configuration says: its limits, its default, whose option it is."""

    @property
    def flat(self) -> str:
        """Its name among all options of a channel."""
        return str(self.option.get("option", self.name))

    @property
    def field(self) -> str:
        """Its name in the object of Python that has it."""
        return str(self.option.get("field", self.flat))


class Table(NamedTuple):
    """A table of a file."""

    name: str
    kind: str
    about: dict[str, Any]
    """What else its head says, such as the page that shows it."""
    rows: tuple[Row, ...]


class File(NamedTuple):
    """What a file declares."""

    name: str
    include: tuple[str, ...]
    constants: dict[str, int]
    classes: dict[str, str]
    tables: tuple[Table, ...]


class Field(NamedTuple):
    """A field of a struct, its place, and its code for Python's `struct`: "" if it has none."""

    name: str
    declared: str
    meaning: str
    at: int
    code: str
    size: int
    line: int
    """What its place is a multiple of."""


class Sizes(NamedTuple):
    """What the places of fields follow from."""

    numbers: dict[str, int]
    structs: dict[str, tuple[int, int]]
    """Size and alignment of each type that is a struct."""


_KEYS = {"type", "means", "of", "option", "field", "words", "as", "literal", "switch", "ratio"}
_KEYS |= {"low", "high", "power", "default", "none", "none_in", "unset", "zero", "shown"}
_MEANING_AT = {"counter": 1, "gauge": 1, "histogram": 0, "event": 1, "enum": 1, "struct": 1}


def read(folder: Path) -> list[File]:
    """All files, by name."""
    return [_file(path) for path in sorted(folder.glob("*.toml"))]


def _file(path: Path) -> File:
    text = tomllib.loads(path.read_text("utf-8"))
    include = tuple(text.pop("include", ()))
    constants, classes = text.pop("constants", {}), text.pop("classes", {})
    tables = []
    for name, table in text.items():
        kind, rows = table.pop("kind"), table.pop("rows")
        made = tuple(_row(kind, *item) for item in rows.items())
        tables.append(Table(name, kind, table, made))
    return File(path.stem, include, constants, classes, tuple(tables))


def _row(kind: str, name: str, value: Any) -> Row:
    if isinstance(value, dict):
        if unknown := value.keys() - _KEYS:
            raise ValueError(f"{name} has {min(unknown)}: use {', '.join(sorted(_KEYS))}")
        if ("low" in value) != ("high" in value):
            raise ValueError(f"{name} has one of low and high: give both")
        return Row(name, (value.get("type", ""),), " ".join(value.get("means", "").split()), value)
    cells = list(value) if isinstance(value, list) else [value]
    at = _MEANING_AT[kind]
    meaning = cells.pop(at) if len(cells) > at else ""
    return Row(name, tuple(cells), meaning)


def sizes_of(files: list[File]) -> Sizes:
    """The numbers of all files, and the sizes of their structs."""
    numbers = {name: value for file in files for name, value in file.constants.items()}
    sizes = Sizes(numbers, {"rt_hist_t": (numbers["RT_HIST_BYTES"], 8)})
    for table in (table for file in files for table in file.tables if table.kind == "struct"):
        found = fields(table, sizes)
        line = max(field.line for field in found)
        end = found[-1].at + found[-1].size
        sizes.structs[f"{table.name}_t"] = end + -end % line, line
    return sizes


def words(files: list[File], row: Row) -> dict[str, int]:
    """The words that an option takes, and their numbers. Empty: it takes no words."""
    name = row.option.get("words")
    if name is None:
        return {}
    (table,) = (table for file in files for table in file.tables if table.name == name)
    known = {each.name: each.cells[0] for each in table.rows}
    shown = row.option.get("as") or {word: word for word in known}
    return {word: known[own] for word, own in shown.items()}


def limits(files: list[File], row: Row) -> tuple[int, int] | None:
    """The lowest and the highest number that a field may have. None: code of its own checks it."""
    option = row.option
    if option.get("switch"):
        return 0, 1
    ends = (option[end] for end in ("low", "high") if end in option)
    numbers = [*words(files, row).values(), *ends]
    if not numbers:
        return None
    stands = [option[name] for name in ("unset", "zero") if name in option]
    return min(*numbers, *stands), max(numbers)


def default(files: list[File], row: Row) -> int:
    """The number of a field in a configuration that nobody has changed."""
    given = row.option.get("default", row.option.get("unset", 0))
    return words(files, row)[given] if isinstance(given, str) else int(given)


def fields(table: Table, sizes: Sizes) -> list[Field]:
    """The fields of a struct, at their places."""
    found, at = [], 0
    for row in table.rows:
        kind, _, many = row.cells[0].rpartition(" ")[2].partition("[")
        count = many.rstrip("]")
        times = int(count) if count.isdecimal() else sizes.numbers.get(count, 1)
        code = _TYPES.get(kind, "")
        width, line = (struct.calcsize(code),) * 2 if code else sizes.structs[kind]
        at += -at % line
        if many:
            code = f"{times}s" if kind == "char" else ""
        declared = row.cells[0].partition("[")[0] + f" {row.name}" + (f"[{many}" if many else "")
        said = "" if row.option.get("of") else row.meaning
        found.append(Field(row.name, declared, said, at, code, width * times, line))
        at += width * times
    return found


# --- C --------------------------------------------------------------------------------------------


def header(file: File, files: list[File]) -> str:
    """The header of one of all files."""
    guard = f"ROWS_{file.name.upper()}_H"
    lines = [f"/* Made by csrc/rows.py from csrc/rows/{file.name}.toml. */"]
    lines += [f"#ifndef {guard}", f"#define {guard}", ""]
    lines += [f'#include "{name}"' for name in file.include]
    lines += ["#include <stddef.h>", "#include <stdint.h>", ""]
    lines += [f"#define {name} {_number(value)}" for name, value in file.constants.items()]
    for table in file.tables:
        if table.kind == "struct":
            lines += ["", *_struct(table, sizes_of(files)), *_options(table, files)]
        elif table.kind == "limits":
            lines += ["", *_options(table, files)]
        elif table.kind == "enum":
            lines += ["", *_enum(table, [(row, row.cells[0]) for row in table.rows])]
        else:
            lines += ["", f"#define {table.name}(X) \\"]
            lines += [" \\\n".join(f"    X({', '.join(_cells(table, row))})" for row in table.rows)]
            lines += [*_enum(table, [(row, at) for at, row in enumerate(table.rows)])]
    return "\n".join([*lines, "", "#endif", ""])


def _number(value: int) -> str:
    if value > 0xFFFFFFFF:
        return f"UINT64_C({value:#x})"
    return f"{value}u" if value < 1 << 24 else f"{value:#x}u"


def _cells(table: Table, row: Row) -> list[str]:
    meaning = json.dumps(row.meaning)
    match table.kind:
        case "event":
            kind, *labels = row.cells
            return [row.name, kind, meaning, *map(json.dumps, (*labels, "", "", "")[:3])]
        case "gauge":
            unit, *none = row.cells
            return [row.name, unit, str(none[0]) if none else "", meaning]
        case _:
            return [row.name, *row.cells, meaning]


def _enum(table: Table, numbers: list[tuple[Row, int]]) -> list[str]:
    name, prefix, total = table.about["enum"], table.about["prefix"], table.about.get("total")
    lines = [f"typedef enum {name} {{"]
    for row, number in numbers:
        word = row.name.upper() if table.kind == "enum" else row.name
        said = f" /* {row.meaning} */" if row.meaning and table.kind == "enum" else ""
        lines.append(f"    {prefix}{word} = {number},{said}")
    lines += [f"    {total}"] if total else []
    return [*lines, f"}} {name}_t;"]


def _options(table: Table, files: list[File]) -> list[str]:
    """The defaults and the limits of a configuration."""
    lines = []
    if name := table.about.get("defaults"):
        numbers = {row.name: default(files, row) for row in table.rows if row.option}
        shown = [f"    .{field} = {number}" for field, number in numbers.items() if number]
        lines += [f"#define {name} \\", ", \\\n".join(shown)]
    defaulted = table.kind == "limits" and not table.about.get("strict")  # 0: the default
    if prefix := table.about.get("prefix"):
        known = [row for row in table.rows if "default" in row.option]
        lines += [f"#define {prefix}{row.name} {default(files, row)}" for row in known]
    if name := table.name if table.kind == "limits" else table.about.get("limits"):
        shown = []
        for row in table.rows:
            found = limits(files, row) if row.option else None
            if found is not None:
                low = min(found[0], 0) if defaulted else found[0]
                said, power = row.option.get("shown", row.flat), row.option.get("power", False)
                shown.append(f'    X({row.name}, "{said}", {low}, {found[1]}, {int(power)})')
        lines += [f"#define {name}(X) \\", " \\\n".join(shown)]
    if name := table.about.get("ratios"):
        ratios = [(row.name, row.option["ratio"]) for row in table.rows if "ratio" in row.option]
        shown = [f"    X({field}, {most})" for field, most in ratios]
        lines += [f"#define {name}(X) \\", " \\\n".join(shown)]
    return lines


def _struct(table: Table, sizes: Sizes) -> list[str]:
    found = fields(table, sizes)
    lines = [f"typedef struct {table.name} {{"]
    for field in found:
        said = f" /* {field.meaning} */" if field.meaning else ""
        lines.append(f"    {field.declared};{said}")
    lines.append(f"}} {table.name}_t;")
    for field in found if table.about.get("python") else ():
        place = f"offsetof({table.name}_t, {field.name}) == {field.at}"
        lines.append(f'_Static_assert({place}, "as Python reads {field.name}");')
    return lines


def main(folder: str) -> None:
    files = read(Path(__file__).with_suffix(""))
    made = Path(folder)
    made.mkdir(parents=True, exist_ok=True)
    for file in files:
        path, text = made / f"{file.name}.h", header(file, files)
        if not path.is_file() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
