"""Find and remove what dead processes left behind.

A worker cleans up after its pool. Files stay behind only if both died together. Then the pool's
runtime directory also remains, because it is made before the files get names and removed after
them.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

from rtworkers import liveness, paths, records
from shmring import _host
from shmring._ring import lib
from shmring._segment import text_of

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
    segments: list[str] = []
    skipped: list[str] = []

    def remove(name: paths.ShmName) -> str | None:
        return None if pool_of(name) in inhabited else _remove(name, dry_run=dry_run)

    for file in paths.read_each(_own_names(namespace), remove):
        if isinstance(file, str):
            segments.append(file)
        else:
            skipped.append(f"{file.name.posix_name}: {file.reason}")
    return Swept(segments, directories, skipped)


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

    def remove(name: paths.ShmName) -> paths.ShmName | None:
        return name if pool_of(name) == pool and _remove(name, dry_run=False) else None

    removed = paths.read_each(_own_names(pool[0]), remove)
    return [one.channel for one in removed if isinstance(one, paths.ShmName) and one.channel]


def _remove(name: paths.ShmName, *, dry_run: bool) -> str | None:
    """Remove a file if no process holds it. Return its name in shared memory if so."""
    deserted = _host.remove_deserted_segment(name.posix_name, dry_run=dry_run)
    return name.posix_name if deserted else None


def _own_names(namespace: str | None) -> list[paths.ShmName]:
    return [name for name in paths.shm_names(namespace) if _is_own(name)]


def _is_own(name: paths.ShmName) -> bool:
    try:
        return os.geteuid() in (0, paths.shm_file(name.posix_name).lstat().st_uid)
    except FileNotFoundError:
        return False


def _pool_in(directory: Path) -> Pool:
    return directory.parent.name, directory.name


def pool_of(name: paths.ShmName) -> Pool | None:
    """Return the pool that a page or a segment belongs to. If the pool lost a worker while no
    process watched it, it may still need the channels of that worker."""
    if name.pool is not None:
        return name.namespace, name.pool
    for noted in records.find(paths.runtime_base() / name.namespace, str(name.channel)):
        return name.namespace, noted.name  # not from the segment: its clients can write there
    fd = _host.open_segment_file(name.posix_name, writable=False)
    if fd is None:
        return None
    space, channel = name.namespace.encode(), str(name.channel).encode()
    try:
        with _host.mapped(fd, writable=False) as segment:
            if segment is None or not lib.shm_segment_is(segment, space, channel):
                return None
            return name.namespace, text_of(segment.config.pool)
    finally:
        os.close(fd)


def _pool_directories(namespace: str | None) -> list[Path]:
    base = paths.runtime_base()
    spaces = paths.listed(base) if namespace is None else [base / namespace]
    return [path for space in spaces for path in paths.listed(space) if path.is_dir()]


__all__ = ["Swept", "pool_of", "sweep", "sweep_dead_pools"]
