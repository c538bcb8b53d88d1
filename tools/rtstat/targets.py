"""Finds the channel for a name or namespace/name, whether the channel is served or not."""

from __future__ import annotations

import argparse

from rtstat.selection import SEE, namespace_of
from rtworkers import paths
from rtworkers.similar import meant_channel


def find_channel(name: str, arguments: argparse.Namespace) -> tuple[str, str]:
    """Return namespace and name. Raises FileNotFoundError if there is none, ValueError
    for several."""
    namespace = namespace_of(arguments)
    found = [n.namespace for n in paths.shm_names(namespace) if n.channel == name]
    if not found:
        where = "on this host" if namespace is None else f"in namespace {namespace!r}"
        raise FileNotFoundError(
            f"there is no channel {name!r} {where}, alive or dead: {SEE}"
            + meant_channel(name, namespace)
        )
    if len(found) > 1:
        several = ", ".join(f"{one}/{name}" for one in found)
        raise ValueError(f"several channels have this name: {several}")
    return found[0], name
