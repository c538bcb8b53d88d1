"""Collects and checks the files of a release: `make artifacts`, after `make wheels docs dropins`.

    python csrc/wheels/artifacts.py SDIST WHEELS FOLDER

FOLDER/pypi gets the source archive and the wheels, which are all that is uploaded. FOLDER gets the
list of parts (SBOM) and the site, and SHA256SUMS with the sum of each file. The packages
"abi3audit" and "twine" are installed.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import archive

MODULES = "shmring._hot, shmring._ring, shmring._proto, rtpsynth._core"


def run(*words: str | Path) -> None:
    done = subprocess.run([*map(str, words)], check=False)
    if done.returncode != 0:
        sys.exit(f"failed: {' '.join(map(str, words))}")


def collect(sdist: Path, wheels: Path, folder: Path) -> list[Path]:
    """Copy the distributions to the empty folder `folder`. Return their paths there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return [Path(shutil.copy(path, folder)) for path in (sdist, *sorted(wheels.glob("*.whl")))]


def import_free_threaded(wheels: list[Path], folder: Path) -> None:
    """Import the compiled modules in a CPython 3.14 without its lock, if there is one."""
    machine = f"manylinux_2_28_{platform.machine()}"
    python = shutil.which("python3.14t")
    found = [wheel for wheel in wheels if wheel.name.endswith(f"cp314t-{machine}.whl")]
    if python is None or not found:
        print("CPython 3.14t: not tried here")
        return
    run(python, "-m", "venv", "--clear", folder)
    run(folder / "bin" / "pip", "install", "-q", *found)
    run(folder / "bin" / "python", "-P", "-c", f"import {MODULES}")
    print("CPython 3.14t: the compiled modules can be imported")


def extract_sbom(wheel: Path, to: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        (name,) = (n for n in content.namelist() if n.endswith(".dist-info/sboms/shmring.cdx.json"))
        to.write_bytes(content.read(name))


def pack(folder: Path, to: Path) -> None:
    with tarfile.open(to, "w:gz") as packed:
        packed.add(folder, to.name.removesuffix(".tar.gz"))


def sums(folder: Path) -> str:
    """Return the lines of SHA256SUMS."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n"
        for path in files
    )


def main(sdist: Path, wheels: Path, folder: Path) -> None:
    found = collect(sdist, wheels, folder / "pypi")
    limited = [path for path in found if "-abi3-" in path.name]
    run(sys.executable, "-m", "abi3audit", "--strict", *limited)
    run(sys.executable, "-m", "twine", "check", "--strict", *found)
    import_free_threaded(found, Path("build/wheels/venv-314t"))
    stem = f"shmring-{archive.project()['version']}"
    extract_sbom(limited[0], folder / f"{stem}.cdx.json")
    pack(Path("build/site"), folder / f"{stem}-site.tar.gz")
    (folder / "SHA256SUMS").unlink(missing_ok=True)
    (folder / "SHA256SUMS").write_text(sums(folder))
    print((folder / "SHA256SUMS").read_text(), end="")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
