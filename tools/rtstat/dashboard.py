"""The dashboard for Grafana: ``python -m rtstat.dashboard > dashboard.json``."""

from __future__ import annotations

from importlib.resources import files

if __name__ == "__main__":
    print((files("rtstat") / "dashboard.json").read_text("utf-8"), end="")
