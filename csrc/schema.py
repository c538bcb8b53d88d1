"""Makes the files that repeat the tables of C: ``make schema``.

The X-macro tables and enums in the headers below are the only declarations of counters, gauges,
histograms, events and shared numbers. This program reads them and writes the Python modules and the
tables of the documentation that show them. A test compares the committed files with its output.

    python csrc/schema.py               what is made from the tables in C
    python csrc/schema.py --installed   the tables of pages that the installed package explains
"""

from __future__ import annotations

import csv
import inspect
import re
import struct
import sys
from pathlib import Path
from typing import Any, NamedTuple, is_typeddict

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
_CYCLIC = "csrc/shm/cyclic_shm.h"
_NETFLUX, _UDT = "csrc/proto/netflux/nfx_stats.h", "csrc/proto/udt/udt_stats.h"

_CAPTURE = "csrc/proto/capture/capture_udp.h"
_DELAY_PAGE = "docs/howto/measure-delay.md"
_OPTIONS_PAGE = "docs/reference/options.md"
_CYCLIC_PAGE = "docs/reference/cyclic.md"
_PROXY, _IMPAIR_PAGE = "csrc/shm/proxy_shm.h", "docs/howto/impair.md"
_STATISTICS, _RTP_PAGE = "docs/reference/statistics.md", "docs/reference/rtp.md"
_NETFLUX_PAGE, _UDT_PAGE = "docs/reference/netflux.md", "docs/reference/udt.md"

