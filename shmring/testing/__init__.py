"""Helpers for tests of programs that use shmring: partners, networks, virtual time.

`shmring.testing.plc`: simulated Netflux partners. `Link`: one direction of an impaired path.
`Exchange`: two ends, two links and a virtual clock. `shmring.testing.captures`: captures made in
memory.

pytest users do not need these names: see the fixtures of `shmring.pytest_plugin`.
"""

from .exchange import Datagram, End, Exchange
from .link import NEVER_NS, Address, Link

__all__ = ["NEVER_NS", "Address", "Datagram", "End", "Exchange", "Link"]
