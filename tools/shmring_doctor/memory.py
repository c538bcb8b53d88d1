"""Memory: the space for rings in /dev/shm, and other limits on it."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass

from rtworkers import paths
from shmring_doctor.finding import (
    Check,
    Finding,
    command,
    container,
    file_line,
    hint,
    sysctl,
    unit,
    write_to,
)
from shmring_doctor.host import Host

SHM = Check(
    "memory.shm",
    "/dev/shm",
    "Rings are there: a channel takes some megabytes, reserved when it opens. Containers have "
    "64 MB by default.",
)
GROUP = Check(
    "memory.cgroup",
    "memory limit",
    "Rings count for the group that fills them. Above its limit the kernel kills its processes.",
)
SWAP = Check(
    "memory.swap",
    "swap",
    "Workers lock their memory; rings and Python processes may be swapped out, and then wait for "
    "a disk.",
)
CHECKS = (SHM, GROUP, SWAP)

MIB = 1 << 20
SHM_ENOUGH = 256 * MIB
SHM_LEAST = 16 * MIB
LIMIT_ENOUGH = 512 * MIB
SWAPPINESS_MOST = 10
# cgroup version 1 writes a number near 2^63 for "no limit".
_NO_LIMIT = 1 << 60
_SHM = str(paths.SHM_DIRECTORY)


@dataclass(frozen=True, slots=True)
class Facts:
    """Sizes in bytes. None: there is none, or it is hidden."""

    shm_bytes: int | None = None
    shm_free_bytes: int | None = None
    shm_kind: str | None = None
    """Its file system type: tmpfs."""
    limit_file: str | None = None
    limit_bytes: int | None = None
    used_bytes: int | None = None
    swap_bytes: int | None = None
    swappiness: int | None = None


def gather(host: Host) -> Facts:
    """Ask the file system, and read the limits."""
    size: int | None = None
    free: int | None = None
    with contextlib.suppress(OSError):
        shm = os.statvfs(host.path(_SHM))
        size, free = shm.f_blocks * shm.f_frsize, shm.f_bavail * shm.f_frsize
    version_one, unified = host.cgroup_path("memory"), host.cgroup_path("")
    file, limit, used = None, None, None
    for name, current in (
        (f"{version_one}/memory.limit_in_bytes", f"{version_one}/memory.usage_in_bytes"),
        (f"{unified}/memory.max", f"{unified}/memory.current"),
    ):
        number = host.number(name)
        if number is not None and number < _NO_LIMIT:
            file, limit, used = name, number, host.number(current)
    swap = host.fields("/proc/meminfo").get("SwapTotal", "")
    return Facts(
        shm_bytes=size,
        shm_free_bytes=free,
        shm_kind=_kind(host),
        limit_file=file,
        limit_bytes=limit,
        used_bytes=used,
        swap_bytes=int(swap.split()[0]) * 1024 if re.match(r"\d+ kB", swap) else None,
        swappiness=host.number("/proc/sys/vm/swappiness"),
    )


def _kind(host: Host) -> str | None:
    kind = None
    for line in (host.read("/proc/self/mounts") or "").splitlines():
        words = line.split()
        if len(words) > 2 and words[1] == _SHM:
            kind = words[2]
    return kind


def judge(facts: Facts) -> list[Finding]:
    """All findings of this room."""
    return [_shm(facts), _group(facts), _swap(facts)]


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 10 << 30 else f"{count / MIB:.0f} MiB"


def _shm(facts: Facts) -> Finding:
    fixes = (
        command(f"sudo mount -o remount,size=1g {_SHM}"),
        file_line("/etc/fstab", f"tmpfs {_SHM} tmpfs defaults,size=1g 0 0"),
        container("--shm-size=1g"),
    )
    if facts.shm_bytes is None or facts.shm_free_bytes is None:
        return SHM.unfit(
            "there is none",
            command(f"sudo mount -t tmpfs -o mode=1777,size=1g tmpfs {_SHM}"),
            container("--shm-size=1g"),
        )
    text = f"{_size(facts.shm_free_bytes)} free of {_size(facts.shm_bytes)}"
    check = SHM.about({"size_bytes": facts.shm_bytes, "free_bytes": facts.shm_free_bytes})
    if facts.shm_kind not in (None, "tmpfs", "ramfs"):
        return check.limits(
            f"{text}, on {facts.shm_kind}: rings would be written to a disk", *fixes
        )
    if facts.shm_free_bytes >= SHM_ENOUGH:
        return check.ok(text)
    # A large file system that is full need not grow.
    first = (command("shmring gc"),) if facts.shm_bytes >= SHM_ENOUGH else ()
    if facts.shm_free_bytes >= SHM_LEAST:
        return check.limits(text, *first, *fixes)
    return check.unfit(text, *first, *fixes)


def _group(facts: Facts) -> Finding:
    if facts.limit_bytes is None:
        return GROUP.about({"limit_bytes": None}).ok("none visible")
    free = facts.limit_bytes - (facts.used_bytes or 0)
    check = GROUP.about({"limit_bytes": facts.limit_bytes, "used_bytes": facts.used_bytes})
    text = f"{_size(facts.limit_bytes)}, {_size(max(0, free))} of it free ({facts.limit_file})"
    if free >= LIMIT_ENOUGH:
        return check.ok(text)
    version_two = (facts.limit_file or "").endswith("memory.max")
    return check.limits(
        text,
        write_to(facts.limit_file or "", "max" if version_two else -1),
        unit("MemoryMax=infinity"),
        container("--memory=2g"),
    )


def _swap(facts: Facts) -> Finding:
    if facts.swap_bytes is None:
        return SWAP.hidden("/proc/meminfo cannot be read")
    check = SWAP.about({"swap_bytes": facts.swap_bytes, "swappiness": facts.swappiness})
    if facts.swap_bytes == 0:
        return check.ok("none")
    text = f"{_size(facts.swap_bytes)}, swappiness {facts.swappiness}"
    if facts.swappiness is not None and facts.swappiness <= SWAPPINESS_MOST:
        return check.ok(text)
    return check.limits(
        text,
        *sysctl("vm.swappiness", SWAPPINESS_MOST),
        command("sudo swapoff -a"),
        unit("MemorySwapMax=0"),
        hint("or keep it: the kernel only swaps out memory that was not used for long"),
    )
