"""What is wrong: the one list of troubles that all of rtstat shows, and the verdict of the whole.

A rule gets one view, and says what grew since the previous snapshot, or what stands still. `judge`
returns the list, the worst first, and `Recent` keeps a trouble that was seen within the last
minute. Nothing else in rtstat judges.

rule.py     what a trouble is, and a row of the table
table.py    the table of rules, in the order of the list
words.py    what the sentences of many rules share
judging.py  the list that the rules make, now and of the last minute
"""

from __future__ import annotations

from rtstat.troubles.judging import RECENT_S, Recent, concerns, in_order, judge, verdict
from rtstat.troubles.rule import Rule, Trouble, Verdict
from rtstat.troubles.table import RULES

__all__ = [
    "RECENT_S",
    "RULES",
    "Recent",
    "Rule",
    "Trouble",
    "Verdict",
    "concerns",
    "in_order",
    "judge",
    "verdict",
]
