"""Names that are gone: the error says where they are."""

from collections.abc import Mapping
from types import ModuleType


def moved(thing: object, name: str, places: Mapping[str, str]) -> AttributeError:
    """Return the error for a name that an object or a module does not have."""
    kind = thing.__name__ if isinstance(thing, ModuleType) else type(thing).__name__
    if name in places:
        return AttributeError(f"{name} of {kind} is now {places[name]}", name=name, obj=thing)
    return AttributeError(f"{kind!r} object has no attribute {name!r}", name=name, obj=thing)
