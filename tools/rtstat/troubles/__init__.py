"""What is wrong: the one list of troubles that all of rtstat shows, and the verdict of the whole.

A rule gets one view, and says what grew since the previous snapshot, or what stands still. `judge`
returns the list, the worst first, and `Recent` keeps a trouble that was seen within the last
minute. Nothing else in rtstat judges.

rule.py       what a trouble is, and a rule
serving.py    rules of files, pools and workers
clients.py    rules of channels: who serves them, who opened them, who sends
sending.py    rules of sending
receiving.py  rules of receiving
engines.py    rules of RTP, UDT, Netflux, cyclic, proxy and mux channels
common.py     the words that their sentences share
judging.py    all rules in their order, and the list they make
recent.py     the troubles of the last minute

Each limit is beside its rule, with its reason.
"""

from __future__ import annotations

from rtstat.troubles.judging import RULES, concerns, in_order, judge, verdict
from rtstat.troubles.receiving import rcvbuf_holds_ns, reader_text
from rtstat.troubles.recent import RECENT_S, Recent
from rtstat.troubles.rule import Rule, Trouble, Verdict

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
    "rcvbuf_holds_ns",
    "reader_text",
    "verdict",
]
