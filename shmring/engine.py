"""For authors of engines and drop-ins: what `open` and `attach` take as `engine`.

An engine decides what a worker does for a channel, and which kind of channel a program gets.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypedDict, TypeVar

from shmring import _options
from shmring._options import EngineConfig
from shmring._ring import lib
from shmring._spec import Spec
from shmring.errors import BadConfig
from shmring.parts import Share, checked, places_in_open
from shmring.types import Impairment, Profile

C = TypeVar("C", covariant=True)

MAX_RECORD_BYTES = int(lib.SHM_MAX_RECORD)
"""Longest record of an engine, like `max_payload`."""


@dataclass(frozen=True, slots=True)
class Start(Generic[C]):
    """A channel whose engine has checked its options. Nothing is made yet."""

    options: dict[str, Any]
    """Options of the channel itself."""
    config: EngineConfig | None
    """None: plain UDP."""
    end: Callable[[Any], C]
    """Makes what the opener gets, such as `Channel`, of an `Endpoint`."""
    quiet: bool = False
    """Do not warn if the worker lacks something."""
    exist_ok: bool = False
    """The channel may be open already."""


class OpenOptions(TypedDict, total=False):
    """Options of `Pool.open`, which explains them, for functions that pass them on.

    ``def open_mine(name: str, **options: Unpack[OpenOptions])``
    """

    local: tuple[str, int] | None
    remote: tuple[str, int] | None
    impair: Impairment | None
    impair_rx: Impairment | None
    cpu: int | None
    profile: Profile | None
    strict: bool | None
    share: Share
    held: bool
    exist_ok: bool


class Engine(Spec, Generic[C]):
    """Base class of `Udp`, `Local`, `Cyclic`, `Rtp`, `Netflux` and `Proxy`: frozen dataclasses.
    Their fields are the options that the engine obeys."""

    __slots__ = ()

    def prepare(self, options: dict[str, Any]) -> Start[C]:
        """Return the channel that `open` makes. `options`: those of `open` that were given, with
        the fields of `Share` in place of `share`.

        Raises `BadConfig`, `BadAddress`, `TypeError`.
        """
        raise NotImplementedError

    def attach(self, end: Any) -> C:
        """Return what `shmring.attach` returns for this process's end (an `Endpoint`) of a channel
        of this engine, such as ``Channel(end)``.

        Raises `BadConfig` for options that only the opener sets, and for another engine.
        """
        raise NotImplementedError

    def refuse(self, options: Iterable[str], refused: Mapping[str, str]) -> None:
        """Raise `BadConfig` for an option of `open` or of `Socket` that this engine cannot use.
        `refused` says for each of them what to do instead."""
        for name in options:
            if name in refused:
                engine = type(self).__name__
                raise BadConfig(f"{name} cannot be used with {engine}: {refused[name]}")

    def refuse_given(self, *allowed: str) -> None:
        """Raise `BadConfig` if fields other than the allowed ones differ from their defaults."""
        for name in self.given().keys() - set(allowed):
            raise BadConfig(
                f"{name} is given, but only the opener of a channel sets it: leave it out to attach"
            )


SHARE = Share()


def checked_engine(engine: Engine[C]) -> Engine[C]:
    """Return the engine. Raises `TypeError` if it is none."""
    if not isinstance(engine, Engine):
        raise TypeError(f"engine must be an engine such as shmring.Rtp(...), not {engine!r}")
    return engine


def start_of(engine: Engine[C], options: Mapping[str, Any]) -> Start[C]:
    """Return the channel that `open` makes with these options. Raises `BadConfig`, `BadAddress`,
    and `TypeError`, which says where an option of an engine belongs."""
    from shmring._way_back import opened_as  # not for commands that only look

    places = places_in_open(type(checked_engine(engine)))
    given = _options.asked_for(options, OpenOptions.__optional_keys__, "open", places)
    share = given.pop("share", SHARE)
    checked("share", share, Share)
    exist_ok = _options.switch("exist_ok", given.pop("exist_ok", False))
    start = engine.prepare(given | share.given())
    start.options["opened_as"] = opened_as(engine)
    return replace(start, exist_ok=exist_ok)


__all__ = [
    "MAX_RECORD_BYTES",
    "Engine",
    "EngineConfig",
    "OpenOptions",
    "Start",
]
