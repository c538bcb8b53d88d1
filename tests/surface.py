"""The public surface, one line a name: `make surface` writes it to tests/surface.txt.

A test compares that file with what is installed, so that no public name changes by accident.
Names of Python are public if docs/reference/api shows their module, or if a drop-in has them; a
parameter that is given by name alone has a line of its own. Options of commands come from their
parsers, the C interface from shmring.h and librtpsynth.map.
"""

from __future__ import annotations

import builtins
import dataclasses
import enum
import importlib
import inspect
import pkgutil
import re
import sys
import types
import typing
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from shmring_cli.parsers import command_lines

ROOT = Path(__file__).resolve().parents[1]
DROP_INS = ("netflux", "rtpsynth", "rtudp", "udpcom", "udt4")
OURS = ("shmring", "rtworkers", *DROP_INS)
BUFFER = "bytes | bytearray | memoryview"  # collections.abc.Buffer, before Python 3.12
UNIONS = (typing.Union, types.UnionType)
ALONE = {f"netflux_{name}" for name in ("main", "receiver", "sender", "statistics")}
# Methods that programs use by an operator, a statement or a protocol. Others with two underscores
# are housekeeping, or differ from one Python to the next.
OPERATORS = {
    *("__enter__", "__exit__", "__aenter__", "__aexit__", "__iter__", "__next__"),
    *("__aiter__", "__anext__", "__await__", "__call__", "__len__", "__bool__", "__int__"),
    *("__index__", "__contains__", "__getitem__", "__setitem__", "__delitem__", "__array__"),
    *("__add__", "__sub__", "__and__", "__or__", "__lt__", "__dlpack__", "__dlpack_device__"),
    *("__arrow_c_array__", "__arrow_c_stream__", "__arrow_c_schema__"),
}

# --- Python ---------------------------------------------------------------------------------------


def modules() -> list[str]:
    """The modules that the reference shows, and those of the drop-ins."""
    shown = set()
    for page in (ROOT / "docs" / "reference" / "api").glob("*.rst"):
        directives = r"^\.\. (?:currentmodule|automodule):: (\S+)"
        shown.update(re.findall(directives, page.read_text("utf-8"), re.M))
    for name in DROP_INS:
        package = importlib.import_module(name)
        below = pkgutil.walk_packages(package.__path__, f"{name}.")
        shown |= {name, *(module.name for module in below if "._" not in module.name)}
    return sorted(shown | ALONE)


def of_modules(names: list[str]) -> Iterator[str]:
    """The lines of modules. What has several names is described under the shortest."""
    named: dict[str, Any] = {}
    for name in names:
        module = importlib.import_module(name)
        own = [short for short, found in vars(module).items() if is_own(found, name)]
        extra = ("open", "gc") if name == "shmring" else ()  # a star import would hide Python's
        for short in {*getattr(module, "__all__", own), *extra}:
            if not short.startswith(("_", "pytest_")):  # its hooks are pytest's
                named[f"{name}.{short}"] = getattr(module, short)
    first: dict[int, str] = {}
    for name in sorted(named, key=lambda name: (name.count("."), name)):
        found = named[name]
        other = first.setdefault(id(found), name) if callable(found) else name
        yield from of_object(name, found, first) if other == name else [f"{name} is {other}"]


def is_own(found: Any, module: str) -> bool:
    """Whether a module without `__all__` has a name itself, and not from elsewhere."""
    if type(found).__module__ == "_pytest.fixtures":
        return True
    if isinstance(found, (bool, typing.TypeVar)):  # TYPE_CHECKING
        return False
    return getattr(found, "__module__", None) == module or isinstance(found, (int, str))


def of_object(name: str, found: Any, first: dict[int, str]) -> Iterator[str]:
    if isinstance(found, (bool, int, float, str)):
        yield f"{name} = {value(found)}"
    elif typing.get_origin(found) in (*UNIONS, tuple):
        yield f"{name} = {kind_of(found)}"
    elif not is_ours(found):
        yield name
    elif inspect.isclass(found):
        yield from of_class(name, found, {*first})
    elif inspect.isroutine(found):
        yield from of_call(name, found)
    else:
        yield name


def of_class(name: str, kind: type, public: set[int]) -> Iterator[str]:
    """A class with its bases that are public or Python's own, and what it adds to public bases."""
    shown = {*public, *map(id, vars(builtins).values())}
    above = [base for base in kind.__mro__[1:] if id(base) in shown and base is not object]
    bases = "".join(f" < {base.__name__}" for base in above)
    fields = fields_of(kind)
    if issubclass(kind, (enum.Enum, BaseException)) or getattr(kind, "_is_protocol", False):
        yield name + bases
    elif fields:
        order = [field.name for field in fields.values() if field.init and not field.kw_only]
        yield f"{name}({', '.join(order)})" + bases
    else:
        yield from of_call(name, kind, bases)
    inherited = {short for base in above if id(base) in public for short in names_of(base)}
    for short in names_of(kind) - inherited:
        found = inspect.getattr_static(kind, short, None)
        if short in fields:
            yield f"{name}.{short}: {of_field(fields[short])}"
        elif isinstance(found, (classmethod, staticmethod)) or inspect.isroutine(found):
            yield from of_call(f"{name}.{short}", getattr(kind, short))
        elif isinstance(found, enum.Enum):
            yield f"{name}.{short} = {found.value!r}"
        else:
            yield f"{name}.{short}"


def fields_of(kind: type) -> dict[str, dataclasses.Field[Any]]:
    """The fields of a dataclass; of other classes, none."""
    found = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    return {field.name: field for field in found}


