"""Session descriptions (RFC 8866) of RTP streams."""

from __future__ import annotations

import ipaddress
from typing import Any

from shmring._ring import lib

FIRST_DYNAMIC = 96
_USUAL_HOPS = 1  # of multicast, by the system


def describe(
    name: str,
    config: Any,
    address: tuple[str, int],
    channel: Any,
    encoding: str | None,
    media: str,
) -> str:
    """Return the description of the stream of a channel that goes to an address.

    config: ``shm_rtp_config_t``. channel: ``shm_config_t``. encoding: None: the payload type says
    it.
    """
    lines = [
        "v=0",
        f"o=- {config.ssrc} 0 {_connection(address[0])}",
        f"s={name}",
        f"c={_connection(address[0], channel.multicast_ttl)}",
        "t=0 0",
        f"m={media} {address[1]} RTP/AVP {config.payload_type}",
    ]
    if encoding is not None:
        channels = f"/{config.channels}" if config.channels > 1 else ""
        lines.append(f"a=rtpmap:{config.payload_type} {encoding}/{config.clock_rate}{channels}")
    if media == "audio":
        lines.append(f"a=ptime:{config.samples_per_packet * 1000 / config.clock_rate:g}")
    if config.rtcp == lib.SHM_RTP_RTCP_MUX:
        lines.append("a=rtcp-mux")
    elif config.rtcp_remote.family:
        lines.append(f"a=rtcp:{config.rtcp_remote.port}")
    return "".join(f"{line}\r\n" for line in lines)


def _connection(host: str, multicast_ttl: int | None = None) -> str:
    ip = ipaddress.ip_address(host.partition("%")[0])
    if ip.version == 6:
        return f"IN IP6 {ip}"
    if not ip.is_multicast or multicast_ttl is None:
        return f"IN IP4 {ip}"
    return f"IN IP4 {ip}/{multicast_ttl if multicast_ttl >= 0 else _USUAL_HOPS}"
