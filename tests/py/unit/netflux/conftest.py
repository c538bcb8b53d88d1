"""The shared memory of a link that no worker serves: what clients do to it, and nothing else."""

from __future__ import annotations

import dataclasses
import gc
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shmring
from rtworkers import paths
from shmring import _host, _options
from shmring._endpoint import Endpoint
from shmring._ring import ffi, lib

Maker = Callable[..., shmring.netflux.Channel]


class Idle(shmring.netflux.Channel):
    """An end whose producer slot nobody had to give."""

    def _begin(self) -> None:
        super()._begin()
        if not self._endpoint.readonly:
            self._endpoint.attach_now = self._bind  # type: ignore[method-assign]

    def _bind(self, what: int) -> None:
        own = self._endpoint.attachment.own
        own.producer, own.unbound, own.epoch = 1 + os.getpid() % 2, what, 1
        self._endpoint._bind(int(ffi.cast("uintptr_t", own)))


def _make(namespace: str, name: str, options: dict[str, Any]) -> Any:
    own = {field.name for field in dataclasses.fields(shmring.Netflux)} & options.keys()
    plain = {key: options[key] for key in options.keys() - own}
    start = shmring.Netflux(**{key: options[key] for key in own}).prepare(plain)
    prepared = _options.prepare(name, namespace, "nobody", "balanced", start.options, start.config)
    posix_name = paths.channel_segment(namespace, name)
    fd = os.open(paths.shm_file(posix_name), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        _host.format_segment(fd, prepared.config)
        segment = ffi.new("shm_segment_t *")
        assert lib.shm_segment_map(segment, fd, 1) == 0
    finally:
        os.close(fd)
    segment.status.epoch = 1
    segment.status.state = lib.SHM_STATE_OPEN
    return ffi.gc(segment, lib.shm_segment_unmap)


@pytest.fixture
def idle_link(shmring_namespace: str) -> Iterator[Maker]:
    """Makes a link and returns an end of it; `segment` is what the worker would see."""
    made = []

    def make(name: str = "plc", readonly: bool = False, **options: Any) -> shmring.netflux.Channel:
        segment = _make(shmring_namespace, name, options)
        made.append(name)
        records = {
            way: options[way] for way in ("send", "receive") if not isinstance(options[way], int)
        }
        end = Endpoint(name, namespace=shmring_namespace, readonly=readonly)
        channel = Idle(end, **records)
        channel.segment = segment  # type: ignore[attr-defined]
        return channel

    yield make
    for name in made:
        paths.shm_file(paths.channel_segment(shmring_namespace, name)).unlink(missing_ok=True)
    gc.collect()