def of_field(field: dataclasses.Field[Any]) -> str:
    default = "" if field.default is dataclasses.MISSING else f" = {value(field.default)}"
    return kind_of(field.type) + default


def names_of(kind: type) -> set[str]:
    """The public names that a class has from classes of this project."""
    homes = [base for base in kind.__mro__ if is_ours(base)]
    found = {*fields_of(kind)}.union(*(vars(home) for home in homes))
    return {short for short in found if not short.startswith("_") or short in OPERATORS}


def is_ours(found: Any) -> bool:
    return getattr(found, "__module__", "").partition(".")[0] in {*OURS, *ALONE}


def of_call(name: str, found: Any, bases: str = "") -> Iterator[str]:
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):  # a class of C that is only returned
        yield name + bases
        return
    words = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            yield f"{name}(*, {shown(parameter)})"
        elif keywords := keywords_of(parameter, found):
            yield from (f"{name}(*, {short}: {kind_of(kind)})" for short, kind in keywords.items())
        else:
            words.append(shown(parameter))
    gives = signature.return_annotation
    returns = "" if gives is signature.empty or inspect.isclass(found) else f" -> {kind_of(gives)}"
    yield f"{name}({', '.join(words)}){returns}{bases}"


def keywords_of(parameter: inspect.Parameter, found: Any) -> dict[str, Any]:
    """The keywords of `**options: Unpack[...]`."""
    kind = parameter.annotation
    if isinstance(kind, str) and kind.startswith("Unpack["):
        kind = vars(sys.modules[found.__module__]).get(kind[len("Unpack[") : -1])
    elif typing.get_origin(kind) is typing.Unpack:
        (kind,) = typing.get_args(kind)
    return typing.get_type_hints(kind) if typing.is_typeddict(kind) else {}


def shown(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
    text = stars.get(parameter.kind, "") + parameter.name
    if parameter.annotation is not parameter.empty:
        text += f": {kind_of(parameter.annotation)}"
    return text if parameter.default is parameter.empty else f"{text} = {value(parameter.default)}"


def kind_of(annotation: Any) -> str:
    """A type as programs write it, in all Pythons the same."""
    if annotation is None or annotation is type(None):
        return "None"
    if typing.get_origin(annotation) in UNIONS:
        text = " | ".join(kind_of(part) for part in typing.get_args(annotation))
        return text.replace(BUFFER, "Buffer")
    if isinstance(annotation, typing.ForwardRef):
        return annotation.__forward_arg__
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"\b[a-zA-Z_][\w.]*\.(?=[A-Za-z_])", "", text).replace("~", "")
    return text.replace(BUFFER, "Buffer")


def value(of: Any) -> str:
    if isinstance(of, enum.Enum):
        return f"{type(of).__name__}.{of.name}"
    if callable(of) and hasattr(of, "__name__"):
        return str(of.__name__)
    return re.sub(r" at 0x[0-9a-f]+", "", repr(of))


# --- commands -------------------------------------------------------------------------------------


def of_commands() -> Iterator[str]:
    for point in entry_points(group="console_scripts"):
        if point.dist is not None and point.dist.name == "shmring":
            yield point.name
    for line in command_lines():
        yield " ".join(line.words)
        for option in line.options:
            words = " ".join([*line.words, ", ".join(option.flags) or option.metavar])
            metavar = f" {option.metavar}" if option.flags and not option.choices else ""
            yield words + metavar.rstrip()
            if option.metavar != "PAGE":  # pages come and go
                yield from (f"{words} = {choice}" for choice in option.choices)


# --- C --------------------------------------------------------------------------------------------


def of_header(text: str) -> Iterator[str]:
    """What a header declares: calls, macros, members of structs and enumerations."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    yield from re.findall(r"^#define (SHMRING_\w+ \S+)$", text, re.M)
    text = re.sub(r"^#.*$", "", text, flags=re.M).replace("SHMRING_API ", "")
    text = " ".join(text.split()).replace('extern "C" {', "")
    for kind, body, name in re.findall(r"typedef (struct|enum) \w+ \{(.*?)\} (\w+);", text):
        members = [part.strip() for part in body.split(";" if kind == "struct" else ",")]
        for i, member in enumerate(filter(None, members)):
            yield f"{name} {i:02d} {member}"
    text = re.sub(r"typedef (?:struct|enum) \w+ \{.*?\} \w+;", "", text)
    yield from (call.strip() for call in re.findall(r"[^;}]*\([^;]*\)(?=;)", text))


def of_map(text: str) -> Iterator[str]:
    """The symbols of a version script, each with its node."""
    for node, body in re.findall(r"^(\w+(?:\.\w+)?) \{(.*?)\}", text, re.S | re.M):
        names = body.replace("global:", "").partition("local:")[0]
        yield from (f"{name} {node}" for name in names.replace(";", " ").split())


def surface() -> list[str]:
    """All lines, in the order of the file."""
    import shmring

    header = Path(shmring.__file__).parent / "include" / "shmring.h"
    symbols = ROOT / "csrc" / "librtpsynth" / "librtpsynth.map"
    lines = {f"python {line}" for line in of_modules(modules())}
    lines |= {f"command {line}" for line in of_commands()}
    lines |= {f"libshmring {line}" for line in of_header(header.read_text("utf-8"))}
    lines |= {f"librtpsynth {line}" for line in of_map(symbols.read_text("utf-8"))}
    return sorted(lines)


if __name__ == "__main__":
    print("\n".join(surface()))
