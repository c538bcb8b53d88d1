"""Writes a distribution per drop-in that has its original's name and version: `make dropins`.

    python csrc/wheels/dropins.py FOLDER

Each requires shmring and contains no module, because shmring contains the drop-ins. It satisfies
programs that require the original by name, which otherwise would be installed over the drop-in.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import archive

LOCAL = "shmring"
VERSIONS = {
    "netflux": "1.0.0",
    "rtpsynth": "1.3.3",
    "rtudp": "0.1.0",
    "udpcom": "0.0.1",
    "udt4": "0.6",
}
"""The versions of the originals that the drop-ins replace."""

_METADATA = """\
Metadata-Version: 2.4
Name: {name}
Version: {version}
Summary: Stands for {name} where shmring's drop-in of that name is installed. It has no modules.
License-Expression: MIT
Requires-Python: {python}
Requires-Dist: shmring>={shmring}
"""


def write(name: str, folder: Path) -> Path:
    """Write the wheel of one drop-in."""
    project = archive.project()
    metadata = _METADATA.format(
        name=name,
        version=f"{VERSIONS[name]}+{LOCAL}",
        python=project["requires-python"],
        shmring=project["version"],
    )
    return archive.write(folder, metadata, "py3-none-any", {})


if __name__ == "__main__":
    for each in VERSIONS:
        print(write(each, Path(sys.argv[1])))
