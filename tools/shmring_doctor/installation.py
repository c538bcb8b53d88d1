"""The installed package: whether the drop-ins are still those of shmring."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from shmring import drop_ins
from shmring_doctor.finding import Check, Finding, command, hint

DROP_INS = Check(
    "installation.drop_ins",
    "drop-ins",
    "An original that is installed into the same environment replaces files of the drop-in, or "
    "puts compiled modules beside them, and pip does not say so. Programs then run on the "
    "original, or on a mixture.",
)
RTSTAT = Check(
    "installation.rtstat",
    "rtstat",
    "iproute2 has a program of this name, too. A shell takes the one that comes first in PATH.",
)
CHECKS = (DROP_INS, RTSTAT)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the folder of the installed packages contains beside or instead of our files."""

    originals: dict[str, list[str]]
    changes: dict[str, list[str]]
    rtstat: str | None = None
    """The program that a shell starts as rtstat. None: there is none in PATH."""
    scripts: str = ""
    """The folder of the commands of this environment."""


def gather(folder: Path | None = None) -> Facts:
    """Compare the drop-ins in `folder` (default: where shmring is) with shmring's own list."""
    spec = importlib.util.find_spec("shmring")
    if folder is None and spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent.parent
    if folder is None:
        return Facts({}, {})
    changes = {name: drop_ins.changes(name, folder) for name in drop_ins.DROP_INS}
    originals = {name: drop_ins.originals(name, folder) for name in drop_ins.DROP_INS}
    changes = {name: found for name, found in changes.items() if found}
    return Facts(originals, changes, shutil.which("rtstat"), sysconfig.get_path("scripts"))


def judge(facts: Facts) -> list[Finding]:
    """One finding per changed drop-in, or one for all of them, and one about rtstat."""
    changed = [_changed(name, facts) for name in facts.changes]
    return [*(changed or [DROP_INS.about().ok("all files are those of shmring")]), _rtstat(facts)]


def _rtstat(facts: Facts) -> Finding:
    if facts.rtstat is None:
        return RTSTAT.ok("not in PATH: use shmring top")
    if Path(os.path.realpath(facts.rtstat)).name != "lnstat":
        return RTSTAT.ok(f"{facts.rtstat}")
    return RTSTAT.limits(
        f"{facts.rtstat} of iproute2 comes first",
        hint("use shmring top, which is the same command"),
        command(f"export PATH={facts.scripts}:$PATH"),
    )


def _changed(name: str, facts: Facts) -> Finding:
    found = facts.changes[name]
    by = ", ".join(facts.originals.get(name, ())) or "another installation"
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    check = DROP_INS.about({"files": found}, subject=name)
    return check.limits(f"changed by {by}: {found[0]}{more}", command(drop_ins.fix(name)))
