"""What dead processes left behind: finding it and removing it.

A worker clears up after its pool. Only where both died at once files stay behind, and then the
pool's runtime directory does, too: it is made before its files have names and removed after them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

from rtworkers import liveness, paths, records
from shmring import _host
from shmring._ring import ffi

Pool = tuple[str, str]
"""Namespace and name."""


def sweep(namespace: str | None, *, dry_run: bool) -> tuple[list[str], list[str]]:
    """Remove every deserted directory and segment of this user. Returns the names of segments and
    pages, and the directories."""
    directories, inhabited = [], set()
    for directory in _pool_directories(namespace):
        with liveness.deserted(directory) as empty:
            if not empty:
                inhabited.add(_pool_in(directory))
                continue
            directories.append(str(directory))
            if not dry_run:
                liveness.remove_directory(directory)
    names = [name for name in _own_names(namespace) if _pool_of(name) not in inhabited]
    return [name for name in names if _remove(name, dry_run=dry_run)], directories


def sweep_dead_pools(namespace: str) -> None:
    """Remove what pools of one namespace left that died together with their workers."""
    for directory in _pool_directories(namespace):
        with contextlib.suppress(OSError), liveness.deserted(directory) as empty:
            if empty:
                for name in _own_names(namespace):
                    if _pool_of(name) == _pool_in(directory):
                        _remove(name, dry_run=False)
                liveness.remove_directory(directory)


def _remove(posix_name: str, *, dry_run: bool) -> bool:
    return _host.remove_deserted_segment(posix_name, dry_run=dry_run)


def _own_names(namespace: str | None) -> list[str]:
    return [name.posix_name for name in paths.shm_names(namespace) if _is_own(name)]


def _is_own(name: paths.ShmName) -> bool:
    try:
        return os.geteuid() in (0, paths.shm_file(name.posix_name).lstat().st_uid)
    except FileNotFoundError:
        return False


def _pool_in(directory: Path) -> Pool:
    return directory.parent.name, directory.name


def _pool_of(posix_name: str) -> Pool | None:
    """The pool that a page or a segment belongs to. If it lost a worker while nobody watched, it
    may still need what that worker served."""
    name = paths.parse_shm_name(posix_name.lstrip("/"))
    if name is None:
        return None
    if name.pool is not None:
        return name.namespace, name.pool
    for noted in records.find(paths.runtime_base() / name.namespace, str(name.channel)):
        return name.namespace, noted.name  # not from the segment, where its clients can write
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


__all__ = ["sweep", "sweep_dead_pools"]
