"""What csrc/schema.py makes of csrc/rows is what is committed, and what the compiler made."""

from __future__ import annotations

import dataclasses
import os
import re
import runpy
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

from rtworkers import control, layout
from shmring import (
    Cyclic,
    Multicast,
    Netflux,
    Queue,
    Rtp,
    Share,
    Socket,
    Udp,
    _facts,
    _numbers,
)
from shmring._ring import ffi, lib
from shmring.engine import OpenOptions
from shmring.observe import monitor, reading
from shmring.rtp import Nack, Playout, Rtcp

TABLES = [
    ("channel", "SHM_COUNTERS", ("docs/reference/statistics.md",)),
    ("rtp", "SHM_RTP_COUNTERS", ("docs/reference/rtp.md",)),
    ("netflux", "NFX_COUNTERS", ("docs/reference/netflux.md",)),
    ("udt", "UDT_COUNTERS", ()),
    ("udt_port", "SHM_UDT_PORT_COUNTERS", ()),
]


@pytest.fixture(scope="module")
def schema(checkout: Path) -> dict[str, Any]:
    return runpy.run_path(str(checkout / "csrc" / "schema.py"))


def test_what_is_committed_is_what_the_tables_make(schema: dict[str, Any], checkout: Path) -> None:
    made = schema["make"](checkout)
    assert_committed(made, checkout)
    assert_committed(schema["make_rtstat"](checkout), checkout)


def test_the_tables_of_options_are_the_docstrings(schema: dict[str, Any], checkout: Path) -> None:
    made = schema["make_options"](checkout)
    assert_committed(made, checkout)
    names = set(OpenOptions.__optional_keys__)
    kinds = (Udp, Cyclic, Rtp, Netflux, Queue, Socket, Multicast, Share, Playout, Rtcp, Nack)
    for kind in kinds:
        names |= {field.name for field in dataclasses.fields(kind)}
    for name in names:
        assert any(re.search(rf"\| `{name}[=`]", page) for page in made.values()), name


def assert_committed(made: dict[str, str], checkout: Path) -> None:
    stale = [path for path, text in made.items() if (checkout / path).read_text("utf-8") != text]
    assert not stale, "run `make schema`"


@pytest.fixture
def copy(checkout: Path, tmp_path: Path) -> Path:
    """What the tables are made from, to be edited."""
    shutil.copytree(checkout / "csrc" / "rows", tmp_path / "csrc" / "rows")
    shutil.copytree(checkout / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("*.svg"))
    return tmp_path


def add_row(copy: Path, file: str, table: str, row: str) -> None:
    """Write a first row into a table."""
    path = copy / "csrc" / "rows" / f"{file}.toml"
    head = f"\n[{table}.rows]\n"
    before, found, after = path.read_text("utf-8").partition(head)
    assert found
    path.write_text(f"{before}{head}{row}\n{after}", "utf-8")


def headers_of(copy: Path, checkout: Path) -> dict[str, str]:
    rows = runpy.run_path(str(checkout / "csrc" / "rows.py"))
    files = rows["read"](copy / "csrc" / "rows")
    return {file.name: rows["header"](file, files) for file in files}


@pytest.mark.parametrize(("file", "table", "pages"), TABLES)
def test_a_counter_more_is_everywhere(
    file: str,
    table: str,
    pages: tuple[str, ...],
    schema: dict[str, Any],
    copy: Path,
    checkout: Path,
) -> None:
    add_row(copy, file, table, 'one_more = ["calls", "a, (new) one"]')
    made = schema["make"](copy)
    assert '    one_more: int = fact("calls", "a, (new) one")\n' in made["shmring/_numbers.py"]
    for page in pages:
        assert "| `one_more` | calls | a, (new) one |\n" in made[page]
    assert '    X(one_more, calls, "a, (new) one") \\\n' in headers_of(copy, checkout)[file]


