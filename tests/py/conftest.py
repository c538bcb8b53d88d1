"""What holds for every test: they run against the installed package."""

from __future__ import annotations

import os

# Processes started with -c or -m would otherwise find the sources in the current folder first,
# which hold no compiled parts.
os.environ["PYTHONSAFEPATH"] = "1"
