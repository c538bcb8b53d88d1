"""The only place that converts error codes to exceptions."""

from __future__ import annotations

import errno
import os

from shmring import errors
from shmring._ring import ffi, lib

_CLASSES: dict[int, type[errors.ShmringError]] = {
    errno.EINVAL: errors.BadConfig,
    errno.EMSGSIZE: errors.PayloadTooLarge,
    errno.ENOENT: errors.ChannelNotFound,
    errno.EEXIST: errors.ChannelExists,
    errno.EPIPE: errors.ChannelClosed,
    errno.ECONNRESET: errors.WorkerFailed,
    errno.EPROTO: errors.LayoutMismatch,
    errno.ENOBUFS: errors.RingFull,
    errno.ENOSPC: errors.NoSpace,
    errno.ENOMEM: errors.NoSpace,
    errno.EMFILE: errors.NoSpace,
    errno.ENFILE: errors.NoSpace,
    errno.EUSERS: errors.NoSpace,
    errno.EDQUOT: errors.NoSpace,
    errno.EPERM: errors.NoPermission,
    errno.EACCES: errors.NoPermission,
}


def check(rc: int, text: str | None = None) -> int:
    """Return `rc`, a count. If it is a negative errno, raise the matching exception.

    `text` is the reason. Without it, the text that the C library last recorded on this thread is
    used.
    """
    if rc >= 0:
        return rc
    raise error(-rc, last_text() if text is None else text)


def error(number: int, text: str) -> errors.ShmringError:
    """Return the exception for an errno. An empty text is replaced by the text of the errno."""
    text = text or os.strerror(number)
    kind = _CLASSES.get(number, errors.ShmringOSError)
    if issubclass(kind, OSError):
        return kind(number, text)
    return kind(text)


def last_text() -> str:
    """Return the text that the C library last recorded on this thread."""
    raw: bytes = ffi.string(lib.rt_err_text())
    return raw.decode("utf-8", "replace")
