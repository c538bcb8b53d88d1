"""Definitions in structured text become records; what is wrong is told with line and column."""

from __future__ import annotations

import dataclasses
import enum
import pickle
from typing import Any

import pytest

from shmring.errors import ShmringError
from shmring.netflux.records import Codec, RecordError
from shmring_plc import DefinitionError, read_structured_text

PLANT = """\
(* What the cell and the PC exchange.
   (* Comments nest. *) *)
{attribute 'qualified_only'}
{attribute 'pack_mode' := '1'}
TYPE Axis :
STRUCT
    position : LREAL;                        // mm
    speed, torque : REAL := 1.5;             /* both */
    limits : ARRAY[0..1] OF REAL := [-1.0, 1e1];
    mode : Mode := Mode.Run;
    name : STRING(16) := 'it$'s $22$41$22';
    ramp : TIME := T#1m2s500ms;
    homed : BIT := TRUE;
    fault : BIT;
    from : BYTE := 16#FF;
    table : ARRAY[0..1, 1..3] OF INT := [1, 2, 3, 3(7)];
END_STRUCT
END_TYPE

{region 'enums'}
TYPE Mode :
(
    Idle,
    Run := 5,   {attribute 'hide'}
    Stop
) UINT := Stop;
END_TYPE
{endregion}

type speed_t : real := -2.5; end_type

TYPE
    Plant : STRUCT
        axes : ARRAY[1..N * 2] OF Axis;
        Limit : speed_t;
        slow : Speed_T := 0.5;
        own : Mode;
        note : STRING;
        first : Axis := (position := 2.5, LIMITS := [3.0], mode := Idle);
    END_STRUCT;
    Letters : ARRAY[-1..1] OF CHAR := ['a', 'b'];
    More : STRUCT l : Letters; u : UDINT := 2#1010_0000; v : DINT := -8#17; END_STRUCT
END_TYPE
"""


@pytest.fixture(scope="module")
def plant() -> dict[str, type[Any]]:
    return read_structured_text(PLANT, constants={"n": 1})


def test_constants_of_a_list_by_their_whole_name() -> None:
    text = STRUCT.format("ARRAY[0..GVL.Last] OF INT := [GVL.Last + 1(gvl.First)]")
    types = read_structured_text(text, constants={"gvl.last": 2, "GVL.First": 7})
    assert types["A"]().x == [7, 7, 7]


def test_records_and_enumerations_by_name(plant: dict[str, type[Any]]) -> None:
    assert list(plant) == ["Axis", "Mode", "Plant", "More"]
    assert issubclass(plant["Mode"], enum.IntEnum)
    assert {member.name: member.value for member in plant["Mode"]} == {
        "Idle": 0,
        "Run": 5,
        "Stop": 6,
    }
    names = [field.name for field in dataclasses.fields(plant["Axis"])]
    assert names == [
        *("position", "speed", "torque", "limits", "mode"),
        *("name", "ramp", "homed", "fault", "from_", "table"),
    ]


def test_initial_values(plant: dict[str, type[Any]]) -> None:
    axis = plant["Axis"]()
    assert (axis.position, axis.speed, axis.torque) == (0.0, 1.5, 1.5)
    assert axis.limits == [-1.0, 10.0]
    assert axis.mode is plant["Mode"].Run
    assert axis.name == 'it\'s "A"'
    assert axis.ramp == 62_500
    assert (axis.homed, axis.fault, axis.from_) == (True, False, 255)
    assert axis.table == [[1, 2, 3], [7, 7, 7]]
    whole = plant["Plant"]()
    assert (whole.Limit, whole.slow, whole.note) == (-2.5, 0.5, "")
    assert whole.own is plant["Mode"].Stop
    assert whole.axes == [axis, axis]
    assert whole.first == dataclasses.replace(
        axis, position=2.5, limits=[3.0, 10.0], mode=plant["Mode"].Idle
    )
    more = plant["More"]()
    assert (more.l, more.u, more.v) == (["a", "b", "\0"], 160, -15)


def test_instances_do_not_share_their_lists(plant: dict[str, type[Any]]) -> None:
    one, other = plant["Plant"](), plant["Plant"]()
    one.axes[0].limits[0] = 99.0
    one.first.table[0][0] = 99
    assert other.axes[0].limits[0] == one.axes[1].limits[0] == -1.0
    assert other.first.table[0][0] == 1
    assert plant["Axis"]().limits == [-1.0, 10.0]


