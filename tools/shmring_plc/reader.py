"""The common part of structured text and SCL: it turns the words of a text into a tree."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Mapping
from typing import Any

from shmring.extras import missing
from shmring.netflux.records.field_types import MAX_PAYLOAD_BYTES, SCALARS

from .errors import DefinitionError
from .literals import based_int, text_of, time_ns
from .text import Text
from .tree import (
    ArrayType,
    Definition,
    EnumType,
    Fields,
    FieldTree,
    Initial,
    Member,
    NamedType,
    StringType,
    StructType,
    Time,
    Token,
    TypeTree,
    Value,
    Values,
)

try:
    from lark import Lark, Transformer_NonRecursive, UnexpectedCharacters, UnexpectedToken, v_args
    from lark import Token as Word
    from lark.exceptions import VisitError
except ModuleNotFoundError:
    raise missing("lark", "plc", "reading definitions of a controller") from None

_DEEPEST = 400
_LARGEST = 10**300
_LONGEST_NUMBER = 400
_LITERAL_PREFIXES = {*SCALARS, "B", "W", "DW", "LW", "L"}
_OPERATORS = {"PLUS", "DASH", "STAR", "HASH", "DOT", "ROUND", "_ASSIGN", "$END"}
_REFUSED = {
    "U": "a UNION has no unique meaning",
    "P": "an address is useless at the other end",
    "R": "an address is useless at the other end",
}


@functools.cache
def _parser(grammar: str) -> Lark:
    return Lark(grammar, parser="lalr", propagate_positions=False)


def parse(grammar: str, text: Text, plain: str, reader: Reader) -> list[Definition]:
    """Return the definitions of `plain`, which is `text` without comments and pragmas."""
    run = _parser(grammar).parse_interactive(plain)
    try:
        for word in run.iter_parse():
            if word.type == "REFUSED":
                reason = _REFUSED[word[0].upper()]
                raise text.error(f"{word} cannot be sent: {reason}", token_of(word))
            if len(run.parser_state.state_stack) > _DEEPEST:
                raise text.error("this is nested too deeply", token_of(word))
        found: list[Definition] = reader.transform(run.feed_eof())  # type: ignore[no-untyped-call]
    except UnexpectedCharacters as error:
        here = Token("", error.line, error.column)
        raise text.error(f"unexpected character {error.char!r}", here) from None
    except UnexpectedToken as error:
        raise _unexpected(error.token, run.accepts(), text, plain) from None  # type: ignore[no-untyped-call]
    except VisitError as error:
        raise error.orig_exc from None
    return found


def _unexpected(word: Word, accepts: set[str], text: Text, plain: str) -> DefinitionError:
    at_end = word.type == "$END"
    here = text.place(len(plain)) if at_end else token_of(word)
    if word.upper() == "EXTENDS":
        message = "EXTENDS is not supported: copy its fields, or make it a field"
    elif word == "(" and "_ASSIGN" in accepts and "NUMBER" not in accepts:
        message = "a subrange is not supported: give the type without it"
    else:
        found = "the end of the text" if at_end else repr(str(word))
        message = f"expected {_expected(accepts)}, found {found}"
    return text.error(message, here)


def _expected(accepts: set[str]) -> str:
    if "NUMBER" in accepts:
        return "a value"
    if "ARRAY" in accepts:
        return "a type"
    if "NAME" in accepts:
        others = {"END_STRUCT": "a field", "END_TYPE": "the name of a type"}
        for word, what in others.items():
            if word in accepts:
                return f"{what}, or {word}"
        return "a name"
    if "STRUCT" in accepts:
        return "STRUCT"
    signs = {"COMMA": ",", "COLON": ":", "SEMICOLON": ";", "RPAR": ")", "RSQB": "]"}
    signs |= {"_ASSIGN": ":=", "_RANGE": "..", "SQUARE": "["}
    words = sorted(accepts - _OPERATORS) or sorted(accepts)
    return " or ".join(signs.get(word, word) for word in words)


def token_of(word: Word) -> Token:
    """A word of lark."""
    assert word.line is not None
    assert word.column is not None
    quoted = word.type == "QUOTED"
    return Token(word[1:-1] if quoted else str(word), word.line, word.column, quoted)


class Reader(Transformer_NonRecursive[Word, Any]):
    """Makes the tree of the text that lark has parsed. Numbers are computed on the way."""

    def __init__(self, text: Text, constants: Mapping[str, int], string_length: int) -> None:
        """constants: values of names that may be used as numbers. string_length: default for
        STRING."""
        super().__init__()
        self._text = text
        self._constants = {name.upper(): value for name, value in constants.items()}
        self._string_length = string_length

        self._packs: deque[tuple[Token, int]] = deque()

    def pack(self, place: Token, mode: int) -> None:
        """Note the pack mode for the next structure."""
        self._packs.append((place, mode))

    def _pack_before(self, token: Token) -> int:
        """Consume the pack modes before a type. Return the last one, or 0."""
        mode = 0
        while self._packs and self._packs[0][0][1:3] < token[1:3]:
            mode = self._packs.popleft()[1]
        return mode

    # --- definitions ------------------------------------------------------------------------------

    def start(self, *parts: Any) -> list[Definition]:
        return [part for part in parts if isinstance(part, Definition)]

    def definition(self, name: Token, *parts: Any) -> Definition:
        types = [part for part in parts if isinstance(part, TypeTree)]
        initial = parts[-1] if isinstance(parts[-1], Initial) else None
        self._pack_before(name)
        return Definition(name, types[0], initial)

    def struct(self, start: Word, *lines: Any) -> StructType:
        fields = tuple(field for line in lines[:-1] for field in line)
        token = token_of(start)
        return StructType(token, fields, self._pack_before(token))

    def line(
        self, names: list[Token], kind: TypeTree, initial: Initial | None = None
    ) -> list[FieldTree]:
        return [FieldTree(name, kind, initial) for name in names]

    def names(self, *names: Token) -> list[Token]:
        return list(names)

    def enumeration(self, first: Word, *parts: Any) -> EnumType:
        base = parts[-1] if isinstance(parts[-1], Token) else None
        given = parts if base is None else parts[:-1]
        members: list[tuple[Token, int]] = []
        for name, value in given:
            following = members[-1][1] + 1 if members else 0
            members.append((name, following if value is None else value))
        return EnumType(token_of(first), tuple(members), base)

    def enumerator(self, name: Token, value: Value | None = None) -> tuple[Token, int | None]:
        return name, None if value is None else self._integer(value)

    # --- types ------------------------------------------------------------------------------------

    def name(self, word: Word) -> Token:
        return token_of(word)

    def named(self, name: Token) -> NamedType:
        return NamedType(name)

    def array(self, word: Word, *parts: Any) -> ArrayType:
        lengths = tuple(part for part in parts if isinstance(part, int))
        return ArrayType(token_of(word), lengths, parts[-1])

    def range(self, low: Value, high: Value) -> int:
        first, last = self._integer(low), self._integer(high)
        if last < first:
            raise self._text.error(f"the range {first}..{last} is empty", low.token)
        return last - first + 1

    def string(self, word: Word, length: Value | None = None) -> StringType:
        number = self._string_length if length is None else self._integer(length)
        return StringType(token_of(word), number)

    # --- constants --------------------------------------------------------------------------------

    def number(self, word: Word) -> Value:
        plain = self._short(word).replace("_", "")
        return self._result(token_of(word), int(plain) if plain.isdigit() else float(plain))

    def based(self, word: Word) -> Value:
        return self._result(token_of(word), self._literal(based_int, self._short(word)))

    def time(self, word: Word) -> Value:
        return Value(token_of(word), Time(self._literal(time_ns, self._short(word))))

    def text(self, word: Word) -> Value:
        return Value(token_of(word), self._literal(text_of, word))

    def _short(self, word: Word) -> Word:
        """Check a number: Python does not read very long ones."""
        if len(word) > _LONGEST_NUMBER:
            message = f"this number has {len(word)} characters; at most {_LONGEST_NUMBER}"
            raise self._text.error(message, token_of(word))
        return word

    def _literal(self, meaning: Any, word: Word) -> Any:
        try:
            return meaning(str(word))
        except ValueError as error:
            raise self._text.error(str(error), token_of(word)) from None

    def member(self, *names: Token) -> Value:
        name = ".".join(token.text for token in names).upper()
        if name in ("TRUE", "FALSE") and not names[0].quoted:
            return Value(names[0], name == "TRUE")
        member = Member(tuple(token.text for token in names))
        return Value(names[0], self._constants.get(name, member))

    def typed(self, prefix: Token, value: Value) -> Value:
        if prefix.text.upper() in _LITERAL_PREFIXES:
            return value
        if not isinstance(value.value, Member):
            raise self._text.error("expected a member", value.token)
        return Value(prefix, Member((prefix.text, *value.value.names)))

    def add(self, left: Value, right: Value) -> Value:
        return self._result(left.token, self._number(left) + self._number(right))

    def subtract(self, left: Value, right: Value) -> Value:
        return self._result(left.token, self._number(left) - self._number(right))

    def multiply(self, left: Value, right: Value) -> Value:
        return self._result(left.token, self._number(left) * self._number(right))

    def negative(self, dash: Word, value: Value) -> Value:
        return Value(token_of(dash), -self._number(value))

    def positive(self, value: Value) -> Value:
        return Value(value.token, self._number(value))

    def _result(self, token: Token, number: int | float) -> Value:
        """Check a number, a sum or a product: no type holds values above 1e300."""
        if type(number) is int and abs(number) > _LARGEST:
            raise self._text.error("this number is above 1e300, and no type can hold it", token)
        return Value(token, number)

    def _number(self, value: Value) -> int | float:
        if type(value.value) not in (int, float):
            message = "only numbers can be added, subtracted or multiplied"
            raise self._text.error(message, value.token)
        assert isinstance(value.value, int | float)
        return value.value

    def _integer(self, value: Value) -> int:
        if isinstance(value.value, Member):
            name = ".".join(value.value.names)
            advice = f"give its value in constants={{{name!r}: ...}}"
            raise self._text.error(f"{name} is unknown; {advice}", value.token)
        if type(value.value) is not int:
            raise self._text.error("expected a whole number", value.token)
        return value.value

    # --- initial values ---------------------------------------------------------------------------

    def values(self, square: Word, *items: Any) -> Values:
        counted = tuple(item if isinstance(item, tuple) else (1, item) for item in items)
        return Values(token_of(square), counted)

    def repeated(self, count: Value, value: Initial) -> tuple[int, Initial]:
        if type(count.value) is not int or not 1 <= count.value <= 8 * MAX_PAYLOAD_BYTES:
            raise self._text.error("expected how often the value is repeated", count.token)
        return count.value, value

    def fields(self, first: Word, *items: tuple[Token, Initial]) -> Fields:
        return Fields(token_of(first), items)

    def field_value(self, name: Token, value: Initial) -> tuple[Token, Initial]:
        return name, value


v_args(inline=True)(Reader)  # as a decorator it would hide the class from type checkers
