"""``python -m shmring``: the `shmring` command."""

import sys

from shmring.cli import main

sys.exit(main())
