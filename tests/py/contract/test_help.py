"""What `help` says of opening: every option, with its default, and nothing that is not true."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import pickle
import pydoc
import re
from typing import Any, assert_type, get_type_hints

import pytest

import shmring
from shmring import _options, local, udt
from shmring._pool_server import RemotePool
from shmring._ring import ffi, lib
from shmring.cyclic import engine as cyclic
from shmring.engine import Engine, OpenOptions
from shmring.errors import BadConfig
from shmring.netflux import options as netflux_options
from shmring.parts import places_in_open
from shmring.proxy import engine as proxy
from shmring.rtp import Nack, Playout, Rtcp
from shmring.rtp.records import BlockOptions, FrameOptions
from shmring.testing.netns import NetHost

LINK = shmring.Netflux()
OPTIONS = OpenOptions.__optional_keys__
ENGINES: list[type[Engine[Any]]] = [shmring.Udp, shmring.Local, shmring.Cyclic, shmring.Rtp]
ENGINES += [shmring.Netflux, shmring.Proxy]
PARTS: list[type[Any]] = [shmring.Queue, shmring.Socket, shmring.Multicast, shmring.Share]
PARTS += [Playout, Rtcp, Nack]
MADE = [
    shmring.Udp(),
    shmring.Udp(tx=shmring.Queue(8, 100), late="drop", socket=shmring.Socket(dscp=46, gso=False)),
    shmring.Udp(socket=shmring.Socket(multicast=shmring.Multicast([("239.1.1.1", "lo")], ttl=1))),
    shmring.Local(catch_up=2.5),
    shmring.Cyclic(period_ns=10**6, payload=b"x", on_stale=b"stop"),
    shmring.Netflux(send=4, receive=4, rx=8),
    shmring.Proxy(flows=20),
    shmring.Rtp(codec="pcmu", event_types=(101,), rtcp=Rtcp(nack=Nack(max_requests=5))),
    shmring.Share(permissions=0o640, group="plant"),
]


def undocumented(thing: Any, names: Any) -> list[str]:
    shown = pydoc.plain(pydoc.render_doc(thing))
    return [name for name in names if not re.search(rf"^[ |]+{name}: \S", shown, re.MULTILINE)]


def test_open_has_few_keywords_and_help_explains_each() -> None:
    assert len(inspect.signature(shmring.open).parameters.keys() - {"name"}) <= 13
    parameters = inspect.signature(shmring.Pool.open).parameters
    assert parameters.keys() == OPTIONS | {"self", "name", "engine"}
    assert undocumented(shmring.Pool.open, OPTIONS | {"engine"}) == []


def test_open_is_the_same_on_every_pool_and_on_the_module() -> None:
    assert RemotePool.open is shmring.Pool.open
    of_pool = dict(inspect.signature(shmring.Pool.open).parameters)
    of_module = dict(inspect.signature(shmring.open).parameters)
    del of_pool["self"], of_module["pool"], of_module["namespace"]
    assert list(of_module.items()) == list(of_pool.items())
    assert undocumented(shmring.open, ["pool", "namespace"]) == []


def test_the_options_that_others_pass_on_are_those_of_open() -> None:
    parameters = inspect.signature(shmring.Pool.open).parameters
    assert get_type_hints(OpenOptions) == {name: parameters[name].annotation for name in OPTIONS}
    for function in (shmring.default_pool().aio.open, NetHost.open):
        shown = inspect.signature(function).parameters
        assert not [each for each in shown.values() if each.kind is each.VAR_KEYWORD]
        for name in OPTIONS:
            assert shown[name] == parameters[name], (function, name)


def test_few_combinations_are_refused_by_hand() -> None:
    by_hand = (local._REFUSED, cyclic._REFUSED, netflux_options.REFUSED, proxy._REFUSED)
    assert sum(map(len, by_hand)) <= 16


@pytest.mark.parametrize("old", sorted(places_in_open(shmring.Udp).keys() - OPTIONS))
def test_an_option_of_an_engine_is_sent_there(old: str, shmring_namespace: str) -> None:
    given: Any = {old: 1}
    with pytest.raises(TypeError, match=f"open has no option '{old}': write ") as refused:
        shmring.open("ctl", **given)
    place = str(refused.value).partition("write ")[2]
    assert re.fullmatch(r"(engine=Udp|share=Share)\(\w+=.*\)", place)


@pytest.mark.parametrize(
    ("engine", "old", "place"),
    [
        (shmring.Rtp(), "dscp", "engine=Rtp(socket=Socket(dscp=...))"),
        (shmring.Rtp(), "nack", "engine=Rtp(rtcp=Rtcp(nack=Nack()))"),
        (shmring.Cyclic(period_ns=10**6), "rx_capacity", "engine=Cyclic(rx=...)"),
        (shmring.Local(), "late", "engine=Local(late=...)"),
        (shmring.Proxy(), "to", "remote=..."),
        (shmring.Udp(), "tx", "engine=Udp(tx=...)"),
        (shmring.Udp(), "priority", "engine=Udp(socket=Socket(priority=...))"),
        (shmring.Netflux(send=3), "capacity", None),
        (shmring.Netflux(send=3), "rx_packet_bytes", None),
    ],
)
def test_the_place_is_in_the_engine_at_hand(
    engine: Any, old: str, place: str | None, shmring_namespace: str
) -> None:
    given: Any = {old: 1}
    with pytest.raises(TypeError, match=f"open has no option '{old}'") as refused:
        shmring.open("ctl", engine, **given)
    assert (str(refused.value).partition(": write ")[2] or None) == place


@pytest.mark.parametrize(
    ("kind", "wrong", "place"),
    [
        (shmring.Udp, "local", "open(..., local=...)"),
        (shmring.Cyclic, "impair", "open(..., impair=...)"),
        (shmring.Rtp, "readers", "open(..., share=Share(readers=...))"),
        (shmring.Proxy, "dscp", "socket=Socket(dscp=...)"),
        (shmring.Proxy, "backward", "open(..., impair_rx=...)"),
        (shmring.Netflux, "rx_capacity", "rx=..."),
        (shmring.Socket, "socket", "existing=..."),
        (shmring.Socket, "so_priority", "priority=..."),
        (shmring.Socket, "groups", "multicast=Multicast(groups=...)"),
        (shmring.Socket, "multicast_ttl", "multicast=Multicast(ttl=...)"),
        (shmring.Socket, "remote", "open(..., remote=...)"),
        (shmring.Share, "cpu", "open(..., cpu=...)"),
    ],
)
def test_an_engine_says_where_something_else_belongs(
    kind: type[Any], wrong: str, place: str
) -> None:
    with pytest.raises(TypeError) as refused:
        kind(**{wrong: 1})
    assert str(refused.value) == f"{kind.__name__} has no field '{wrong}': write {place}"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("late", r"'late': write engine=Udp\(late="),
        ("socket", "'socket': write sock="),
        ("reuse", "'reuse': write reuse_port=True"),
        ("broadcast", "'broadcast': write allow_broadcast=True"),
        ("connect", "'connect': write remote_addr="),
        ("direction", "unexpected keyword argument 'direction'"),
        ("readers", "unexpected keyword argument 'readers'"),
    ],
)
def test_an_option_of_an_endpoint_is_sent_to_its_place(wrong: str, says: str) -> None:
    given: Any = {wrong: 1}
    make = shmring.create_datagram_endpoint
    with pytest.raises(TypeError, match=says):
        asyncio.run(make(asyncio.DatagramProtocol, ("127.0.0.1", 0), **given))


@pytest.mark.parametrize("kind", [*ENGINES, *PARTS])
def test_help_of_an_engine_explains_every_field(kind: type[Any]) -> None:
    fields = [field.name for field in dataclasses.fields(kind)]
    assert sorted(inspect.signature(kind).parameters) == sorted(fields)
    assert undocumented(kind, fields) == []
    if kind is not shmring.Queue:
        assert kind() == kind()


@pytest.mark.parametrize("made", MADE, ids=repr)
def test_an_engine_prints_itself_as_code(made: Any) -> None:
    again = eval(repr(made), {kind.__name__: kind for kind in (*ENGINES, *PARTS)})
    assert again == made
    assert hash(again) == hash(made)
    assert pickle.loads(pickle.dumps(made)) == made
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, dataclasses.fields(made)[0].name, 5)


@pytest.mark.parametrize(
    ("kind", "more", "names"),
    [
        (shmring.Cyclic, {"period_ns": 10**7}, ["payload", "on_stale"]),
        (shmring.Netflux, {"send": 3}, ["values", "failsafe"]),
    ],
)
def test_an_engine_copies_payloads(kind: Any, more: Any, names: list[str]) -> None:
    for name in names:
        given = bytearray(b"abc")
        made, viewed = kind(**more, **{name: given}), kind(**more, **{name: memoryview(given)})
        given[0] = 0
        assert getattr(made, name) == b"abc"
        assert made == viewed == kind(**more, **{name: b"abc"}) == pickle.loads(pickle.dumps(made))
        assert hash(made) == hash(viewed)


@pytest.mark.parametrize(
    ("part", "fields", "kind", "says"),
    [
        (shmring.Cyclic, {"direction": "rx"}, BadConfig, "'duplex'$"),
        (shmring.Multicast, {"groups": ["10.0.0.1"]}, BadConfig, "no multicast address"),
        (shmring.Multicast, {"groups": ["fe80::1"]}, BadConfig, "no multicast address"),
        (shmring.Multicast, {"groups": [("239.1.1.1", 1.5)]}, TypeError, "must be an integer"),
        (shmring.Multicast, {"groups": [("239.1.1.1", [1])]}, TypeError, "must be an integer"),
        (shmring.Socket, {"existing": -1}, BadConfig, "existing is -1"),
    ],
)
def test_what_is_wrong_alone_is_refused_when_made(
    part: Any, fields: Any, kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        part(**fields)


def test_the_addresses_of_rtcp_are_tuples() -> None:
    address: Any = ["127.0.0.1", 9]
    made = Rtcp(port="next_port", local=address, remote=address)
    assert made == Rtcp(port="next_port", local=("127.0.0.1", 9), remote=("127.0.0.1", 9))
    assert hash(made)


def test_channels_share_an_engine(shmring_pool: shmring.Pool) -> None:
    engine = shmring.Udp(late="drop", tx=8)
    names = ("one", "two")
    ends = [shmring_pool.open(name, engine, local=("127.0.0.1", 0)) for name in names]
    assert len({end.stats().segment_bytes for end in ends}) == 1
    assert [end.name for end in ends] == list(names)


@pytest.mark.parametrize(
    "options", [udt.UdtOptions, udt.PortOptions, udt.ConnectOptions, FrameOptions, BlockOptions]
)
def test_help_of_keyword_arguments_explains_every_one(options: type) -> None:
    inherited = udt.UdtOptions.__annotations__ if options is udt.ConnectOptions else {}
    assert undocumented(options, options.__annotations__.keys() - inherited.keys()) == []


@pytest.mark.parametrize("kind", [shmring.Udp, shmring.Socket])
def test_the_defaults_of_the_signature_are_the_real_ones(kind: type[Any]) -> None:
    config = ffi.new("shm_config_t *")
    lib.shm_config_init(config)
    given = {f.name: f.default for f in dataclasses.fields(kind) if f.default is not None}
    given.pop("socket", None)
    before = bytes(ffi.buffer(config))
    _options.set_rows(config, given)
    assert bytes(ffi.buffer(config)) == before


@pytest.mark.parametrize("wrong", [shmring.Rtp, "rtp", None])
def test_an_engine_is_an_object(wrong: Any, shmring_pool: shmring.Pool) -> None:
    with pytest.raises(TypeError, match="engine must be an engine such as"):
        shmring_pool.open("ctl", wrong)


@pytest.mark.parametrize("wrong", [shmring.Rtp, "rtp", 7])
def test_an_engine_to_attach_with_is_an_object(wrong: Any, shmring_pool: shmring.Pool) -> None:
    shmring_pool.open("voice", shmring.Rtp(codec="pcmu"), local=("127.0.0.1", 0))
    for name in ("voice", "nowhere"):
        with pytest.raises(TypeError, match="engine must be an engine such as"):
            shmring.attach(name, wrong)


def test_the_engine_decides_what_kind_of_channel_it_is(shmring_pool: shmring.Pool) -> None:
    here = ("127.0.0.1", 0)
    plain = shmring_pool.open("plain", local=here)
    voice = shmring_pool.open("voice", shmring.Rtp(codec="pcmu"), local=here)
    link = shmring_pool.open("link", shmring.Netflux(receive=4), local=here)
    assert_type(plain, shmring.Channel)
    assert_type(voice, shmring.rtp.Channel)
    assert_type(link, shmring.netflux.Channel)
    for opened in (plain, voice, link):
        attached = shmring.attach(opened.name, readonly=True)
        assert type(attached) is type(opened)
        assert " readonly>" in repr(attached)


def test_attach_with_the_engine_gives_its_kind_of_channel(shmring_pool: shmring.Pool) -> None:
    here = ("127.0.0.1", 0)
    shmring_pool.open("plain", local=here)
    shmring_pool.open("voice", shmring.Rtp(codec="pcmu"), local=here)
    shmring_pool.open("link", shmring.Netflux(receive=4), local=here)
    assert_type(shmring.attach("plain"), shmring.Channel)
    assert_type(shmring.attach("plain", shmring.Udp()), shmring.Channel)
    assert_type(shmring.attach("voice", shmring.Rtp()), shmring.rtp.Channel)
    assert_type(shmring.attach("link", shmring.Netflux()), shmring.netflux.Channel)
    with pytest.raises(shmring.errors.BadConfig, match="codec is given, but only the opener"):
        shmring.attach("voice", shmring.Rtp(codec="pcmu"))
    for name, engine in (("voice", shmring.Udp()), ("plain", shmring.Rtp()), ("voice", LINK)):
        with pytest.raises(shmring.errors.BadConfig, match=name):
            shmring.attach(name, engine)


def test_a_channel_of_another_packages_engine_can_only_be_observed(
    shmring_namespace: str,
) -> None:
    with udt.Port(("127.0.0.1", 0)) as port:
        with pytest.raises(BadConfig, match="engine 'udt-port', whose packets only"):
            shmring.attach(port.name)
        assert type(shmring.attach(port.name, readonly=True)) is shmring.Channel
