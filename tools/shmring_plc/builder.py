"""Makes classes from definitions."""

from __future__ import annotations

import copy
import dataclasses
import enum
import functools
import keyword
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Annotated, Any, cast

from shmring.netflux.records import RecordError
from shmring.netflux.records.field_types import (
    ENCODING,
    MAX_PAYLOAD_BYTES,
    SCALARS,
    Array,
    Enumeration,
    FieldType,
    RuleName,
    Scalar,
    String,
    field_type,
)

from .errors import DefinitionError
from .literals import fit_float, fit_int
from .tree import (
    ArrayType,
    Definition,
    EnumType,
    Fields,
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

_MOST_VALUES = 8 * MAX_PAYLOAD_BYTES
_MOST_FIELDS = MAX_PAYLOAD_BYTES
_MOST_LEVELS = 64
_MOST_INITIAL_VALUES = 1 << 20
# What a dataclass or an enumeration uses itself, also in the functions that it makes.
_NO_FIELD = re.compile(r"__.*|_(order|pack|rules)_|_(dflt|type)_.*|_HAS_DEFAULT_FACTORY|MISSING")
_NO_MEMBER = re.compile(r"__.*|_.*_|mro")
_NS_OF = {"TIME": 1_000_000, "LTIME": 1}


@dataclasses.dataclass(frozen=True, slots=True)
class _Made:
    """A type, and how to make its initial value.

    values: how many single values it has. levels: how many types it has in each other.
    """

    kind: FieldType
    default: Callable[[], Any]
    values: int = 1
    levels: int = 0


def _identifier(text: str) -> str:
    """Return a valid Python name: ``my value`` becomes ``my_value``, ``from`` becomes ``from_``."""
    plain = unicodedata.normalize("NFKC", text)  # as Python does it with names
    name = "".join(sign if f"a{sign}".isidentifier() else "_" for sign in plain)
    if not name.isidentifier():
        name = "_" + name
    return name + "_" if keyword.iskeyword(name) else name


class _Builder:
    """Makes the classes of one text."""

    def __init__(
        self,
        definitions: Sequence[Definition],
        error: Callable[[str, Token], DefinitionError],
        namespace: dict[str, Any],
    ) -> None:
        """error: makes an error that points at a word."""
        self._error = error
        self._namespace = namespace
        self._rules: RuleName = namespace["_rules_"]
        self._definitions: dict[str, Definition] = {}
        self._made: dict[str, _Made] = {}
        self._making: set[str] = set()
        self._depth = 0
        self._initial_values = 0
        for definition in definitions:
            key = definition.token.text.upper()
            if key in SCALARS or key == "STRING":
                raise error(f"{definition.token.text} is an elementary type", definition.token)
            if key in self._definitions:
                raise error(f"{definition.token.text} is defined twice", definition.token)
            self._definitions[key] = definition

    def classes(self) -> dict[str, type[Any]]:
        """Return records and enumerations by name, in the order of the text."""
        classes: dict[str, type[Any]] = {}
        for definition in self._definitions.values():
            kind = self._named(definition.token).kind
            if isinstance(kind, Enumeration):
                kind = kind.members
            if isinstance(kind, type):
                classes[definition.token.text] = kind
        return classes

    # --- types ------------------------------------------------------------------------------------

    def _named(self, token: Token) -> _Made:
        key = token.text.upper()
        if key in SCALARS and not token.quoted:
            return self._scalar(SCALARS[key])
        if key not in self._definitions:
            known = sorted(definition.token.text for definition in self._definitions.values())
            raise self._error(
                f"unknown type {token.text}; known are {', '.join(SCALARS)}, STRING, ARRAY, and "
                f"from this text {', '.join(known)}",
                token,
            )
        if key in self._making:
            raise self._error(f"{token.text} contains itself", token)
        if key not in self._made:
            self._making.add(key)
            definition = self._definitions[key]
            made = self._make(definition.type, definition.token.text)
            self._made[key] = self._with_initial(made, definition.initial)
            self._making.remove(key)
        return self._made[key]

    def _scalar(self, kind: Scalar) -> _Made:
        if kind.code in ("f", "d"):
            return _Made(kind, float)
        if kind.code in ("", "?"):
            return _Made(kind, bool)
        return _Made(kind, (lambda: "\0") if kind.code == "c" else int)

    def _make(self, tree: TypeTree, name: str) -> _Made:
        """Make a type within limits, which are checked on the way down and on the way up: a type
        that is used again was made before. name: for classes without a name of their own."""
        self._depth += 1
        self._check_levels(tree, name, self._depth)
        made = self._make_type(tree, name)
        self._depth -= 1
        self._check_levels(tree, name, made.levels + 1)
        if made.values > _MOST_VALUES:
            message = f"{name} has {made.values} values; they do not fit in a datagram"
            raise self._error(message, tree.token)
        return dataclasses.replace(made, levels=made.levels + 1)

    def _check_levels(self, tree: TypeTree, name: str, levels: int) -> None:
        if levels > _MOST_LEVELS:
            message = f"{name} is nested too deeply: at most {_MOST_LEVELS} types in each other"
            raise self._error(message, tree.token)

    def _make_type(self, tree: TypeTree, name: str) -> _Made:
        if isinstance(tree, NamedType):
            return self._named(tree.token)
        try:
            if isinstance(tree, StringType):
                return _Made(String(tree.length), str)
            if isinstance(tree, ArrayType):
                return self._array(tree, name)
        except RecordError as error:
            raise self._error(str(error), tree.token) from None
        if isinstance(tree, EnumType):
            return self._enumeration(tree, name)
        return self._struct(tree, name)

    def _array(self, tree: ArrayType, name: str) -> _Made:
        made = self._make(tree.element, name)
        self._check_levels(tree, name, made.levels + len(tree.lengths))
        for length in reversed(tree.lengths):
            made = self._repeat(made, length)
        return made

    def _repeat(self, element: _Made, length: int) -> _Made:
        kind = Array(element.kind, length)
        return _Made(
            kind,
            lambda: [element.default() for _ in range(length)],
            element.values * length,
            element.levels + 1,
        )

    def _enumeration(self, tree: EnumType, name: str) -> _Made:
        members: dict[str, int] = {}
        for token, value in tree.members:
            member = _identifier(token.text)
            if _NO_MEMBER.fullmatch(member):
                raise self._error(f"the name {token.text} is reserved in Python", token)
            members[member] = value
        if len(members) < len(tree.members):
            raise self._error(f"{name} has a member twice", tree.token)
        base = "INT" if tree.base is None else tree.base.text.upper()
        if base not in SCALARS:
            raise self._error(f"{base} is not an integer type", tree.base or tree.token)
        try:
            made = cast("type[enum.IntEnum]", enum.IntEnum(_identifier(name), members))
            kind = Enumeration(made, SCALARS[base])
        except ValueError as error:
            raise self._error(str(error), tree.token) from None
        hidden = next((token for token, _ in tree.members if not _has(made, token)), None)
        if hidden is not None:
            raise self._error(f"the name {hidden.text} is reserved in Python", hidden)
        first = next(iter(made))
        return _Made(kind, lambda: first)

    def _struct(self, tree: StructType, name: str) -> _Made:
        if not tree.fields:
            raise self._error(f"{name} has no fields", tree.token)
        if len(tree.fields) > _MOST_FIELDS:
            message = f"{name} has {len(tree.fields)} fields; at most {_MOST_FIELDS}"
            raise self._error(message, tree.token)
        fields: list[tuple[str, Any, Any]] = []
        taken: set[str] = set()
        values = levels = 0
        for field in tree.fields:
            field_name = _identifier(field.token.text)
            if field_name.upper() in taken or _NO_FIELD.fullmatch(field_name):
                raise self._error(f"the name {field.token.text} is taken", field.token)
            taken.add(field_name.upper())
            made = self._make(field.type, f"{name}_{field.token.text}")
            values += made.values
            levels = max(levels, made.levels)
            fields.append((field_name, *self._field(made, field.initial)))
        namespace = dict(self._namespace)
        if tree.pack:
            namespace["_pack_"] = tree.pack
        record = dataclasses.make_dataclass(_identifier(name), fields, namespace=namespace)
        record.__doc__ = f"Made of the definition of {name}."
        return _Made(record, record, values, levels)

    def _field(self, made: _Made, initial: Initial | None) -> tuple[Any, Any]:
        """Return annotation and default of a field."""
        made = self._with_initial(made, initial)
        kind = made.kind
        annotation = kind if isinstance(kind, type) else Annotated[_python_type(kind), kind]
        if isinstance(kind, Array | type):
            return annotation, dataclasses.field(default_factory=made.default)
        return annotation, dataclasses.field(default=made.default())

    # --- initial values ---------------------------------------------------------------------------

    def _with_initial(self, made: _Made, initial: Initial | None) -> _Made:
        if initial is None:
            return made
        self._initial_values += made.values
        if self._initial_values > _MOST_INITIAL_VALUES:
            message = f"more than {_MOST_INITIAL_VALUES} initial values, those not given included"
            raise self._error(message, initial.token)
        value = self._value(made, initial)
        return dataclasses.replace(made, default=lambda: copy.deepcopy(value))

    def _value(self, made: _Made, initial: Initial) -> Any:
        kind = made.kind
        if isinstance(kind, Array):
            if not isinstance(initial, Values):
                raise self._error("expected the values of an array: [...]", initial.token)
            return self._array_value(made.default(), kind, initial)
        if isinstance(kind, type):
            if not isinstance(initial, Fields):
                raise self._error("expected the values of a structure: (a := ...)", initial.token)
            return self._record_value(made.default(), initial)
        if not isinstance(initial, Value):
            raise self._error("expected a single value", initial.token)
        try:
            return self._single(kind, initial.value)
        except ValueError as error:
            raise self._error(str(error), initial.token) from None

    def _array_value(self, value: list[Any], kind: Array, initial: Values) -> list[Any]:
        """Fill in the first elements. The others keep their values."""
        given = sum(count for count, _ in initial.items)
        if given > 8 * MAX_PAYLOAD_BYTES:
            raise self._error(f"{given} values do not fit in a datagram", initial.token)
        flat: list[Initial] = [item for count, item in initial.items for _ in range(count)]
        if isinstance(kind.element, Array) and flat and not isinstance(flat[0], Values):
            # ARRAY[0..1, 0..2] := [1, 2, 3, 4, 5, 6]
            rows = kind.element.length
            flat = [
                Values(initial.token, tuple((1, item) for item in flat[at : at + rows]))
                for at in range(0, len(flat), rows)
            ]
        if len(flat) > kind.length:
            raise self._error(f"{len(flat)} values for {kind.length} elements", initial.token)
        for index, item in enumerate(flat):
            element = _Made(kind.element, lambda index=index: value[index])  # type: ignore[misc]
            value[index] = self._value(element, item)
        return value

    def _record_value(self, value: Any, initial: Fields) -> Any:
        fields = {field.name.upper(): field for field in dataclasses.fields(value)}
        for token, item in initial.items:
            field = fields.get(_identifier(token.text).upper())
            if field is None:
                raise self._error(f"{type(value).__name__} has no field {token.text}", token)
            name = field.name
            current = getattr(value, name)
            made = _Made(field_type(field.type), lambda current=current: current)  # type: ignore[misc]
            setattr(value, name, self._value(made, item))
        return value

    def _single(self, kind: FieldType, value: Any) -> Any:
        """Return a value as Python stores it. ValueError if the type cannot hold it."""
        if isinstance(kind, Enumeration):
            return _member(kind.members, value)
        if isinstance(value, Member):
            raise ValueError(f"{'.'.join(value.names)} is unknown")
        if isinstance(kind, String):
            return _string(value, kind.length)
        assert isinstance(kind, Scalar)
        if kind.code == "c":
            return _character(value)
        if kind.name in _NS_OF:
            value = _duration(kind, value)
        if type(value) not in (bool, int, float):
            raise ValueError(f"this is not valid for {kind.name}")
        if kind.code in ("", "?"):
            if value not in (0, 1) or isinstance(value, float):
                raise ValueError(f"{value} is not valid for {kind.name}: use TRUE or FALSE")
            return bool(value)
        if isinstance(value, bool):
            raise ValueError(f"TRUE and FALSE are not valid for {kind.name}")
        code = kind.s7_code if self._rules == "s7" else kind.code
        if kind.code in ("f", "d"):
            return fit_float(value, kind, code)
        if isinstance(value, float):
            raise ValueError(f"{value} is not valid for {kind.name}: use a whole number")
        return fit_int(value, kind, code)


def build(
    definitions: Sequence[Definition],
    error: Callable[[str, Token], DefinitionError],
    namespace: dict[str, Any],
) -> dict[str, type[Any]]:
    """Return the records and enumerations of a text. namespace: class attributes of the records."""
    return _Builder(definitions, error, namespace).classes()


def _python_type(kind: FieldType) -> Any:
    if isinstance(kind, Enumeration):
        return kind.members
    if isinstance(kind, Array):
        return list
    if isinstance(kind, String):
        return str
    assert isinstance(kind, Scalar)
    return {"f": float, "d": float, "c": str, "?": bool, "": bool}.get(kind.code, int)


def _has(members: type[enum.IntEnum], token: Token) -> bool:
    return _identifier(token.text) in members.__members__


@functools.lru_cache(maxsize=16)
def _by_name(members: type[enum.IntEnum]) -> dict[str, enum.IntEnum]:
    """The languages do not tell capital letters from small ones."""
    return {name.upper(): member for name, member in members.__members__.items()}


def _member(members: type[enum.IntEnum], value: Any) -> enum.IntEnum:
    if isinstance(value, Member) and len(value.names) in (1, 2):
        owner = value.names[0].upper() if len(value.names) == 2 else None
        member = _by_name(members).get(_identifier(value.names[-1]).upper())
        if member is not None and owner in (None, members.__name__.upper()):
            return member
    if type(value) is int and value in members._value2member_map_:
        return members(value)
    shown = ".".join(value.names) if isinstance(value, Member) else repr(value)
    names = ", ".join(members.__members__)
    raise ValueError(f"{shown} is not a member of {members.__name__}; it has {names}")


def _string(value: Any, length: int) -> str:
    if not isinstance(value, str):
        raise ValueError("expected a string: '...'")
    if len(value) > length:
        raise ValueError(f"{value!r} has {len(value)} characters; STRING[{length}] takes {length}")
    try:
        value.encode(ENCODING)
    except UnicodeEncodeError as error:
        raise ValueError(f"{value[error.start]!r} is not a character of {ENCODING}") from None
    return value


def _character(value: Any) -> str:
    if len(_string(value, 1)) != 1:
        raise ValueError("expected one character: 'x'")
    return str(value)


def _duration(kind: Scalar, value: Any) -> int:
    if value == 0 and type(value) is int:
        return 0
    if not isinstance(value, Time):
        raise ValueError(f"expected a {kind.name}, such as T#1s500ms")
    count, rest = divmod(value.ns, _NS_OF[kind.name])
    if rest:
        raise ValueError("a TIME is a whole number of milliseconds")
    return count
