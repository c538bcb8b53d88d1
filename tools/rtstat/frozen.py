"""Frozen records with types that import fast.

They look like dataclasses to type checkers and readers. The module `dataclasses` takes two fifths
of the instructions of a whole ``rtstat --json`` of a few channels, because it imports `inspect` and
compiles several functions per class.
"""

from __future__ import annotations

from typing import Any, ClassVar, dataclass_transform


@dataclass_transform(frozen_default=True)
class Frozen:
    """Base class of records. The annotations of a class are its fields, after those of its base."""

    names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls.names = (*cls.names, *vars(cls).get("__annotations__", ()))

    def __init__(self, *values: Any, **named: Any) -> None:
        if named or len(values) != len(self.names):
            values = self._in_order(values, named)
        self.__dict__.update(zip(self.names, values, strict=True))

    def _in_order(self, values: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        fields = dict(zip(self.names, values, strict=False)) | named
        if len(fields) != len(values) + len(named) or fields.keys() != set(self.names):
            raise TypeError(f"{type(self).__name__} needs each of {', '.join(self.names)} once")
        return tuple(fields[name] for name in self.names)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be deleted")

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={self.__dict__[name]!r}" for name in self.names)
        return f"{type(self).__name__}({shown})"
