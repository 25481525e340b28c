"""Benchmarks are scripts: they import each other from their own folder."""

from __future__ import annotations

import sys

from tests.support.launch import ROOT

sys.path.append(str(ROOT / "benchmarks"))
