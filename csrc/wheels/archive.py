"""Writes a wheel from files in memory."""

from __future__ import annotations

import base64
import hashlib
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_WHEEL = """\
Wheel-Version: 1.0
Generator: shmring
Root-Is-Purelib: {pure}
Tag: {tag}
"""


def project() -> dict[str, Any]:
    """Return the table "project" of pyproject.toml."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return found


def write(folder: Path, metadata: str, tag: str, contents: Mapping[str, bytes]) -> Path:
    """Write a wheel to `folder`.

    metadata: the text of METADATA: fields with the name and the version, and below an empty line a
        description, if there is one.
    tag: "py3-none-" and the platform.
    contents: files by name. What is under "data" goes to the prefix of the environment.
    """
    fields = dict(line.split(": ", 1) for line in metadata.partition("\n\n")[0].splitlines())
    stem = f"{fields['Name'].replace('-', '_')}-{fields['Version']}"
    info = f"{stem}.dist-info"
    files = {
        name.replace("data/", f"{stem}.data/data/", 1): content
        for name, content in contents.items()
    }
    files[f"{info}/METADATA"] = metadata.encode()
    files[f"{info}/WHEEL"] = _WHEEL.format(pure=str(tag.endswith("-any")).lower(), tag=tag).encode()
    record = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    path = folder / f"{stem}-{tag}.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in files.items():
            wheel.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return path


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
