"""The common part of structured text and SCL: types, constants, initial values.

Parsing makes a tree of the text. Each part keeps its word, for messages. `_builder` makes classes
from the tree.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import TypeAlias

from ._lexer import Lexer, Token
from ._literals import based_int, text_of, time_ns
from ._types import MAX_PAYLOAD_BYTES, SCALARS
from .errors import DefinitionError

# --- the tree -------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Time:
    """A duration."""

    ns: int


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """A name that may be an enumeration's."""

    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    """A constant."""

    token: Token
    value: bool | int | float | str | Time | Member


@dataclasses.dataclass(frozen=True, slots=True)
class Values:
    """``[1, 2(0)]``: pairs of a count and a value."""

    token: Token
    items: tuple[tuple[int, Initial], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Fields:
    """``(a := 1, b := 2)``."""

    token: Token
    items: tuple[tuple[Token, Initial], ...]


Initial: TypeAlias = Value | Values | Fields


@dataclasses.dataclass(frozen=True, slots=True)
class NamedType:
    """An elementary type or one defined elsewhere."""

    token: Token


@dataclasses.dataclass(frozen=True, slots=True)
class StringType:
    """``STRING[20]``."""

    token: Token
    length: int


@dataclasses.dataclass(frozen=True, slots=True)
class ArrayType:
    """``ARRAY[0..3, 1..2] OF ...``."""

    token: Token
    lengths: tuple[int, ...]
    element: TypeTree


@dataclasses.dataclass(frozen=True, slots=True)
class FieldTree:
    """A field of a structure."""

    token: Token
    type: TypeTree
    initial: Initial | None


@dataclasses.dataclass(frozen=True, slots=True)
class StructType:
    """``STRUCT ... END_STRUCT``; pack: 0 where the text does not say."""

    token: Token
    fields: tuple[FieldTree, ...]
    pack: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class EnumType:
    """``(Idle, Run := 5) UINT``."""

    token: Token
    members: tuple[tuple[Token, int], ...]
    base: Token | None


TypeTree: TypeAlias = NamedType | StringType | ArrayType | StructType | EnumType


@dataclasses.dataclass(frozen=True, slots=True)
class Definition:
    """A type and its name."""

    token: Token
    type: TypeTree
    initial: Initial | None = None


# --- reading --------------------------------------------------------------------------------------

_LARGEST = 10**300
_LITERAL_PREFIXES = {*SCALARS, "B", "W", "DW", "LW", "L"}


class Parser(abc.ABC):
    """Parses word by word, with one word of lookahead."""

    default_string_length: int

    def __init__(
        self, text: str, source: str, constants: Mapping[str, int], *, quoted_names: bool
    ) -> None:
        """constants: values of names that may stand for a number, such as an array's bound."""
        self.lexer = Lexer(text.removeprefix("\ufeff"), source, quoted_names=quoted_names)
        self._constants = {name.upper(): value for name, value in constants.items()}
        self.token = self.lexer.next()

    @abc.abstractmethod
    def definitions(self) -> list[Definition]:
        """Read the whole text."""

    def error(self, message: str, token: Token | None = None) -> DefinitionError:
        """Make an error that points at a word, by default the next one."""
        return self.lexer.error(message, self.token if token is None else token)

    def advance(self) -> Token:
        """Return the next word and advance."""
        token = self.token
        self.token = self.lexer.next()
        return token

    def accept(self, *words: str) -> bool:
        """Skip the next word if it is one of these."""
        if not self.token.is_word(*words):
            return False
        self.advance()
        return True

    def expect(self, word: str) -> Token:
        """Skip a required word."""
        if not self.token.is_word(word):
            raise self.error(f"expected {word}, found {self.token.shown()}")
        return self.advance()

    def name(self, what: str) -> Token:
        """Skip a name."""
        if self.token.kind not in ("name", "quoted"):
            raise self.error(f"expected {what}, found {self.token.shown()}")
        return self.advance()

    # --- types ------------------------------------------------------------------------------------

    def type_tree(self) -> TypeTree:
        """``ARRAY ...``, ``STRING ...`` or a name."""
        token = self.name("a type")
        if token.is_word("ARRAY"):
            return self._array(token)
        if token.is_word("STRING"):
            return self._string(token)
        return NamedType(token)

    def _array(self, token: Token) -> ArrayType:
        self.expect("[")
        lengths = [self._range()]
        while self.accept(","):
            lengths.append(self._range())
        self.expect("]")
        self.expect("OF")
        return ArrayType(token, tuple(lengths), self.type_tree())

    def _range(self) -> int:
        token = self.token
        low = self.integer()
        self.expect("..")
        high = self.integer()
        if high < low:
            raise self.error(f"the range {low}..{high} is empty", token)
        return high - low + 1

    def _string(self, token: Token) -> StringType:
        length = self.default_string_length
        closing = {"[": "]", "(": ")"}.get(self.token.text)
        if closing:
            self.advance()
            length = self.integer()
            self.expect(closing)
        return StringType(token, length)

    # --- constants --------------------------------------------------------------------------------

    def integer(self) -> int:
        """A number, or an expression of numbers and known constants."""
        constant = self.constant()
        if isinstance(constant.value, Member):
            name = ".".join(constant.value.names)
            raise self.error(
                f"{name} is unknown; give its value in constants={{{name!r}: ...}}", constant.token
            )
        if type(constant.value) is not int:
            raise self.error("expected a whole number", constant.token)
        return constant.value

    def constant(self, first: Token | None = None) -> Value:
        """Sums and products of literals. first: a word of it that was already read."""
        left = self._product(first)
        while self.token.is_word("+", "-"):
            sign = 1 if self.advance().text == "+" else -1
            right = self._product(None)
            a, b = self._number(left), self._number(right)
            left = self._result(left.token, a + sign * b)
        return left

    def _product(self, first: Token | None) -> Value:
        left = self._factor(first)
        while self.accept("*"):
            right = self._factor(None)
            left = self._result(left.token, self._number(left) * self._number(right))
        return left

    def _result(self, token: Token, number: int | float) -> Value:
        """Check a number, a sum or a product: no type holds values above 1e300."""
        if type(number) is int and abs(number) > _LARGEST:
            raise self.error("this number is above 1e300, and no type can hold it", token)
        return Value(token, number)

    def _number(self, value: Value) -> int | float:
        if type(value.value) not in (int, float):
            raise self.error("only numbers can be added, subtracted or multiplied", value.token)
        assert isinstance(value.value, int | float)
        return value.value

    def _factor(self, first: Token | None) -> Value:
        token = first if first is not None else self.advance()
        if token.is_word("-", "+"):
            inner = self._factor(None)
            number = self._number(inner)
            return Value(token, -number if token.text == "-" else number)
        if token.is_word("("):
            inner = self.constant()
            self.expect(")")
            return inner
        return self._literal(token)

    def _literal(self, token: Token) -> Value:
        try:
            if token.kind == "based":
                return self._result(token, based_int(token.text))
            if token.kind == "number":
                plain = token.text.replace("_", "")
                return self._result(token, int(plain) if plain.isdigit() else float(plain))
            if token.kind == "time":
                return Value(token, Time(time_ns(token.text)))
            if token.kind == "string":
                return Value(token, text_of(token.text))
        except DefinitionError:
            raise
        except ValueError as error:
            raise self.error(str(error), token) from None
        if token.kind in ("name", "quoted"):
            return self._named(token)
        raise self.error(f"expected a value, found {token.shown()}", token)

    def _named(self, token: Token) -> Value:
        if token.is_word("TRUE", "FALSE"):
            return Value(token, token.is_word("TRUE"))
        if self.token.text == "#":
            self.advance()
            if token.text.upper() in _LITERAL_PREFIXES:
                return self._factor(None)
            return Value(token, Member((token.text, self.name("a member").text)))
        names = [token.text]
        while self.accept("."):
            names.append(self.name("a member").text)
        name = ".".join(names).upper()
        return Value(token, self._constants.get(name, Member(tuple(names))))

    # --- initial values ---------------------------------------------------------------------------

    def initial(self) -> Initial | None:
        """``:= ...``, or nothing."""
        return self._initial() if self.accept(":=") else None

    def _initial(self) -> Initial:
        token = self.token
        if self.accept("["):
            return self._values(token)
        if not self.accept("("):
            return self.constant()
        if self.token.kind in ("name", "quoted"):
            first = self.advance()
            if self.accept(":="):
                return self._fields(token, first)
            inner = self.constant(first)
        else:
            inner = self.constant()
        self.expect(")")
        return inner

    def _values(self, token: Token) -> Values:
        items: list[tuple[int, Initial]] = []
        while not self.accept("]"):
            if items:
                self.expect(",")
            items.append(self._repeated())
        return Values(token, tuple(items))

    def _repeated(self) -> tuple[int, Initial]:
        item = self._initial()
        if not isinstance(item, Value) or not self.accept("("):
            return 1, item
        if type(item.value) is not int or not 1 <= item.value <= 8 * MAX_PAYLOAD_BYTES:
            raise self.error("expected how often the value is repeated", item.token)
        inner = self._initial()
        self.expect(")")
        return item.value, inner

    def _fields(self, token: Token, first: Token) -> Fields:
        items = [(first, self._initial())]
        while not self.accept(")"):
            self.expect(",")
            name = self.name("a field")
            self.expect(":=")
            items.append((name, self._initial()))
        return Fields(token, tuple(items))
