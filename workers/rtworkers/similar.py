"""Guesses what was meant by a name that does not exist, for the errors that refuse it."""

from __future__ import annotations

from collections.abc import Iterable

from rtworkers import paths


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'ctl'?"``, or an empty text if no known name resembles `name`."""
    import difflib  # only when something is refused

    by_folded = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(name.casefold(), by_folded, 1)
    return f"; did you mean {by_folded[close[0]]!r}?" if close else ""


def meant_channel(name: str, namespace: str | None) -> str:
    """Return the guess for a channel that `namespace` (None: any) lacks. A channel of another
    namespace is given as ``namespace/name``."""
    names = [one for one in paths.shm_names() if one.channel is not None]
    own = {str(one.channel) for one in names if namespace in (None, one.namespace)}
    other = {f"{one.namespace}/{one.channel}": str(one.channel) for one in names}
    elsewhere = [path for path, channel in other.items() if channel == name]
    if namespace is not None and elsewhere:
        return f"; did you mean {elsewhere[0]!r}?"
    return did_you_mean(name, own)


def meant_pool(name: str, namespace: str | None) -> str:
    """Return the guess for a pool of `namespace` (None: any) that does not run."""
    names = paths.shm_names(namespace)
    return did_you_mean(name, {one.pool for one in names if one.pool is not None})


def meant_namespace(name: str) -> str:
    """Return the guess for a namespace in which nothing is open."""
    return did_you_mean(name, {one.namespace for one in paths.shm_names()})
