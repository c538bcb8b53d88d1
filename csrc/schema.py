"""Makes the files that repeat the rows: ``make schema``.

The tables in ``csrc/rows`` are the only declarations of options, counters, gauges, histograms,
events and shared numbers. `rows.py` reads them and makes the headers of C. This program writes the
Python modules and the tables of the documentation that show them. A test compares the committed
files with its output.

    python csrc/schema.py               what is made from the rows
    python csrc/schema.py --installed   the tables of pages that the installed package explains
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any, is_typeddict

sys.path.insert(0, str(Path(__file__).parent))
import rows
from rows import File, Row, Sizes, Table

_MARK = "Made by csrc/schema.py from csrc/rows: edit those, then run `make schema`."
_UNITS = {"q8": "share"}  # of a number as C has it: of the same in Python
_OPTIONS_PAGE, _CYCLIC_PAGE = "docs/reference/options.md", "docs/reference/cyclic.md"
_RTP_PAGE, _NETFLUX_PAGE = "docs/reference/rtp.md", "docs/reference/netflux.md"
_UDT_PAGE = "docs/reference/udt.md"

# --- writing Python -------------------------------------------------------------------------------


# They are bases of classes, which have the methods: making these takes milliseconds.
_FROZEN = "frozen=True, slots=True, kw_only=True, repr=False"
_PARTLY = "frozen=True, kw_only=True, init=False, repr=False, eq=False"


def _module(files: list[File]) -> str:
    lines = [
        '"""Counters, gauges and histograms."""',
        "",
        f"# {_MARK}",
        "# ruff: noqa: E501, RUF009",
        "",
        "from dataclasses import dataclass",
        "",
        "from shmring._facts import fact",
        "from shmring.histogram import Histogram",
    ]
    for file in files:
        for name, about in file.classes.items():
            lines += ["", "", f"@dataclass({_PARTLY})", f"class {name}:", f'    """{about}"""', ""]
            for table in file.tables:
                if table.about.get("class") == name:
                    lines += [_field(table, row) for row in table.rows]
    return "\n".join(lines) + "\n"


def _field(table: Table, row: Row) -> str:
    unit, *none = row.cells or ("ns",)
    arguments = [f'"{_UNITS.get(unit, unit)}"', f'"{row.meaning}"']
    kind = {"flag": "bool", "q8": "float"}.get(unit, "int")
    if table.kind == "histogram":
        kind = "Histogram"
    elif none:
        kind += " | None"
        arguments.append(f"none={none[0]}")
    if unit == "q8":
        arguments.append("scale=1 / 256")
    return f"    {row.name}: {kind} = fact({', '.join(arguments)})"


# --- what all processes share ---------------------------------------------------------------------


def struct_of(table: Table, sizes: Sizes) -> tuple[str, list[str], list[str]]:
    """The format of a struct for Python's `struct`, padding included, its fields, and the places
    of those that have no format."""
    text, at, names, places = "<", 0, [], []
    for field in rows.fields(table, sizes):
        gap = field.at - at
        text += f"{gap}x" if gap else ""
        text += field.code or f"{field.size}x"
        at = field.at + field.size
        if field.code:
            names.append(field.name)
        elif not field.name.startswith("pad"):
            places.append(f"{field.name.upper()}_AT = {field.at}")
    return text, names, places


def _layout(files: list[File]) -> str:
    sizes = rows.sizes_of(files)
    tables = [table for file in files for table in file.tables]
    lines = ['"""Numbers and formats that processes share: shared memory and control messages."""']
    lines += ["", f"# {_MARK}", "# ruff: noqa: E501", "", "from __future__ import annotations", ""]
    lines += ["from enum import IntEnum", ""]
    for name, value in sizes.numbers.items():
        lines.append(f"{name} = {value if value < 1 << 24 else hex(value)}")
    lines.append("")
    for table in tables:
        if table.kind == "struct" and table.about.get("python"):
            text, names, places = struct_of(table, sizes)
            stem = table.name.removeprefix("shm_").upper()
            lines += [f'{stem} = "{text}"', f"{stem}_FIELDS = {tuple(names)!r}".replace("'", '"')]
            lines += places
    lines.append("")
    for table in tables:
        if table.kind == "enum" and table.name != "OP":
            lines.append(f"{table.name} = {_words(table)!r}".replace("'", '"'))
    events = next(table for table in tables if table.kind == "event")
    operations = next(table for table in tables if table.name == "OP")
    ids = {row.name: number for number, row in enumerate(events.rows)}
    lines += _class("Op", "What is asked of a worker.", _words(operations))
    lines += _class("EventId", "Rows of `EVENTS`.", ids)
    lines += ["", "", "EVENTS = ("]
    for row in events.rows:
        kind, *labels = row.cells
        shown = ", ".join(f'"{label}"' for label in (*labels, "", "", "")[:3])
        lines.append(f'    ("{row.name}", "{row.meaning}", {kind == "ERROR"}, ({shown})),')
    about = "Name, meaning, whether it goes into the log of errors, names of its numbers."
    lines += [")", f'"""{about}"""']
    return "\n".join(lines) + "\n"


def _words(table: Table) -> dict[str, int]:
    return {row.name: row.cells[0] for row in table.rows}


def _class(name: str, about: str, numbers: dict[str, int]) -> list[str]:
    head = ["", "", f"class {name}(IntEnum):", f'    """{about}"""', ""]
    return head + [f"    {word.upper()} = {number}" for word, number in numbers.items()]


# --- enums of the public interface ----------------------------------------------------------------


def _enums(files: list[File]) -> str:
    lines = ['"""Enums whose numbers are in shared memory, and the words that options take."""', ""]
    lines += [f"# {_MARK}", "", "from enum import StrEnum", "from typing import Literal", ""]
    tables = [table for file in files for table in file.tables]
    for table in tables:
        literals = {table.about["literal"]: table} if "literal" in table.about else {}
        literals |= {row.option["literal"]: row for row in table.rows if "literal" in row.option}
        for name, own in literals.items():
            words = list(_words(own) if isinstance(own, Table) else own.option["as"])
            lines.append(f"{name} = Literal{words!r}".replace("'", '"'))
    for table in tables:
        if "public" in table.about:
            name, about = table.about["public"], table.about["about"]
            lines += ["", "", f"class {name}(StrEnum):", f'    """{about}"""', ""]
            for row in table.rows:
                lines.append(f'    {row.name.upper()} = "{row.name}"')
                if row.meaning:
                    lines.append(f'    """{row.meaning[0].upper()}{row.meaning[1:]}."""')
    return "\n".join(lines) + "\n"


# --- options --------------------------------------------------------------------------------------


_OPTION = '''

class Option(NamedTuple):
    """The limits of an option, and its field in ``shm_config_t``."""

    field: str
    words: Mapping[str, int] | None = None
    switch: bool = False
    low: int = 0
    high: int = 0
    ratio: int = 0
    """A number above 1, up to this one."""
    unset: int | None = None
    """The number that stands for None. None: no number does."""
    power: bool = False
    """0 or a power of two."""
    default: int = 0
    """Of an engine's own struct: the number that 0 stands for."""
    zero: int = 0
    """Of an engine's own struct: the number that stands for 0."""
