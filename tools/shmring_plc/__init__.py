"""Records of `shmring.netflux.records` from definitions in a controller's own language.

`read_structured_text` reads text of CODESYS, `read_scl` text of STEP 7 and TIA Portal.
Needs lark (``pip install "shmring[plc]"``).
"""

from .errors import DefinitionError
from .scl import read_scl
from .structured_text import read_structured_text

__all__ = ["DefinitionError", "read_scl", "read_structured_text"]
