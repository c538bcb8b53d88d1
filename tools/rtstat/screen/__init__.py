"""The full-screen view of rtstat, on Textual (the extra ``shmring[screen]``).

rows.py      Textual's table, with rows of `rtstat.columns`
ink.py       the colours
trouble_bar.py  the troubles as the title and the lines below it
history.py   a few numbers per channel and snapshot, for the sparklines
overview.py  all workers and channels
detail.py    one channel: facts, histogram, sparklines, the engine's part
charts.py    a histogram as text, values over time
pane.py      below the channels: the marked one in short, or the latest events
text.py      text rebuilt at each snapshot: errors, and what happened
keys.py      the table of the keys
facts.py     labels with their values
help.py      keys and columns
app.py       the clock of the view, its keys, and what its screens share
"""
