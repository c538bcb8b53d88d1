"""The alert rules: one per trouble, and promtool accepts them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rtstat.metric_table import FAMILIES
from rtstat.troubles import RULES

KEY = re.compile(r"^( *)(?:- )?(\w+): ?(.*)$")
WAIT = {"broken": "15s", "troubled": "1m"}
"""What grows stays in the list for a minute. What stands must stand this long."""
LEVELS = {"broken": "critical", "troubled": "warning"}


@pytest.fixture(scope="module")
def alerts() -> str:
    command = [sys.executable, "-m", "rtstat.alerts"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_there_is_one_for_each_trouble(alerts: str) -> None:
    *found, watched = alerts.split("- alert: ")[1:]
    assert "absent(shmring_verdict)" in watched
    for alert, rule in zip(found, RULES, strict=True):
        assert alert.startswith("Shmring" + rule.name.title().replace("_", ""))
        wait = "0s" if rule.grows else WAIT[rule.severity]
        figure = f"{{{{ $value }}}} {rule.unit}. " if rule.unit else "What to do"
        for words in (
            f'shmring_trouble{{name=\\"{rule.name}\\"}}',
            f"for: {wait}\n",
            f"severity: {LEVELS[rule.severity]}",
            f": {rule.meaning}",
            f'description: "{figure}',
        ):
            assert words in alert


def test_each_metric_and_label_exists(alerts: str) -> None:
    labels = {family.name: family.labels for family in FAMILIES}
    for name in re.findall(r"\bshmring_\w+", "\n".join(re.findall("expr: .*", alerts))):
        assert name in labels
    used = set(re.findall(r"\$labels\.(\w+)", alerts))
    assert used <= {*labels["shmring_trouble"], "instance"}


def test_each_line_is_a_key_with_a_value(alerts: str) -> None:
    """A YAML parser is no dependency of the tests. The file uses little of the language."""
    for line in alerts.splitlines()[1:]:
        found = KEY.match(line)
        assert found is not None, line
        assert len(found[1]) % 2 == 0


@pytest.mark.program("promtool")
def test_promtool_accepts_them(alerts: str, tmp_path: Path) -> None:
    path = tmp_path / "shmring-alerts.yml"
    path.write_text(alerts)
    done = subprocess.run(
        ["promtool", "check", "rules", str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(RULES) + 1} rules found" in done.stdout
