"""Every public name explains itself: in words, with its real signature."""

from __future__ import annotations

import inspect
import pydoc
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shmring
from shmring import cyclic, net, netflux, observe, proxy, rtp, types, udt
from shmring.net import capture, tap

ROOMS = (cyclic, netflux, observe, proxy, rtp, udt, net, capture, net.probes, tap, net.traffic)
INHERITED = {*dir(Exception), *dir(str), *dir(tuple)}


def members(name: str, kind: type) -> Iterator[tuple[str, Any]]:
    foreign = INHERITED if issubclass(kind, (Exception, str, tuple)) else set()
    for member in sorted(set(dir(kind)) - foreign):
        found = inspect.getattr_static(kind, member)
        if not member.startswith("_"):
            is_property = isinstance(found, property)
            yield f"{name}.{member}", found.fget if is_property else getattr(kind, member)


def public() -> Iterator[tuple[str, Any]]:
    for module in (shmring, *ROOMS):
        for short in [*module.__all__, *(["open", "gc"] if module is shmring else [])]:
            found, name = getattr(module, short), f"{module.__name__}.{short}"
            if inspect.isclass(found) or inspect.isroutine(found):
                yield name, found
            if inspect.isclass(found):
                yield from ((name, m) for name, m in members(name, found) if callable(m))


PUBLIC = dict(public())


def test_every_name_has_words() -> None:
    assert [name for name, found in PUBLIC.items() if not inspect.getdoc(found)] == []
    assert len(PUBLIC) > 500


def test_no_explanation_only_points_at_another_one() -> None:
    """ "Like `send`" explains nothing to who has not read that."""
    circle = re.compile(r"(Like|As|Same as|See|The same)\b[^.]*$")
    first = {
        name: (inspect.getdoc(found) or "").partition("\n")[0] for name, found in PUBLIC.items()
    }
    assert [name for name, line in first.items() if circle.match(line.rstrip("."))] == []


# Annotations of these name classes that only type checkers import, or that stand below.
AS_TEXT = ("shmring.datagram.ChannelTransport", "shmring.cyclic.Ticks", "shmring.block_until")
AS_TEXT += ("shmring.sleep_until", "shmring.ticks", "shmring.Channel.stats", "shmring.Pool.aio")
AS_TEXT += ("shmring.udt.UdtSocket.aio", "shmring.udt.UdtListener.aio")


def test_signatures_show_types_not_their_names() -> None:
    wrong = []
    for name, found in PUBLIC.items():
        try:
            signature = inspect.signature(found)
        except ValueError:  # a class of C
            continue
        shown = [signature.return_annotation]
        shown += [parameter.annotation for parameter in signature.parameters.values()]
        if any(isinstance(kind, str) for kind in shown) and not name.startswith(AS_TEXT):
            wrong.append(name)
    assert wrong == []


@pytest.mark.parametrize(
    ("thing", "line"),
    [
        (shmring.Udp, "late: Literal['send', 'drop'] = 'send'"),
        (shmring.Pool.open, "local: tuple[str, int] | None = None"),
        (shmring.Pool, "Literal['fifo', 'other']"),
        (shmring.open, "share: shmring.parts.Share = Share()"),
        (shmring.Channel.send, "send(self, /, data, at=None, *, to=None, source=None, timeout="),
        (shmring.Channel.recv, "recv(self, /, *, timeout=None)"),
        (udt.listen, "backlog: int = 128"),
    ],
)
def test_help_shows_types_and_defaults(thing: Callable[..., Any], line: str) -> None:
    shown = re.sub(r"typing\.|shmring\.types\.", "", pydoc.plain(pydoc.render_doc(thing)))
    assert line in " ".join(shown.split())


@pytest.mark.parametrize("name", ["send", "try_send", "send_many", "recv", "recv_many", "replace"])
def test_a_packet_call_names_its_errors_and_explains_its_arguments(name: str) -> None:
    call = getattr(shmring.Channel, name)
    words = inspect.getdoc(call) or ""
    assert "Raises `" in words
    for parameter in list(inspect.signature(call).parameters)[1:]:
        if parameter not in ("size", "sizes", "offsets"):
            assert re.search(rf"^{parameter}: ", words, re.MULTILINE), (name, parameter)


def test_words_of_errors_are_named_where_they_are_raised() -> None:
    assert "BadConfig" in (types.Impairment.__doc__ or "")
