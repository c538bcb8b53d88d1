"""What csrc/schema.py makes of the tables in C is what is committed, and what the compiler made."""

from __future__ import annotations

import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest

from rtstat import _look
from shmring import _facts, _numbers
from shmring._ring import lib

TABLES = [
    ("csrc/shm/shm_layout.h", "SHM_COUNTERS", ("docs/guide.md",)),
    ("csrc/shm/rtp_shm.h", "SHM_RTP_COUNTERS", ("docs/rtp.md",)),
    ("csrc/proto/netflux/nfx_stats.h", "NFX_COUNTERS", ("docs/netflux.md",)),
    ("csrc/proto/udt/udt_stats.h", "UDT_COUNTERS", ()),
    ("csrc/shm/udt_shm.h", "SHM_UDT_PORT_COUNTERS", ()),
]


@pytest.fixture(scope="module")
def schema(checkout: Path) -> dict[str, Any]:
    return runpy.run_path(str(checkout / "csrc" / "schema.py"))


def test_what_is_committed_is_what_the_tables_make(schema: dict[str, Any], checkout: Path) -> None:
    made = schema["make"](checkout) | schema["make_rtstat"](checkout)
    stale = [path for path, text in made.items() if (checkout / path).read_text("utf-8") != text]
    assert not stale, "run `make schema`"


@pytest.mark.parametrize(("header", "macro", "pages"), TABLES)
def test_a_counter_more_is_everywhere(
    header: str,
    macro: str,
    pages: tuple[str, ...],
    schema: dict[str, Any],
    checkout: Path,
    tmp_path: Path,
) -> None:
    for table in (table for numbers in schema["CLASSES"] for table in numbers.tables):
        for path in filter(None, (table.header, table.page)):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(checkout / path, tmp_path / path)
    source = (tmp_path / header).read_text("utf-8")
    row = ' X(one_more, calls, "a, (new) one") \\\\\n'
    more = re.sub(rf"(#define {macro}\(X\).*\n)", rf"\1{row}", source)
    (tmp_path / header).write_text(more, "utf-8")
    made = schema["make"](tmp_path)
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
        (_numbers.UdtNumbers, lib.UDT_COUNTER_TOTAL + lib.UDT_GAUGE_TOTAL),
        (_numbers.UdtPortNumbers, lib.SHM_UDT_PORT_COUNTER_TOTAL),
    ],
)
def test_the_compiler_counts_as_many(kind: type[Any], total: int) -> None:
    assert len(_facts.names(kind)) == total


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (_look.CHANNEL_WORDS, _numbers.ChannelCounters),
        (_look.ENGINE_WORDS["rtp"], _numbers.RtpNumbers),
        (_look.ENGINE_WORDS["netflux"], _numbers.NetfluxNumbers),
        (_look.ENGINE_WORDS["udt"], _numbers.UdtNumbers),
        (_look.ENGINE_WORDS["udt-port"], _numbers.UdtPortNumbers),
    ],
)
def test_the_words_of_rtstat_are_those_of_the_tables(words: list[Any], kind: type[Any]) -> None:
    shown = {name: (none, text) for name, _, none, text, _ in words}
    for name, field in kind.__dataclass_fields__.items():
        assert shown[name] == (field.metadata["none"], field.metadata["meaning"])
