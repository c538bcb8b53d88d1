import sys

from rtstat.cli import main

sys.exit(main())
