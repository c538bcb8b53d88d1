"""Alert rules for Prometheus, as YAML: ``python -m rtstat.alerts > shmring-alerts.yml``.

There is one alert per trouble of `rtstat.troubles`, so the rules judge nothing themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from rtstat.troubles import RULES, Rule

_WAIT = {"broken": "15s", "troubled": "1m"}
"""A trouble that grows stays in the list for a minute. One that stands must stand this long."""
_LEVELS = {"broken": "critical", "troubled": "warning"}
_WHERE = "{{ $labels.namespace }}/{{ $labels.pool }}:{{ $labels.worker }}{{ $labels.channel }}"


def rules() -> str:
    """Return the file. Its strings are JSON, which YAML contains."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Alerts of shmring, from rtstat --serve-metrics. Made by: python -m rtstat.alerts"
    yield "groups:"
    yield "  - name: shmring"
    yield "    rules:"
    for rule in RULES:
        yield from _alert(
            _alert_name(rule.name),
            f'shmring_trouble{{name="{rule.name}"}}',
            "0s" if rule.grows else _WAIT[rule.severity],
            _LEVELS[rule.severity],
            f"{_WHERE}: {rule.meaning}",
            _description(rule),
        )
    yield from _alert(
        "ShmringNotWatched",
        "absent(shmring_verdict)",
        "5m",
        "warning",
        "no rtstat serves metrics",
        "start it: rtstat --serve-metrics 9464",
    )


def _alert_name(name: str) -> str:
    return "Shmring" + name.title().replace("_", "")


def _description(rule: Rule) -> str:
    figure = f"{{{{ $value }}}} {rule.unit}. " if rule.unit else ""
    return f"{figure}What to do: rtstat --plain, on {{{{ $labels.instance }}}}"


def _alert(
    name: str, expression: str, wait: str, level: str, summary: str, description: str
) -> Iterator[str]:
    yield f"      - alert: {name}"
    yield f"        expr: {json.dumps(expression)}"
    yield f"        for: {wait}"
    yield f"        labels: {{severity: {level}}}"
    yield "        annotations:"
    yield f"          summary: {json.dumps(summary)}"
    yield f"          description: {json.dumps(description)}"


if __name__ == "__main__":
    print(rules(), end="")
