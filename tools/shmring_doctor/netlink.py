"""Interfaces and their queueing disciplines, read from the kernel by rtnetlink."""

from __future__ import annotations

import functools
import types
from dataclasses import dataclass, replace
from typing import Any

_IFF_UP = 0x1
_IFF_LOOPBACK = 0x8

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
    """Kind of a virtual interface: veth, bridge, vlan, ... Empty: a card, or loopback."""
    peer: int | None = None
    """Index of the interface below, or of the other end of a veth pair."""
    enslaved: bool = False
    """Whether it belongs to a bridge or a bond."""


@dataclass(frozen=True, slots=True)
class Qdisc:
    """A queueing discipline."""

    ifindex: int
    handle: int
    parent: int
    kind: str
    clock: str | None = None
    """For etf: the clock by which it launches packets."""
    delta_ns: int | None = None
    """For etf: how long before its time it takes out a packet."""
    offload: bool = False
    """For etf: whether the card launches packets."""
    horizon_us: int | None = None
    """For fq: how far ahead a launch time may be."""


def links() -> list[Link]:
    """Return all interfaces of this network namespace. Raises `OSError`."""
    return [link_of(message) for message in _list("get_links")]


def qdiscs() -> list[Qdisc]:
    """Return all queueing disciplines of this network namespace. Raises `OSError`."""
    know_launchers()
    return [qdisc_of(message) for message in _list("get_qdiscs")]


def _list(what: str) -> list[Any]:
    from pyroute2 import IPRoute, NetlinkError

    try:
        with IPRoute() as route:
            return list(getattr(route, what)())
    except NetlinkError as error:
        raise OSError(error.code, "rtnetlink refuses to list interfaces") from None


def effective(qdiscs: list[Qdisc], ifindex: int) -> tuple[list[Qdisc], list[Qdisc]]:
    """Return the root of an interface, and the qdiscs that packets pass: if the root only
    distributes to queues (mq, mqprio, taprio), those directly below it."""
    own = [qdisc for qdisc in qdiscs if qdisc.ifindex == ifindex]
    roots = [qdisc for qdisc in own if qdisc.parent == _TC_H_ROOT]
    if not roots or roots[0].kind not in _SPREADERS:
        return roots, roots
    major = roots[0].handle & _TC_H_MAJOR
    leaves = [
        qdisc for qdisc in own if qdisc.parent != _TC_H_ROOT and qdisc.parent & _TC_H_MAJOR == major
    ]
    return roots, leaves or roots


def link_of(message: Any) -> Link:
    """Convert an `ifinfmsg` of pyroute2."""
    return Link(
        index=message["index"],
        name=message.get("ifname") or "",
        up=bool(message["flags"] & _IFF_UP),
        loopback=bool(message["flags"] & _IFF_LOOPBACK),
        mtu=message.get("mtu") or 0,
        kind=message.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or "",
        peer=message.get("link"),
        enslaved=message.get("master") is not None,
    )


def qdisc_of(message: Any) -> Qdisc:
    """Convert a `tcmsg` of pyroute2."""
    found = Qdisc(message["index"], message["handle"], message["parent"], message.get("kind") or "")
    if found.kind == "fq":
        return replace(found, horizon_us=message.get_nested("TCA_OPTIONS", "TCA_FQ_HORIZON"))
    etf = message.get_nested("TCA_OPTIONS", "TCA_ETF_PARMS") if found.kind == "etf" else None
    if not isinstance(etf, dict):
        return found
    return replace(
        found,
        clock=_CLOCKS.get(etf["clockid"], f"clock {etf['clockid']}"),
        delta_ns=etf["delta_ns"],
        offload=bool(etf["flags"] & _ETF_OFFLOAD),
    )


@functools.cache
def know_launchers() -> None:
    """Add the options of fq and etf to pyroute2, which does not decode them."""
    from pyroute2.netlink import nla
    from pyroute2.netlink.rtnl import tcmsg

    class EtfOptions(nla):  # type: ignore[misc]
        nla_map = (("TCA_ETF_UNSPEC", "none"), ("TCA_ETF_PARMS", "etf_parms"))

        class etf_parms(nla):  # type: ignore[misc]
            fields = (("delta_ns", "i"), ("clockid", "i"), ("flags", "I"))

    class FqOptions(nla):  # type: ignore[misc]
        nla_map = ((14, "TCA_FQ_HORIZON", "uint32"),)

    plugins: dict[str, Any] = tcmsg.plugins
    plugins.setdefault("etf", types.SimpleNamespace(options=EtfOptions))
    plugins.setdefault("fq", types.SimpleNamespace(options=FqOptions))
