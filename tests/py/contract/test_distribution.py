"""What the installed distribution contains, and what it says about itself."""

from __future__ import annotations

import json
import os
import re
import stat
from importlib import metadata
from pathlib import Path

import pytest
from needs import require_module

DISTRIBUTION = metadata.distribution("shmring")
CORE = ["cffi", "posix-ipc", "psutil"]


def files(pattern: str) -> list[Path]:
    return [
        Path(str(file.locate()))
        for file in DISTRIBUTION.files or []
        if re.search(pattern, str(file))
    ]


def requirement_name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0].replace("_", "-")


def test_the_core_requires_three_packages() -> None:
    required = [r for r in DISTRIBUTION.requires or [] if "extra ==" not in r]
    assert sorted(map(requirement_name, required)) == CORE


def test_the_programs_can_be_executed() -> None:
    programs = files(r"rtworkers/bin/shmring-")
    assert {program.name for program in programs} == {"shmring-worker", "shmring-floor"}
    for program in programs:
        assert stat.S_IMODE(program.stat().st_mode) & 0o755 == 0o755


def test_all_files_of_the_record_exist() -> None:
    missing = [file for file in DISTRIBUTION.files or [] if not Path(str(file.locate())).exists()]
    assert [file for file in missing if file.suffix != ".pyc"] == []


def test_compiled_modules_serve_all_pythons() -> None:
    modules = files(r"/_(hot|ring|proto|core)\.")
    assert len([module for module in modules if module.name.endswith(".abi3.so")]) == 4


def test_the_distribution_is_small() -> None:
    size = sum(
        os.path.getsize(str(file.locate()))
        for file in DISTRIBUTION.files or []
        if file.suffix != ".pyc"
    )
    assert size < 6_000_000, "the wheel, which is compressed, is to stay below 2 MB"


def test_manual_pages_are_installed() -> None:
    names = {page.name for page in files(r"share/man/man1/")}
    assert {"shmring.1", "shmring-up.1", "rtstat.1"} <= names


def sbom() -> str:
    (file,) = files(r"dist-info/sboms/shmring\.cdx\.json$")
    return file.read_text()


def test_the_sbom_names_what_is_required() -> None:
    bom = json.loads(sbom())
    assert bom["metadata"]["component"]["version"] == DISTRIBUTION.version
    assert sorted(component["name"] for component in bom["components"]) == CORE


@pytest.mark.check
def test_the_sbom_is_valid() -> None:
    validation = require_module("cyclonedx.validation.json")
    schema = require_module("cyclonedx.schema")
    validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_6)
    assert validator.validate_str(sbom()) is None


def test_entry_points() -> None:
    points = {(point.group, point.name) for point in DISTRIBUTION.entry_points}
    assert points == {
        ("console_scripts", "shmring"),
        ("console_scripts", "rtstat"),
        ("pytest11", "shmring"),
    }
