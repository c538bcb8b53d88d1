"""A thread that closes objects without references, and lingers in the background."""

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
    """Start the thread. Called before any object exists for which `later` may be called."""
    global _thread
    with _lock:
        if _thread is None:
            _thread = threading.Thread(target=_run, name="closer of shmring.udt", daemon=True)
            _thread.start()


def later(job: Callable[[], None]) -> None:
    """Call a function soon, in another thread.

    This is for finalizers. They run in any thread, under any lock it holds, so this takes no lock.
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
    _jobs = queue.SimpleQueue[Callable[[], None]]()
    _lock, _thread = threading.Lock(), None


os.register_at_fork(after_in_child=_after_fork)
