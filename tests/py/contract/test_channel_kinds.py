"""What each kind of channel offers: nothing that it would have to refuse."""

import re
from pathlib import Path

import shmring
from shmring import udt
from shmring._endpoint import Endpoint
from shmring._ring import ffi

SOURCES = Path(shmring.__file__).parent


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_kinds_share_what_they_share() -> None:
    shared = public(shmring.Channel) & public(shmring.rtp.Channel) & public(shmring.netflux.Channel)
    assert {"recv", "try_recv", "recv_many", "aio", "fileno", "stats", "close"} <= shared
    assert {"hold", "release", "purge", "state", "name", "local", "remote"} <= shared


def test_a_link_queues_nothing() -> None:
    queue = {"send", "try_send", "send_many", "replace", "cancel", "flush", "reports"}
    assert queue <= public(shmring.Channel) & public(shmring.rtp.Channel)
    assert not queue & public(shmring.netflux.Channel)


def test_only_plain_packets_go_into_a_buffer_alone() -> None:
    kinds = (shmring.Channel, shmring.rtp.Channel, shmring.netflux.Channel)
    assert [hasattr(kind, "recv_into") for kind in kinds] == [True, False, False]


def test_no_method_contradicts_the_one_that_it_overrides() -> None:
    found = [p for p in SOURCES.rglob("*.py") if re.search(r"ignore\[override\]", p.read_text())]
    assert found == []


def test_the_calls_per_packet_explain_themselves() -> None:
    for call in ("send", "send_many", "replace", "recv", "try_recv", "recv_into", "recv_many"):
        text = getattr(shmring.Channel, call).__doc__
        assert "Raises" in text, call


def values_of(thing: object) -> dict[str, object]:
    """Every public attribute, and what the calls without arguments return that change nothing."""
    names = [name for name in dir(thing) if not name.startswith("_")]
    found = {name: getattr(thing, name) for name in names}
    for name in CALLS & found.keys():
        found[f"{name}()"] = found[name]()
    return {name: value for name, value in found.items() if not callable(value)}


CALLS = {
    "stats",
    "cyclic_stats",
    "netflux_stats",
    "proxy_stats",
    "link",
    "snapshot",
    "sent_values",
    "try_recv",
}
CALLS |= {"workers", "channels", "fileno", "now_ns", "facts", "getsockname", "records_waiting"}


def test_nothing_public_is_an_object_of_cffi(shmring_pool: shmring.Pool) -> None:
    here = ("127.0.0.1", 0)
    kinds = [
        shmring_pool.open("plain", local=here),
        shmring_pool.open("voice", shmring.Rtp(), local=here),
        shmring_pool.open("link", shmring.Netflux(send=4), local=here),
        shmring_pool.open("proxy", shmring.Proxy(), local=here, remote=("127.0.0.1", 9)),
        shmring_pool.open("ticks", shmring.Cyclic(period_ns=10**9)),
    ]
    with (
        udt.listen(here, pool=shmring_pool) as listener,
        udt.connect(listener.local, pool=shmring_pool) as sock,
    ):
        for thing in (*kinds, shmring_pool, listener, listener.port, sock):
            for name, value in values_of(thing).items():
                assert not isinstance(value, (ffi.CData, Endpoint)), (thing, name)


def test_a_star_import_keeps_builtins_and_modules() -> None:
    assert {"open", "gc"}.isdisjoint(shmring.__all__)
