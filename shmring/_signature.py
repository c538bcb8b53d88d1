"""Calls for tasks with the signatures of those that block."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def like(
    call: Callable[Concatenate[Any, P], T],
) -> Callable[
    [Callable[..., Coroutine[Any, Any, T]]], Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]
]:
    """Give a method for tasks the name, the signature and the text of the method that blocks, also
    in the eyes of type checkers."""

    def shaped(
        method: Callable[..., Coroutine[Any, Any, T]],
    ) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
        return functools.wraps(call)(method)

    return shaped
