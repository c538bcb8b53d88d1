"""Cross-compiles the wheels of a release: `make wheels`.

    python csrc/wheels/build.py SDIST FOLDER [TARGET...]

For each target: the wheel of shmring, and that of librtpsynth (librtpsynth.py). Each wheel is
built from the source archive alone, with zig's C compiler and its C libraries (the
packages "ziglang", "build", "scikit-build-core" and "cffi" are installed). A target is the platform
tag of a wheel. The compiled modules use the limited API, so one wheel serves all Pythons from 3.11
on, and the headers of this machine's Python serve all targets. CPython 3.14 without its lock has no
limited API and gets a wheel of its own.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

import librtpsynth

TARGETS = {
    "manylinux_2_28_x86_64": "x86_64-linux-gnu.2.28",
    "manylinux_2_28_aarch64": "aarch64-linux-gnu.2.28",
    "musllinux_1_2_x86_64": "x86_64-linux-musl",
    "musllinux_1_2_aarch64": "aarch64-linux-musl",
}

DEBIAN_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
MOST_BYTES = 2_000_000
MOST_GLIBC = 28


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpack the source archive into an empty `folder`. Return the folder of the sources."""
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (sources,) = folder.iterdir()
    return sources


def python_headers(include: Path, folder: Path) -> Path:
    """Copy the headers of a Python to `folder`, without those of its C library beside them.

    Debian's pyconfig.h includes that of the processor. All targets have the sizes of this one: 64
    bits, little endian.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(include, folder)
    for own in include.parent.glob(f"*-linux-gnu/{include.name}/pyconfig.h"):
        shutil.copy(own, folder)
    return folder


def free_threaded_headers(work: Path) -> Path | None:
    """Return the headers of CPython 3.14 without its lock: those of a `python3.14t`, else Debian's.

    Debian has only the ones with the lock, which differ in one definition: Py_GIL_DISABLED.
    """
    if python := shutil.which("python3.14t"):
        ask = "import sysconfig; print(sysconfig.get_path('include'))"
        done = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True)
        return Path(done.stdout.strip())
    system = Path("/etc/apt/sources.list.d/debian.sources")
    found = re.search(r"^URIs: (\S+)", system.read_text(), re.M) if system.is_file() else None
    if found is None:
        return None
    shutil.rmtree(work, ignore_errors=True)
    (work / "lists" / "partial").mkdir(parents=True)
    source = f"deb [arch=amd64 signed-by={DEBIAN_KEYS}] {found[1]} sid main\n"
    (work / "sid.list").write_text(source)
    apt = ["apt-get", "-qq", "-oAPT::Sandbox::User=root", "-oDir::Etc::SourceParts=-"]
    apt += [f"-oDir::State::lists={work / 'lists'}", f"-oDir::Etc::SourceList={work / 'sid.list'}"]
    for words in (["update"], ["download", "libpython3.14-dev:amd64"]):
        if subprocess.run([*apt, *words], cwd=work, check=False).returncode != 0:
            return None
    (package,) = work.glob("*.deb")
    subprocess.run(["dpkg", "-x", str(package), str(work / "root")], check=True)
    return work / "root" / "usr" / "include" / "python3.14"


class Headers(NamedTuple):
    """The headers of Python that wheels are built with."""

    limited: Path
    free_threaded: Path | None


def zig() -> Path:
    """Return zig's program."""
    import ziglang

    return Path(ziglang.__file__).parent / "zig"


