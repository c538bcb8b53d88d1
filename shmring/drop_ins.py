"""Whether the files of the drop-ins are still those of shmring.

The drop-ins have the import names of their originals. Installing an original into the same
environment replaces files of the drop-in, or puts compiled modules beside them that Python prefers,
and pip does not say so. Installing one of the distributions of `make dropins` changes no file.
"""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import NamedTuple

OURS = "+shmring"
"""The end of the version of a distribution that stands in for an original."""


class DropIn(NamedTuple):
    """What the original installs, by the names under which packages ask for it."""

    distributions: tuple[str, ...]
    modules: tuple[str, ...] = ()
    """Files outside the package."""


_FLAT = ("netflux_main", "netflux_receiver", "netflux_sender", "netflux_statistics")
DROP_INS = {
    "rtudp": DropIn(("rtudp",)),
    "udpcom": DropIn(("udpcom",)),
    "rtpsynth": DropIn(("rtpsynth",)),
    "udt4": DropIn(("udt4", "pyudt")),
    "netflux": DropIn(("netflux",), tuple(f"{name}.py" for name in _FLAT)),
}


def originals(package: str, folder: Path) -> list[str]:
    """Return the distributions ``name version`` in `folder` that bring the original."""
    found: list[str] = []
    for entry in os.listdir(folder):
        stem, _, suffix = entry.rpartition(".")
        name, _, version = stem.partition("-")
        known = name.lower() in DROP_INS[package].distributions
        if known and suffix in ("dist-info", "egg-info") and OURS not in version:
            found.append(f"{name} {version.partition('-')[0]}")
    return sorted(found)


def changes(package: str, folder: Path) -> list[str]:
    """Return what is wrong with the drop-in's files in `folder`, each with its name.

    Empty where shmring is not installed from a wheel: a checkout may be edited.
    """
    recorded = _recorded(package, folder)
    if not recorded:
        return []
    found = [
        f"{name} is {wrong}"
        for name, digest in recorded.items()
        if (wrong := _wrong(folder / name, digest))
    ]
    present = (str(path.relative_to(folder)) for path in (folder / package).rglob("*.*"))
    return found + [
        f"{name} is not of shmring"
        for name in sorted(present)
        if name.endswith((".py", ".so")) and name not in recorded
    ]


def _recorded(package: str, folder: Path) -> dict[str, str]:
    """Return the names and digests of the files that shmring installed for a drop-in.

    Read from RECORD, because since Python 3.12 ``Distribution.files`` leaves out what is missing.
    """
    import csv
    from importlib.metadata import distributions

    mine = next(iter(distributions(name="shmring", path=[str(folder)])), None)
    rows = csv.reader(((mine and mine.read_text("RECORD")) or "").splitlines())
    names = (package, *DROP_INS[package].modules)
    return {
        name: digest.removeprefix("sha256=")
        for name, digest, _ in rows
        if name.split("/")[0] in names and digest and not name.endswith(".pyc")
    }


def _wrong(path: Path, digest: str) -> str:
    try:
        found = hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return "missing"
    same = base64.urlsafe_b64encode(found).rstrip(b"=").decode() == digest
    return "" if same else "another file"


def fix(package: str) -> str:
    """Return the command that puts the drop-in back."""
    names = " ".join(DROP_INS[package].distributions)
    return f"pip uninstall -y {names} && pip install --force-reinstall --no-deps shmring"


def check(package: str, init_file: str) -> None:
    """Called when a drop-in is imported. Reads one folder if no original is installed beside it.

    Raises ImportError if an original was installed over the drop-in.
    """
    folder = Path(init_file).parent.parent
    foreign = originals(package, folder)
    if not foreign:
        return
    wrong = changes(package, folder)
    if wrong:
        raise ImportError(
            f"{', '.join(foreign)} was installed over the drop-in of shmring, and only a part of "
            f"its files is in place: {wrong[0]}{f' and {len(wrong) - 1} more' * (len(wrong) > 1)}. "
            f"Use shmring's: {fix(package)}. Programs that require the name are satisfied by the "
            "distributions of `make dropins`: shmring help install",
            name=package,
        )
