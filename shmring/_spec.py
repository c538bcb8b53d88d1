"""The base class of engines and their parts."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from rtworkers.similar import did_you_mean


class Spec:
    """Base class of engines and their parts: frozen dataclasses that print themselves as code."""

    __slots__ = ()

    _places: ClassVar[Mapping[str, str]] = {}
    """Where something belongs that is not a field."""
    _flat: ClassVar[Mapping[str, str]] = {}
    """Fields whose option among all of a channel has another name."""

    # How `shmring._way_back` reads an object from the configuration of a channel.
    _parts: ClassVar[Mapping[str, type["Spec"]]] = {}
    """Fields that are objects of this kind."""
    _held: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    """Fields without a row: how to read them from `shmring._way_back.Words`."""
    _unheld: ClassVar[Collection[str]] = ()
    """Fields of the engine's parts that it refuses, so that they have their defaults."""
    _struct: ClassVar[str] = ""
    """The engine's own configuration, without its `_t`. It has a function that checks it."""

    if not TYPE_CHECKING:  # type checkers know the fields

        def __new__(cls, *_: Any, **fields: Any) -> Any:
            known = getattr(cls, "__dataclass_fields__", fields)
            for name in fields.keys() - known.keys():
                place = cls._places.get(name, "")
                found = place.startswith("open(") or place.partition("=")[0] in known
                hint = f": write {place}" if found else did_you_mean(name, known)
                raise TypeError(f"{cls.__name__} has no field {name!r}{hint}")
            return object.__new__(cls)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.given().items())
        return f"{type(self).__name__}({shown})"

    def given(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        values = {field: getattr(self, field.name) for field in fields}
        return {
            field.name: value
            for field, value in values.items()
            if not (type(value) is type(field.default) and value == field.default)
        }


Parts = Mapping[str, type[Spec]]
Held = Mapping[str, Callable[[Any], Any]]
