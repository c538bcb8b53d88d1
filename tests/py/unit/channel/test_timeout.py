"""`timeout=` is given by name, so that a number of bytes or packets cannot be one."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

import shmring
from shmring import _hot

# These have the signature of the sockets of the standard library.
AS_SOCKETS = {"settimeout"}


def public_functions() -> Iterator[tuple[str, Any]]:
    for found in pkgutil.walk_packages(shmring.__path__, "shmring."):
        if "._" in found.name:
            continue
        module = importlib.import_module(found.name)
        for name, value in vars(module).items():
            if name.startswith("_"):
                continue
            if inspect.isclass(value) and value.__module__.startswith("shmring"):
                for member in dir(value):
                    if not member.startswith("_") or member == "__init__":
                        yield f"{found.name}.{name}.{member}", getattr(value, member)
            elif inspect.isfunction(value) and "._" not in value.__module__:
                yield f"{found.name}.{name}", value


def test_every_timeout_is_keyword_only() -> None:
    wrong = []
    seen = 0
    for name, function in public_functions():
        if not callable(function) or name.rpartition(".")[2] in AS_SOCKETS:
            continue
        try:
            timeout = inspect.signature(function).parameters.get("timeout")
        except ValueError:  # the constructor of a compiled class
            continue
        seen += timeout is not None
        if timeout is not None and timeout.kind is not inspect.Parameter.KEYWORD_ONLY:
            wrong.append(name)
    assert wrong == []
    assert seen > 60


def test_a_number_of_bytes_is_no_timeout(loop: Any) -> None:
    ch = loop()
    for recv in (ch.recv, _hot.Core.recv.__get__(ch._endpoint)):
        with pytest.raises(TypeError, match=r"takes no size.*recv\(timeout=1\.0\)"):
            recv(1024)
