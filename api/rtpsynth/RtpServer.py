"""Many UDP ports at once, with a callback for each arrival. Packets are sent at once.

    server = RtpServer()
    channel = server.create_channel(lambda data, address, rtime_ns: ..., bind_host="127.0.0.1")
    channel.set_target("127.0.0.1", 5004)
    channel.send_pkt(packet)

The ports belong to a worker process of `shmring.default_pool`. Callbacks run on a thread of the
server, one after another.
"""

from rtpsynth import _mux
from rtpsynth._core import RtpChannel, RtpQueueFullError, RtpServer, configure_server

__all__ = ["RtpChannel", "RtpQueueFullError", "RtpServer"]

configure_server(_mux.open_mux)
del configure_server
