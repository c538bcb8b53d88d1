"""Channels, pools and UDT sockets: each act has one name, with the same arguments for tasks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import shmring
from shmring import control, udt
from shmring._channel_aio import EndAio
from shmring._channel_base import ChannelEnd
from shmring.channel import ChannelAio
from shmring.cyclic.channel import CyclicAio
from shmring.cyclic.ticks import TicksAio
from shmring.netflux.channel import NetfluxAio
from shmring.pool import PoolAio
from shmring.rtp.channel import RtpAio
from shmring.udt.listener import ListenerAio
from shmring.udt.socket import UdtAio

VIEWS: list[tuple[type, type]] = [
    (shmring.Channel, ChannelAio),
    (shmring.rtp.Channel, RtpAio),
    (shmring.netflux.Channel, NetfluxAio),
    (shmring.cyclic.Channel, CyclicAio),
    (shmring.proxy.Channel, EndAio),
    (shmring.Pool, PoolAio),
    (shmring.cyclic.Ticks, TicksAio),
    (udt.UdtSocket, UdtAio),
    (udt.UdtListener, ListenerAio),
]


def public(kind: type) -> set[str]:
    """The public names of an object of a class: also attributes that only annotations name."""
    noted = {name for base in kind.__mro__ for name in vars(base).get("__annotations__", {})}
    return {name for name in {*dir(kind), *noted} if not name.startswith("_")}


def waits(call: Callable[..., Any]) -> bool:
    try:
        return bool({"timeout", "linger"} & inspect.signature(call).parameters.keys())
    except (TypeError, ValueError):  # of a property, and of a class
        return False


@pytest.mark.parametrize(("kind", "view"), VIEWS)
def test_the_calls_for_tasks_are_those_that_wait(kind: type, view: type) -> None:
    wait = {name for name in public(kind) if waits(getattr(kind, name, len))} - {"settimeout"}
    assert wait <= public(view)
    assert "aio" in public(kind)
    assert not [name for name in public(kind) if name.endswith("_async")]


@pytest.mark.parametrize(("kind", "view"), VIEWS)
def test_a_call_for_tasks_has_the_signature_of_the_one_that_blocks(kind: type, view: type) -> None:
    for name in public(view):
        mine, other = getattr(view, name), getattr(kind, name)
        ours, theirs = (
            [(each.name, each.kind, each.default) for each in signature.parameters.values()][1:]
            for signature in (inspect.signature(mine), inspect.signature(other))
        )
        assert ours == theirs, name
        assert inspect.iscoroutinefunction(mine) or inspect.isasyncgenfunction(mine), name


CHANNELS = [kind for kind, _ in VIEWS if issubclass(kind, ChannelEnd)]


@pytest.mark.parametrize("kind", CHANNELS)
def test_attach_is_the_only_way_in(kind: Any) -> None:
    with pytest.raises(TypeError, match=rf"{kind.__name__} is made by .*shmring.attach\('ctl'\)"):
        kind("ctl")
    with pytest.raises(TypeError):
        kind("ctl", readonly=True, namespace="plant")


# --- counts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        (shmring.Channel, 35),
        (shmring.rtp.Channel, 40),
        (shmring.netflux.Channel, 35),
        (udt.UdtSocket, 22),
    ],
)
def test_an_object_has_few_names(kind: type, most: int) -> None:
    assert len(public(kind)) <= most, sorted(public(kind))


# --- names of former versions ---------------------------------------------------------------------


def test_a_former_name_says_where_it_is(shmring_pool: shmring.Pool) -> None:
    here = ("127.0.0.1", 0)
    voice = shmring_pool.open("voice", shmring.Rtp(), local=here)
    with (
        udt.listen(here, pool=shmring_pool) as listener,
        udt.connect(listener.local, pool=shmring_pool) as sock,
    ):
        for thing, old, new in (
            (voice, "recv_async", "aio.recv"),
            (voice, "end", "close"),
            (voice, "epoch", r"stats\(\).epoch"),
            (voice, "clock_rate", "media.clock_rate"),
            (shmring_pool, "leave", "detach"),
            (shmring_pool, "close_channel", "end"),
            (listener, "accept_async", "aio.accept"),
            (sock, "facts", r"shmring.udt.compat.facts\(sock\)"),
            (sock, "send_async", "aio.sendall"),
            (shmring.ticks(10**9, pool=shmring_pool), "next_async", "aio.next"),
            (control, "close", "end"),
        ):
            kind = "shmring.control" if thing is control else type(thing).__name__
            with pytest.raises(AttributeError, match=f"{old} of {kind} is now {new}"):
                getattr(thing, old)
        with pytest.raises(AttributeError, match="'Channel' object has no attribute 'nothing'"):
            _ = voice.nothing  # type: ignore[attr-defined]
