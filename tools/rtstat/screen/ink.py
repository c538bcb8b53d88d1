"""The colours of the screen. Each ink is readable on each ground: a contrast of 4.5:1 or more.

No alarm is said by its colour alone: a sign or a word says it, too.
"""

from __future__ import annotations

TEXT = "#eeeeee"
DIM = "#b8b8b8"
GOOD = "#8fdc8f"
WARN = "#ffd166"
BAD = "#ffa3a3"
INKS = (TEXT, DIM, GOOD, WARN, BAD)

GROUND = "#1b1b1b"
TITLE = "#0b3d66"
MARK = "#1f4468"
MARK_AWAY = "#3a3a3a"
HEAD = "#2b3440"
GROUNDS = (GROUND, TITLE, MARK, MARK_AWAY, HEAD)
