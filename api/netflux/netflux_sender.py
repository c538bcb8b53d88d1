"""`NetfluxSender` under the module name of the original.

This file is installed twice: in the package, and as a top-level module.
"""

from netflux._sender import NetfluxSender, SenderStats

__all__ = ["NetfluxSender", "SenderStats"]
