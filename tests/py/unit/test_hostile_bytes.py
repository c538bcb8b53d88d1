"""All Python code that reads bytes of others, fed with random bytes and with damaged messages.

Only the exceptions that its documentation names come out, and it ends soon. What C reads is fuzzed
in tests/fuzz.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rtworkers import control, layout, page, paths
from shmring import _pool_server, errors, recording
from shmring.net.tap import records

pytestmark = pytest.mark.check

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner),
    max_leaves=12,
)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Something cut out of it, something put in its place."""
    begin = draw(st.integers(0, len(whole)))
    end = draw(st.integers(begin, min(len(whole), begin + 40)))
    return whole[:begin] + draw(st.binary(max_size=20)) + whole[end:]


# --- a worker's answers ---------------------------------------------------------------------------

ANSWER = control.HEADER.pack(layout.CTL_MAGIC, 1, 7, -2, 12, 0) + b"no such name"


@given(st.binary(max_size=200) | damaged(ANSWER))
@example(control.HEADER.pack(layout.CTL_MAGIC, 1, 7, -(2**31), 2, 0) + b"\xff\xfe")
def test_answers_of_a_worker(data: bytes) -> None:
    with contextlib.suppress(OSError):
        reply = control._parse(data, [])
        if reply.result < 0:
            assert isinstance(control.refusal(reply), control.ControlError)
        for name in control.parse_channels(reply.body):
            assert isinstance(name, str)


@given(st.binary(max_size=300))
def test_lists_of_channels(data: bytes) -> None:
    assert len(control.parse_channels(data)) == len(data) // control.CHANNEL.size


PAGE_BYTES = layout.SHM_WORKER_SEGMENT_BYTES


@given(st.binary(max_size=400).map(lambda data: data.ljust(PAGE_BYTES, b"\xff")))
def test_pages_of_a_worker(data: bytes) -> None:
    assert page.read(data) is None
    head = page.HEAD.pack(layout.SHM_MAGIC, layout.SHM_LAYOUT_VERSION)
    facts = page.read(head + data[len(head) :])
    assert facts is not None
    assert isinstance(facts.profile, str)


@given(
    st.text(max_size=150) | st.text(alphabet="shmring:cw0aé.", max_size=60).map("shmring:".__add__)
)
def test_names_in_shared_memory(name: str) -> None:
    found = paths.parse_shm_name(name)
    assert found is None or found.posix_name == f"/{name}"


# --- requests to a pool, and its answers ----------------------------------------------------------


