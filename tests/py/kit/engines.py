"""Options of `open` as one flat list, for helpers that pass on what a test gives them."""

from __future__ import annotations

import dataclasses
from typing import Any

import shmring
from shmring.rtp import Playout

_PARTS = {"socket": shmring.Socket, "playout": Playout}


def spelled(kind: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `open`. The fields of an engine, of its `Socket` and `Playout`, and
    of `Share` go into these."""
    own = {field.name for field in dataclasses.fields(kind)}
    rest, share = dict(options), _taken(shmring.Share, options)
    fields = {name: rest.pop(name) for name in own & options.keys()}
    for name in own & _PARTS.keys() - fields.keys():
        fields[name] = _PARTS[name](**_taken(_PARTS[name], rest))
    for part in (shmring.Share, *(_PARTS[name] for name in own & _PARTS.keys())):
        for name in _taken(part, rest):
            del rest[name]
    if share:
        rest["share"] = shmring.Share(**share)
    return {"engine": kind(**fields), **rest}


def _taken(part: Any, options: dict[str, Any]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(part)}
    return {name: value for name, value in options.items() if name in names}
