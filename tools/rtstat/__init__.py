"""rtstat: what every pool, worker and channel of this host is doing, read without disturbing any.

    from rtstat.snapshot import Watch

`rtstat.snapshot` says how to look, `rtstat.table` what there is to see.
"""