@given(
    st.binary(max_size=200) | damaged(b'{"op": "open", "name": "ctl", "options": {"mode": 384}}')
)
@example(b"[" * 60_000)
@example(b"9" * 60_000)
@example(b'{"op": ' * 8_000)
def test_messages_of_a_pool(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(_pool_server._decode_message(data), dict)


class NoPool:
    """Takes what a request asks for, and does nothing."""

    closed = False

    def _make_channel(self, name: object, options: object, engine: object) -> None:
        assert isinstance(options, dict)

    def _leave_channel(self, name: object, *, end: object, opener: object) -> bool:
        assert isinstance(name, str)
        assert isinstance(end, bool)
        return False

    def _has_other_openers(self, name: object) -> bool:
        assert isinstance(name, str)
        return False

    def end(self, name: str) -> None:
        assert isinstance(name, str)

    def channels(self) -> list[str]:
        return []

    workers = channels


@given(
    st.fixed_dictionaries(
        {"op": st.sampled_from(["open", "end", "leave", "openers", "list", "x"]) | json_values},
        optional=dict.fromkeys(("name", "options", "engine", "exist_ok", "end"), json_values),
    )
)
def test_requests_to_a_pool(request: dict[str, Any]) -> None:
    server = _pool_server.PoolServer.__new__(_pool_server.PoolServer)
    pool = NoPool()
    server._pool = lambda: pool  # type: ignore[assignment, return-value]
    try:
        reply = server._do(request, *([] for _ in range(server._do.__code__.co_argcount - 2)))
    except Exception as caught:  # as the server does
        reply = _pool_server._error_reply(caught)
    json.dumps(reply)


@given(
    st.fixed_dictionaries(
        {"error": json_values}, optional={"errno": json_values, "text": json_values}
    )
)
@example({"error": "NoSpace"})
@example({"error": "NoSpace", "errno": 1e400, "text": None})
@example({"error": "__class__", "errno": -5, "text": []})
def test_errors_of_a_pool(reply: dict[str, Any]) -> None:
    caught = _pool_server._error_from(reply)
    assert isinstance(caught, errors.ShmringError | TypeError | ValueError)


# --- files ----------------------------------------------------------------------------------------


def write_recording() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.csv")
        row = recording.Row(
            **{name: recording._DEFAULTS[kind] for name, kind in recording._TYPES.items()}
        )
        with recording.Writer(path, recording.Header.of_this_host(1_000_000)) as writer:
            writer.write([dataclasses.replace(row, lateness_buckets=((63, 5), (131, 2)))])
        with open(path, "rb") as file:
            return file.read()


RECORDING = write_recording()
HEADER, COLUMNS = RECORDING.splitlines(keepends=True)[:2]


@pytest.fixture(scope="module")
def read_as() -> Iterator[Callable[[bytes], recording.Recording]]:
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:

        def read(data: bytes) -> recording.Recording:
            file.seek(0)
            file.truncate()
            file.write(data)
            file.flush()
            return recording.read(file.name)

        yield read


MAGIC = recording._MAGIC.encode()
HEADER_KEYS = json.loads(HEADER[len(MAGIC) :])


@settings(max_examples=300)
@given(
    st.binary(max_size=100)
    | st.binary(max_size=100).map(MAGIC.__add__)
    | st.binary(max_size=100).map((HEADER + COLUMNS).__add__)
    | damaged(RECORDING)
)
@example(MAGIC + b"[" * 100_000 + b"\n")
@example(HEADER + COLUMNS + b"1" * 200_000 + b"\n")
@example(HEADER + COLUMNS + b"\x00\n")
@example(MAGIC + json.dumps({key: [1] for key in HEADER_KEYS}).encode() + b"\n")
@example(b"PAR1" + b"\xff" * 40 + b"PAR1")
def test_recordings(read_as: Callable[[bytes], recording.Recording], data: bytes) -> None:
    with contextlib.suppress(ValueError):
        found = read_as(data)
        assert isinstance(found.header.host, str)
        assert all(isinstance(row, recording.Row) for row in found.rows)


plc = pytest.importorskip("shmring_plc")
ST = "TYPE A : STRUCT x : {}; END_STRUCT END_TYPE"


@pytest.mark.parametrize(
    "text",
    [
        "ARRAY[0..0] OF " * 3000 + "INT",
        "INT := " + "(" * 5000 + "1" + ")" * 5000,
        "INT := " + "-" * 5000 + "1",
        "ARRAY[0.." + "*".join(["9" * 4000] * 50) + "] OF INT",
        "ARRAY[0.." + "*".join(["9" * 200] * 5000) + "] OF INT",
        "INT := " + "9" * 400 + "*1.5",
        "INT := 1.5*" + "9" * 299 + "*99999",
        "ARRAY[0..1e999] OF INT",
        "ARRAY[0..9] OF INT := [" + ",".join(["11000(1)"] * 2000) + "]",
        "INT := 16#" + "f" * 100_000,
    ],
)
def test_definitions_that_would_take_long(text: str) -> None:
    for read in (plc.read_structured_text, plc.read_scl):
        with pytest.raises(plc.DefinitionError):
            read(ST.format(text))


def chain(links: int, one: str, *, backwards: bool) -> str:
    """Types that use each other. Those that were made before need no recursion to be made."""
    types = [f"TYPE T{i} : {one.format(f'T{i + 1}')} END_TYPE" for i in range(links)]
    types.append(f"TYPE T{links} : STRUCT x : INT; END_STRUCT; END_TYPE")
    return "\n".join(reversed(types) if backwards else types)


MANY = 100_000
NAMES = [f"x{number}" for number in range(MANY)]
BITS = ";".join(f"x{number}:BIT" for number in range(20_000))
HUGE = {
    "digits": (ST.format("INT := " + "9" * 5000), "5000 characters"),
    "digits of a length": (ST.format("STRING[" + "9" * 5000 + "]"), "5000 characters"),
    "digits of a time": (ST.format("TIME := T#" + "9" * 5000 + "s"), "5003 characters"),
    "ranges": (ST.format("ARRAY[" + ",".join(["0..0"] * 20_000) + "] OF INT"), "nested too"),
    "more ranges": (ST.format("ARRAY[" + ",".join(["0..0"] * MANY) + "] OF INT"), "in parts"),
    "names": (ST.format("BIT; " + ",".join(NAMES[:20_000]) + ":BIT"), "fields; at most 1499"),
    "more names": (ST.format("BIT; " + ",".join(NAMES) + ":BIT"), "read it in parts"),
    "fields": (ST.format("BIT; " + BITS), "fields; at most 1499"),
    "aliases": (chain(5000, "{};", backwards=False), "nested too deeply"),
    "aliases backwards": (chain(5000, "{};", backwards=True), "nested too deeply"),
    "arrays": (chain(5000, "ARRAY[0..0] OF {};", backwards=True), "nested too deeply"),
    "structures": (chain(5000, "STRUCT a : {}; END_STRUCT", backwards=True), "nested too deeply"),
    "doubling": (chain(40, "STRUCT a, b : {}; END_STRUCT", backwards=True), "16384 values"),
    "initial values": (
        ST.format("ARRAY[0..9000] OF INT")
        + "".join(f"\nTYPE X{number} : A := (x := [1]); END_TYPE" for number in range(1000)),
        "initial values",
    ),
    "unknown member": (ST.format("INT := " + ".".join(["a"] * 50_000)), " ... "),
    "pragmas": ("{attribute 'pack_mode' := '1'}\n" * 8000 + "x", "expected TYPE"),
}


@pytest.mark.parametrize("case", HUGE)
def test_huge_definitions(case: str) -> None:
    """Each took seconds to minutes, or ended in an error of Python's."""
    text, says = HUGE[case]
    with pytest.raises(plc.DefinitionError) as caught:
        plc.read_structured_text(text)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "name",
    [
        *("__class__", "__post_init__", "__slots__", "__dict__", "_rules_", "_dflt_x"),
        *("_HAS_DEFAULT_FACTORY", "MISSING", "self", "mro", "name", "value", "_value_", "_ignore_"),
        *("_E__x", "from", "\u00b5", "a\u00b2", "\ufb01", "real", "to_bytes", "_x_", "T"),
    ],
)
def test_names_that_mean_something_in_python(name: str) -> None:
    """They are refused, or they are names like all others."""
    array = "ARRAY[0..1] OF INT"
    for kind, value in ((array, [0, 0]), ("INT := 7", 7)):
        text = f"TYPE A : STRUCT {name} : {kind}; y : {array}; END_STRUCT END_TYPE"
        with contextlib.suppress(plc.DefinitionError):
            record = plc.read_structured_text(text)["A"]
            assert list(dataclasses.asdict(record()).values()) == [value, [0, 0]]
            assert record() == record()
    with contextlib.suppress(plc.DefinitionError):
        members = plc.read_structured_text(f"TYPE E : (y := 3, {name} := 5); END_TYPE")["E"]
        assert [int(member) for member in members] == [3, 5]


# --- the memory of a tap --------------------------------------------------------------------------


@given(st.binary(max_size=300))
@example(bytes(200))
def test_records_of_a_tap(data: bytes) -> None:
    try:
        found = list(records.parse(data))
    except ValueError:
        return
    assert len(found) <= len(data)
