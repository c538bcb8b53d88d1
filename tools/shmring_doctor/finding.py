"""The result of a check: status, measured value, why it matters, and the fix."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Value = int | float | str | bool | None | list[int] | list[str]


class Status(enum.StrEnum):
    """The status of a finding."""

    OK = "ok"
    LIMITS = "limits"
    """It works, with a price that `measured` names."""
    UNFIT = "unfit"
    """Deadlines will be missed, or nothing works at all."""
    HIDDEN = "hidden"
    """It is not visible from here, and nothing is guessed."""


class Verdict(enum.StrEnum):
    """The verdict over all findings."""

    FIT = "fit"
    LIMITED = "fit with limits"
    UNFIT = "unfit"


class FixKind(enum.StrEnum):
    """Where a fix belongs."""

    COMMAND = "command"
    """A line for a shell."""
    FILE = "file"
    """``path: line`` of a file that survives a restart."""
    UNIT = "unit"
    """A line for the [Service] section of the unit that starts the program."""
    BOOT = "boot"
    """Words for the kernel's command line."""
    CONTAINER = "container"
    """An option of ``docker run`` or ``podman run``."""
    HINT = "hint"
    """Advice in words, if no single line is the fix."""


@dataclass(frozen=True, slots=True)
class Fix:
    """One line that fixes something."""

    kind: FixKind
    text: str

    def to_dict(self) -> dict[str, str]:
        """Return values that `json` accepts."""
        return {"kind": self.kind.value, "text": self.text}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    id: str
    """A stable name. Its first word is the group."""
    title: str
    status: Status
    measured: str
    why: str
    fixes: tuple[Fix, ...] = ()
    subject: str = ""
    """The core or interface of the finding. Empty: the machine, or the program as a whole."""
    values: Mapping[str, Value] = field(default_factory=dict)
    """The numbers behind `measured`, in base units that their names end in."""

    @property
    def group(self) -> str:
        return self.id.partition(".")[0]

    def to_dict(self) -> dict[str, Any]:
        """Return values that `json` accepts, always with the same keys."""
        return {
            "id": self.id,
            "group": self.group,
            "subject": self.subject or None,
            "title": self.title,
            "status": self.status.value,
            "measured": self.measured,
            "why": self.why,
            "fixes": [fix.to_dict() for fix in self.fixes],
            "values": dict(self.values),
        }


@dataclass(frozen=True, slots=True)
class Check:
    """One check, which makes its findings."""

    id: str
    title: str
    why: str
    subject: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)

    def about(self, values: Mapping[str, Value] | None = None, subject: str = "") -> Check:
        """Return this check of one core or interface, with the numbers that it measured."""
        return replace(self, subject=subject, values=values or {})

    def finding(self, status: Status, measured: str, *fixes: Fix) -> Finding:
        """Return a finding of this check."""
        return Finding(
            self.id, self.title, status, measured, self.why, fixes, self.subject, self.values
        )

    def ok(self, measured: str) -> Finding:
        return self.finding(Status.OK, measured)

    def limits(self, measured: str, *fixes: Fix) -> Finding:
        return self.finding(Status.LIMITS, measured, *fixes)

    def unfit(self, measured: str, *fixes: Fix) -> Finding:
        return self.finding(Status.UNFIT, measured, *fixes)

    def hidden(self, measured: str, *fixes: Fix) -> Finding:
        return self.finding(Status.HIDDEN, measured, *fixes)


def verdict(findings: Iterable[Finding]) -> Verdict:
    """Return the worst status. Hidden findings do not count."""
    seen = {finding.status for finding in findings}
    if Status.UNFIT in seen:
        return Verdict.UNFIT
    return Verdict.LIMITED if Status.LIMITS in seen else Verdict.FIT


def command(text: str) -> Fix:
    return Fix(FixKind.COMMAND, text)


def file_line(path: str, line: str) -> Fix:
    return Fix(FixKind.FILE, f"{path}: {line}")


def unit(text: str) -> Fix:
    return Fix(FixKind.UNIT, text)


def boot(text: str) -> Fix:
    return Fix(FixKind.BOOT, text)


def container(text: str) -> Fix:
    return Fix(FixKind.CONTAINER, text)


def hint(text: str) -> Fix:
    return Fix(FixKind.HINT, text)


def sysctl(key: str, value: int | str) -> tuple[Fix, Fix]:
    """Return the fixes for now, and for after the next start."""
    return (
        command(f"sudo sysctl -w {key}={value}"),
        file_line("/etc/sysctl.d/90-shmring.conf", f"{key} = {value}"),
    )


def write_to(path: str, value: int | str) -> Fix:
    """Return the fix that writes a value into a file of /proc or /sys."""
    return command(f"echo {value} | sudo tee {path}")
