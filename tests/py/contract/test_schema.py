"""What csrc/schema.py makes of the tables in C is what is committed, and what the compiler made."""

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
    ("csrc/shm/shm_layout.h", "SHM_COUNTERS", ("docs/reference/statistics.md",)),
    ("csrc/shm/rtp_shm.h", "SHM_RTP_COUNTERS", ("docs/reference/rtp.md",)),
    ("csrc/proto/netflux/nfx_stats.h", "NFX_COUNTERS", ("docs/reference/netflux.md",)),
    ("csrc/proto/udt/udt_stats.h", "UDT_COUNTERS", ()),
    ("csrc/shm/udt_shm.h", "SHM_UDT_PORT_COUNTERS", ()),
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
    shutil.copytree(checkout / "csrc", tmp_path / "csrc", ignore=shutil.ignore_patterns("python"))
    shutil.copytree(checkout / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("*.svg"))
    return tmp_path


@pytest.mark.parametrize(("header", "macro", "pages"), TABLES)
def test_a_counter_more_is_everywhere(
    header: str, macro: str, pages: tuple[str, ...], schema: dict[str, Any], copy: Path
) -> None:
    source = (copy / header).read_text("utf-8")
    row = ' X(one_more, calls, "a, (new) one") \\\\\n'
    more = re.sub(rf"(#define {macro}\(X\).*\n)", rf"\1{row}", source)
    (copy / header).write_text(more, "utf-8")
    made = schema["make"](copy)
    assert '    one_more: int = fact("calls", "a, (new) one")\n' in made["shmring/_numbers.py"]
    for page in pages:
        assert "| `one_more` | calls | a, (new) one |\n" in made[page]


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


@pytest.mark.parametrize(
    ("struct_name", "text", "fields"),
    [
        ("shm_worker_page_t", layout.WORKER_PAGE, layout.WORKER_PAGE_FIELDS),
        ("shm_event_t", layout.EVENT, layout.EVENT_FIELDS),
        ("shm_error_t", layout.ERROR, layout.ERROR_FIELDS),
    ],
)
def test_structs_are_those_that_the_compiler_pins(
    struct_name: str, text: str, fields: tuple[str, ...], checkout: Path
) -> None:
    pins = (checkout / "csrc" / "shm" / "shm_layout.c").read_text("utf-8")
    pinned = dict(re.findall(rf"AT\({struct_name}, (\w+), (\d+)\);", pins))
    (size,) = re.findall(rf"SIZE\({struct_name}, (\d+)\);", pins)
    at, places = 0, {}
    codes = iter(fields)
    for code in re.findall(r"\d*[a-zA-Z]", text):
        if not code.endswith("x"):
            places[next(codes)] = at
        at += struct.calcsize(f"<{code}")
    assert {name: places[name] for name in pinned if name in places} == {
        name: int(number) for name, number in pinned.items() if name in places
    }
    assert len(pinned) >= 9
    assert at == struct.calcsize(text) == int(size)


def test_numbers_are_those_of_the_compiler() -> None:
    assert lib.SHM_LAYOUT_VERSION == layout.SHM_LAYOUT_VERSION
    assert lib.SHM_NAME_BYTES == layout.SHM_NAME_BYTES
    assert control.CHANNEL.size == ffi.sizeof("ctl_channel_t")
    assert layout.POOL_ERRORS_AT % os.sysconf("SC_PAGE_SIZE") == 0
    assert {lib.SHM_TX, lib.SHM_RX} == {layout.DIRECTION["tx"], layout.DIRECTION["rx"]}


def test_an_enumerator_an_operation_and_an_event_more(schema: dict[str, Any], copy: Path) -> None:
    for path, old, new in (
        ("shm/shm_config.h", "SHM_OVERFLOW_WAIT = 1,", " SHM_OVERFLOW_NEW = 2,"),
        ("shm/ctl_msg.h", "CTL_CLIENT = 18,", " CTL_NEW = 19,"),
        ("shm/observe_layout.h", "SHM_EVENTS(X) \\\n", ' X(newly, ERROR, "new", "a", "", "") \\\n'),
    ):
        text = re.sub(r" +\\\n", " \\\\\n", (copy / "csrc" / path).read_text("utf-8"))
        assert old in text
        (copy / "csrc" / path).write_text(text.replace(old, old + new), "utf-8")
    made = schema["make"](copy)["workers/rtworkers/layout.py"]
    assert '"wait": 1, "new": 2}' in made
    assert "    NEW = 19\n" in made
    assert "    NEWLY = 0\n" in made
    assert '    ("newly", "new", True, ("a", "", "")),\n' in made


def test_events_say_their_units() -> None:
    for name, text, is_error, numbers in layout.EVENTS:
        assert name.isidentifier()
        assert text or not is_error
        assert all(number == "" or number.isidentifier() for number in numbers)
    assert len({name for name, *_ in layout.EVENTS}) == len(layout.EVENTS)
