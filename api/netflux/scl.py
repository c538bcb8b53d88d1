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
have no fixed layout). Blocks other than TYPE, and types without a counterpart in `records` (such as
WString and Date_And_Time), are errors that give their place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._builder import read
from ._grammar import Definition, FieldTree, Parser, StructType, TypeTree
from ._lexer import Token

_HEADER = ("AUTHOR", "FAMILY", "NAME", "VERSION")


class _Parser(Parser):
    default_string_length = 254

    def __init__(self, text: str, source: str, constants: Mapping[str, int]) -> None:
        super().__init__(text, source, constants, quoted_names=True)

    def definitions(self) -> list[Definition]:
        found: list[Definition] = []
        while self.token.kind != "end":
            self.expect("TYPE")
            name = self.name("the name of a type")
            self._header()
            token = self.expect("STRUCT")
            found.append(Definition(name, self._struct(token)))
            self.accept(";")
            self.expect("END_TYPE")
            self.accept(";")
        return found

    def _pragmas(self) -> None:
        while self.token.kind == "pragma":
            self.advance()

    def _header(self) -> None:
        self.accept(":")
        while not self.token.is_word("STRUCT"):
            if self.token.kind == "pragma":
                self.advance()
            elif self.token.is_word("TITLE"):  # free text up to the end of the line
                line = self.advance().line
                if self.token.line == line:
                    self.lexer.skip_line(line)
                    self.advance()
            elif self.accept(*_HEADER):
                self.expect(":")
                self.advance()
            else:
                raise self.error(f"expected STRUCT, found {self.token.shown()}")

    def _struct(self, token: Token) -> StructType:
        """Parse what follows the word STRUCT."""
        fields: list[FieldTree] = []
        while not self.accept("END_STRUCT"):
            name = self.name("a field, or END_STRUCT")
            self._pragmas()
            self.expect(":")
            tree = self.type_tree()
            initial = self.initial()
            self.expect(";")
            fields.append(FieldTree(name, tree, initial))
        return StructType(token, tuple(fields))

    def type_tree(self) -> TypeTree:
        if self.token.is_word("STRUCT"):
            return self._struct(self.advance())
        return super().type_tree()


def read_scl(
    text: str, *, constants: Mapping[str, int] | None = None, source: str = "<text>"
) -> dict[str, type[Any]]:
    """Return a dataclass for each PLC data type, by name. See `structured_text`'s function.

    In names that are not valid in Python ("motor speed"), underscores replace invalid characters.

    Raises DefinitionError with line and column.
    """
    return read(_Parser(text, source, constants or {}), {"_order_": "big", "_rules_": "s7"})