@pytest.mark.parametrize(
    ("kind", "total"),
    [
        (_numbers.ChannelCounters, lib.SHM_COUNTER_TOTAL),
        (_numbers.ChannelHistograms, lib.SHM_HIST_TOTAL),
        (_numbers.RtpNumbers, lib.SHM_RTP_COUNTER_TOTAL + lib.SHM_RTP_GAUGE_TOTAL),
        (_numbers.NetfluxNumbers, lib.NFX_COUNTER_TOTAL + lib.NFX_GAUGE_TOTAL),
        (_numbers.NetfluxHistograms, lib.NFX_HIST_TOTAL),
        (_numbers.CyclicNumbers, lib.SHM_CYCLIC_COUNTER_TOTAL + lib.SHM_CYCLIC_GAUGE_TOTAL),
        (_numbers.UdtNumbers, lib.UDT_COUNTER_TOTAL + lib.UDT_GAUGE_TOTAL),
        (_numbers.ProxyNumbers, lib.SHM_PROXY_COUNTER_TOTAL + lib.SHM_PROXY_GAUGE_TOTAL),
        (_numbers.UdtPortNumbers, lib.SHM_UDT_PORT_COUNTER_TOTAL),
    ],
)
def test_the_compiler_counts_as_many(kind: type[Any], total: int) -> None:
    assert len(_facts.names(kind)) == total


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (reading.CHANNEL_WORDS, _numbers.ChannelCounters),
        (monitor.ENGINE_WORDS["rtp"], _numbers.RtpNumbers),
        (monitor.ENGINE_WORDS["netflux"], _numbers.NetfluxNumbers),
        (monitor.ENGINE_WORDS["cyclic"], _numbers.CyclicNumbers),
        (monitor.ENGINE_WORDS["udt"], _numbers.UdtNumbers),
        (monitor.ENGINE_WORDS["proxy"], _numbers.ProxyNumbers),
        (monitor.ENGINE_WORDS["udt-port"], _numbers.UdtPortNumbers),
    ],
)
def test_the_words_of_rtstat_are_those_of_the_tables(words: list[Any], kind: type[Any]) -> None:
    shown = {name: (none, text) for name, _, none, text, _ in words}
    for name, field in kind.__dataclass_fields__.items():
        assert shown[name] == (field.metadata["none"], field.metadata["meaning"])


def test_structs_have_the_sizes_that_layout_md_draws() -> None:
    """Where each field lies is asserted in the header that the compiler reads."""
    sizes = {layout.WORKER_PAGE: 8768, layout.EVENT: 128, layout.ERROR: 256}
    assert {text: struct.calcsize(text) for text in sizes} == sizes
    assert ffi.sizeof("rt_hist_t") == layout.RT_HIST_BYTES


def test_numbers_are_those_of_the_compiler() -> None:
    assert lib.SHM_LAYOUT_VERSION == layout.SHM_LAYOUT_VERSION
    assert lib.SHM_NAME_BYTES == layout.SHM_NAME_BYTES
    assert control.CHANNEL.size == ffi.sizeof("ctl_channel_t")
    assert layout.SHM_POOL_ERRORS_OFFSET % os.sysconf("SC_PAGE_SIZE") == 0
    assert {lib.SHM_TX, lib.SHM_RX} == {layout.DIRECTION["tx"], layout.DIRECTION["rx"]}


def test_an_enumerator_an_operation_and_an_event_more(
    schema: dict[str, Any], copy: Path, checkout: Path
) -> None:
    add_row(copy, "config", "OVERFLOW", 'new = [2, "a reason"]')
    add_row(copy, "control", "OP", "new = 19")
    add_row(copy, "observe", "SHM_EVENTS", 'newly = ["ERROR", "new", "a"]')
    made = schema["make"](copy)["workers/rtworkers/layout.py"]
    assert 'OVERFLOW = {"new": 2, ' in made
    assert "    NEW = 19\n" in made
    assert "    NEWLY = 0\n" in made
    assert '    ("newly", "new", True, ("a", "", "")),\n' in made
    headers = headers_of(copy, checkout)
    assert "    SHM_OVERFLOW_NEW = 2, /* a reason */\n" in headers["config"]
    assert '    X(newly, ERROR, "new", "a", "", "") \\\n' in headers["observe"]
    assert "    SHM_EVENT_newly = 0,\n" in headers["observe"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('type = "uint8_t"\nlow = 1\nhihg = 5', "new has hihg: use as, default, "),
        ('type = "uint8_t"\nlow = 1', "new has one of low and high: give both"),
    ],
)
def test_a_mistake_in_a_row_is_refused(row: str, reason: str, copy: Path, checkout: Path) -> None:
    path = copy / "csrc" / "rows" / "config.toml"
    path.write_text(f"{path.read_text('utf-8')}\n[shm_config.rows.new]\n{row}\n", "utf-8")
    with pytest.raises(ValueError, match=reason):
        headers_of(copy, checkout)


def test_events_say_their_units() -> None:
    for name, text, is_error, numbers in layout.EVENTS:
        assert name.isidentifier()
        assert text or not is_error
        assert all(number == "" or number.isidentifier() for number in numbers)
    assert len({name for name, *_ in layout.EVENTS}) == len(layout.EVENTS)
