"""A thread that closes what nobody refers to any more, and what is to linger behind its back."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable

_jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
_lock = threading.Lock()
_thread: threading.Thread | None = None


def start() -> None:
    """Have the thread; before anything that `later` may be called for is made."""
    global _thread
    with _lock:
        if _thread is None:
            _thread = threading.Thread(target=_run, name="closer of shmring.udt", daemon=True)
            _thread.start()


def later(job: Callable[[], None]) -> None:
    """Do something soon and elsewhere.

    For finalizers, which run in any thread, under whatever lock it holds: this takes none.
    """
    _jobs.put(job)


def _run() -> None:
    jobs = _jobs
    while True:
        job = jobs.get()
        with contextlib.suppress(Exception):
            job()
        del job


def _after_fork() -> None:
    global _jobs, _lock, _thread
    _jobs, _lock, _thread = queue.SimpleQueue(), threading.Lock(), None


os.register_at_fork(after_in_child=_after_fork)
