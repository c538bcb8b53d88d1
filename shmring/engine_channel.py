"""For authors of drop-ins: a channel whose engine takes requests, and whose end C code can use."""

from typing import Any

from shmring._endpoint import Endpoint, checked_end
from shmring._ring import lib


class _Kept:
    """Keeps the memory of an end. It has no attributes to use."""

    def __init__(self, *memory: Any) -> None:
        self._memory = memory


class EngineChannel:
    """One process's end of a channel whose engine is defined outside of this package."""

    def __init__(self, end: Endpoint, *_: object, **__: object) -> None:
        """`open` makes it for an engine that says so. Raises `TypeError` without `end`."""
        self._endpoint = checked_end(type(self), end)

    def attach_both_ways(self) -> None:
        """Attach as sender and as reader now, not with the first packet. Raises the exceptions of
        `send`."""
        self._endpoint.attach_now(lib.ENDPOINT_TX)
        self._endpoint.attach_now(lib.ENDPOINT_RX)

    def c_end(self) -> tuple[object, int]:
        """Return an object that must live as long as C code uses this end, and the address of its
        ``endpoint_t``."""
        endpoint = self._endpoint
        return _Kept(endpoint.mapped(), endpoint.end), endpoint.address()

    def request(self, body: bytes) -> bytes:
        """Send the worker's engine a request that only it understands, and return its answer.

        Raises `ChannelClosed`, `WorkerFailed`, `ShmringOSError`, `NoPermission` (a read-only end).
        """
        return self._endpoint.engine_request(body)

    def request_apart(self, body: bytes) -> bytes:
        """Like `request`, but on a separate connection, while another request waits for
        its answer."""
        return self._endpoint.engine_request_apart(body)

    def close(self) -> None:
        """Leave the channel. If this end opened it, end it for all processes. May be called more
        than once."""
        self._endpoint.close()


__all__ = ["EngineChannel"]
