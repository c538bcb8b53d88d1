"""rtstat: what every pool, worker and channel of this host does, read without disturbing them.

    from rtstat.snapshot import Watch

`rtstat.snapshot` describes how to read the values, `rtstat.table` which values exist.
"""
