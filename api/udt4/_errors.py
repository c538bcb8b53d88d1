"""The drop-in's exception, and what becomes one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import udt4._constants as c
from shmring import errors
from shmring.udt.errors import UdtError, text_of


class UDTException(RuntimeError):
    """What a call of UDT's failed with: ``args`` is (number, text)."""

    @property
    def code(self) -> int:
        """The protocol's number; -1 if there is none."""
        return self.args[0] if self.args and isinstance(self.args[0], int) else c.EUNKNOWN

    @property
    def message(self) -> str:
        """What it means."""
        return str(self.args[1]) if len(self.args) > 1 else ""


UDTException.__module__ = "udt4"


def failure(code: int, more: str = "") -> UDTException:
    """The exception for a number of the protocol; `more` says what happened in this case."""
    text = text_of(code)
    return UDTException(int(code), f"{text[:-1]}: {more}." if more else text)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise what `shmring` raises as `UDTException`; values that cannot be stay `ValueError`."""
    try:
        yield
    except UdtError as caught:
        raise failure(caught.code) from caught
    except (errors.BadAddress, errors.BadConfig, errors.PayloadTooLarge) as caught:
        raise ValueError(str(caught)) from caught
    except errors.NoSpace as caught:
        raise failure(c.ENOBUF, str(caught.strerror)) from caught
    except errors.ChannelClosed as caught:
        raise failure(c.EINVSOCK) from caught
    except errors.ShmringError as caught:
        raise failure(c.ERESOURCE, str(caught)) from caught