def test_layout_is_codesys(plant: dict[str, type[Any]]) -> None:
    codec = Codec(plant["Axis"])
    assert (codec.order, codec.rules, codec.size) == ("little", "codesys", 61)
    at = {leaf.path: leaf.offset for leaf in codec.fields()}
    assert (at["mode"], at["name"], at["ramp"], at["homed"], at["from_"]) == (24, 26, 43, 47, 48)
    assert {leaf.path: leaf.wire for leaf in codec.fields()}["mode"] == "u16"
    whole = Codec(plant["Plant"])
    assert whole.decode(whole.encode(plant["Plant"]())) == plant["Plant"]()
    assert {leaf.path: leaf.offset for leaf in whole.fields()}["Limit"] == 124


@pytest.mark.parametrize(
    ("mode", "size"), [(None, 16), ("0", 9), ("1", 9), ("2", 10), ("4", 12), ("8", 16)]
)
def test_pack_mode(mode: str | None, size: int) -> None:
    pragma = "" if mode is None else f"{{attribute 'pack_mode' := '{mode}'}}\n"
    text = pragma + "TYPE A : STRUCT a : BYTE; b : LREAL; END_STRUCT END_TYPE"
    assert Codec(read_structured_text(text)["A"]).size == size


def test_pack_mode_is_of_one_type_only() -> None:
    text = (
        "{attribute 'pack_mode' := '1'} TYPE A : STRUCT a : BYTE; b : LREAL; END_STRUCT END_TYPE "
        "TYPE B : STRUCT a : BYTE; b : LREAL; END_STRUCT END_TYPE"
    )
    types = read_structured_text(text)
    assert (Codec(types["A"]).size, Codec(types["B"]).size) == (9, 16)
    assert Codec(types["B"], pack=1).size == 9


def test_texts_without_types() -> None:
    assert read_structured_text("") == {}
    assert read_structured_text("\ufeff // nothing") == {}
    assert read_structured_text("TYPE X : INT; END_TYPE") == {}


def one_field(text: str) -> Any:
    return read_structured_text(f"TYPE A : STRUCT x : {text}; END_STRUCT END_TYPE")["A"]().x


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("INT := 1 + 2 * 3 - -(4)", 11),
        ("INT := INT#-7", -7),
        ("WORD := WORD#16#00_ff", 255),
        ("REAL := 3", 3.0),
        ("LREAL := 1_000.5E-1", 100.05),
        ("BOOL := 1", True),
        ("BOOL := BOOL#FALSE", False),
        ("TIME := TIME#1d2h3m4s5ms", 93_784_005),
        ("TIME := t#1.5s", 1500),
        ("TIME := T#1h_30m", 5_400_000),
        ("TIME := 0", 0),
        ("LTIME := LTIME#1us5ns", 1005),
        ("CHAR := 'x'", "x"),
        ("STRING[3] := ''", ""),
        ("STRING(3) := '$L$$'", "\n$"),
        ("STRING(3) := 'äé'", "äé"),
        ("ARRAY[0..3] OF INT := [2(5), 1]", [5, 5, 1, 0]),
        ("ARRAY[0..1] OF ARRAY[0..1] OF INT := [[1, 2], [3, 4]]", [[1, 2], [3, 4]]),
        ("ARRAY[0..1, 0..1] OF INT := [[1, 2]]", [[1, 2], [0, 0]]),
        ("ARRAY[0..1] OF INT := []", [0, 0]),
    ],
)
def test_values(text: str, value: Any) -> None:
    assert one_field(text) == value
    assert type(one_field(text)) is type(value)


# --- what is wrong --------------------------------------------------------------------------------

