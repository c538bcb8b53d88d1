"""The installed package: whether the drop-ins are still those of shmring."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from shmring import drop_ins
from shmring_doctor.finding import Check, Finding, command

DROP_INS = Check(
    "installation.drop_ins",
    "drop-ins",
    "An original that is installed into the same environment replaces files of the drop-in, or "
    "puts compiled modules beside them, and pip does not say so. Programs then run on the "
    "original, or on a mixture.",
)
CHECKS = (DROP_INS,)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the folder of the installed packages contains beside or instead of our files."""

    originals: dict[str, list[str]]
    changes: dict[str, list[str]]


def gather(folder: Path | None = None) -> Facts:
    """Compare the drop-ins in `folder` (default: where shmring is) with shmring's own list."""
    spec = importlib.util.find_spec("shmring")
    if folder is None and spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent.parent
    if folder is None:
        return Facts({}, {})
    changes = {name: drop_ins.changes(name, folder) for name in drop_ins.DROP_INS}
    originals = {name: drop_ins.originals(name, folder) for name in drop_ins.DROP_INS}
    return Facts(originals, {name: found for name, found in changes.items() if found})


def judge(facts: Facts) -> list[Finding]:
    """One finding per changed drop-in, or one for all of them."""
    if not facts.changes:
        return [DROP_INS.about().ok("all files are those of shmring")]
    return [_changed(name, facts) for name in facts.changes]


def _changed(name: str, facts: Facts) -> Finding:
    found = facts.changes[name]
    by = ", ".join(facts.originals.get(name, ())) or "another installation"
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    check = DROP_INS.about({"files": found}, subject=name)
    return check.limits(f"changed by {by}: {found[0]}{more}", command(drop_ins.fix(name)))
