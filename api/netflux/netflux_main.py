"""`NetfluxMain`, `NetfluxData` and the demo, under the name the original has them in.

One file, installed twice: in the package, and as a module of its own.
"""

from netflux._data import NetfluxData
from netflux._main import NetfluxMain, main

__all__ = ["NetfluxData", "NetfluxMain", "main"]

if __name__ == "__main__":
    main()
