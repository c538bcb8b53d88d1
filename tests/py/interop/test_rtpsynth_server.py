"""RtpServer against the original: results, exceptions and messages of every call."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.check

CALLS = """
import queue, socket
from rtpsynth.RtpServer import RtpChannel, RtpQueueFullError, RtpServer

result = {}

def tell(label, act):
    try:
        outcome = act()
    except Exception as error:
        outcome = (type(error).__name__, [str(arg) for arg in error.args])
    result[label] = outcome

def noted(*_):
    arrived.put(_)

def shape(channel):
    host, port = channel.local_addr
    channel.close()
    return host, 0 < port < 65536

def made(*args, **kwargs):
    return shape(server.create_channel(*args, **kwargs))

arrived = queue.Queue()
for args in [(), (1000,), (3,), (-1,), (0,), (2**32,), (2**32 + 5,), (2**64,), (2.0,), ("1",),
             (None,), (True,), (10**9,), (2 * 10**9,), (1, 2)]:
    tell(f"RtpServer{args}", lambda: RtpServer(*args).tick_ns)
tell("keyword", lambda: RtpServer(tick_hz=50).tick_ns)
tell("unknown keyword", lambda: RtpServer(hz=50).tick_ns)

server = RtpServer(1000)
tell("types", lambda: (RtpServer.__module__, RtpServer.__name__, RtpQueueFullError.__module__,
                       RtpQueueFullError.__mro__[1].__name__))
tell("attributes", lambda: sorted(n for n in dir(server) if n[0] != "_"))
tell("subclass", lambda: type("Sub", (RtpServer,), {}))
tell("subclass of channel", lambda: type("Sub", (RtpChannel,), {}))
tell("attribute", lambda: setattr(server, "x", 1))
tell("channel by hand", lambda: RtpChannel(1))

AF_INET6 = socket.AF_INET6
for args in [
    (), (None,), (1, None, 0, 0), (noted,), (noted, ""), (noted, 5), (noted, b"127.0.0.1"),
    (noted, "127.0.0.1\\0x"), (noted, "localhost", 0, 32, 4), (noted, "::1"),
    (noted, "::1", 0, 32, 4), (noted, "127.0.0.1", 0, 32, 6), (noted, "no-such-host.invalid"),
    (noted, "203.0.113.9"), (noted, None, -1), (noted, None, 65536), (noted, None, 2**40),
    (noted, None, -2**40), (noted, None, 2**70), (noted, None, 1.0), (noted, None, None),
    (noted, None, "5"), (noted, None, True, 0),
    *[(noted, None, 0, size) for size in
      (0, 1, 3, -1, -2, -2**63, 2**61, 2**62, 2**63, 2**64, 2**64 + 2, 2**64 + 3, 1.0, True, None)],
    *[(noted, None, 0, 32, family) for family in
      (None, 0, 1, 2, 3, 4, 5, 6, 7, 10, -1, True, False, 4.0, 2**70, b"ipv4", [], AF_INET6, "auto",
       "unspec", "any", "ipv4", "inet", "af_inet", "ipv6", "inet6", "af_inet6", "x", "", "IPV4",
       "AF_INET", "Auto")],
    (noted, "", 0, 32, 6), (noted, None, 99999, 0, "x"), (noted, None, 99999, 32, "x"),
    (noted, "no-such-host.invalid", 99999), (noted, "203.0.113.9", 0, 2**62),
    (noted, None, 0, 32, None, 1),
]:
    shown = tuple("callable" if arg is noted else arg for arg in args)
    tell(f"create_channel{shown}", lambda: made(*args))
tell("create_channel by keyword", lambda: made(pkt_in=noted, bind_host="127.0.0.1", bind_port=0,
                                               queue_size=2, bind_family="ipv4"))
tell("create_channel with unknown keyword", lambda: made(noted, foo=1))

