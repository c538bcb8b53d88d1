"""Functions with the signatures of others, also in the eyes of type checkers."""

from __future__ import annotations

import functools
import inspect
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


def takes(make: Callable[P, object]) -> Callable[[Callable[..., T]], Callable[P, T]]:
    """Give a function that passes all of its arguments on to a class the parameters of that
    class."""

    def shaped(function: Callable[..., T]) -> Callable[P, T]:
        result = inspect.signature(function).return_annotation
        shown = inspect.signature(make).replace(return_annotation=result)
        vars(function)["__signature__"] = shown
        return function

    return shaped
