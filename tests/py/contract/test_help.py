"""What `help` says of opening: every option, with its default, and nothing that is not true."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import pydoc
import re
from typing import Any, assert_type, get_type_hints

import pytest

import shmring
from shmring import _options, udt
from shmring._options import OPTIONS
from shmring._pool_server import RemotePool
from shmring.engine import EndpointOptions, Engine, OpenOptions
from shmring.rtp.records import BlockOptions, FrameOptions
from shmring.testing.netns import NetHost

LINK = shmring.Netflux()
ENGINES: list[type[Engine[Any]]] = [shmring.Udp, shmring.Cyclic, shmring.Rtp, shmring.Netflux]
ENGINES.append(shmring.Proxy)


def undocumented(thing: Any, names: Any) -> list[str]:
    shown = pydoc.plain(pydoc.render_doc(thing))
    return [name for name in names if not re.search(rf"^[ |]+{name}: \S", shown, re.MULTILINE)]


def test_help_of_open_explains_every_option() -> None:
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
    for function, options in (
        (shmring.open_async, OpenOptions),
        (NetHost.open, OpenOptions),
        (shmring.create_datagram_endpoint, EndpointOptions),
    ):
        shown = inspect.signature(function).parameters
        assert not [each for each in shown.values() if each.kind is each.VAR_KEYWORD]
        for name in options.__annotations__:
            assert shown[name] == parameters[name], (function, name)


def test_a_datagram_endpoint_has_no_option_that_its_arguments_stand_for() -> None:
    wrong: Any = {"remote": ("127.0.0.1", 9)}
    made = shmring.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0), **wrong)
    with pytest.raises(TypeError, match="a datagram endpoint has no option 'remote'"):
        asyncio.run(made)


@pytest.mark.parametrize("engine", ENGINES)
def test_help_of_an_engine_explains_every_option(engine: type[Engine[Any]]) -> None:
    fields = [field.name for field in dataclasses.fields(engine)]  # type: ignore[arg-type]
    assert list(inspect.signature(engine).parameters) == fields
    assert undocumented(engine, fields) == []


@pytest.mark.parametrize(
    "options", [udt.UdtOptions, udt.PortOptions, udt.ConnectOptions, FrameOptions, BlockOptions]
)
def test_help_of_keyword_arguments_explains_every_one(options: type) -> None:
    inherited = udt.UdtOptions.__annotations__ if options is udt.ConnectOptions else {}
    assert undocumented(options, options.__annotations__.keys() - inherited.keys()) == []


def test_the_defaults_of_the_signature_are_the_real_ones() -> None:
    def made(**options: Any) -> bytes:
        return _options.prepare("ctl", "ns", "pool", "balanced", options).config_bytes()

    parameters = inspect.signature(shmring.Pool.open).parameters
    for name in OPTIONS:
        default = parameters[name].default
        if default is not None:
            assert made(**{name: default}) == made(), name


@pytest.mark.parametrize("wrong", [shmring.Rtp, "rtp", None])
def test_an_engine_is_an_object(wrong: Any, shmring_pool: shmring.Pool) -> None:
    with pytest.raises(TypeError, match="engine must be an engine such as"):
        shmring_pool.open("ctl", engine=wrong)


@pytest.mark.parametrize("wrong", [shmring.Rtp, "rtp", 7])
def test_an_engine_to_attach_with_is_an_object(wrong: Any, shmring_pool: shmring.Pool) -> None:
    shmring_pool.open("voice", local=("127.0.0.1", 0), engine=shmring.Rtp(codec="pcmu"))
    for name in ("voice", "nowhere"):
        with pytest.raises(TypeError, match="engine must be an engine such as"):
            shmring.attach(name, engine=wrong)


def test_the_engine_decides_what_kind_of_channel_it_is(shmring_pool: shmring.Pool) -> None:
    here = ("127.0.0.1", 0)
    plain = shmring_pool.open("plain", local=here)
    voice = shmring_pool.open("voice", local=here, engine=shmring.Rtp(codec="pcmu"))
    link = shmring_pool.open("link", local=here, engine=shmring.Netflux(receive=4))
    assert_type(plain, shmring.Channel)
    assert_type(voice, shmring.RtpChannel)
    assert_type(link, shmring.NetfluxChannel)
    for opened in (plain, voice, link):
        attached = shmring.attach(opened.name, readonly=True)
        assert type(attached) is type(opened)
        assert attached.readonly


def test_attach_with_the_engine_gives_its_kind_of_channel(shmring_pool: shmring.Pool) -> None:
    here = ("127.0.0.1", 0)
    shmring_pool.open("plain", local=here)
    shmring_pool.open("voice", local=here, engine=shmring.Rtp(codec="pcmu"))
    shmring_pool.open("link", local=here, engine=shmring.Netflux(receive=4))
    assert_type(shmring.attach("plain"), shmring.Channel)
    assert_type(shmring.attach("plain", engine=shmring.Udp()), shmring.Channel)
    assert_type(shmring.attach("voice", engine=shmring.Rtp()), shmring.RtpChannel)
    assert_type(shmring.attach("link", engine=shmring.Netflux()), shmring.NetfluxChannel)
    with pytest.raises(shmring.BadConfig, match="codec is given, but only the opener"):
        shmring.attach("voice", engine=shmring.Rtp(codec="pcmu"))
    for name, engine in (("voice", shmring.Udp()), ("plain", shmring.Rtp()), ("voice", LINK)):
        with pytest.raises(shmring.BadConfig, match=name):
            shmring.attach(name, engine=engine)


def test_a_channel_of_another_packages_engine_can_only_be_observed(
    shmring_namespace: str,
) -> None:
    with udt.Port(("127.0.0.1", 0)) as port:
        with pytest.raises(shmring.BadConfig, match="engine 'udt-port', whose packets only"):
            shmring.attach(port.name)
        assert type(shmring.attach(port.name, readonly=True)) is shmring.Channel
