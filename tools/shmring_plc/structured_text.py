"""Definitions in structured text, as CODESYS writes them.

    {attribute 'pack_mode' := '1'}
    TYPE Axis :
    STRUCT
        position : LREAL;            // mm
        limits   : ARRAY[0..1] OF REAL := [-1.0, 1.0];
        mode     : Mode := Mode.Run;
        name     : STRING(16) := 'x';
    END_STRUCT
    END_TYPE

    TYPE Mode : (Idle, Run := 5, Stop) UINT; END_TYPE

The parser supports structures, enumerations, aliases of types, initial values, nested comments, and
the attribute ``pack_mode``. It ignores other attributes, which do not affect the layout. UNION,
POINTER, REFERENCE, EXTENDS, subranges, conditional pragmas, and types without a counterpart in
`shmring.netflux.records` (such as WSTRING and DATE) are errors that give their place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .builder import build
from .grammar import STRUCTURED_TEXT
from .reader import Reader, parse
from .text import Text

_PACK_MODE = re.compile(r"attribute\s+'pack_mode'\s*:=\s*'([^']*)'", re.IGNORECASE)
_CONDITIONAL = re.compile(r"(IF|ELSIF|ELSE|END_IF)\b", re.IGNORECASE)
_PACKS = {"0": 1, "1": 1, "2": 2, "4": 4, "8": 8}
_STRING_LENGTH = 80


def read_structured_text(
    text: str, *, constants: Mapping[str, int] | None = None, source: str = "<text>"
) -> dict[str, type[Any]]:
    """Return a dataclass for each structure and an `enum.IntEnum` for each enumeration, by name.

    constants: values of names that the text uses as numbers and does not define. source: name of
    the text in messages, such as its file name. Fields keep their names. A name that is a Python
    keyword gets a trailing underscore. Fields have the initial values of the text, or 0.

    Raises DefinitionError with line and column.
    """
    what = Text(text, source)
    reader = Reader(what, constants or {}, _STRING_LENGTH)
    plain = what.plain(lambda at, pragma: _read_pragma(what, reader, at, pragma))
    definitions = parse(STRUCTURED_TEXT, what, plain, reader)
    return build(definitions, what.error, {"_rules_": "codesys"})


def _read_pragma(text: Text, reader: Reader, at: int, pragma: str) -> None:
    mode = _PACK_MODE.fullmatch(pragma)
    if mode and mode[1] in _PACKS:
        reader.pack(text.place(at), _PACKS[mode[1]])
    elif mode:
        message = f"pack_mode is {mode[1]!r}: it must be 0, 1, 2, 4 or 8"
        raise text.error(message, text.place(at))
    elif _CONDITIONAL.match(pragma):
        raise text.error("conditional pragmas are not supported: keep one case", text.place(at))
