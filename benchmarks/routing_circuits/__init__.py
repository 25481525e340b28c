"""Circuits on which methods compete: two sets, and their true expectation values.

``WORK`` is the set to develop on; ``SECOND`` has the same kinds of circuits and is only looked at.
Every circuit is made by code from a seed. ``truths.py`` finds expectation values without hpcq's
methods. Many circuits are from Qiskit's library; the package mqt.bench, which has more of the kind,
is not used, because it needs scikit-learn.
"""

from __future__ import annotations

from .entry import Entry
from .second import SECOND
from .work import WORK

SETS: dict[str, tuple[Entry, ...]] = {"work": WORK, "second": SECOND}
"""Both sets by the names that ``--set`` takes."""

__all__ = ["SECOND", "SETS", "WORK", "Entry"]
