"""Makes what repeats the tables of C: ``make schema``.

The X-macro tables and enums in the headers below are the only declarations of counters, gauges,
histograms, events and shared numbers. This program reads them and writes the Python modules and the
tables of the documentation that show them. A test compares what is committed with what it makes.

    python csrc/schema.py [FOLDER]      FOLDER: of the checkout
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path
from typing import NamedTuple

_MARK = "Made by csrc/schema.py from the tables in csrc: edit those, then run `make schema`."
_UNITS = {"q8": "share"}  # of a number as C has it: of the same in Python


class Row(NamedTuple):
    """A row of a table: its first cell is the name, its last the meaning."""

    name: str
    cells: tuple[str, ...]
    meaning: str


class Table(NamedTuple):
    """Where a table of numbers stands, and where it is shown."""

    header: str
    macro: str
    kind: str
    """``counter``, ``gauge`` or ``histogram``."""
    page: str = ""
    heading: str = ""


class Numbers(NamedTuple):
    """A class of Python with the numbers of some tables."""

    name: str
    about: str
    tables: tuple[Table, ...]


_CHANNEL, _RTP = "csrc/shm/shm_layout.h", "csrc/shm/rtp_shm.h"
_NETFLUX, _UDT = "csrc/proto/netflux/nfx_stats.h", "csrc/proto/udt/udt_stats.h"

CLASSES = (
    Numbers(
        "ChannelCounters",
        "Counters of a channel.",
        (Table(_CHANNEL, "SHM_COUNTERS", "counter", "docs/guide.md", "### Counters"),),
    ),
    Numbers(
        "ChannelHistograms",
        "Histograms of a channel.",
        (Table(_CHANNEL, "SHM_HISTOGRAMS", "histogram", "docs/guide.md", "### Histograms"),),
    ),
    Numbers(
        "RtpNumbers",
        "Counters and gauges of an RTP channel.",
        (
            Table(_RTP, "SHM_RTP_COUNTERS", "counter", "docs/rtp.md", "### RTP counters"),
            Table(_RTP, "SHM_RTP_GAUGES", "gauge", "docs/rtp.md", "### RTP now"),
        ),
    ),
    Numbers(
        "NetfluxNumbers",
        "Counters and gauges of a Netflux link.",
        (
            Table(_NETFLUX, "NFX_COUNTERS", "counter", "docs/netflux.md", "### Netflux counters"),
            Table(_NETFLUX, "NFX_GAUGES", "gauge", "docs/netflux.md", "### Netflux now"),
        ),
    ),
    Numbers(
        "NetfluxHistograms",
        "Histograms of a Netflux link.",
        (
            Table(
                _NETFLUX, "NFX_HISTOGRAMS", "histogram", "docs/netflux.md", "### Netflux histograms"
            ),
        ),
    ),
    Numbers(
        "UdtNumbers",
        "Counters and gauges of a UDT connection.",
        (Table(_UDT, "UDT_COUNTERS", "counter"), Table(_UDT, "UDT_GAUGES", "gauge")),
    ),
    Numbers(
        "UdtPortNumbers",
        "Counters of a UDT port.",
        (Table("csrc/shm/udt_shm.h", "SHM_UDT_PORT_COUNTERS", "counter"),),
    ),
)


# --- reading C ------------------------------------------------------------------------------------


def rows(source: str, macro: str) -> list[Row]:
    """The rows of an X-macro table. Raises ValueError where there is none."""
    found = re.search(rf"#define {macro}\(X\)((?:.*\\\n)+.*\n)", source)
    if found is None:
        raise ValueError(f"no table {macro}(X)")
    body = found[1].replace("\\\n", " ")
    found_rows = re.findall(r'X\(((?:"[^"]*"|[^()"])*)\)', body)
    table = csv.reader(found_rows, skipinitialspace=True)
    return [Row(cells[0], tuple(map(str.strip, cells[1:-1])), cells[-1]) for cells in table]


# --- writing Python -------------------------------------------------------------------------------


def _module(root: Path) -> str:
    lines = [
        '"""Counters, gauges and histograms."""',
        "",
        f"# {_MARK}",
        "# ruff: noqa: E501, RUF009",
        "",
        "from __future__ import annotations",
        "",
        "from dataclasses import dataclass",
        "",
        "from shmring._facts import fact",
        "from shmring.histogram import Histogram",
    ]
    for numbers in CLASSES:
        lines += ["", "", "@dataclass(frozen=True, kw_only=True)", f"class {numbers.name}:"]
        lines += [f'    """{numbers.about}"""', ""]
        for table in numbers.tables:
            source = (root / table.header).read_text("utf-8")
            lines += [_field(table, row) for row in rows(source, table.macro)]
    return "\n".join(lines) + "\n"


def _field(table: Table, row: Row) -> str:
    unit, none = (*row.cells, "", "")[:2]
    arguments = [f'"{_UNITS.get(unit, unit) or "ns"}"', f'"{row.meaning}"']
    kind = {"flag": "bool", "q8": "float"}.get(unit, "int")
    if table.kind == "histogram":
        kind = "Histogram"
    elif none:
        kind += " | None"
        arguments.append(f"none={none}")
    if unit == "q8":
        arguments.append("scale=1 / 256")
    return f"    {row.name}: {kind} = fact({', '.join(arguments)})"


# --- writing Markdown -----------------------------------------------------------------------------


def _show(table: Table, source: str) -> str:
    found = rows(source, table.macro)
    if table.kind == "histogram":
        head = ["| histogram | meaning |", "|---|---|"]
        return "\n".join([*head, *(f"| `{row.name}` | {row.meaning} |" for row in found)]) + "\n"
    head = [f"| {table.kind} | unit | meaning |", "|---|---|---|"]
    for row in found:
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
    files = {"shmring/_numbers.py": _module(root)}
    for table in (table for numbers in CLASSES for table in numbers.tables if table.page):
        page = files.get(table.page) or (root / table.page).read_text("utf-8")
        source = (root / table.header).read_text("utf-8")
        files[table.page] = replace_table(page, table.heading, _show(table, source))
    return files


def make_rtstat(root: Path) -> dict[str, str]:
    """The same of the pages on rtstat, whose tables are in the installed package."""
    from rtstat import fields_page, metric_table_page

    parts = (
        ("docs/rtstat.md", "| kind |", fields_page),
        ("docs/metrics.md", "### ", metric_table_page),
    )
    files = {}
    for path, start, made in parts:
        head = (root / path).read_text("utf-8").partition(f"\n{start}")[0]
        files[path] = f"{head}\n{made.page()}"
    return files


def main(arguments: list[str]) -> None:
    root = Path(__file__).resolve().parent.parent
    files = make_rtstat(root) if "--rtstat" in arguments else make(root)
    for path, text in files.items():
        if (root / path).read_text("utf-8") != text:
            (root / path).write_text(text, "utf-8")
            print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