STRUCT = "TYPE A :\nSTRUCT\n  x : {};\nEND_STRUCT\nEND_TYPE\n"


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        # words
        ("TYPE A : STRUCT x : INT; END_STRUCT", 1, 36, "expected a name|found the end"),
        ("TYP A", 1, 1, "expected TYPE, found 'TYP'"),
        ("\n\n  TYPE 5", 3, 8, "expected the name of a type, or END_TYPE, found '5'"),
        ("TYPE A STRUCT", 1, 8, "expected :, found 'STRUCT'"),
        ("TYPE A : STRUCT x INT; END_STRUCT END_TYPE", 1, 19, "expected : or ,, found 'INT'"),
        ("TYPE A : STRUCT x : INT END_STRUCT END_TYPE", 1, 25, "expected ;, found 'END_STRUCT'"),
        ("TYPE A : STRUCT\n\tx : INT ! ;", 2, 10, "unexpected character '!'"),
        ("TYPE A : (* open", 1, 10, r"comment is not closed by \*\)"),
        ("/* /* */", 1, 1, r"comment is not closed by \*/"),
        ("{attribute 'x'", 1, 1, "pragma is not closed"),
        ("TYPE A : STRUCT s : STRING := 'open\n", 1, 31, "unexpected character"),
        # types
        (STRUCT.format("WSTRING"), 3, 7, "unknown type WSTRING; known are BOOL, .*, and .* A"),
        (STRUCT.format("ARRAY[0..1] OF Unknown"), 3, 22, "unknown type Unknown"),
        (STRUCT.format("ARRAY[2..1] OF INT"), 3, 13, r"the range 2\.\.1 is empty"),
        (STRUCT.format("ARRAY[0..1) OF INT"), 3, 17, r"expected , or \], found '\)'"),
        (STRUCT.format("ARRAY[0..N] OF INT"), 3, 16, "N is unknown; give its value in constants"),
        (STRUCT.format("ARRAY[0..1.5] OF INT"), 3, 16, "expected a whole number"),
        (STRUCT.format("ARRAY[0..99999999] OF INT"), 3, 7, "a length must be between 1 and"),
        (STRUCT.format("ARRAY[1..999, 1..999] OF INT"), 3, 7, "do not fit in a datagram"),
        (STRUCT.format("STRING(0)"), 3, 7, "the length must be between 1 and 1497"),
        (STRUCT.format("STRING(5]"), 3, 15, r"expected \), found '\]'"),
        (STRUCT.format("POINTER TO INT"), 3, 7, "POINTER cannot be sent: an address"),
        (STRUCT.format("ARRAY[0..1] OF REFERENCE TO INT"), 3, 22, "REFERENCE cannot be sent"),
        (STRUCT.format("INT (0..100)"), 3, 11, "a subrange is not supported"),
        (STRUCT.format("A"), 3, 7, "A contains itself"),
        ("TYPE U : UNION a : INT; END_UNION END_TYPE", 1, 10, "UNION cannot be sent"),
        ("TYPE B EXTENDS A : STRUCT", 1, 8, "EXTENDS is not supported"),
        ("TYPE A : STRUCT END_STRUCT END_TYPE", 1, 10, "A has no fields"),
        ("TYPE A : INT; A : REAL; END_TYPE", 1, 15, "A is defined twice"),
        ("TYPE Real : INT; END_TYPE", 1, 6, "Real is an elementary type"),
        ("TYPE A : STRUCT x : INT; X : INT; END_STRUCT END_TYPE", 1, 26, "the name X is taken"),
        ("TYPE A : STRUCT _pack_ : INT; END_STRUCT END_TYPE", 1, 17, "the name _pack_ is taken"),
        ("{attribute 'pack_mode' := '3'} TYPE", 1, 1, "pack_mode is '3': it must be 0, 1, 2, 4"),
        ("TYPE A : STRUCT {IF defined(x)}", 1, 17, "conditional pragmas are not supported"),
        # enumerations
        ("TYPE E : (a, b := 40000); END_TYPE", 1, 10, "E.b is 40000, outside of INT's"),
        ("TYPE E : (a, a); END_TYPE", 1, 10, "E has a member twice"),
        ("TYPE E : (a) REAL; END_TYPE", 1, 10, "E: REAL is not an integer type"),
        ("TYPE E : (a) Thing; END_TYPE", 1, 14, "THING is not an integer type"),
        ("TYPE E : (a b); END_TYPE", 1, 13, r"expected , or \), found 'b'"),
        ("TYPE E : (a) := c; END_TYPE", 1, 17, "c is not a member of E; it has a"),
        # values
        (STRUCT.format("INT := 40000"), 3, 14, r"40000 is outside of INT's -32768 \.\. 32767"),
        (STRUCT.format("INT := 1.5"), 3, 14, r"1\.5 is not valid for INT: use a whole number"),
        (STRUCT.format("INT := 'a'"), 3, 14, "this is not valid for INT"),
        (STRUCT.format("INT := TRUE"), 3, 14, "TRUE and FALSE are not valid for INT"),
        (STRUCT.format("INT := Other.Thing"), 3, 14, "Other.Thing is unknown"),
        (STRUCT.format("INT := "), 3, 14, "expected a value, found ';'"),
        (STRUCT.format("INT := (1, 2)"), 3, 16, r"expected \), found ','"),
        (STRUCT.format("INT := [1]"), 3, 14, "expected a single value"),
        (STRUCT.format("INT := 5#12"), 3, 14, "base is 5: it must be 2, 8 or 16"),
        (STRUCT.format("INT := 2#12"), 3, 14, "2#12 has a digit outside of base 2"),
        (STRUCT.format("INT := 'a' + 1"), 3, 14, "only numbers can be added"),
        (STRUCT.format("BOOL := 2"), 3, 15, "2 is not valid for BOOL: use TRUE or FALSE"),
        (STRUCT.format("REAL := 1e39"), 3, 15, "this is too large for REAL"),
        (STRUCT.format("LREAL := 1e999"), 3, 16, "this is too large for LREAL"),
        (STRUCT.format("TIME := 5"), 3, 15, "expected a TIME, such as T#1s500ms"),
        (STRUCT.format("TIME := T#5"), 3, 15, "T#5 is not a duration"),
        (STRUCT.format("TIME := T#5us"), 3, 15, "a TIME is a whole number of milliseconds"),
        (STRUCT.format("TIME := T#-1s"), 3, 15, "-1000 is outside of TIME's 0"),
        (STRUCT.format("TIME := T#50d"), 3, 15, "outside of TIME's"),
        (STRUCT.format("LTIME := T#1.5ns"), 3, 16, "finer than a nanosecond"),
        (STRUCT.format("STRING(2) := 'abc'"), 3, 20, r"'abc' has 3 characters; STRING\[2\]"),
        (STRUCT.format("STRING := '€'"), 3, 17, "'€' is not a character of latin-1"),
        (STRUCT.format("STRING := '$Q'"), 3, 17, r"\$Q is not an escape sequence"),
        (STRUCT.format("STRING := 5"), 3, 17, "expected a string"),
        (STRUCT.format("CHAR := 'ab'"), 3, 15, "has 2 characters"),
        (STRUCT.format("CHAR := ''"), 3, 15, "expected one character"),
        (STRUCT.format("ARRAY[0..1] OF INT := 5"), 3, 29, "expected the values of an array"),
        (STRUCT.format("ARRAY[0..1] OF INT := [1, 2, 3]"), 3, 29, "3 values for 2 elements"),
        (STRUCT.format("ARRAY[0..1] OF INT := [1, 70000]"), 3, 33, "70000 is outside of INT"),
        (STRUCT.format("ARRAY[0..1] OF INT := [9(1)]"), 3, 29, "9 values for 2 elements"),
        (STRUCT.format("ARRAY[0..1] OF INT := [0(1)]"), 3, 30, "how often the value is repeated"),
        (STRUCT.format("ARRAY[0..1] OF INT := [999999999(1)]"), 3, 30, "how often"),
        (STRUCT.format("ARRAY[0..1] OF INT := [1 2]"), 3, 32, r"expected , or \], found '2'"),
        (
            STRUCT.format("B := 5") + "TYPE B : STRUCT i : INT; END_STRUCT END_TYPE",
            3,
            12,
            "a structure",
        ),
        (
            STRUCT.format("B := (j := 5)") + "TYPE B : STRUCT i : INT; END_STRUCT END_TYPE",
            3,
            13,
            "no field j",
        ),
        (
            STRUCT.format("B := (i := 70000)") + "TYPE B : STRUCT i : INT; END_STRUCT END_TYPE",
            3,
            18,
            "70000",
        ),
    ],
)
def test_errors_name_line_and_column(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(DefinitionError, match=message) as caught:
        read_structured_text(text, source="plant.st")
    error = caught.value
    assert (error.line, error.column) == (line, column), str(error)
    assert str(error) == f"plant.st:{line}:{column}: {error.message}"


def test_errors_are_what_they_are_elsewhere() -> None:
    with pytest.raises(DefinitionError) as caught:
        read_structured_text("?")
    assert isinstance(caught.value, ShmringError)
    assert isinstance(caught.value, ValueError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.line) == ("<text>:1:1: unexpected character '?'", 1)


@pytest.mark.parametrize("text", ["(" * 100_000, "[" * 100_000, "-" * 100_000 + "1"])
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match="nested too deeply"):
        one_field(f"INT := {text}")
    with pytest.raises(DefinitionError, match="nested too deeply"):
        one_field("ARRAY[0..0] OF " * 10_000 + "INT")


def test_what_is_too_long_for_a_datagram_is_told_by_the_codec() -> None:
    types = read_structured_text("TYPE A : STRUCT x : ARRAY[1..2000] OF BYTE; END_STRUCT END_TYPE")
    with pytest.raises(RecordError, match="A takes 2000 bytes"):
        Codec(types["A"])
