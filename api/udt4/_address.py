"""The address that `accept` returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload


class Address(Sequence[str | int]):
    """(host, port): equal to that tuple and used like it, but printed with ``"%s" % address``.

    Programs for the original print it so, and Python takes a tuple for the list of all values that
    a format needs.
    """

    __slots__ = ("_pair",)

    def __init__(self, host: str, port: int) -> None:
        self._pair = (host, port)

    @overload
    def __getitem__(self, index: int) -> str | int: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str | int, ...]: ...
    def __getitem__(self, index: int | slice) -> str | int | tuple[str | int, ...]:
        return self._pair[index]

    def __len__(self) -> int:
        return len(self._pair)

    def __eq__(self, other: object) -> bool:
        return self._pair == (other._pair if isinstance(other, Address) else other)

    def __hash__(self) -> int:
        return hash(self._pair)

    def __repr__(self) -> str:
        return repr(self._pair)
