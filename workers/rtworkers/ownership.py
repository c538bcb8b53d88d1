"""Whose files and processes this user may trust.

Any user can make a file with any of our names in /dev/shm, and a folder with any name in /tmp. Its
contents are trusted only if this process has a reason to trust its owner.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Collection


def uid_of(owner: int | str | None) -> int | None:
    """Return the user id of an id or a name. None stays None. Raises ValueError, TypeError."""
    if owner is None or (isinstance(owner, int) and not isinstance(owner, bool)):
        return owner
    if not isinstance(owner, str):
        raise TypeError(f"owner must be a user's name or id, not {type(owner).__name__}")
    try:
        return pwd.getpwnam(owner).pw_uid
    except KeyError:
        raise ValueError(f"owner is {owner!r}: there is no user of that name") from None


def user_text(uid: int) -> str:
    """Return a user in words: ``alice (uid 1001)``."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def is_trusted(facts: os.stat_result, also: Collection[int] = ()) -> bool:
    """Return whether to trust a file: its owner is root, this user or one of `also`, or it is
    shared with a non-primary group of this process."""
    if facts.st_uid in (0, os.geteuid()) or facts.st_uid in also:
        return True
    shared = facts.st_mode & (stat.S_IRGRP | stat.S_IXGRP)
    return bool(shared) and facts.st_gid in _other_groups()


def _other_groups() -> set[int]:
    primary = {os.getegid()}
    with contextlib.suppress(KeyError):
        primary.add(pwd.getpwuid(os.geteuid()).pw_gid)
    return set(os.getgroups()) - primary
