"""Who does the per-packet calls: `shmring._hot` where there is one, else cffi.

``SHMRING_BACKEND=hot`` or ``cffi`` (environment, read at import) chooses.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import TYPE_CHECKING

from shmring import _address
from shmring.batch import PacketBatch
from shmring.types import STAMPS

__all__ = ["NAME", "Core", "Packet"]


def _choose() -> str:
    wanted = os.environ.get("SHMRING_BACKEND", "")
    if wanted not in ("", "hot", "cffi"):
        raise ImportError(f'SHMRING_BACKEND is {wanted!r}: use "hot", "cffi" or nothing')
    if wanted:
        return wanted
    if not getattr(sys, "_is_gil_enabled", _yes)():
        return "cffi"  # "hot" relies on the interpreter's lock
    return "hot" if importlib.util.find_spec("shmring._hot") else "cffi"


def _yes() -> bool:
    return True


NAME = _choose()
"""``"hot"`` or ``"cffi"``."""

if TYPE_CHECKING or NAME == "cffi":
    from shmring._core_cffi import Core, Packet
else:
    from shmring import _hot
    from shmring._hot import Core, Packet

    _hot.configure(STAMPS, _address.unpack, PacketBatch)
