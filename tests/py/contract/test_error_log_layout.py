"""What the pool writes into a worker's page with `struct` is what the C side reads."""

from __future__ import annotations

import os

from rtworkers import error_log, page
from shmring import observe
from shmring._ring import ffi, lib


def test_the_pools_kinds_are_rows_of_the_table() -> None:
    for kind in error_log.Kind:
        row = observe.event_kinds()[kind]
        assert row.name.upper() == kind.name
        assert row.is_error


def test_sizes() -> None:
    assert lib.SHM_POOL_ERRORS_OFFSET == error_log.OFFSET
    assert ffi.offsetof("shm_worker_segment_t", "pool_errors") == error_log.OFFSET
    assert error_log.OFFSET % os.sysconf("SC_PAGE_SIZE") == 0
    assert ffi.sizeof("shm_error_log_t") == error_log.LOG_BYTES
    assert ffi.sizeof("shm_error_t") == error_log._ENTRY.size
    assert lib.SHM_ERRORS == error_log.ERRORS
    assert ffi.sizeof("shm_worker_segment_t") == page.PAGE_BYTES


def test_numbers_say_their_units() -> None:
    for kind in observe.event_kinds():
        for name in kind.numbers:
            assert name == "" or name.isidentifier()
        assert not kind.is_error or kind.text
