"""How a result came about: where, with what, and how long each phase took."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hpcq.version import versions

if TYPE_CHECKING:
    from hpcq.farm.serial import Farm

_SLURM = (
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
    "SLURM_JOB_NAME",
    "SLURM_JOB_NODELIST",
    "SLURM_CLUSTER_NAME",
)


def provenance_of(farm: Farm, where: Sequence[str], laps: Laps) -> dict[str, Any]:
    """Return a run's provenance.

    Args:
        farm: The ranks.
        where: Each rank's host and engine, as words.
        laps: The phases.
    """
    return {
        "hosts": sorted({name.split()[0] for name in where}),
        "devices": [name.split(maxsplit=1)[1] for name in where],
        "ranks": farm.size,
        "seconds": laps.seconds,
        "versions": versions(),
        "slurm": {name: os.environ[name] for name in _SLURM if name in os.environ},
    }


class Laps:
    """Seconds of each phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def end(self, phase: str) -> None:
        """End a phase; the next one begins."""
        now = time.perf_counter()
        self.seconds[phase] = round(now - self._last, 6)
        self._last = now
