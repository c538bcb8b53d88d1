"""The health of channels and workers in words."""

from __future__ import annotations

import pytest

from rtworkers import health

S = 1_000_000_000


@pytest.mark.parametrize(
    ("state", "age_ns", "made_age_s", "expected"),
    [
        ("open", 0, 60.0, "ok"),
        ("held", S - 1, 60.0, "ok"),
        ("open", S, 60.0, "stale"),
        ("open", None, 0.0, "stale"),
        ("new", None, 0.9, "new"),
        ("new", None, 1.0, "stale"),
        ("closed", 9 * S, 60.0, "closed"),
        ("failed", 0, 60.0, "failed"),
        ("state 77", 0, 60.0, "failed"),
    ],
)
def test_a_channel(state: str, age_ns: int | None, made_age_s: float, expected: str) -> None:
    assert health.of_channel(state, age_ns, made_age_s) == expected
    assert health.served(expected) == (expected not in ("stale", "failed"))


def test_a_worker() -> None:
    assert [health.of_worker(age_ns) for age_ns in (0, S - 1, S, None)] == [
        *("ok", "ok", "stale", "stale")
    ]
