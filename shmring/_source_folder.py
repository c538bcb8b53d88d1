"""Import the installed package from a checkout.

Python started in a checkout finds the source folder ``shmring/`` first, because the current folder
comes first in ``sys.path``. The compiled modules are in the installed package only.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path


def import_installed(package: str, source: str) -> None:
    """Put the installed package into `sys.modules`, in place of the one from the folder `source`.

    Raises `ImportError` if none is installed.
    """
    checkout = Path(source).resolve().parent
    elsewhere = [entry for entry in sys.path if Path(entry).resolve() != checkout]
    spec = PathFinder.find_spec(package, elsewhere)
    if spec is None or spec.loader is None:
        raise ImportError(
            f"{source} is a source folder without compiled modules, and {package} is not "
            'installed: install it ("pip install .", or "make test" for development)',
            name=package,
        )
    installed = module_from_spec(spec)
    sys.modules[package] = installed
    spec.loader.exec_module(installed)
