"""How long the end of a channel or pool waits for packets that are not sent yet."""

from __future__ import annotations

import warnings

from shmring.errors import UnsentWarning

LINGER_S = 1.0


def warn_unsent(what: str, packets: int, stacklevel: int) -> None:
    """Warn that packets were cancelled. stacklevel: as of `warnings.warn`, seen from the caller."""
    warnings.warn(
        f"{what} ended while {packets} packets waited to be sent: they were cancelled. Wait for "
        "them with flush(), or give end() or close() a longer linger. linger=0 cancels them "
        "without this warning",
        UnsentWarning,
        stacklevel=stacklevel + 1,
    )
