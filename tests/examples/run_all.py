"""Run scripts one after the other, as ``hpcq exec`` would run each: ``run_all.py PATH...``."""

from __future__ import annotations

import runpy
import sys


def main() -> None:
    for path in sys.argv[1:]:
        print(f"# {path}")
        sys.argv = [path]
        runpy.run_path(path, run_name="__main__")


if __name__ == "__main__":
    main()
