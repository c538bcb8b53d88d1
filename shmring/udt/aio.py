"""`shmring.udt.connect` for tasks of asyncio and trio: ``await udt.aio.connect(remote)``."""

from typing import Unpack

from shmring._in_thread import in_thread
from shmring.udt.connecting import ConnectOptions, begin_connect
from shmring.udt.socket import UdtSocket


async def connect(
    remote: tuple[str, int], **options: Unpack[ConnectOptions]
) -> UdtSocket:
    """Connect to a listener at `remote`, (host, port), without blocking the event loop, not even to
    look up a name.

    options: `ConnectOptions`. Raises `UdtTimeout` (no answer), `UdtRefused`, `UdtError`, the errors
    of `shmring.open`, and `OSError` for an unknown name.
    """
    sock = await in_thread(begin_connect, remote, **options)
    try:
        await sock.aio.wait_connected()
    except BaseException:
        await sock.aio.close(linger=0)
        raise
    return sock


__all__ = ["connect"]
