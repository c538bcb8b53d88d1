"""Attach to a channel of any kind by its name."""

from typing import Any, cast

from rtworkers import ownership, paths
from shmring import _host, _options
from shmring._attachment import map_named
from shmring._endpoint import Endpoint, made
from shmring._opening import UDP, C, Udp
from shmring._segment import text_of
from shmring.engine import Engine, checked_engine
from shmring.errors import BadConfig
from shmring.local import ENGINE as LOCAL
from shmring.local import Local
from shmring.observe.engines import kind_of
from shmring.types import Reading


def attach(
    name: str,
    engine: Engine[C] | None = None,
    *,
    namespace: str | None = None,
    readonly: bool = False,
    reading: Reading | None = None,
    owner: int | str | None = None,
) -> C:
    """Return this process's end of an open channel. It reads what arrives from now on.

    The result is a `Channel`, also for one that was opened with `Local`. For a channel that was
    opened with `Rtp` it is an `rtp.Channel`, with `Netflux` a `netflux.Channel`, with `Cyclic` a
    `cyclic.Channel`, and with `Proxy` a `proxy.Channel`.

    engine: what the channel was opened with, as for `Pool.open`. It tells the type checker the kind
        of channel, as in ``attach("mic", Rtp())``, and gives the records of a Netflux channel, as
        in ``attach("press", Netflux(send=SETPOINTS))``. Other options only belong to the opener.
        None: the channel itself says which engine it has, and values of Netflux are bytes.
    readonly: only observe the channel.
    reading: ``"each"`` or ``"shared"``. None: as the channel was opened, with readonly "each".
    namespace: None: ``$SHMRING_NAMESPACE``, else ``default``.
    owner: a user, by name or id, who may own the channel. Always trusted are this user, root, and
        an owner who shares the channel with a non-primary group of this process.

    Raises `ChannelNotFound`, `ChannelClosed`, `NoPermission` (also for another user's channel),
    `LayoutMismatch`, `TypeError`, and `BadConfig` (another engine, or one whose packets only its
    own package understands: such a channel can only be attached to with readonly=True).
    """
    if engine is not None:
        checked_engine(engine)
    with _host.translated(f"channel {name!r}"):
        space = paths.namespace_of(namespace)
        paths.check_name("channel name", name)
        trusted = ownership.uid_of(owner)
    segment = map_named(
        name, space, writable=not _options.switch("readonly", readonly), trusted=trusted
    )
    kind = _engine_for(name, engine, text_of(segment.config.engine), readonly)
    end = Endpoint(name, namespace=space, readonly=readonly, reading=reading, segment=segment)
    return cast("C", made(kind.attach, end))


def _engine_for(name: str, given: Engine[Any] | None, found: str, readonly: bool) -> Engine[Any]:
    """Return the engine that makes the end of a channel whose segment names the engine `found`."""
    for kind, engine in (("udp", Udp), (LOCAL, Local)):
        if isinstance(given, engine) and found != kind:
            raise BadConfig(
                f"channel {name!r} has the engine {found!r}: leave out {engine.__name__}()"
            )
    if given is not None:
        return given
    own = kind_of(found)
    if own is None and not readonly:
        raise BadConfig(
            f"channel {name!r} has the engine {found!r}, whose packets only its own package "
            "understands: use that package, give its engine, or observe it with readonly=True"
        )
    return UDP if own is None else own()
