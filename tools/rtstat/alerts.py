"""Alert rules for Prometheus, one per trouble: ``python -m rtstat.alerts > shmring-alerts.yml``."""

from __future__ import annotations

from importlib.resources import files

if __name__ == "__main__":
    print((files("rtstat") / "alerts.yml").read_text("utf-8"), end="")
