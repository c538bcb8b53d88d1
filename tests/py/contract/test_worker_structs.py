"""What the workers' side reads with `struct` is what the C side writes."""

from __future__ import annotations

from rtworkers import control, page
from shmring._ring import ffi, lib


def test_control_messages() -> None:
    assert control.NAME_BYTES == lib.SHM_NAME_BYTES
    assert control.CHANNEL.size == ffi.sizeof("ctl_channel_t")


def test_worker_page() -> None:
    assert lib.SHM_LAYOUT_VERSION == page.VERSION
    assert ffi.offsetof("shm_worker_page_t", "wake_latency") == page._FACTS.size
    assert ffi.sizeof("shm_worker_segment_t") == page.PAGE_BYTES
