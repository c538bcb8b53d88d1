"""`NetfluxSender` under the name the original has it in.

One file, installed twice: in the package, and as a module of its own.
"""

from netflux._sender import NetfluxSender, SenderStats

__all__ = ["NetfluxSender", "SenderStats"]
