"""Comparisons of `shmring bench` with programs of other authors.

They are not installed: `shmring_bench.peers` finds this folder where the command is run in the
source tree.
"""