'''


def _options(files: list[File]) -> str:
    tables = [table for file in files for table in file.tables if "options" in table.about]
    found = [row for table in tables for row in table.rows if "of" in row.option]
    kinds = dict.fromkeys(kind for row in found for kind in row.option["of"] if kind != "open")
    used = [row for row in found if row.option["of"] != ["open"]]
    literals = sorted({_literal(files, row) for row in used} - {"bool", "int", "float"})
    lines = ['"""Options: their limits, and fields of the objects that have them."""', ""]
    lines += [f"# {_MARK}", "# ruff: noqa: E501", "", "from collections.abc import Mapping"]
    lines += ["from dataclasses import dataclass", "from typing import ClassVar, NamedTuple", ""]
    lines += ["from shmring._enums import (", *(f"    {name}," for name in literals), ")"]
    lines += ["from shmring._spec import Spec", *_OPTION.splitlines()]
    for table in tables:
        own = [row for row in table.rows if "of" in row.option]
        lines += ["", f"{table.about['options']}: dict[str, Option] = {{"]
        lines += [f'    "{row.flat}": Option({_limits(files, row, table)}),' for row in own]
        lines.append("}")
    lines += ["", "MEANINGS = {"]
    lines += [f'    "{row.flat}": """{row.meaning}""",' for row in found if row.meaning]
    lines.append("}")
    for kind in kinds:
        own = [row for row in found if kind in row.option["of"]]
        lines += ["", "", f"@dataclass({_FROZEN})", f"class {kind}Rows(Spec):"]
        lines += [f'    """Fields of `{kind}`."""', ""]
        lines += [f"    {row.field}: {_typed(files, kind, row)}" for row in own]
        if flat := {row.field: row.flat for row in own if row.field != row.flat}:
            lines += ["", f"    _flat: ClassVar[Mapping[str, str]] = {json.dumps(flat)}"]
    return "\n".join(lines) + "\n"


def _limits(files: list[File], row: Row, table: Table) -> str:
    option, shown = row.option, [f'"{row.name}"']
    if words := rows.words(files, row):
        shown.append(f"words={json.dumps(words)}")
    shown += [f"switch={option['switch']}"] if "switch" in option else []
    names = ["low", "high", "ratio", "unset", "power"]
    if table.kind == "limits" and not table.about.get("strict"):
        names += ["default", "zero"]
    return ", ".join(shown + [f"{name}={option[name]}" for name in names if name in option])


def _literal(files: list[File], row: Row) -> str:
    """The type of an option."""
    if "words" in row.option:
        tables = [table for file in files for table in file.tables]
        own = next(table for table in tables if table.name == row.option["words"])
        return str(row.option.get("literal", own.about.get("literal")))
    return "bool" if "switch" in row.option else "float" if "ratio" in row.option else "int"


def _typed(files: list[File], kind: str, row: Row) -> str:
    """Type and default of a field."""
    option, made = row.option, _literal(files, row)
    if "unset" in option or "none" in option or kind in option.get("none_in", ()):
        return f"{made} | None = None"
    default = option.get("default", False if made == "bool" else 0)
    shown = f"{default:_}" if type(default) is int else json.dumps(default)
    return f"{made} = {shown if made != 'bool' else default}"


# --- writing Markdown -----------------------------------------------------------------------------


def _show(table: Table) -> str:
    if table.kind == "histogram":
        lines = ["| histogram | meaning |", "|---|---|"]
        lines += [f"| `{row.name}` | {row.meaning} |" for row in table.rows]
        return "\n".join(lines) + "\n"
    head = [f"| {table.kind} | unit | meaning |", "|---|---|---|"]
    for row in table.rows:
        unit = _UNITS.get(row.cells[0], row.cells[0])
        head.append(f"| `{row.name}` | {unit} | {row.meaning} |")
    return "\n".join(head) + "\n"


def replace_table(page: str, heading: str, table: str) -> str:
    """The page with another first table below a heading. Raises ValueError where there is none."""
    pattern = rf"(^{re.escape(heading)}\n(?:(?![#|]).*\n)*)((?:\|.*\n)+)"
    made, count = re.subn(pattern, lambda found: found[1] + table, page, count=1, flags=re.M)
    if count != 1:
        raise ValueError(f"no table below {heading!r}")
    return made


# --- everything -----------------------------------------------------------------------------------


def make(root: Path) -> dict[str, str]:
    """What every derived file must hold, by its path below the checkout."""
    declared = rows.read(root / "csrc" / "rows")
    files = {
        "shmring/_enums.py": _enums(declared),
        "shmring/_numbers.py": _module(declared),
        "shmring/_option_rows.py": _options(declared),
        "workers/rtworkers/layout.py": _layout(declared),
    }
    for table in (table for file in declared for table in file.tables if "page" in table.about):
        path = table.about["page"]
        page = files.get(path) or (root / path).read_text("utf-8")
        files[path] = replace_table(page, table.about["heading"], _show(table))
    return files


def make_rtstat(root: Path) -> dict[str, str]:
    """The same of the pages on rtstat, whose tables are in the installed package."""
    from rtstat import fields_page, troubles_page

    parts = (
        ("docs/reference/rtstat.md", "| kind |", fields_page),
        ("docs/howto/troubles.md", "| name | severity |", troubles_page),
    )
    files = {}
    for path, start, made in parts:
        head = (root / path).read_text("utf-8").partition(f"\n{start}")[0]
        files[path] = f"{head}\n{made.page()}"
    return files


def option_table(explained: Any) -> str:
    """The table of the options that a docstring explains, each as ``name: text``.

    The defaults are those of the signature. A typed dictionary has none, and a text says what None
    means.
    """
    lines = ["| option | meaning |", "|---|---|"]
    if is_typeddict(explained):
        defaults = dict.fromkeys(explained.__annotations__)
    else:
        parameters = inspect.signature(explained).parameters
        defaults = {name: item.default for name, item in parameters.items() if name != "engine"}
    for entry in re.split(r"\n(?=\w+: )", inspect.cleandoc(explained.__doc__)):
        name, _, text = entry.partition("\n\n")[0].partition(": ")
        if name in defaults:
            words = " ".join(text.split()).replace("|", r"\|")
            lines.append(f"| `{name}{_default(defaults[name])}` | {words[0].upper()}{words[1:]} |")
    return "\n".join(lines) + "\n"


def _default(value: object) -> str:
    if value is None or value is inspect.Parameter.empty:
        return ""
    return f"={value:_}" if type(value) is int else f"={value!r}"


def make_options(root: Path) -> dict[str, str]:
    """The pages whose tables are made from the docstrings of the installed package."""
    import shmring
    from shmring import udt
    from shmring.rtp import Nack, Playout, Rtcp

    parts = (
        (_OPTIONS_PAGE, "## Of `open`", shmring.Pool.open),
        (_OPTIONS_PAGE, "## Of `Udp`", shmring.Udp),
        (_OPTIONS_PAGE, "## Of `Queue`", shmring.Queue),
        (_OPTIONS_PAGE, "## Of `Socket`", shmring.Socket),
        (_OPTIONS_PAGE, "## Of `Multicast`", shmring.Multicast),
        (_OPTIONS_PAGE, "## Of `Share`", shmring.Share),
        (_RTP_PAGE, "## Options", shmring.Rtp),
        (_RTP_PAGE, "### Of `Playout`", Playout),
        (_RTP_PAGE, "### Of `Rtcp`", Rtcp),
        (_RTP_PAGE, "### Of `Nack`", Nack),
        (_CYCLIC_PAGE, "## Options", shmring.Cyclic),
        (_NETFLUX_PAGE, "## Options", shmring.Netflux),
        (_UDT_PAGE, "### Of a connection", udt.UdtOptions),
        (_UDT_PAGE, "### Of `connect`", udt.ConnectOptions),
        (_UDT_PAGE, "### Of a port", udt.PortOptions),
    )
    files: dict[str, str] = {}
    common = set(option_table(shmring.Udp).splitlines()[2:])
    for page, heading, explained in parts:
        text = files.get(page) or (root / page).read_text("utf-8")
        shown = option_table(explained)
        if explained is not shmring.Udp:
            shown = "".join(line for line in shown.splitlines(True) if line.strip() not in common)
        files[page] = replace_table(text, heading, shown)
    return files


def main(arguments: list[str]) -> None:
    root = Path(__file__).resolve().parent.parent
    installed = "--installed" in arguments
    files = make_rtstat(root) | make_options(root) if installed else make(root)
    for path, text in files.items():
        if (root / path).read_text("utf-8") != text:
            (root / path).write_text(text, "utf-8")
            print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
