"""For authors of drop-ins: a channel whose engine takes requests, with an end that C code uses."""

from __future__ import annotations

from typing import Any

from shmring._endpoint import Endpoint
from shmring._ring import lib


class EngineChannel:
    """One process's end of a channel with an engine outside of this package."""

    def __init__(self, name: str, **how: Any) -> None:
        """Attach to a channel that is open. Arguments and errors as of `Channel`."""
        self._endpoint = Endpoint(name, **how)

    def attach_both_ways(self) -> None:
        """Attach as sender and as reader now, not with the first packet. Raises as `send`."""
        self._endpoint.attach_now(lib.ENDPOINT_TX)
        self._endpoint.attach_now(lib.ENDPOINT_RX)

    def c_end(self) -> tuple[object, int]:
        """Return what has to outlive C code that uses this end, and its ``endpoint_t *``."""
        endpoint = self._endpoint
        return (endpoint.mapped(), endpoint.end), endpoint.address()

    def request(self, body: bytes) -> bytes:
        """Ask the worker's engine something that only it understands, and return its answer.

        Raises `ChannelClosed`, `WorkerFailed`, `ShmringOSError`, `NoPermission` (a tap).
        """
        return self._endpoint.engine_request(body)[1]

    def request_apart(self, body: bytes) -> bytes:
        """As `request`, on a connection of its own, while another request waits for its answer."""
        return self._endpoint.engine_request_apart(body)[1]

    def end(self) -> None:
        """Leave the channel, and end it for everybody if this end opened it. Any number of times.
        """
        self._endpoint.finish()


__all__ = ["EngineChannel"]