def build(target: str, sources: Path, folder: Path, work: Path, headers: Headers) -> None:
    """Build the wheels of one target into `folder`."""
    defines = {
        "CMAKE_TOOLCHAIN_FILE": str(sources / "csrc" / "cmake" / "zig.cmake"),
        "RT_TARGET": TARGETS[target],
        "RT_ZIG": str(zig()),
    }
    library = work / f"{target}-librtpsynth"
    shutil.rmtree(library, ignore_errors=True)
    librtpsynth.build(folder, library, target, defines, sources)
    settings = {"wheel.tags": f"cp311-abi3-{target}"}
    limited = {"Python_INCLUDE_DIR": str(headers.limited)}
    build_wheel(sources, folder, work / f"{target}.log", settings, defines | limited)
    if headers.free_threaded is not None:
        settings = {"wheel.tags": f"cp314-cp314t-{target}", "wheel.py-api": ""}
        own = {"RT_PYTHON_HEADERS": str(headers.free_threaded)}
        own["RT_PYTHON_TAG"] = f"cpython-314t-{TARGETS[target].partition('.')[0]}"
        build_wheel(sources, folder, work / f"{target}-314t.log", settings, defines | own)


def build_wheel(
    sources: Path, folder: Path, log: Path, settings: Mapping[str, str], defines: Mapping[str, str]
) -> None:
    """Build a wheel into `folder`.

    Nothing of an earlier build is used: the files of an archive may be older than its objects.
    """
    shutil.rmtree(log.with_suffix(""), ignore_errors=True)
    settings = {
        "build-dir": str(log.with_suffix("")),
        "install.strip": "false",
        **settings,
        **{f"cmake.define.{name}": value for name, value in defines.items()},
    }
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(folder)]
    command += [f"-C{name}={value}" for name, value in settings.items()]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CMAKE_")}
    with log.open("w") as output:
        done = subprocess.run(
            [*command, str(sources)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        )
    if done.returncode != 0:
        sys.exit(f"{log.stem}: the build failed:\n{log.read_text()[-4000:]}")


def audit(wheel: Path) -> str:
    """Return what is wrong with a wheel, or an empty text."""
    if wheel.stat().st_size >= MOST_BYTES:
        return f"{wheel.stat().st_size} bytes: the limit is {MOST_BYTES}"
    with zipfile.ZipFile(wheel) as content:
        modes = {i.filename: i.external_attr >> 16 & 0o777 for i in content.infolist()}
        if modes.get("rtworkers/bin/shmring-worker", 0o755) != 0o755:
            return f"the worker has mode {modes['rtworkers/bin/shmring-worker']:o}"
        if "musllinux" in wheel.name:
            needed = set().union(*(libraries(content, name) for name in modes if is_elf(name)))
            return "" if needed == {"libc.so"} else f"needs {sorted(needed)}"
    command = [sys.executable, "-m", "auditwheel", "show", "--json", str(wheel)]
    shown = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    found = re.fullmatch(r"manylinux_2_(\d+)_\w+", shown["overall_tag"])
    return "" if found and int(found[1]) <= MOST_GLIBC else f"auditwheel: {shown['overall_tag']}"


def is_elf(name: str) -> bool:
    return ".so" in Path(name).name or "/bin/shmring-" in name


def libraries(wheel: zipfile.ZipFile, name: str) -> set[str]:
    """Return the shared libraries that a file of a wheel needs."""
    from elftools.elf.elffile import ELFFile

    dynamic = ELFFile(io.BytesIO(wheel.read(name))).get_section_by_name(".dynamic")
    return {tag.needed for tag in dynamic.iter_tags("DT_NEEDED")}


def main(arguments: list[str]) -> None:
    sdist, folder = Path(arguments[0]), Path(arguments[1])
    work = Path("build/wheels").resolve()
    sources = unpack(sdist, work / "sources")
    limited = python_headers(Path(sysconfig.get_path("include")), work / "headers")
    found = free_threaded_headers(work / "debian")
    if found is None:
        print("no wheels for CPython 3.14t: found neither python3.14t nor Debian's headers of 3.14")
    headers = Headers(limited, found and python_headers(found, work / "headers-314t"))
    for target in arguments[2:] or TARGETS:
        build(target, sources, folder, work, headers)
    for wheel in sorted(folder.glob("*.whl")):
        wrong = audit(wheel)
        if wrong:
            sys.exit(f"{wheel}: {wrong}")
        print(f"{wheel.stat().st_size / 1e6:5.2f} MB  {wheel}")


if __name__ == "__main__":
    main(sys.argv[1:])
