"""`NetfluxStatisticsTracker` under the module name of the original.

This file is installed twice: in the package, and as a top-level module.
"""

from netflux._tracker import NetfluxStatistics, NetfluxStatisticsTracker

__all__ = ["NetfluxStatistics", "NetfluxStatisticsTracker"]
