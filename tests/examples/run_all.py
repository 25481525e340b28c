"""Run examples one after the other, as ``hpcq exec`` would run each: ``run_all.py PATH...``."""

from __future__ import annotations

import runpy
import sys

for path in sys.argv[1:]:
    print(f"# {path}")
    sys.argv = [path]
    runpy.run_path(path, run_name="__main__")
