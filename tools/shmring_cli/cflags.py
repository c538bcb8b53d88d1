"""Print what a C or C++ compiler needs to build a program with libshmring.

The library, its header shmring.h and a pkg-config file are part of this package, so they
always fit its workers. The program will look for the library where it is installed now.

examples:
  cc -o sender sender.c $(shmring cflags)             compile and link
  PKG_CONFIG_PATH=$(shmring cflags --pkgconfig)       for builds that ask pkg-config for "shmring"
  shmring cflags --json                               the folders
"""

from __future__ import annotations

import argparse
import importlib.resources
import shlex
from pathlib import Path

from shmring_cli import options
from shmring_cli.common import FINE
from shmring_cli.output import json_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--pkgconfig", action="store_true", help="print the folder of shmring.pc")
    options.add_json(which)


def folders() -> tuple[Path, Path]:
    """Return where the header and the library are."""
    package = importlib.resources.files("shmring")
    return Path(str(package / "include")), Path(str(package / "lib"))


def run(arguments: argparse.Namespace) -> int:
    include, lib = folders()
    if arguments.json:
        json_line({"include": str(include), "lib": str(lib), "pkgconfig": str(lib / "pkgconfig")})
    elif arguments.pkgconfig:
        print(lib / "pkgconfig")
    else:
        flags = [f"-I{include}", f"-L{lib}", f"-Wl,-rpath,{lib}", "-lshmring"]
        print(shlex.join(flags))
    return FINE
