"""The drop-in's exception, and the translation of other exceptions to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import udt4._constants as c
from shmring import errors
from shmring.udt.errors import UdtError, text_of


class UDTException(RuntimeError):
    """The error of a UDT call: ``args`` is (number, text)."""

    @property
    def code(self) -> int:
        """The protocol's number. -1 if there is none."""
        return self.args[0] if self.args and isinstance(self.args[0], int) else c.EUNKNOWN

    @property
    def message(self) -> str:
        """Its meaning."""
        return str(self.args[1]) if len(self.args) > 1 else ""


UDTException.__module__ = "udt4"


# A call that raises one of these says that the connection is over, or was never made.
ENDINGS = frozenset({c.ECONNSETUP, c.ENOSERVER, c.ECONNREJ, c.ESECFAIL, c.ECONNLOST, c.ENOLISTEN})


def failure(code: int, more: str = "") -> UDTException:
    """The exception for a number of the protocol. `more` describes this case."""
    text = text_of(code)
    return UDTException(int(code), f"{text[:-1]}: {more}." if more else text)


def translation(caught: errors.ShmringError) -> UDTException | ValueError:
    """Translate an exception of `shmring` to a `UDTException`, or to `ValueError` for values that
    are not allowed."""
    match caught:
        case UdtError():
            return failure(caught.code)
        case errors.BadAddress() | errors.BadConfig() | errors.PayloadTooLarge():
            return ValueError(str(caught))
        case errors.NoSpace():
            return failure(c.ENOBUF, str(caught.strerror))
        case errors.ChannelClosed():
            return failure(c.EINVSOCK)
    return failure(c.ERESOURCE, str(caught))


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise the `translation` of an exception of `shmring`."""
    try:
        yield
    except errors.ShmringError as caught:
        raise translation(caught) from caught
