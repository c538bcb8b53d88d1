"""What the tests of UDT share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shmring import udt


@pytest.fixture
def pair(shmring_namespace: str) -> Iterator[tuple[udt.UdtSocket, udt.UdtSocket]]:
    """Two ends of a stream: who connected, and who accepted."""
    with udt.listen(("127.0.0.1", 0)) as listener, udt.connect(listener.local) as client:
        server, _ = listener.accept(timeout=20.0)
        with server:
            yield client, server
