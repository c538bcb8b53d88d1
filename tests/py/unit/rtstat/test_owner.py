"""A process in another pid namespace is none that a number could name."""

from __future__ import annotations

from rtstat.export import values
from rtstat.processes import Processes
from rtstat.timeline import _number_text
from rtstat.views import _reader
from rtworkers.owner import process_id, process_text

ELSEWHERE = 0xFFFFFFFE


def test_it_has_no_number() -> None:
    reader = _reader((3, ELSEWHERE, 1, 2, 4), None, 0, Processes())
    assert values("reader", reader)["pid"] is None
    assert process_text(reader.pid) == "process in another pid namespace"
    assert _number_text("pid", ELSEWHERE) == "process in another pid namespace"


def test_others_have() -> None:
    assert _reader((3, 77, 1, 2, 4), None, 0, Processes()).pid == process_id(77) == 77
    assert process_text(77) == "process 77"
    assert _number_text("pid", 77) == "pid 77"
    assert process_id(0) == 0
