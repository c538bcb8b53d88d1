"""Everything shmring raises by itself.

Each class derives from `ShmringError` and from the built-in exception that fits, so that code
written for sockets and files catches what it expects. Those that are an `OSError` carry `errno`.
The text names the value, the limit and the fix.
"""

from __future__ import annotations


class ShmringError(Exception):
    """Base of all errors of this package."""


class ShmringOSError(ShmringError, OSError):
    """The system or a worker refused something; `errno` says why."""


class BadConfig(ShmringError, ValueError):
    """A channel or a pool cannot be what it was asked to be."""


class BadAddress(ShmringError, ValueError):
    """Not a numeric address and port, of another family than the channel's, or missing."""


class PayloadTooLarge(ShmringError, ValueError):
    """A packet is longer than the channel's `max_payload`, or than the buffer it should go to."""


class ChannelNotFound(ShmringError, FileNotFoundError):
    """No channel of this name is open in this namespace."""


class ChannelExists(ShmringError, FileExistsError):
    """A channel of this name is open already in this namespace."""


class ChannelClosed(ShmringError, BrokenPipeError):
    """The channel was closed, here or by the process that opened it."""


class LayoutMismatch(ShmringError, OSError):
    """The segment was made by another version of shmring, or is not finished."""


class RingFull(ShmringError, BlockingIOError):
    """The send ring has no room now.

    `sent` is how many packets of a `send_many` call were queued before, `first_sequence` the
    sequence of the first of them; 0 and None for a single `send`.
    """

    sent: int = 0
    first_sequence: int | None = None


class SendTimeout(RingFull, TimeoutError):
    """The send ring had no room for as long as the call was allowed to wait."""


class ReceiveTimeout(ShmringError, TimeoutError):
    """No packet arrived for as long as the call was allowed to wait."""


class TooLate(ShmringError, LookupError):
    """The packet does not wait any more: it was sent, cancelled, or never queued."""


class NoSpace(ShmringError, OSError):
    """Shared memory, or the slots of a channel, are used up."""


class NoPermission(ShmringError, PermissionError):
    """The process may not do this, or holds the channel read-only."""


class WorkerFailed(ShmringError, OSError):
    """A worker did not start, does not answer, or gave the channel up."""


class RealtimeWarning(RuntimeWarning):
    """Something real-time was asked for and is not in force; the text names the fix."""
