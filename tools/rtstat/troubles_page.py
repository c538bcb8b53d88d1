"""The rules of `rtstat.troubles` as a Markdown table.

It is the section "The troubles" of docs/howto/troubles.md. `make schema` writes it there.
"""

from __future__ import annotations

from rtstat.troubles import RULES


def page() -> str:
    """Return the table, the worst trouble first."""
    lines = ["| name | severity | figure | when |", "|---|---|---|---|"]
    for rule in sorted(RULES, key=lambda rule: rule.severity):  # broken before troubled
        when = f"{rule.meaning} (interval)" if rule.grows else rule.meaning
        lines.append(f"| `{rule.name}` | {rule.severity} | {rule.unit} | {when} |")
    return "\n".join(lines) + "\n"
