"""The alert rules: one per trouble, and promtool accepts them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rtstat.alerts import rules
from rtstat.metric_table import FAMILIES
from rtstat.troubles import RULES

KEY = re.compile(r"^( *)(?:- )?(\w+): ?(.*)$")


def test_there_is_one_for_each_trouble() -> None:
    asked = re.findall(r'shmring_trouble\{name=\\"(\w+)\\"\}', rules())
    assert asked == [rule.name for rule in RULES]
    assert "absent(shmring_verdict)" in rules()


def test_each_metric_and_label_exists() -> None:
    labels = {family.name: family.labels for family in FAMILIES}
    for name in re.findall(r"\bshmring_\w+", "\n".join(re.findall("expr: .*", rules()))):
        assert name in labels
    used = set(re.findall(r"\$labels\.(\w+)", rules()))
    assert used <= {*labels["shmring_trouble"], "instance"}


def test_each_line_is_a_key_with_a_value() -> None:
    """A YAML parser is no dependency of the tests. The file uses little of the language."""
    for line in rules().splitlines()[1:]:
        found = KEY.match(line)
        assert found is not None, line
        assert len(found[1]) % 2 == 0


@pytest.mark.program("promtool")
def test_promtool_accepts_them(tmp_path: Path) -> None:
    path = tmp_path / "shmring-alerts.yml"
    command = [sys.executable, "-m", "rtstat.alerts"]
    path.write_bytes(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    done = subprocess.run(
        ["promtool", "check", "rules", str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(RULES) + 1} rules found" in done.stdout
