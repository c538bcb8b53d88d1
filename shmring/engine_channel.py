"""For authors of drop-ins: a channel whose engine takes requests, with an end that C code uses."""

from __future__ import annotations

from shmring._link import Link
from shmring._ring import lib
from shmring.channel import Channel


class EngineChannel(Channel):
    """A `Channel` with what an engine outside of this package needs besides."""

    def attach_both_ways(self) -> None:
        """Attach as sender and as reader now, not with the first packet. Raises as `send`."""
        self._attach_now(lib.ENDPOINT_TX)
        self._attach_now(lib.ENDPOINT_RX)

    def c_end(self) -> tuple[object, int]:
        """What has to live as long as C code uses this end, and the address of its ``endpoint_t``.
        """
        return (self._segment, self._end), self._end_address()

    def request(self, body: bytes) -> bytes:
        """Ask the worker's engine something that only it understands, and return its answer.

        Raises `ChannelClosed`, `WorkerFailed`, `ShmringOSError`, `NoPermission` (a tap).
        """
        return self._engine_request(body)[1]

    def request_apart(self, body: bytes) -> bytes:
        """As `request`, on a connection of its own, while another request waits for its answer."""
        link = Link(self._segment)
        try:
            return link.engine_request(body)[1]
        finally:
            link.close()


__all__ = ["EngineChannel"]
