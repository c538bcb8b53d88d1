"""What tests of programs that use shmring can meet: partners, networks, virtual time.

`shmring.testing.plc`: partners of Netflux as they are in the field. `Link`: one direction of a bad
network. `Exchange`: two ends, two links and a clock of numbers.

pytest users need none of it by name: see the fixtures of `shmring.pytest_plugin`.
"""

from .exchange import Datagram, End, Exchange
from .link import NEVER_NS, Address, Link

__all__ = ["NEVER_NS", "Address", "Datagram", "End", "Exchange", "Link"]
