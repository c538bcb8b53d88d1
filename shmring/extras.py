"""Packages that only some features need: the extras of the distribution."""

from __future__ import annotations


def missing(module: str, extra: str, what: str) -> ImportError:
    """Return the error of a feature whose package is not installed. It names the extra."""
    return ImportError(
        f'{what} needs {module}, which is not installed: pip install "shmring[{extra}]"',
        name=module,
    )
