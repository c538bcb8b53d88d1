"""Builds the wheel shmring-librtpsynth: `make librtpsynth`.

    python csrc/wheels/librtpsynth.py FOLDER

It contains no module, but the C library of that name, shared and static, its headers and its file
for pkg-config. pip puts them into `lib` and `include` of the environment. `make wheels` builds it
for each target (build.py).
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import archive

NAME = "shmring-librtpsynth"
SONAME = "librtpsynth.so.1"

_METADATA = """\
Metadata-Version: 2.4
Name: {name}
Version: {version}
Summary: The C library librtpsynth over shmring's RTP core, with headers and a file for pkg-config
License-Expression: MIT
Requires-Python: {python}
Description-Content-Type: text/plain

The C library librtpsynth, shared and static, over the RTP core of shmring. It has no module: C
programs find it with pkg-config in the environment.
"""


def build(
    folder: Path, work: Path, platform: str, defines: Mapping[str, str], sources: Path
) -> Path:
    """Build the wheel of the tree `sources` for a platform tag. Return its path in `folder`."""
    prefix = work / "prefix"
    settings = {
        "CMAKE_BUILD_TYPE": "RelWithDebInfo",
        "CMAKE_INSTALL_LIBDIR": "lib",
        "CMAKE_INSTALL_INCLUDEDIR": "include",
        **defines,
    }
    run("-S", sources / "csrc", "-B", work, *(f"-D{name}={v}" for name, v in settings.items()))
    run("--build", work, "--target", "rtpsynth", "rtpsynth_static", "--parallel")
    run("--install", work, "--component", "rtpsynth", "--strip", "--prefix", prefix)
    project = archive.project()
    metadata = _METADATA.format(
        name=NAME, version=project["version"], python=project["requires-python"]
    )
    return archive.write(folder, metadata, f"py3-none-{platform}", contents(prefix))


def run(*arguments: str | Path) -> None:
    """Run cmake. Its output is shown if it fails."""
    done = subprocess.run(
        ["cmake", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        sys.exit(f"cmake {' '.join(map(str, arguments))} failed:\n{done.stdout[-4000:]}")


def contents(prefix: Path) -> dict[str, bytes]:
    """Return the installed files by their names in the wheel, which holds no links."""
    shared = (prefix / "lib" / SONAME).read_bytes()
    found = {f"data/lib/{name}": shared for name in ("librtpsynth.so", SONAME)}
    found["data/lib/librtpsynth.a"] = (prefix / "lib" / "librtpsynth.a").read_bytes()
    for header in sorted((prefix / "include").iterdir()):
        found[f"data/include/{header.name}"] = header.read_bytes()
    text = (prefix / "lib" / "pkgconfig" / "librtpsynth.pc").read_text("utf-8")
    # An environment may be anywhere, and the dynamic linker does not look there by itself.
    text = re.sub("^prefix=.*", "prefix=${pcfiledir}/../..", text)
    text = text.replace("-lrtpsynth", "-lrtpsynth -Wl,-rpath,${libdir}")
    found["data/lib/pkgconfig/librtpsynth.pc"] = text.encode()
    return found


if __name__ == "__main__":
    here = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    print(build(Path(sys.argv[1]), archive.ROOT / "build" / "librtpsynth", here, {}, archive.ROOT))
