"""UDT: reliable bulk transfer and messages over UDP, for long and lossy paths.

It works with every UDT4 program. The workers run the protocol. Bytes pass through shared memory.

    with udt.listen(("127.0.0.1", 9000)) as listener:
        sock, address = listener.accept()

    with udt.connect(("127.0.0.1", 9000)) as sock:
        sock.sendall(b"hello")

    sock = await udt.aio.connect(("127.0.0.1", 9000))
    reader, writer = await udt.open_connection("127.0.0.1", 9000)
"""

import sys
from typing import TYPE_CHECKING

from shmring._moved import moved
from shmring.udt import aio as aio
from shmring.udt.connecting import ConnectOptions, begin_connect, connect, listen
from shmring.udt.errors import (
    Code,
    UdtClosed,
    UdtError,
    UdtNotConnected,
    UdtPeerError,
    UdtRefused,
    UdtTimeout,
    UdtWouldBlock,
)
from shmring.udt.files import recvfile, sendfile
from shmring.udt.listener import UdtListener
from shmring.udt.options import PortOptions, UdtOptions
from shmring.udt.port import Port
from shmring.udt.socket import UdtSocket
from shmring.udt.statistics import UdtPortStats, UdtState, UdtStats
from shmring.udt.streams import UdtReader, UdtServer, UdtWriter, open_connection, start_server

_MOVED = {"connect_async": "aio.connect"}

if not TYPE_CHECKING:  # for a type checker, a module with __getattr__ has every name

    def __getattr__(name):
        raise moved(sys.modules[__name__], name, _MOVED)


__all__ = [
    "Code",
    "ConnectOptions",
    "Port",
    "PortOptions",
    "UdtClosed",
    "UdtError",
    "UdtListener",
    "UdtNotConnected",
    "UdtOptions",
    "UdtPeerError",
    "UdtPortStats",
    "UdtReader",
    "UdtRefused",
    "UdtServer",
    "UdtSocket",
    "UdtState",
    "UdtStats",
    "UdtTimeout",
    "UdtWouldBlock",
    "UdtWriter",
    "begin_connect",
    "connect",
    "listen",
    "open_connection",
    "recvfile",
    "sendfile",
    "start_server",
]
