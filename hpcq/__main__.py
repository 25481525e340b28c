"""``python -m hpcq`` is the command ``hpcq``."""

import sys

from hpcq.cli.main import main

sys.exit(main())
