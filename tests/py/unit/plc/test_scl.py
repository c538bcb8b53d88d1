"""PLC data types of S7 become records; what is wrong is told with line and column."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from shmring.netflux.records import Codec
from shmring_plc import DefinitionError, read_scl

MOTORS = """\
TYPE "Motor data"
TITLE = it's what "the drive says
AUTHOR : me
FAMILY : 'cell'
{ S7_SetPoint := 'False' }
VERSION : 0.1
//all of it
   STRUCT
      speed : Real := 1.5;   // rpm
      run { ExternalWritable := 'false'; ExternalVisible := 'false'} : Bool;
      stop : Bool := TRUE;
      "from" : Byte := B#16#12;
      name : String[5] := 'abc';
      after : Byte;
      flags : Array[0..9] of Bool := [TRUE, 2(FALSE), TRUE];
      "drive data" : "Drive";
      inner : Array[0..1] of Struct   (* one each *)
         t : Time := T#-1S_500MS;
         deep : Struct
            x : LReal;
         END_STRUCT;
      END_STRUCT;
      long : String;
   END_STRUCT;

END_TYPE

TYPE Drive
TITLE =
   STRUCT
      x : Int := -5;
      y : SInt;
      w : DWord := DW#16#FFFF_FFFF;
      d : DInt := L#7;
   END_STRUCT;
END_TYPE
"""


@pytest.fixture(scope="module")
def motors() -> dict[str, type[Any]]:
    return read_scl(MOTORS)


def test_names(motors: dict[str, type[Any]]) -> None:
    assert list(motors) == ["Motor data", "Drive"]
    motor = motors["Motor data"]
    assert motor.__name__ == "Motor_data"
    names = [field.name for field in dataclasses.fields(motor)]
    assert names == [
        *("speed", "run", "stop", "from_", "name", "after", "flags", "drive_data", "inner", "long"),
    ]
    assert type(motor().inner[0]).__name__ == "Motor_data_inner"


def test_initial_values(motors: dict[str, type[Any]]) -> None:
    motor = motors["Motor data"]()
    assert (motor.speed, motor.run, motor.stop, motor.from_, motor.name) == (
        1.5,
        False,
        True,
        18,
        "abc",
    )
    assert motor.flags == [True, False, False, True] + [False] * 6
    assert motor.drive_data == motors["Drive"](-5, 0, 2**32 - 1, 7)
    assert [item.t for item in motor.inner] == [-1500, -1500]
    motor.inner[0].t = 7
    assert motor.inner[1].t == motors["Motor data"]().inner[0].t == -1500


def test_layout_is_that_of_s7(motors: dict[str, type[Any]]) -> None:
    codec = Codec(motors["Motor data"])
    assert (codec.order, codec.rules) == ("big", "s7")
    at = {leaf.path: (leaf.offset, leaf.bit) for leaf in codec.fields()}
    assert at["stop"] == (4, 1)
    assert at["from_"] == (5, None)
    assert at["after"] == (14, None)
    assert at["flags[9]"] == (17, 1)
    assert at["drive_data.w"] == (22, None)
    assert at["inner[1].t"] == (42, None)
    assert at["inner[1].deep.x"] == (46, None)
    assert codec.size == 54 + 256
    value = motors["Motor data"]()
    payload = codec.encode(value)
    assert payload[:18].hex() == "3fc0000002120503616263000000000009" + "00"
    assert codec.decode(payload) == value


def test_empty_and_several() -> None:
    assert read_scl("") == {}
    text = 'TYPE "A" STRUCT x : Int; END_STRUCT; END_TYPE;'
    assert list(read_scl(text + text.replace("A", "B"))) == ["A", "B"]


UDT = 'TYPE "A"\nVERSION : 0.1\n  STRUCT\n    x : {};\n  END_STRUCT;\nEND_TYPE\n'


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ('DATA_BLOCK "A"', 1, 1, "expected TYPE, found 'DATA_BLOCK'"),
        ('TYPE "A"\nVERSON : 0.1', 2, 1, "expected STRUCT, found 'VERSON'"),
        (
            'TYPE "A" STRUCT x : Int; END_STRUCT;',
            1,
            37,
            "expected END_TYPE, found the end of the text",
        ),
        ("TYPE A STRUCT 5 : Int;", 1, 15, "expected a field, or END_STRUCT, found '5'"),
        (UDT.format("Date_And_Time"), 4, 9, "unknown type Date_And_Time"),
        (UDT.format('"Unknown type"'), 4, 9, "unknown type Unknown type"),
        (UDT.format('"A"'), 4, 9, "A contains itself"),
        (UDT.format("Array[0..1] of Struct END_STRUCT"), 4, 24, "A_x has no fields"),
        (UDT.format("Struct a : Int; a : Int; END_STRUCT"), 4, 25, "the name a is taken"),
        (UDT.format('Struct "a b" : Int; a_b : Int; END_STRUCT'), 4, 29, "the name a_b is taken"),
        (UDT.format("Int := 16#FFFF"), 4, 16, "65535 is outside of INT's"),
        (UDT.format("Int := 'x"), 4, 16, "unexpected character"),
        (UDT.format("Time := T#25d"), 4, 17, "outside of TIME's"),
        (UDT.format("String[3] := 'abcd'"), 4, 22, "'abcd' has 4 characters"),
        (
            UDT.format("Bool") + 'TYPE "a" STRUCT x : Int; END_STRUCT; END_TYPE',
            7,
            6,
            "a is defined twice",
        ),
    ],
)
def test_errors_name_line_and_column(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(DefinitionError, match=message) as caught:
        read_scl(text, source="motors.udt")
    error = caught.value
    assert (error.line, error.column) == (line, column), str(error)
    assert str(error).startswith(f"motors.udt:{line}:{column}: ")
