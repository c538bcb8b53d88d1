"""The probes of one or more flows to one reflector, in the order of their deadlines."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from shmring._host_time import HostTime
from shmring._proto import ffi, lib
from shmring.net.lanes.lane import RECORDS, Columns
from shmring.net.traffic.clock import tell_clock
from shmring.net.traffic.flow import Flow
from shmring.types import Clock

LEAST_SIZE: int = lib.STAMP_BYTES
_PAYLOAD_BYTES = 1 << 20
_AHEAD_S = 0.25
"""Probes that wait in the ring for their time."""
LEAST_CAPACITY = 64
_MOST_CAPACITY = 1 << 17


class Schedule:
    """Makes the packets of a measurement, as the generator of traffic does."""

    def __init__(self, flows: Flow | Iterable[Flow], seconds: float | None, lane: int) -> None:
        """seconds: of flows that do not say it. None: without end. Raises `ValueError`."""
        given = [flows] if isinstance(flows, Flow) else list(flows) or [Flow()]
        self.flows = [_with_end(flow, seconds) for flow in given]
        self._raw: Any = ffi.new("traffic_flow_t[]", len(self.flows))
        for number, flow in enumerate(self.flows):
            self._put(number, flow, lane)
        self._heap = ffi.new("uint32_t[]", len(self.flows))
        self._traffic: Any = ffi.new("traffic_t *")
        if lib.traffic_init(self._traffic, self._raw, self._heap, len(self.flows)) < 0:
            raise ValueError(ffi.string(lib.rt_err_text()).decode("utf-8", "replace"))
        rates = [flow.rate(lane).highest_pps for flow in self.flows]
        self.pps = sum(rates)
        """The highest rate."""
        self.packets = sum(flow.packets(lane) for flow in self.flows)
        """How many are expected. Infinite: without end."""
        self.longest_bytes = max(flow.longest_bytes(lane) for flow in self.flows)
        most = max(flow.burst for flow in self.flows)
        self.capacity = max(LEAST_CAPACITY, most, min(_MOST_CAPACITY, int(self.pps * _AHEAD_S)))
        """Probes that may wait in the ring."""
        self.use_room(self.capacity)
        self._lanes: Any = ffi.new("due_lane_t[]", lib.DUE_LANES)
        self._columns = [Columns(self._lanes[number]) for number in range(lib.DUE_LANES)]
        self.columns = self._columns[lane - 1]
        """The packets of the last batch."""
        self._due = self._lanes[lane - 1].due_ns
        self.payload = bytearray(_PAYLOAD_BYTES)
        self.planned = 0
        self.last_ns = 0
        """When the last one that was planned is due."""
        self.done = False

    def _put(self, number: int, flow: Flow, lane: int) -> None:
        if flow.to is not None:
            raise ValueError(f"flow {number + 1} goes to {flow.to}: all go to the reflector")
        if min(least for least, _, _ in flow.sizes(lane)) < LEAST_SIZE:
            raise ValueError(
                f"size of flow {number + 1} is {flow.size}: a STAMP packet has {LEAST_SIZE} bytes "
                "or more"
            )
        config = self._raw[number].config
        flow.put(config, lane)
        config.seed = number + 1

    def use_room(self, capacity: int) -> None:
        """Let only this many probes wait in the ring."""
        self.capacity = capacity
        self._batch = max(1, min(RECORDS, capacity // 4))

    def begin(self, start_ns: int, host: HostTime, clock: Clock) -> None:
        """start_ns: of the first, in the channel's clock. host: as it was read for all times."""
        self._traffic.start_ns = self.last_ns = start_ns
        tell_clock(self._traffic.clock, "ntp", host, clock)

    def fill(self) -> int:
        """Put the next packets into `columns` and `payload`. Return how many."""
        raw = ffi.from_buffer("uint8_t[]", self.payload)
        count = int(
            lib.traffic_batch(self._traffic, raw, len(self.payload), self._batch, self._lanes)
        )
        self.done = count == 0
        if count:
            self.planned += count
            self.last_ns = max(self.last_ns, int(self._due[count - 1]))
        return count

    @property
    def share(self) -> float:
        """How much of it is planned, 0 to 1. 0 without an end."""
        return min(1.0, self.planned / self.packets) if math.isfinite(self.packets) else 0.0


def _with_end(flow: Flow, seconds: float | None) -> Flow:
    if flow.seconds is None and flow.count is None:
        return dataclasses.replace(flow, seconds=math.inf if seconds is None else seconds)
    return flow
