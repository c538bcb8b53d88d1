"""The face of a package: its names are imported on first use, so that a program loads only what it
uses."""

TYPE_CHECKING = False  # typing.TYPE_CHECKING without typing: type checkers know the name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def homes_of(names: "Mapping[str, str]") -> "dict[str, str]":
    """Return the module of each name. names: of each module, separated by spaces."""
    return {name: home for home, row in names.items() for name in row.split()}


def found(package: str, name: str, home: str) -> "Any":
    """Import what a package shows under a name. home: its module, or the package for a module."""
    from importlib import import_module

    if home == package:
        return import_module(f"{package}.{name}")
    return getattr(import_module(home), name)


def face(
    package: str, names: "Mapping[str, str]"
) -> "tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]":
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package.

    names: of each module that the package shows names of. The package itself: its modules.
    """
    homes = homes_of(names)

    def getattribute(name: str) -> "Any":
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return found(package, name, homes[name])

    return getattribute, lambda: sorted(homes), sorted(homes)
