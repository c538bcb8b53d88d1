import sys

from shmring_cli import main

sys.exit(main())
