"""The files of /proc, /sys and /boot as values. A root other than / gives a simulated machine."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable
from pathlib import Path

_HIGHEST_CPU = 65535
_CPU_LIST = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")


class Host:
    """A machine as its files describe it. A value is None if its file is missing or
    not readable."""

    def __init__(self, root: str | Path = "/") -> None:
        self.root = Path(root)

    def path(self, name: str) -> Path:
        """Return the path on this machine of the absolute path `name` of that machine."""
        return self.root / name.lstrip("/")

    def read(self, name: str) -> str | None:
        """Return the text of a file, without surrounding whitespace."""
        try:
            return self.path(name).read_text(encoding="utf-8", errors="replace").strip("\0 \n\t")
        except OSError:
            return None

    def number(self, name: str) -> int | None:
        """Return the integer in a file."""
        text = self.read(name)
        try:
            return None if text is None else int(text)
        except ValueError:
            return None

    def cpus(self, name: str) -> frozenset[int] | None:
        """Return the list of cores in a file, such as ``0-3,6``. Empty if it names none."""
        text = self.read(name)
        return None if text is None else parse_cpus(text)

    def exists(self, name: str) -> bool:
        try:
            return self.path(name).exists()
        except OSError:
            return False

    def link(self, name: str) -> str | None:
        """Return the target of a symbolic link, as it is written."""
        try:
            return str(self.path(name).readlink())
        except OSError:
            return None

    def names(self, folder: str) -> list[str]:
        """Return the sorted names in a folder. Empty if it cannot be read."""
        try:
            return sorted(entry.name for entry in self.path(folder).iterdir())
        except OSError:
            return []

    def fields(self, name: str) -> dict[str, str]:
        """Return a file of ``key: value`` lines, such as /proc/self/status."""
        pairs = (line.partition(":") for line in (self.read(name) or "").splitlines())
        return {key.strip(): value.strip() for key, colon, value in pairs if colon}

    def boot_words(self) -> dict[str, str] | None:
        """Return the kernel's command line as ``word=value``, or None if it is hidden."""
        text = self.read("/proc/cmdline")
        if text is None:
            return None
        return {word: value for word, _, value in (part.partition("=") for part in text.split())}

    def kernel_config(self) -> dict[str, str] | None:
        """Return ``CONFIG_*`` of the running kernel without that prefix, or None if it is not
        available."""
        try:
            text = gzip.decompress(self.path("/proc/config.gz").read_bytes()).decode()
        except (OSError, EOFError, zlib.error):
            release = self.read("/proc/sys/kernel/osrelease") or ""
            found = self.read(f"/boot/config-{release}")
            if found is None:
                return None
            text = found
        pairs = re.findall(r"^CONFIG_(\w+)=(.*)$", text, re.MULTILINE)
        return {name: value.strip('"') for name, value in pairs}

    def cgroup_path(self, controller: str) -> str | None:
        """Return the folder in /sys/fs/cgroup of this process's group: for version 1 by the
        controller's name, for version 2 by ``""``. None if there is no such hierarchy, or it is
        hidden."""
        for line in (self.read("/proc/self/cgroup") or "").splitlines():
            _, _, rest = line.partition(":")
            names, _, path = rest.partition(":")
            if controller not in names.split(","):
                continue
            for mounted in self._hierarchies(controller):
                folder = f"{mounted}{path.rstrip('/')}"
                # In a container the path may be that of the host, and its folder the mount itself.
                if self.exists(folder):
                    return folder
                if self.exists(mounted):
                    return mounted
        return None

    def _hierarchies(self, controller: str) -> Iterable[str]:
        for line in (self.read("/proc/self/mounts") or "").splitlines():
            words = line.split()
            if len(words) < 4:
                continue
            kind, options = words[2], words[3].split(",")
            unified = kind == "cgroup2" and controller == ""
            if unified or (kind == "cgroup" and controller and controller in options):
                yield words[1]


def parse_cpus(text: str) -> frozenset[int] | None:
    """Return ``0-3,6`` as a set, or None if it is not such a list. Sysfs writes an empty one as
    ``(null)``."""
    text = text.strip()
    if text in ("", "(null)"):
        return frozenset()
    if not _CPU_LIST.fullmatch(text):
        return None
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if int(last or first) > _HIGHEST_CPU:
            return None
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def format_cpus(cpus: Iterable[int]) -> str:
    """Return a set of cores as ``0-3,6``."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in runs)


def cores(cpus: Iterable[int]) -> str:
    """Return a set of cores in words: ``core 2``, ``cores 2-3,6``."""
    known = sorted(set(cpus))
    return f"core{'s' if len(known) > 1 else ''} {format_cpus(known)}"
