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
`records` (such as WSTRING and DATE) are errors that give their place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ._builder import read
from ._grammar import Definition, EnumType, FieldTree, Parser, StructType, TypeTree
from ._lexer import Token

_PACK_MODE = re.compile(r"attribute\s+'pack_mode'\s*:=\s*'([^']*)'", re.IGNORECASE)
_CONDITIONAL = re.compile(r"(IF|ELSIF|ELSE|END_IF)\b", re.IGNORECASE)
_PACKS = {"0": 1, "1": 1, "2": 2, "4": 4, "8": 8}
_REFUSED = {
    "UNION": "a UNION has no unique meaning",
    "POINTER": "an address means nothing at the other end",
    "REFERENCE": "an address means nothing at the other end",
}


class _Parser(Parser):
    default_string_length = 80

    def __init__(self, text: str, source: str, constants: Mapping[str, int]) -> None:
        super().__init__(text, source, constants, quoted_names=False)
        self._pack = 0

    def definitions(self) -> list[Definition]:
        found: list[Definition] = []
        self._pragmas()
        while self.token.kind != "end":
            self.expect("TYPE")
            self._pragmas()
            while not self.accept("END_TYPE"):
                found.append(self._definition())
                self._pragmas()
            self._pragmas()
        return found

    def _pragmas(self) -> None:
        while self.token.kind == "pragma":
            token = self.advance()
            mode = _PACK_MODE.fullmatch(token.text)
            if mode:
                if mode[1] not in _PACKS:
                    raise self.error(f"pack_mode {mode[1]!r}; it must be 0, 1, 2, 4 or 8", token)
                self._pack = _PACKS[mode[1]]
            elif _CONDITIONAL.match(token.text):
                raise self.error("conditional pragmas are not supported: keep one case", token)

    def _definition(self) -> Definition:
        name = self.name("the name of a type, or END_TYPE")
        if self.token.is_word("EXTENDS"):
            raise self.error("EXTENDS is not supported: copy its fields, or make it a field")
        self.expect(":")
        self._pragmas()
        pack, self._pack = self._pack, 0
        if self.token.is_word("STRUCT"):
            struct = self._struct(pack)
            self.accept(";")
            return Definition(name, struct)
        tree = self._enumeration() if self.token.is_word("(") else self.type_tree()
        definition = Definition(name, tree, self.initial())
        self.expect(";")
        return definition

    def type_tree(self) -> TypeTree:
        reason = _REFUSED.get(self.token.text.upper())
        if reason:
            raise self.error(f"{self.token.text} cannot be sent: {reason}")
        tree = super().type_tree()
        if self.token.is_word("("):
            raise self.error("a subrange is not supported: give the type without it")
        return tree

    def _struct(self, pack: int) -> StructType:
        token = self.expect("STRUCT")
        fields: list[FieldTree] = []
        self._pragmas()
        while not self.accept("END_STRUCT"):
            fields += self._fields_of_line()
            self._pragmas()
        return StructType(token, tuple(fields), pack)

    def _fields_of_line(self) -> list[FieldTree]:
        names = [self.name("a field, or END_STRUCT")]
        while self.accept(","):
            names.append(self.name("a field"))
        self.expect(":")
        tree = self.type_tree()
        initial = self.initial()
        self.expect(";")
        return [FieldTree(name, tree, initial) for name in names]

    def _enumeration(self) -> EnumType:
        token = self.expect("(")
        members: list[tuple[Token, int]] = []
        while True:
            self._pragmas()
            name = self.name("a member")
            value = members[-1][1] + 1 if members else 0
            if self.accept(":="):
                value = self.integer()
            members.append((name, value))
            self._pragmas()
            if self.accept(")"):
                break
            self.expect(",")
        base = self.advance() if self.token.kind == "name" else None
        return EnumType(token, tuple(members), base)


def read_structured_text(
    text: str, *, constants: Mapping[str, int] | None = None, source: str = "<text>"
) -> dict[str, type[Any]]:
    """Return a dataclass for each structure and an `enum.IntEnum` for each enumeration, by name.

    constants: values of names that the text uses as numbers and does not define. source: name of
    the text in messages, such as its file name. Fields keep their names. A name that is a Python
    keyword gets a trailing underscore. Fields have the initial values of the text, or 0.

    Raises DefinitionError with line and column.
    """
    return read(_Parser(text, source, constants or {}), {"_rules_": "codesys"})
