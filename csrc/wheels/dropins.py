"""Writes a distribution per drop-in that has its original's name and version: `make dropins`.

    python csrc/wheels/dropins.py FOLDER

Each requires shmring and contains no module, because shmring contains the drop-ins. It satisfies
programs that require the original by name, which otherwise would be installed over the drop-in.
"""

from __future__ import annotations

import base64
import hashlib
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
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
_WHEEL = """\
Wheel-Version: 1.0
Generator: shmring
Root-Is-Purelib: true
Tag: py3-none-any
"""


def write(name: str, folder: Path) -> Path:
    """Write the wheel of one drop-in."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    version = f"{VERSIONS[name]}+{LOCAL}"
    info = f"{name}-{version}.dist-info"
    metadata = _METADATA.format(
        name=name, version=version, python=project["requires-python"], shmring=project["version"]
    )
    files = {f"{info}/METADATA": metadata, f"{info}/WHEEL": _WHEEL}
    record = [f"{file},sha256={_digest(text)},{len(text)}" for file, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file, text in files.items():
            wheel.writestr(zipfile.ZipInfo(file), text)
    return path


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for each in VERSIONS:
        print(write(each, folder))