channel = server.create_channel(noted, "127.0.0.1")
other = server.create_channel(noted, "127.0.0.1", 0, 4)
tell("attributes of channel", lambda: sorted(n for n in dir(channel) if n[0] != "_"))
tell("port in use", lambda: made(noted, *channel.local_addr))
tell("no target", lambda: channel.send_pkt(b"x"))
tell("no target, no bytes", lambda: channel.send_pkt(5))
tell("nothing to send", lambda: channel.send_pkt())
tell("two things to send", lambda: channel.send_pkt(b"", b""))
tell("send by keyword", lambda: channel.send_pkt(data=b""))
tell("target by keyword", lambda: channel.set_target(host="127.0.0.1", port=9))
for args in [(), ("127.0.0.1",), ("127.0.0.1", 0), ("127.0.0.1", 70000), ("127.0.0.1", -1),
             ("127.0.0.1", 2**40), (None, 9), ("", 9), ("::1", 9), ("no-such-host.invalid", 9),
             ("127.0.0.1", 9.0), ("127.0.0.1", "9"), (b"127.0.0.1", 9), (9, "127.0.0.1"),
             ("127.0.0.1\\0", 9), ("127.0.0.1", True), ("127.0.0.1", 9)]:
    tell(f"set_target{args}", lambda: channel.set_target(*args))
channel.set_target(*other.local_addr)
for data in [b"a", bytearray(b"bb"), memoryview(b"ccc"), [1, 2, 3, 4], (5, 6, 7), range(3), [300],
             [-1], ["a"], 5, "text", None, 1.5, b""]:
    tell(f"send_pkt({data if not isinstance(data, memoryview) else 'memoryview'})",
         lambda: channel.send_pkt(data))
tell("arrived", lambda: [arrived.get(timeout=20)[0] for _ in range(7)])
tell("set local_addr", lambda: setattr(channel, "local_addr", 1))
tell("set closed", lambda: setattr(channel, "closed", 1))
tell("closed before", lambda: channel.closed)
tell("close with argument", lambda: channel.close(1))
tell("close", lambda: channel.close())
tell("close again", lambda: channel.close())
tell("closed", lambda: channel.closed)
tell("address when closed", lambda: channel.local_addr[0])
tell("send when closed", lambda: channel.send_pkt(5))
tell("wrong target when closed", lambda: channel.set_target("x", "y"))
tell("other wrong target when closed", lambda: channel.set_target("127.0.0.1", 99999))

other.set_target("127.0.0.1", 9)
tell("shutdown with argument", lambda: server.shutdown(1))
tell("shutdown", lambda: server.shutdown())
tell("shutdown again", lambda: server.shutdown())
tell("closed after shutdown", lambda: other.closed)
tell("send after shutdown", lambda: other.send_pkt(b"x"))
tell("send no bytes after shutdown", lambda: other.send_pkt(5))
for args in [("127.0.0.1", 9), ("127.0.0.1", 99999), ("no-such-host.invalid", 9)]:
    tell(f"set_target{args} after shutdown", lambda: other.set_target(*args))
tell("close after shutdown", lambda: other.close())
tell("closed at last", lambda: other.closed)
tell("close again after shutdown", lambda: other.close())
for args in [(noted,), (1,), (noted, None, 0, 0), (noted, None, 99999),
             (noted, "no-such-host.invalid"), (noted, "203.0.113.9"), (noted, None, 0, 2**62)]:
    shown = tuple("callable" if arg is noted else arg for arg in args)
    tell(f"create_channel{shown} after shutdown", lambda: made(*args))
"""


@pytest.mark.usefixtures("shmring_namespace")
def test_every_call_has_the_same_outcome(peer_rtpsynth):
    ours, theirs = peer_rtpsynth.both(CALLS)
    assert ours.keys() == theirs.keys()
    different = {
        label: (ours[label], theirs[label]) for label in ours if ours[label] != theirs[label]
    }
    assert different == {}
