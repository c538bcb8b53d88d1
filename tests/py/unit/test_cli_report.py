"""The report of the six network tools: the same first lines, and the same keys in JSON."""

from __future__ import annotations

from typing import Any

import pytest

from shmring_cli.report import Head


class Times:
    """Percentiles of some lateness."""

    count = 3
    max = 41_000

    def percentile(self, share: float) -> int:
        return {50: 92, 99: 6100}[int(share)]

    def to_dict(self) -> dict[str, int]:
        return {"count": 3}


TIMES: Any = Times()


@pytest.mark.parametrize(
    ("head", "lines"),
    [
        (
            Head("generate", 1000, "sent", 2.0, TIMES, 5),
            [
                "packets: 1000 sent in 2.000 s, 500 pps",
                "lateness: p50 92.0 ns, p99 6.10 µs, max 41.0 µs, 5 late (0.50 %)",
            ],
        ),
        (
            Head("impair", 7, "passed on", None, TIMES),
            ["packets: 7 passed on", "lateness: p50 92.0 ns, p99 6.10 µs, max 41.0 µs"],
        ),
        (
            Head("clock", 0, "exchanged", 0.0, None),
            ["packets: 0 exchanged in 0.000 s, 0 pps"],
        ),
    ],
)
def test_the_first_lines(head: Head, lines: list[str]) -> None:
    assert list(head.lines()) == lines


def test_the_document_has_what_the_tool_knows_beside_the_keys_of_all() -> None:
    head = Head("reflect", 7, "answered", 1.0, TIMES, 0)
    assert head.document({"sessions": 2, "packets": 9}, ["a privilege"]) == {
        "tool": "reflect",
        "packets": 7,
        "seconds": 1.0,
        "late": 0,
        "lateness": {"count": 3},
        "lacking": ["a privilege"],
        "sessions": 2,
    }
