"""Files for packagers and services: they parse, and say what pyproject.toml says."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import needs
import pytest

CAPABILITIES = {"SYS_NICE", "IPC_LOCK", "NET_ADMIN"}


@pytest.fixture
def project(checkout: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((checkout / "pyproject.toml").read_text())
    return found


def packaging(checkout: Path, name: str) -> str:
    return (checkout / "docs" / "packaging" / name).read_text()


def test_the_recipe_requires_what_the_package_requires(
    checkout: Path, project: dict[str, Any]
) -> None:
    recipe = packaging(checkout, "recipe.yaml")
    assert f'version: "{project["project"]["version"]}"' in recipe
    run = recipe.partition("  run:\n")[2].partition("\n\n")[0]
    listed = {line.removeprefix("    - ").replace(" ", "") for line in run.splitlines()}
    expected = {
        *project["project"]["dependencies"],
        f"python{project['project']['requires-python']}",
    }
    assert listed == expected
    for name, target in project["project"]["scripts"].items():
        assert f"- {name} = {target}\n" in recipe


def test_unit_and_compose_give_the_capabilities_of_the_workers(checkout: Path) -> None:
    unit = packaging(checkout, "shmring@.service")
    (ambient,) = re.findall(r"^AmbientCapabilities=(.*)$", unit, re.MULTILINE)
    assert {name.removeprefix("CAP_") for name in ambient.split()} == CAPABILITIES
    (added,) = re.findall(r"cap_add: \[(.*)\]", packaging(checkout, "compose.yaml"))
    assert set(added.split(", ")) == CAPABILITIES


def test_the_container_file_has_known_instructions(checkout: Path) -> None:
    text = packaging(checkout, "Containerfile").replace("\\\n", " ")
    instructions = [line.split()[0] for line in text.splitlines() if line and line[0] != "#"]
    assert instructions[0] == "FROM"
    known = {"FROM", "COPY", "RUN", "ENV", "USER", "VOLUME", "STOPSIGNAL", "ENTRYPOINT", "CMD"}
    assert set(instructions) == known
    for form in re.findall(r"^(?:ENTRYPOINT|CMD) (.*)$", text, re.MULTILINE):
        assert all(isinstance(word, str) for word in json.loads(form))


def test_a_forge_builds_the_wheels_that_make_builds(
    checkout: Path, project: dict[str, Any]
) -> None:
    built = set(
        re.findall(
            r'"((?:many|musl)linux_\w+)_(?:x86_64|aarch64)": "',
            (checkout / "csrc" / "wheels" / "build.py").read_text(),
        )
    )
    settings = project["tool"]["cibuildwheel"]
    assert {value for key, value in settings.items() if key.endswith("-image")} == built
    workflow = (checkout / ".github" / "workflows" / "wheels.yml").read_text()
    assert set(re.findall(r"archs: (\w+)\}", workflow)) == {"x86_64", "aarch64"}


def test_a_forge_runs_the_actions_of_a_commit_not_of_a_tag(checkout: Path) -> None:
    for workflow in (checkout / ".github" / "workflows").glob("*.yml"):
        for action in re.findall(r"uses: (\S+)", workflow.read_text()):
            assert re.fullmatch(r"\./.*|[\w.-]+/[\w.-]+@[0-9a-f]{40}", action), action


@pytest.mark.check
@pytest.mark.parametrize(
    "name",
    [
        "docs/packaging/compose.yaml",
        "docs/packaging/recipe.yaml",
        ".github/workflows/release.yml",
        ".github/workflows/wheels.yml",
    ],
)
def test_yaml_files_parse(checkout: Path, name: str) -> None:
    yaml = needs.require_module("yaml")  # it comes with the extra docs
    assert isinstance(yaml.safe_load((checkout / name).read_text()), dict)
