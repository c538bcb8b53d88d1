"""What the tests of the drop-ins share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import kit.sources
import pytest

import rtudp._workers
import shmring
from rtworkers import paths


@pytest.fixture(scope="module")
def own_workers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Workers of this module's own, of which nothing may be left at its end."""
    namespace = f"{request.module.__name__.rpartition('.')[2]}-{os.getpid()}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHMRING_NAMESPACE", namespace)
        yield
        rtudp._workers.close_pools()
        shmring.close_default_pool()
        assert list(paths.shm_names(namespace)) == []


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder of the sources around these tests."""
    return kit.sources.checkout()