CLASSES = (
    Numbers(
        "ChannelCounters",
        "Counters of a channel.",
        (Table(_CHANNEL, "SHM_COUNTERS", "counter", _STATISTICS, "## Counters"),),
    ),
    Numbers(
        "ChannelHistograms",
        "Histograms of a channel.",
        (Table(_CHANNEL, "SHM_HISTOGRAMS", "histogram", _STATISTICS, "## Histograms"),),
    ),
    Numbers(
        "RtpNumbers",
        "Counters and gauges of an RTP channel.",
        (
            Table(_RTP, "SHM_RTP_COUNTERS", "counter", _RTP_PAGE, "### RTP counters"),
            Table(_RTP, "SHM_RTP_GAUGES", "gauge", _RTP_PAGE, "### RTP now"),
        ),
    ),
    Numbers(
        "CaptureFates",
        "What became of the packets of a capture file.",
        (Table(_CAPTURE, "CAPTURE_FATES", "counter"),),
    ),
    Numbers(
        "ReflectorFates",
        "What became of the packets that a STAMP reflector received.",
        (
            Table(
                "csrc/proto/stamp/stamp_reflector.h",
                "STAMP_FATES",
                "counter",
                _DELAY_PAGE,
                "### Packets at the reflector",
            ),
        ),
    ),
    Numbers(
        "ClockCounters",
        "Counters of the comparison with another host's clock.",
        (
            Table(
                "csrc/proto/stamp/stamp_clock.h",
                "STAMP_CLOCK_COUNTERS",
                "counter",
                _DELAY_PAGE,
                "### Answers to a clock",
            ),
        ),
    ),
    Numbers(
        "NetfluxNumbers",
        "Counters and gauges of a Netflux link.",
        (
            Table(_NETFLUX, "NFX_COUNTERS", "counter", _NETFLUX_PAGE, "### Netflux counters"),
            Table(_NETFLUX, "NFX_GAUGES", "gauge", _NETFLUX_PAGE, "### Netflux now"),
        ),
    ),
    Numbers(
        "NetfluxHistograms",
        "Histograms of a Netflux link.",
        (
            Table(
                _NETFLUX, "NFX_HISTOGRAMS", "histogram", _NETFLUX_PAGE, "### Netflux histograms"
            ),
        ),
    ),
    Numbers(
        "CyclicNumbers",
        "Counters and gauges of a cyclic channel.",
        (
            Table(_CYCLIC, "SHM_CYCLIC_COUNTERS", "counter", _CYCLIC_PAGE, "### Cyclic counters"),
            Table(_CYCLIC, "SHM_CYCLIC_GAUGES", "gauge", _CYCLIC_PAGE, "### Cyclic now"),
        ),
    ),
    Numbers(
        "ProxyNumbers",
        "Counters and gauges of a proxy.",
        (
            Table(_PROXY, "SHM_PROXY_COUNTERS", "counter", _IMPAIR_PAGE, "### Proxy counters"),
            Table(_PROXY, "SHM_PROXY_GAUGES", "gauge", _IMPAIR_PAGE, "### Proxy now"),
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


# They are bases of classes, which have the methods: making these takes milliseconds.
_PARTLY = "frozen=True, kw_only=True, init=False, repr=False, eq=False"


def _module(root: Path) -> str:
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
    for numbers in CLASSES:
        lines += ["", "", f"@dataclass({_PARTLY})", f"class {numbers.name}:"]
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


# --- what all processes share ---------------------------------------------------------------------


class Enum(NamedTuple):
    """An enum of C, and the table of its names in Python."""

    header: str
    name: str
    prefix: str
    table: str


_CONFIG, _CONTROL = "csrc/shm/shm_config.h", "csrc/shm/ctl_msg.h"
_OBSERVE, _PINS = "csrc/shm/observe_layout.h", "csrc/shm/shm_layout.c"

ENUMS = (
    Enum(_CONFIG, "shm_direction", "SHM_", "DIRECTION"),
    Enum(_CONFIG, "shm_read_mode", "SHM_READ_", "READ_MODE"),
    Enum(_CONFIG, "shm_overflow", "SHM_OVERFLOW_", "OVERFLOW"),
    Enum(_CONFIG, "shm_late", "SHM_LATE_", "LATE"),
    Enum(_CONFIG, "shm_align", "SHM_ALIGN_", "ALIGN"),
    Enum(_CONFIG, "shm_reports", "SHM_REPORTS_", "REPORTS"),
    Enum(_CONFIG, "shm_profile", "SHM_PROFILE_", "PROFILE"),
    Enum(_CONFIG, "shm_stamp", "SHM_STAMP_", "STAMP"),
    Enum(_CONFIG, "shm_txtime", "SHM_TXTIME_", "TXTIME"),
    Enum("csrc/base/rt_clock.h", "rt_clock_id", "RT_CLOCK_", "CLOCK"),
    Enum(_CHANNEL, "shm_channel_state", "SHM_STATE_", "CHANNEL_STATE"),
    Enum("csrc/proto/pacing/verdict.h", "verdict", "VERDICT_", "VERDICT"),
    Enum("csrc/shm/udt_shm.h", "shm_udt_conn_state", "SHM_UDT_", "UDT_STATE"),
)
CONSTANTS = (
    (_CHANNEL, "SHM_MAGIC"),
    (_CHANNEL, "SHM_LAYOUT_VERSION"),
    (_CHANNEL, "SHM_OWNER_ELSEWHERE"),
    (_CONFIG, "SHM_NAME_BYTES"),
    (_OBSERVE, "SHM_RECORDER_EVENTS"),
    (_OBSERVE, "SHM_ERRORS"),
    (_CONTROL, "CTL_MAGIC"),
    (_CONTROL, "CTL_MAX_BYTES"),
    (_CONTROL, "CTL_MAX_FDS"),
    (_CONTROL, "CTL_OPEN_TAKEOVER"),
    (_CONTROL, "CTL_HELLO_POOL"),
)
STRUCTS = (
    (_CHANNEL, "shm_worker_page"),
    (_OBSERVE, "shm_slot_cursors"),
    (_OBSERVE, "shm_event"),
    (_OBSERVE, "shm_error"),
)
_TYPES = {"uint8_t": "B", "uint16_t": "H", "uint32_t": "I", "uint64_t": "Q", "int64_t": "q"}
_TYPES |= {"rt_a32_t": "I", "rt_a64_t": "Q", "rt_ai64_t": "q"}


def enumerators(source: str, name: str, prefix: str) -> dict[str, int]:
    """The names of an enum without their prefix, in lower case, and their numbers."""
    body = re.search(rf"typedef enum {name} {{(.*?)}}", source, re.S)
    if body is None:
        raise ValueError(f"no enum {name}")
    found = re.findall(rf"\b{prefix}(\w+) = (\d+)", body[1])
    return {word.lower(): int(number) for word, number in found}


def constant(source: str, name: str) -> int:
    """The number of a macro. Raises ValueError where there is none."""
    found = re.search(rf"#define {name} (?:UINT(?:32|64)_C\()?(0x[0-9a-f]+|\d+)", source)
    if found is None:
        raise ValueError(f"no constant {name}")
    return int(found[1], 0)


def struct_of(source: str, name: str, sizes: dict[str, int]) -> tuple[str, list[str]]:
    """The format of a struct for Python's `struct`, padding included, and its fields."""
    body = re.search(rf"typedef struct {name} {{(.*?)}} {name}_t;", source, re.S)
    if body is None:
        raise ValueError(f"no struct {name}")
    plain = re.sub(r"/\*.*?\*/|_Alignas\(\w+\)", "", body[1], flags=re.S)
    text, at, fields = "<", 0, []
    for kind, field, many in re.findall(r"(\w+) (\w+)(?:\[(\w+)\])?;", plain):
        count = sizes[many] if many in sizes else int(many or 1)
        code = _TYPES.get(kind, "")
        width = struct.calcsize(code) if code else 1
        gap = -at % width
        text += f"{gap}x" if gap else ""
        if kind == "char":
            text += f"{count}s"
        elif field.startswith("pad") or not code:
            count = sizes[kind] if not code else count
            text += f"{count}x"
            at += gap + count
            continue
        else:
            text += code
        fields.append(field)
        at += gap + width * count
    return text, fields


def _layout(root: Path) -> str:
    texts = {path: (root / path).read_text("utf-8") for path in _headers()}
    sizes = dict(re.findall(r"^SIZE\((\w+), (\w+)\);", texts[_PINS], re.M))
    numbers = {name: int(text) for name, text in sizes.items() if text.isdecimal()}
    for name in ("SHM_NAME_BYTES", "SHM_NAME_MAX"):
        numbers[name] = constant(texts[_CONFIG], name)
    numbers["SHM_EVENT_NAME_BYTES"] = numbers["SHM_NAME_MAX"]
    lines = ['"""Numbers and formats that processes share: shared memory and control messages."""']
    lines += ["", f"# {_MARK}", "# ruff: noqa: E501", "", "from __future__ import annotations", ""]
    lines += ["from enum import IntEnum", ""]
    lines += [f"{name} = {constant(texts[path], name):#x}" for path, name in CONSTANTS]
    lines += [f"WORKER_SEGMENT_BYTES = {numbers['shm_worker_segment_t']}"]
    lines += [f"ERROR_LOG_BYTES = {numbers['shm_error_log_t']}", ""]
    for field in ("recorder", "errors", "pool_errors"):
        at = re.search(rf"AT\(shm_worker_segment_t, {field}, (\d+)\)", texts[_PINS])
        lines.append(f"{field.upper()}_AT = {at[1] if at else None}")
    at = re.search(r"AT\(shm_worker_page_t, wake_latency, (\d+)\)", texts[_PINS])
    lines.append(f"WAKE_LATENCY_AT = {at[1] if at else None}")
    lines += [f"SLOT_CURSORS_BYTES = {_line_bytes(root)}", ""]
    for path, name in STRUCTS:
        text, names = struct_of(texts[path], name, numbers)
        stem = name.removeprefix("shm_").upper()
        lines += [f'{stem} = "{text}"', f"{stem}_FIELDS = {tuple(names)!r}".replace("'", '"')]
    lines.append("")
    for item in ENUMS:
        found = enumerators(texts[item.header], item.name, item.prefix)
        lines.append(f"{item.table} = {found!r}".replace("'", '"'))
    events = rows(texts[_OBSERVE], "SHM_EVENTS")
    operations = enumerators(texts[_CONTROL], "ctl_op", "CTL_")
    ids = {row.name: number for number, row in enumerate(events)}
    lines += _class("Op", "What is asked of a worker.", operations)
    lines += _class("EventId", "Rows of `EVENTS`.", ids)
    lines += ["", "", "EVENTS = ("]
    for row in events:
        kind, text, *labels = (*row.cells, row.meaning)
        shown = ", ".join(f'"{label}"' for label in labels)
        lines.append(f'    ("{row.name}", "{text}", {kind == "ERROR"}, ({shown})),')
    about = "Name, meaning, whether it goes into the log of errors, names of its numbers."
    lines += [")", f'"""{about}"""']
    return "\n".join(lines) + "\n"


def _class(name: str, about: str, numbers: dict[str, int]) -> list[str]:
    head = ["", "", f"class {name}(IntEnum):", f'    """{about}"""', ""]
    return head + [f"    {word.upper()} = {number}" for word, number in numbers.items()]


def _line_bytes(root: Path) -> int:
    return constant((root / "csrc/base/rt_atomic.h").read_text("utf-8"), "RT_LINE_BYTES")


def _headers() -> set[str]:
    named = {item.header for item in ENUMS} | {path for path, _ in (*CONSTANTS, *STRUCTS)}
    return named | {_PINS, _CONTROL}


# --- enums of the public interface ----------------------------------------------------------------

_PUBLIC = (
    ("Stamp", "What took a timestamp. Compares equal to its lower-case name.", "STAMP"),
    (
        "Verdict",
        "The result of sending a packet: one for each. Compares equal to its lower-case name.",
        "VERDICT",
    ),
    ("State", "State of a channel. Compares equal to its lower-case name.", "CHANNEL_STATE"),
)

_WORDS = (
    ("Direction", "DIRECTION"),
    ("Reading", "READ_MODE"),
    ("Overflow", "OVERFLOW"),
    ("Late", "LATE"),
    ("Align", "ALIGN"),
    ("Clock", "CLOCK"),
    ("Reports", "REPORTS"),
    ("Profile", "PROFILE"),
    ("Txtime", "TXTIME"),
)
"""Types of options that are words."""


def _enums(root: Path) -> str:
    lines = ['"""Enums whose numbers are in shared memory, and the words that options take."""', ""]
    lines += [f"# {_MARK}", "", "from enum import StrEnum", "from typing import Literal", ""]
    for name, table in _WORDS:
        item = next(item for item in ENUMS if item.table == table)
        words = enumerators((root / item.header).read_text("utf-8"), item.name, item.prefix)
        lines.append(f"{name} = Literal{list(words)!r}".replace("'", '"'))
    for name, about, table in _PUBLIC:
        lines += ["", "", f"class {name}(StrEnum):", f'    """{about}"""', ""]
        item = next(item for item in ENUMS if item.table == table)
        source = (root / item.header).read_text("utf-8")
        for word in enumerators(source, item.name, item.prefix):
            lines.append(f'    {word.upper()} = "{word}"')
            said = re.search(rf"{item.prefix}{word.upper()} = \d+, +/\* (.*?) \*/", source)
            if said:
                lines.append(f'    """{said[1][0].upper()}{said[1][1:]}."""')
    return "\n".join(lines) + "\n"


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
    files = {
        "shmring/_enums.py": _enums(root),
        "shmring/_numbers.py": _module(root),
        "workers/rtworkers/layout.py": _layout(root),
    }
    for table in (table for numbers in CLASSES for table in numbers.tables if table.page):
        page = files.get(table.page) or (root / table.page).read_text("utf-8")
        source = (root / table.header).read_text("utf-8")
        files[table.page] = replace_table(page, table.heading, _show(table, source))
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
