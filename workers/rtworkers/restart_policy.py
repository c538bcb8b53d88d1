"""When a worker is restarted. A pure function: no clock, no process, no randomness.

A worker that ran for `STEADY_NS` before it died is restarted at once, because its channels wait. A
worker that dies faster several times in a row gets growing pauses. After `FAST_CRASHES_MAX` of them
the pool gives up, because the cause will not disappear by itself. If a worker could not be started
because descriptors, processes or memory were short, that is not a crash. Shortages pass, so the
pool tries again without limit, in the end every 2 s. A worker that is alive without a heartbeat is
reported once and left alone: killing it could only lose the packets that it is about to send.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from rtworkers import health

MS = 1_000_000
S = 1_000_000_000

STEADY_NS = 1 * S
FREE_CRASHES = 2
FIRST_PAUSE_NS = 50 * MS
LONGEST_PAUSE_NS = 2 * S
FAST_CRASHES_MAX = 8


class Phase(Enum):
    """The state of a worker, as its pool sees it."""

    STARTING = "starting"
    RUNNING = "running"
    STALLED = "stalled"
    PAUSED = "paused"
    GIVEN_UP = "given up"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class State:
    """The policy's memory of one worker. Times are CLOCK_MONOTONIC, ns."""

    phase: Phase = Phase.STARTING
    started_ns: int = 0
    fast_crashes: int = 0
    restarts: int = 0
    restart_at_ns: int = 0
    shortages: int = 0


@dataclass(frozen=True, slots=True)
class Launched:
    """The worker reported that it is ready."""


@dataclass(frozen=True, slots=True)
class Died:
    """The process is gone, or did not start."""


@dataclass(frozen=True, slots=True)
class Short:
    """There were not enough descriptors, processes or memory to start it."""


@dataclass(frozen=True, slots=True)
class Beat:
    """The worker's heartbeat was read. `heartbeat_ns` is the last one."""

    heartbeat_ns: int


@dataclass(frozen=True, slots=True)
class Stop:
    """The pool ends it."""


Event = Launched | Died | Short | Beat | Stop


class Action(Enum):
    """The next action of the supervisor."""

    NOTHING = "nothing"
    START = "start"
    WAIT = "wait"
    GIVE_UP = "give up"
    REPORT_STALL = "report stall"
    REPORT_RECOVERY = "report recovery"


def decide(state: State, event: Event, now_ns: int) -> tuple[State, Action]:
    """Return the new state and the action. `Action.WAIT`: start at ``state.restart_at_ns``."""
    if state.phase in (Phase.STOPPED, Phase.GIVEN_UP):
        return state, Action.NOTHING
    match event:
        case Stop():
            return replace(state, phase=Phase.STOPPED), Action.NOTHING
        case Launched():
            state = replace(state, phase=Phase.RUNNING, started_ns=now_ns, shortages=0)
            return state, Action.NOTHING
        case Beat(heartbeat_ns):
            return _judge_heartbeat(state, heartbeat_ns, now_ns)
        case Died():
            return _judge_death(state, now_ns)
        case Short():
            pause_ns = min(FIRST_PAUSE_NS << min(state.shortages, 16), LONGEST_PAUSE_NS)
            at_ns, count = now_ns + pause_ns, state.shortages + 1
            state = replace(state, phase=Phase.PAUSED, restart_at_ns=at_ns, shortages=count)
            return state, Action.WAIT


def _judge_heartbeat(state: State, heartbeat_ns: int, now_ns: int) -> tuple[State, Action]:
    stale = health.of_worker(now_ns - heartbeat_ns) == "stale"
    if state.phase is Phase.RUNNING and stale:
        return replace(state, phase=Phase.STALLED), Action.REPORT_STALL
    if state.phase is Phase.STALLED and not stale:
        return replace(state, phase=Phase.RUNNING), Action.REPORT_RECOVERY
    return state, Action.NOTHING


def _judge_death(state: State, now_ns: int) -> tuple[State, Action]:
    ran = state.phase in (Phase.RUNNING, Phase.STALLED)
    steady = ran and now_ns - state.started_ns >= STEADY_NS
    crashes = 0 if steady else state.fast_crashes + 1
    state = replace(state, fast_crashes=crashes, restarts=state.restarts + 1)
    if crashes >= FAST_CRASHES_MAX:
        return replace(state, phase=Phase.GIVEN_UP), Action.GIVE_UP
    pause_ns = pause_after(crashes)
    if pause_ns == 0:
        return replace(state, phase=Phase.STARTING, restart_at_ns=now_ns), Action.START
    return replace(state, phase=Phase.PAUSED, restart_at_ns=now_ns + pause_ns), Action.WAIT


def pause_after(fast_crashes: int) -> int:
    """Nanoseconds from the last of several fast crashes to the next start."""
    if fast_crashes <= FREE_CRASHES:
        return 0
    return min(FIRST_PAUSE_NS << (fast_crashes - FREE_CRASHES - 1), LONGEST_PAUSE_NS)
