"""``python -m hpcq`` is the command ``hpcq``."""

import sys

from hpcq.cli import main

sys.exit(main())
