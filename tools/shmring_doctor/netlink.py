"""Interfaces and their queueing disciplines, asked of the kernel by rtnetlink."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLM_F_REQUEST = 0x1
_NLM_F_DUMP = 0x300
_RTM_GETLINK = 18
_RTM_NEWLINK = 16
_RTM_GETQDISC = 38
_RTM_NEWQDISC = 36
_HEADER = struct.Struct("=IHHII")
_IFINFO = struct.Struct("=BxHiII")
_TCMSG = struct.Struct("=BxxxiIII")
_ATTRIBUTE = struct.Struct("=HH")
_NESTED_BITS = 0x3FFF
_RECEIVE_BYTES = 1 << 16
_PATIENCE_S = 5.0

_IFLA_IFNAME = 3
_IFLA_MTU = 4
_IFLA_LINK = 5
_IFLA_MASTER = 10
_IFLA_LINKINFO = 18
_IFLA_INFO_KIND = 1
_IFF_UP = 0x1
_IFF_LOOPBACK = 0x8

_TCA_KIND = 1
_TCA_OPTIONS = 2
_TCA_ETF_PARMS = 1
_TCA_FQ_HORIZON = 14
_TC_H_ROOT = 0xFFFFFFFF
_TC_H_MAJOR = 0xFFFF0000
_ETF_OFFLOAD = 0x2
_SPREADERS = ("mq", "mqprio", "taprio")
_CLOCKS = {0: "realtime", 1: "monotonic", 11: "tai"}


@dataclass(frozen=True, slots=True)
class Link:
    """An interface."""

    index: int
    name: str
    up: bool
    loopback: bool
    mtu: int
    kind: str = ""
    """Of a virtual one: veth, bridge, vlan, ...; empty: a card, or loopback."""
    peer: int | None = None
    """Index of the interface below, or of the other end of a veth pair."""
    enslaved: bool = False
    """Belongs to a bridge or a bond."""


@dataclass(frozen=True, slots=True)
class Qdisc:
    """A queueing discipline."""

    ifindex: int
    handle: int
    parent: int
    kind: str
    clock: str | None = None
    """Of etf: the clock it launches by."""
    delta_ns: int | None = None
    """Of etf: how long before its time it takes a packet out."""
    offload: bool = False
    """Of etf: the card launches."""
    horizon_us: int | None = None
    """Of fq: how far ahead a launch time may lie."""


def links() -> list[Link]:
    """All interfaces of this network namespace. Raises `OSError`."""
    request = _IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    return [parse_link(body) for kind, body in _dump(_RTM_GETLINK, request) if kind == _RTM_NEWLINK]


def qdiscs() -> list[Qdisc]:
    """All queueing disciplines of this network namespace. Raises `OSError`."""
    request = _TCMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    return [
        parse_qdisc(body) for kind, body in _dump(_RTM_GETQDISC, request) if kind == _RTM_NEWQDISC
    ]


def effective(qdiscs: list[Qdisc], ifindex: int) -> tuple[list[Qdisc], list[Qdisc]]:
    """The root of an interface, and what packets meet: where the root only spreads over queues
    (mq, mqprio, taprio), those right below it."""
    own = [qdisc for qdisc in qdiscs if qdisc.ifindex == ifindex]
    roots = [qdisc for qdisc in own if qdisc.parent == _TC_H_ROOT]
    if not roots or roots[0].kind not in _SPREADERS:
        return roots, roots
    major = roots[0].handle & _TC_H_MAJOR
    leaves = [
        qdisc for qdisc in own if qdisc.parent != _TC_H_ROOT and qdisc.parent & _TC_H_MAJOR == major
    ]
    return roots, leaves or roots


def _dump(request: int, body: bytes) -> Iterator[tuple[int, bytes]]:
    """The answers to one request for everything: (type, message without its header)."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asker:
        asker.settimeout(_PATIENCE_S)
        flags = _NLM_F_REQUEST | _NLM_F_DUMP
        asker.send(_HEADER.pack(_HEADER.size + len(body), request, flags, 1, 0) + body)
        while True:
            for kind, message in split(asker.recv(_RECEIVE_BYTES)):
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", message)
                    raise OSError(-code, "rtnetlink refuses to list interfaces")
                yield kind, message


def split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The messages of one datagram of netlink."""
    while len(data) >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            return
        yield kind, data[_HEADER.size : length]
        data = data[(length + 3) & ~3 :]


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes behind a message's head, or inside of an attribute."""
    found: dict[int, bytes] = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if not _ATTRIBUTE.size <= length <= len(data):
            break
        found[kind & _NESTED_BITS] = data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]
    return found


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode("utf-8", "replace")


def _u32(data: bytes | None) -> int | None:
    return int.from_bytes(data[:4], "little" if _LITTLE else "big") if data else None


_LITTLE = struct.pack("=H", 1) == b"\1\0"


def parse_link(message: bytes) -> Link:
    """An RTM_NEWLINK message."""
    _, _, index, flags, _ = _IFINFO.unpack_from(message)
    found = attributes(message[_IFINFO.size :])
    kind = attributes(found.get(_IFLA_LINKINFO, b"")).get(_IFLA_INFO_KIND, b"")
    return Link(
        index=index,
        name=_text(found.get(_IFLA_IFNAME, b"")),
        up=bool(flags & _IFF_UP),
        loopback=bool(flags & _IFF_LOOPBACK),
        mtu=_u32(found.get(_IFLA_MTU)) or 0,
        kind=_text(kind),
        peer=_u32(found.get(_IFLA_LINK)),
        enslaved=_IFLA_MASTER in found,
    )


def parse_qdisc(message: bytes) -> Qdisc:
    """An RTM_NEWQDISC message."""
    _, ifindex, handle, parent, _ = _TCMSG.unpack_from(message)
    found = attributes(message[_TCMSG.size :])
    kind = _text(found.get(_TCA_KIND, b""))
    options = attributes(found.get(_TCA_OPTIONS, b"")) if kind in ("etf", "fq") else {}
    clock: str | None = None
    delta_ns: int | None = None
    offload = False
    parms = options.get(_TCA_ETF_PARMS, b"")
    if kind == "etf" and len(parms) >= 12:
        delta_ns, number, flags = struct.unpack_from("=iiI", parms)
        clock = _CLOCKS.get(number, f"clock {number}")
        offload = bool(flags & _ETF_OFFLOAD)
    return Qdisc(
        ifindex,
        handle,
        parent,
        kind,
        clock=clock,
        delta_ns=delta_ns,
        offload=offload,
        horizon_us=_u32(options.get(_TCA_FQ_HORIZON)) if kind == "fq" else None,
    )
