"""The exceptions of shmring.

Each class derives from `ShmringError` and from the matching built-in exception, so that code
written for sockets and files catches what it expects. Classes derived from `OSError` have `errno`.
The text gives the value, the limit and the fix.
"""

from typing import Self


class ShmringError(Exception):
    """Base class of all errors of this package."""


class ShmringOSError(ShmringError, OSError):
    """The system or a worker refused a request. `errno` has the reason."""


class BadConfig(ShmringError, ValueError):
    """A channel or a pool cannot have the requested settings."""


class BadAddress(ShmringError, ValueError):
    """An address is missing, not numeric, or of another family than the channel's."""


class PayloadTooLarge(ShmringError, ValueError):
    """A packet is longer than the channel's `max_payload`, or than the buffer for it."""


class ChannelNotFound(ShmringError, FileNotFoundError):
    """This namespace has no open channel of this name."""


class ChannelExists(ShmringError, FileExistsError):
    """This namespace already has an open channel of this name."""


class ChannelClosed(ShmringError, BrokenPipeError):
    """The channel was closed here, or ended by the process that opened it."""


class LayoutMismatch(ShmringError, OSError):
    """The segment was made by another version of shmring, or is incomplete."""


class RingFull(ShmringError, BlockingIOError):
    """The send ring has no room now.

    `sent` is the number of packets that a `send_many` call queued before the error.
    `first_sequence` is the sequence number of the first of them. For a single `send` they are 0 and
    None.
    """

    sent: int = 0
    first_sequence: int | None = None


class SendTimeout(RingFull, TimeoutError):
    """The send ring had no room before the timeout."""


class ReceiveTimeout(ShmringError, TimeoutError):
    """No packet arrived before the timeout."""


class TooLate(ShmringError, LookupError):
    """The packet no longer waits: it was sent, cancelled, or never queued."""


class LoanOverwritten(ShmringError, BufferError):
    """The worker overwrote lent packets before they were released. What was read from them may be
    wrong.

    `overwritten` is their number. They are the oldest packets of the loan.
    """

    overwritten: int = 0


class NoSpace(ShmringError, OSError):
    """Shared memory or the slots of a channel are used up."""


class NoPermission(ShmringError, PermissionError):
    """The process lacks the permission for this, or attached to the channel read-only."""


class WorkerFailed(ShmringError, OSError):
    """A worker did not start, does not answer, or gave up the channel."""


class UnsentWarning(RuntimeWarning):
    """Packets that waited to be sent were cancelled, because their channel or pool ended."""


class RealtimeWarning(RuntimeWarning):
    """A requested real-time setting is not in effect. The text says in two lines what is missing,
    what it costs, and which command prints the rest."""

    def __init__(self, text: str = "", details: str = "") -> None:
        super().__init__(text)
        self.details = details or text
        """The reasons with the fixes."""

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        return type(self), (str(self), self.details)
