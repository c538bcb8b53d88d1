"""`NetfluxStatisticsTracker` under the name the original has it in.

One file, installed twice: in the package, and as a module of its own.
"""

from netflux._tracker import NetfluxStatistics, NetfluxStatisticsTracker

__all__ = ["NetfluxStatistics", "NetfluxStatisticsTracker"]
