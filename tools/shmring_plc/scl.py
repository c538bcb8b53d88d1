"""Definitions in SCL: PLC data types (UDT) of S7, as STEP 7 and TIA Portal write them.

    TYPE "Axis"
    VERSION : 0.1
       STRUCT
          position : LReal;   // mm
          limits : Array[0..1] of Real := [-1.0, 1.0];
          homed { ExternalWritable := 'false'} : Bool;
          name : String[16] := 'x';
          drive : "Drive";
          torque : Struct
             actual : Real;
          END_STRUCT;
       END_STRUCT;
    END_TYPE

The classes are big-endian with the layout rules of S7 (standard access, because optimised blocks
have no fixed layout). Blocks other than TYPE, and types without a counterpart in
`shmring.netflux.records` (such as WString and Date_And_Time), are errors that give their place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .builder import build
from .grammar import SCL
from .reader import Reader, parse
from .text import Text

_STRING_LENGTH = 254


def read_scl(
    text: str, *, constants: Mapping[str, int] | None = None, source: str = "<text>"
) -> dict[str, type[Any]]:
    """Return a dataclass for each PLC data type, by name. See `structured_text`'s function.

    In names that are not valid in Python ("motor speed"), underscores replace invalid characters.

    Raises DefinitionError with line and column.
    """
    what = Text(text, source)
    reader = Reader(what, constants or {}, _STRING_LENGTH)
    definitions = parse(SCL, what, what.plain(lambda at, pragma: None), reader)
    return build(definitions, what.error, {"_order_": "big", "_rules_": "s7"})
