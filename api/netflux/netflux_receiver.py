"""`NetfluxReceiver` under the module name of the original.

This file is installed twice: in the package, and as a top-level module.
"""

from netflux._receiver import NetfluxReceiver, ReceiverStats

__all__ = ["NetfluxReceiver", "ReceiverStats"]
