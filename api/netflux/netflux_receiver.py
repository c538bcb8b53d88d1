"""`NetfluxReceiver` under the name the original has it in.

One file, installed twice: in the package, and as a module of its own.
"""

from netflux._receiver import NetfluxReceiver, ReceiverStats

__all__ = ["NetfluxReceiver", "ReceiverStats"]
