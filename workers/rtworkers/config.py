"""What a pool was asked to be, checked once, and what that means for each worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rtworkers import affinity, layout, paths

POLICIES = ("fifo", "other")
PROFILES = tuple(layout.PROFILE)


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Everything the workers of a pool have in common."""

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

    def __post_init__(self) -> None:
        paths.check_name("namespace", self.namespace)
        paths.check_name("pool name", self.name)
        paths.check_socket_paths(self.directory)
        check_choice("policy", self.policy, POLICIES)
        check_choice("profile", self.profile, PROFILES)
        check_priority(self.priority)

    @property
    def slots(self) -> tuple[int, ...]:
        return affinity.slots_of(self.cpus)

    def cpu_of(self, slot: int) -> int:
        """The core of the worker in `slot`, `affinity.UNPINNED` for none."""
        return affinity.UNPINNED if self.cpus is None else slot

    def arguments(self, slot: int, cpu: int, page_fd: int, rx_fd: int, pool_fd: int) -> list[str]:
        """Command line of the worker in `slot`, the program's name left out."""
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


def check_choice(what: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise `ValueError` unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{what} is {value!r}: use one of {', '.join(map(repr, choices))}")


def check_priority(priority: object) -> None:
    """Raise unless `priority` is one of SCHED_FIFO."""
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise TypeError(f"priority must be an integer, not {priority!r}")
    if not 1 <= priority <= 99:
        raise ValueError(f"priority is {priority}: SCHED_FIFO takes 1 (lowest) to 99")
