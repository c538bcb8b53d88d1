"""What library calls print, and the switch for it."""

from __future__ import annotations

_printing = True


def set_printing(on: bool) -> None:
    """Switch what starting, stopping and failing callbacks print on (the default) or off.

    Objects with ``verbose=`` True or False do not ask. `NetfluxMain.print_status` always prints.
    """
    global _printing
    _printing = bool(on)


def say(text: str, verbose: bool | None) -> None:
    """Print a line to stdout, unless switched off. verbose: the object's own choice, if any."""
    if _printing if verbose is None else verbose:
        print(text, flush=True)
