"""What the tests of the asynchronous calls share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from needs import require_module

HERE = "127.0.0.1"
PATIENCE_S = 20.0

Run = Callable[[Callable[[], Awaitable[Any]]], Any]


def _asyncio(main: Callable[[], Awaitable[Any]]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(2 * PATIENCE_S):
            return await main()

    return asyncio.run(bounded())


def _uvloop(main: Callable[[], Awaitable[Any]]) -> Any:
    uvloop = require_module("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asyncio.wait_for(_of(main), 2 * PATIENCE_S))


async def _of(main: Callable[[], Awaitable[Any]]) -> Any:
    return await main()


def _trio(main: Callable[[], Awaitable[Any]]) -> Any:
    trio = require_module("trio")

    async def bounded() -> Any:
        with trio.fail_after(2 * PATIENCE_S):
            return await main()

    return trio.run(bounded)


def _anyio(backend: str) -> Run:
    def run(main: Callable[[], Awaitable[Any]]) -> Any:
        anyio = require_module("anyio")
        return anyio.run(main, backend=backend)

    return run


LIBRARIES: dict[str, Run] = {
    "asyncio": _asyncio,
    "uvloop": _uvloop,
    "trio": _trio,
    "anyio-asyncio": _anyio("asyncio"),
    "anyio-trio": _anyio("trio"),
}


UVLOOP = pytest.param("uvloop", marks=pytest.mark.check)


@pytest.fixture(params=[UVLOOP if name == "uvloop" else name for name in LIBRARIES])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a function in one of the asynchronous libraries."""
    return LIBRARIES[request.param]


@pytest.fixture(params=["asyncio", UVLOOP])
def serve(request: pytest.FixtureRequest) -> Run:
    """Run a function in one of the event loops of asyncio."""
    return LIBRARIES[request.param]


@pytest.fixture
def pair(shmring_pool):
    """Two channels that send to each other: (near, far)."""
    far = shmring_pool.open("far", local=(HERE, 0))
    near = shmring_pool.open("near", local=(HERE, 0), remote=far.local)
    return near, far
