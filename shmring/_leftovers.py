"""Find and remove what dead processes left behind.

A worker cleans up after its pool. Files stay behind only if both died together. Then the pool's
runtime directory also remains, because it is made before the files get names and removed after
them.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from rtworkers import liveness, paths, records
from shmring import _host
from shmring._ring import ffi

Pool = tuple[str, str]
"""Namespace and name."""


class Swept(NamedTuple):
    """The result of a sweep."""

    segments: list[str]
    """Names of the segments of channels and the pages of workers that were removed."""
    directories: list[str]
    skipped: list[str]
    """Names that could not be checked, each with the reason."""


def sweep(namespace: str | None, *, dry_run: bool) -> Swept:
    """Remove every abandoned directory and segment of this user."""
    directories: list[str] = []
    inhabited: set[tuple[str, str]] = set()
    for directory in _pool_directories(namespace):
        with liveness.deserted(directory) as empty:
            if not empty:
                inhabited.add(_pool_in(directory))
                continue
            directories.append(str(directory))
            if not dry_run:
                liveness.remove_directory(directory)
    found = Swept([], directories, [])
    for name in _own_names(namespace):
        if pool_of(name) not in inhabited:
            _remove(name, found, dry_run=dry_run)
    return found


def sweep_dead_pools(namespace: str) -> dict[str, list[str]]:
    """Remove what pools of one namespace left behind that died together with their workers.

    Returns the removed channels by pool.
    """
    removed: dict[str, list[str]] = {}
    for directory in _pool_directories(namespace):
        with contextlib.suppress(OSError), liveness.deserted(directory) as empty:
            if empty:
                removed[directory.name] = _remove_all_of(_pool_in(directory))
                liveness.remove_directory(directory)
    return removed


def _remove_all_of(pool: Pool) -> list[str]:
    """Remove the pages and segments of a pool that no process holds. Return the channels."""
    found = Swept([], [], [])
    for name in _own_names(pool[0]):
        if pool_of(name) == pool:
            _remove(name, found, dry_run=False)
    parsed = [paths.parse_shm_name(name.lstrip("/")) for name in found.segments]
    return [str(name.channel) for name in parsed if name is not None and name.channel is not None]


def _remove(posix_name: str, found: Swept, *, dry_run: bool) -> None:
    try:
        if _host.remove_deserted_segment(posix_name, dry_run=dry_run):
            found.segments.append(posix_name)
    except OSError as caught:
        if caught.errno != errno.EBUSY:
            raise
        found.skipped.append(f"{posix_name}: {caught.strerror}")


def _own_names(namespace: str | None) -> list[str]:
    return [name.posix_name for name in paths.shm_names(namespace) if _is_own(name)]


def _is_own(name: paths.ShmName) -> bool:
    try:
        return os.geteuid() in (0, paths.shm_file(name.posix_name).lstat().st_uid)
    except FileNotFoundError:
        return False


def _pool_in(directory: Path) -> Pool:
    return directory.parent.name, directory.name


def pool_of(posix_name: str) -> Pool | None:
    """Return the pool that a page or a segment belongs to. If the pool lost a worker while no
    process watched it, it may still need the channels of that worker."""
    name = paths.parse_shm_name(posix_name.lstrip("/"))
    if name is None:
        return None
    if name.pool is not None:
        return name.namespace, name.pool
    for noted in records.find(paths.runtime_base() / name.namespace, str(name.channel)):
        return name.namespace, noted.name  # not from the segment: its clients can write there
    fd = _host.open_segment_file(posix_name, writable=False)
    if fd is None:
        return None
    try:
        with _host.mapped(fd, writable=False) as segment:
            if segment is None:
                return None
            pool = str(ffi.string(segment.config.pool), "ascii", "replace")
            return name.namespace, pool
    finally:
        os.close(fd)


def _pool_directories(namespace: str | None) -> Collection[Path]:
    base = paths.runtime_base()
    try:
        return sorted(base.glob(f"{namespace or '*'}/*/"))
    except PermissionError:
        return []


__all__ = ["Swept", "pool_of", "sweep", "sweep_dead_pools"]
