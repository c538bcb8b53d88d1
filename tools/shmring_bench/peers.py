"""Finds the comparisons with programs of other authors. They are in `tools/peers` of the source
tree, and not installed."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shmring_bench.measure import NotInstalled


def load(name: str) -> Any:
    """Return a module of theirs. Raises `NotInstalled`."""
    if "peers" not in sys.modules:
        place = folder()
        if place is None:
            raise NotInstalled("peer: needs the source tree")
        spec = importlib.util.spec_from_file_location(
            "peers", place / "__init__.py", submodule_search_locations=[str(place)]
        )
        assert spec is not None
        assert spec.loader is not None
        package = importlib.util.module_from_spec(spec)
        sys.modules["peers"] = package
        spec.loader.exec_module(package)
    return importlib.import_module(f"peers.{name}")


def part(module: str, name: str) -> Callable[..., Any]:
    """Return a function of theirs that is looked up when it is called. The call raises
    `NotInstalled`, too."""

    def call(*arguments: Any, **options: Any) -> Any:
        return getattr(load(module), name)(*arguments, **options)

    return call


def folder() -> Path | None:
    """Return `tools/peers`, if the current folder is the source tree. It must be root's or this
    user's, because its code is run."""
    place = Path("tools", "peers").absolute()
    if not (place / "__init__.py").is_file() or place.stat().st_uid not in (0, os.geteuid()):
        return None
    return place
