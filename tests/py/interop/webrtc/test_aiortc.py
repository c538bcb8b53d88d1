"""aiortc, a WebRTC library for asyncio, unchanged over channels."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.check

PROGRAM = """
import asyncio, ipaddress, warnings
import shmring
from aioice import ice
from aiortc import RTCConfiguration, RTCPeerConnection

warnings.simplefilter("ignore")
transports = []

async def over_channel(*args, **kwargs):
    transport, protocol = await shmring.create_datagram_endpoint(*args, **kwargs)
    transports.append(transport)
    return transport, protocol

def here(use_ipv4, use_ipv6):
    return ["127.0.0.1"]

async def main():
    # the one line
    asyncio.get_running_loop().create_datagram_endpoint = over_channel

    ice.get_host_addresses = here  # aioice leaves out loopback
    alone = RTCConfiguration(iceServers=[])
    one, two = RTCPeerConnection(alone), RTCPeerConnection(alone)
    answered = asyncio.get_running_loop().create_future()
    channel = one.createDataChannel("chat")
    data = bytes(range(256)) * 400

    @channel.on("open")
    def opened():
        channel.send(data)

    @channel.on("message")
    def message(back):
        answered.set_result(back)

    @two.on("datachannel")
    def offered(other):
        @other.on("message")
        def echo(back):
            other.send(back[::-1])

    await one.setLocalDescription(await one.createOffer())
    await two.setRemoteDescription(one.localDescription)
    await two.setLocalDescription(await two.createAnswer())
    await one.setRemoteDescription(two.localDescription)
    assert await asyncio.wait_for(answered, 60) == data[::-1]
    assert len(transports) == 2
    received = [t.get_extra_info("shmring_channel").stats().rx_received for t in transports]
    assert min(received) > 50, received
    await one.close()
    await two.close()
    while not all(t.get_extra_info("shmring_channel").closed for t in transports):
        await asyncio.sleep(0.01)
    print("done")

asyncio.run(main())
"""


def test_a_data_channel_by_one_line(over_channels) -> None:
    over_channels("aiortc==1.16.0", PROGRAM)
