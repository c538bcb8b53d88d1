"""The settings of a pool, checked once, and what they mean for each worker."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rtworkers import affinity, layout, paths

POLICIES = ("fifo", "other")
PROFILES = tuple(layout.PROFILE)


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """The settings that all workers of a pool share."""

    namespace: str
    name: str
    directory: Path
    cpus: tuple[int, ...] | None
    priority: int = 80
    policy: str = "fifo"
    profile: str = "balanced"
    private: bool = True
    strict: bool = False
    group: int | None = None
    worker_per_user: bool = False
    """Members of the group share no worker."""

    def __post_init__(self) -> None:
        paths.check_name("namespace", self.namespace)
        paths.check_name("pool name", self.name)
        paths.check_socket_paths(self.directory, (self._most_users + 1) * affinity.CORES - 1)
        check_choice("policy", self.policy, POLICIES)
        check_choice("profile", self.profile, PROFILES)
        check_priority(self.priority)
        if self.worker_per_user and self.group is None:
            raise ValueError(
                "worker_per_user is for pools that others use, too: name their group, group=..."
            )

    @property
    def _most_users(self) -> int:
        """How many users may have workers of their own."""
        return affinity.MOST_USERS if self.worker_per_user else 0

    def has_slot(self, slot: int) -> bool:
        """Return whether a worker may be in `slot`."""
        user, own = divmod(slot, affinity.CORES)
        return user <= self._most_users and own in affinity.slots_of(self.cpus)

    def cpu_of(self, slot: int) -> int:
        """Return the core of the worker in `slot`, or `affinity.UNPINNED`."""
        return affinity.UNPINNED if self.cpus is None else slot % affinity.CORES

    def arguments(self, slot: int, cpu: int, page_fd: int, rx_fd: int, pool_fd: int) -> list[str]:
        """Return the command line of the worker in `slot`, without the program's name."""
        options = {
            "--namespace": self.namespace,
            "--pool": self.name,
            "--slot": slot,
            "--cpu": cpu,
            "--policy": self.policy,
            "--priority": self.priority,
            "--profile": self.profile,
            "--runtime": self.directory,
            "--page-fd": page_fd,
            "--rx-fd": rx_fd,
            "--pool-fd": pool_fd,
        }
        line = [str(part) for option in options.items() for part in option]
        line += ["--private"] if self.private else []
        line += ["--strict"] if self.strict else []
        return line


def default_policy() -> str:
    """Return ``$SHMRING_POLICY``, or ``fifo``. Raises `ValueError`."""
    policy = os.environ.get("SHMRING_POLICY") or POLICIES[0]
    check_choice("SHMRING_POLICY", policy, POLICIES)
    return policy


def check_choice(what: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise `ValueError` unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{what} is {value!r}: use one of {', '.join(map(repr, choices))}")


def check_priority(priority: object) -> None:
    """Raise unless `priority` is valid for SCHED_FIFO."""
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise TypeError(f"priority must be an integer, not {priority!r}")
    if not 1 <= priority <= 99:
        raise ValueError(f"priority is {priority}: SCHED_FIFO has 1 (lowest) to 99")
