"""The restart policy: a table of situations, and what must follow whatever the order of events."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtworkers.health import STALE_NS
from rtworkers.restart_policy import (
    FAST_CRASHES_MAX,
    FIRST_PAUSE_NS,
    LONGEST_PAUSE_NS,
    MS,
    STEADY_NS,
    Action,
    Beat,
    Died,
    Event,
    Launched,
    Phase,
    S,
    Short,
    State,
    Stop,
    decide,
    pause_after,
)

T0 = 1000 * S
RUNNING = State(phase=Phase.RUNNING, started_ns=T0)
STALLED = replace(RUNNING, phase=Phase.STALLED)


@pytest.mark.parametrize(
    ("state", "event", "now_ns", "phase", "action"),
    [
        (State(), Launched(), T0, Phase.RUNNING, Action.NOTHING),
        (RUNNING, Died(), T0 + STEADY_NS, Phase.STARTING, Action.START),
        (RUNNING, Died(), T0 + 1, Phase.STARTING, Action.START),
        (STALLED, Died(), T0 + 5 * S, Phase.STARTING, Action.START),
        (replace(RUNNING, fast_crashes=2), Died(), T0 + 1, Phase.PAUSED, Action.WAIT),
        (replace(RUNNING, fast_crashes=2), Died(), T0 + STEADY_NS, Phase.STARTING, Action.START),
        (
            replace(RUNNING, fast_crashes=FAST_CRASHES_MAX - 1),
            Died(),
            T0 + 1,
            Phase.GIVEN_UP,
            Action.GIVE_UP,
        ),
        (RUNNING, Beat(T0), T0 + STALE_NS - 1, Phase.RUNNING, Action.NOTHING),
        (RUNNING, Beat(T0), T0 + STALE_NS, Phase.STALLED, Action.REPORT_STALL),
        (STALLED, Beat(T0), T0 + 9 * S, Phase.STALLED, Action.NOTHING),
        (STALLED, Beat(T0 + 9 * S), T0 + 9 * S, Phase.RUNNING, Action.REPORT_RECOVERY),
        (State(), Beat(0), T0, Phase.STARTING, Action.NOTHING),
        (RUNNING, Stop(), T0, Phase.STOPPED, Action.NOTHING),
        (State(phase=Phase.STOPPED), Died(), T0, Phase.STOPPED, Action.NOTHING),
        (State(phase=Phase.GIVEN_UP), Died(), T0, Phase.GIVEN_UP, Action.NOTHING),
    ],
)
def test_table(state: State, event: Event, now_ns: int, phase: Phase, action: Action) -> None:
    after, what = decide(state, event, now_ns)
    assert (after.phase, what) == (phase, action)


def test_pauses_grow_up_to_a_limit() -> None:
    pauses = [pause_after(n) for n in range(1, 12)]
    assert pauses[:4] == [0, 0, FIRST_PAUSE_NS, 2 * FIRST_PAUSE_NS]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_NS


def test_crash_loop_is_given_up_within_seconds() -> None:
    state, now_ns, starts = State(), T0, 0
    while state.phase is not Phase.GIVEN_UP:
        starts += 1
        state, _ = decide(state, Launched(), now_ns)
        now_ns += 20 * MS
        state, _ = decide(state, Died(), now_ns)
        now_ns = max(now_ns, state.restart_at_ns)
    assert starts == FAST_CRASHES_MAX
    assert now_ns - T0 < 10 * S


def test_a_worker_killed_every_two_seconds_always_comes_back_at_once() -> None:
    state, now_ns = State(), T0
    for _ in range(100):
        state, _ = decide(state, Launched(), now_ns)
        now_ns += 2 * S
        state, action = decide(state, Died(), now_ns)
        assert action is Action.START
    assert state.restarts == 100


def test_a_shortage_is_waited_for_as_long_as_it_takes() -> None:
    state, now_ns = State(), 0
    pauses = []
    for _ in range(100):
        state, action = decide(state, Short(), now_ns)
        assert action is Action.WAIT
        pauses.append(state.restart_at_ns - now_ns)
        now_ns = state.restart_at_ns
    assert pauses[:3] == [FIRST_PAUSE_NS, 2 * FIRST_PAUSE_NS, 4 * FIRST_PAUSE_NS]
    assert pauses[-1] == LONGEST_PAUSE_NS
    assert state.fast_crashes == 0
    state, _ = decide(state, Launched(), now_ns)
    assert state.shortages == 0


events = st.one_of(
    st.just(Launched()),
    st.just(Died()),
    st.just(Short()),
    st.just(Stop()),
    st.integers(0, 100 * S).map(Beat),
)


@settings(deadline=None)
@given(st.lists(st.tuples(events, st.integers(0, 3 * S)), max_size=60))
def test_any_history_keeps_the_promises(history: list[tuple[Event, int]]) -> None:
    state, now_ns = State(), 0
    for event, step_ns in history:
        now_ns += step_ns
        before = state
        state, action = decide(state, event, now_ns)
        if before.phase in (Phase.STOPPED, Phase.GIVEN_UP):
            assert state is before
            assert action is Action.NOTHING
        if action is Action.WAIT:
            assert now_ns < state.restart_at_ns <= now_ns + LONGEST_PAUSE_NS
        if isinstance(event, Died) and before.phase is not Phase.STOPPED:
            assert action is not Action.NOTHING or before.phase is Phase.GIVEN_UP
        assert state.fast_crashes <= FAST_CRASHES_MAX
