"""For authors of engines and drop-ins: what `open` accepts as `engine`, and what it does with it.

An engine decides what a worker does for a channel, and which kind of channel a program gets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

from shmring._ring import lib

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from shmring.channel import Channel

    C = TypeVar("C", covariant=True, default=Channel)
else:
    from typing import TypeVar

    C = TypeVar("C", covariant=True)


MAX_RECORD_BYTES = int(lib.SHM_MAX_RECORD)
"""Longest record of an engine, like `max_payload`."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What a worker needs to know about a channel's engine."""

    name: str
    config: bytes
    """The engine's own struct for ``shm_config_t.engine_config``."""
    shared_bytes: int = 0
    """Shared memory for the engine itself, rounded up to whole pages."""
    deadlines: bool = True
    """Whether packets are sent at deadlines, and late ones are recorded."""


@dataclass(frozen=True, slots=True)
class Start(Generic[C]):
    """A channel whose engine has checked its options. Nothing is made yet."""

    options: dict[str, Any]
    """Options of the channel itself."""
    config: EngineConfig | None
    """None: plain UDP."""
    end: Callable[..., C]
    """Makes the opener's end, with the arguments of `Channel`."""
    quiet: bool = False
    """Do not warn if the worker lacks something."""


class Engine(Generic[C]):
    """Base class of `Udp`, `Rtp` and `Netflux`: frozen dataclasses whose fields are the options."""

    __slots__ = ()

    def prepare(self, options: dict[str, Any]) -> Start[C]:
        """Check this engine's options together with those of the channel, `options`.

        Raises `BadConfig`, `BadAddress`, `TypeError`.
        """
        raise NotImplementedError

    def given(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults. None means the default, too."""
        values = {field: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {
            field.name: value
            for field, value in values.items()
            if value is not None
            and not (type(value) is type(field.default) and value == field.default)
        }


__all__ = ["MAX_RECORD_BYTES", "Engine", "EngineConfig", "Start"]
