"""What holds for every test: they run against the installed package."""

from __future__ import annotations

import os
import signal

# Processes started with -c or -m would otherwise find the sources in the current folder first,
# which hold no compiled parts.
os.environ["PYTHONSAFEPATH"] = "1"

# A shell without job control starts what it puts in the background with SIGINT ignored, and
# Python then leaves it so.
signal.signal(signal.SIGINT, signal.default_int_handler)
