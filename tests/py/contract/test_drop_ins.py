"""Distributions that stand in for the originals, and an original that is installed over ours."""

from __future__ import annotations

import base64
import hashlib
import runpy
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from shmring import drop_ins
from shmring_doctor import installation
from shmring_doctor.finding import Status


def digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of packages with a small drop-in that shmring installed."""
    record = []
    for name in ("rtpsynth/__init__.py", "rtpsynth/RtpSynth.py", "rtpsynth/_core.abi3.so"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
        record.append(f"{name},sha256={digest(name.encode())},{len(name)}")
    info = tmp_path / "shmring-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shmring\nVersion: 0.1.0\n")
    (info / "RECORD").write_text("\n".join(record) + "\n")
    return tmp_path


def check(site: Path) -> None:
    drop_ins.check("rtpsynth", str(site / "rtpsynth" / "__init__.py"))


def add_original(site: Path, version: str = "1.3.3") -> None:
    (site / f"rtpsynth-{version}.dist-info").mkdir()


def test_nothing_is_said_of_our_files(site: Path) -> None:
    check(site)
    add_original(site, "1.3.3+shmring")
    check(site)
    assert drop_ins.changes("rtpsynth", site) == []


def test_an_original_that_changed_nothing_is_harmless(site: Path) -> None:
    add_original(site)
    check(site)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rtpsynth/RtpSynth.py", "is another file"),
        ("rtpsynth/_core.cpython-311-x86_64-linux-gnu.so", "is not of shmring"),
    ],
)
def test_an_original_over_or_beside_ours_is_named_at_import(
    site: Path, name: str, text: str
) -> None:
    add_original(site)
    (site / name).write_bytes(b"theirs")
    with pytest.raises(ImportError, match=r"rtpsynth 1\.3\.3 was installed over") as caught:
        check(site)
    assert f"{name} {text}" in str(caught.value)
    assert "pip uninstall -y rtpsynth" in str(caught.value)


def test_the_doctor_names_what_replaced_all_files(site: Path) -> None:
    add_original(site)
    (site / "rtpsynth" / "__init__.py").write_bytes(b"theirs")
    finding, _ = installation.judge(installation.gather(site))
    assert (finding.status, finding.subject) == (Status.LIMITS, "rtpsynth")
    assert "changed by rtpsynth 1.3.3: rtpsynth/__init__.py is another file" in finding.measured


def test_the_doctor_names_what_an_uninstallation_removed(site: Path) -> None:
    (site / "rtpsynth" / "RtpSynth.py").unlink()
    finding, _ = installation.judge(installation.gather(site))
    assert "rtpsynth/RtpSynth.py is missing" in finding.measured


def test_the_installed_drop_ins_are_whole() -> None:
    package = metadata.distribution("shmring").locate_file("")
    for name in drop_ins.DROP_INS:
        assert drop_ins.changes(name, Path(str(package))) == []


@pytest.fixture(scope="module")
def dropins(checkout: Path) -> dict[str, Any]:
    return runpy.run_path(str(checkout / "csrc" / "wheels" / "dropins.py"))


def test_there_is_a_distribution_for_each_drop_in(dropins: dict[str, Any]) -> None:
    assert set(dropins["VERSIONS"]) == set(drop_ins.DROP_INS)


@pytest.mark.check
def test_the_distributions_satisfy_who_requires_the_original(
    dropins: dict[str, Any], tmp_path: Path
) -> None:
    wheels = [dropins["write"](name, tmp_path) for name in dropins["VERSIONS"]]
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps"]
    subprocess.run([*pip, "--no-index", *map(str, wheels)], check=True, timeout=120)
    code = "from importlib.metadata import *; print(version('rtpsynth'), requires('rtudp'))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    expected = f"1.3.3+shmring ['shmring>={metadata.version('shmring')}']"
    assert done.stdout.strip() == expected
