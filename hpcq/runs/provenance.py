"""How a result came about: where, with what, how long each phase took, and what that cost."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.version import versions

if TYPE_CHECKING:
    from hpcq.parallel.ledger import Ledger
    from hpcq.parallel.serial import Farm
    from hpcq.results.result import Result

_SLURM = (
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
    "SLURM_JOB_NAME",
    "SLURM_JOB_NODELIST",
    "SLURM_CLUSTER_NAME",
)


class PhaseTimer:
    """Seconds of each phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def end(self, phase: str) -> None:
        """End a phase, or a part of it; the next one begins."""
        now = time.perf_counter()
        self.seconds[phase] = round(self.seconds.get(phase, 0.0) + now - self._last, 6)
        self._last = now


class RunAccounting:
    """What a run costs, in all the times that it was started.

    Args:
        farm: The ranks.
        where: Each rank's host and engine, as words.
        threads: Cores that each rank takes.
        timer: The phases so far.
        ledger: What the ranks did.
        previous: What an earlier start left; None if there was none.
    """

    def __init__(
        self,
        farm: Farm,
        where: Sequence[str],
        threads: int,
        timer: PhaseTimer,
        ledger: Ledger,
        previous: Result | None = None,
    ) -> None:
        self._farm, self._where, self._threads = farm, where, threads
        self._laps, self._ledger = timer, ledger
        self._before: list[dict[str, Any]] = []
        self._timelines: tuple[NDArray[np.float64], ...] = ()
        if previous is not None and previous.details is not None:
            self._before = list(previous.provenance.get("starts", []))
            self._timelines = previous.details.timelines

    def end(self, phase: str) -> None:
        """End a phase, or a part of it."""
        self._laps.end(phase)

    def provenance(self) -> dict[str, Any]:
        """Return everything as plain values."""
        starts = [*self._before, self._start()]
        return {
            "hosts": sorted({name.split()[0] for name in self._where}),
            "devices": [name.split(maxsplit=1)[1] for name in self._where],
            "ranks": self._farm.size,
            "seconds": dict(self._laps.seconds),
            "versions": versions(),
            "slurm": {name: os.environ[name] for name in _SLURM if name in os.environ},
            "account": _total(starts),
            "starts": starts,
        }

    def timelines(self) -> tuple[NDArray[np.float64], ...]:
        """Return what ranks did and when, for every start."""
        own = self._ledger.table()
        return (*self._timelines, own) if len(own) else self._timelines

    def _start(self) -> dict[str, Any]:
        """Return what this start cost."""
        seconds = sum(self._laps.seconds.values())
        ranks = self._farm.size
        gpus = sum("gpu" in name.split(maxsplit=1)[1] for name in self._where)
        busy = sum(self._ledger.busy.values())
        return {
            "ranks": ranks,
            "seconds": dict(self._laps.seconds),
            "rank_seconds": {k: round(v * ranks, 6) for k, v in self._laps.seconds.items()},
            "core_seconds": round(seconds * ranks * self._threads, 6),
            "gpu_seconds": round(seconds * gpus, 6),
            "busy_seconds": round(busy, 6),
            "idle_seconds": round(max(0.0, seconds * ranks - busy), 6),
            "subcircuit_seconds": {
                str(k): round(v, 6) for k, v in sorted(self._ledger.by_owner.items())
            },
        }


def _total(starts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up what all starts cost."""
    total: dict[str, Any] = {}
    for start in starts:
        for name, value in start.items():
            if isinstance(value, Mapping):
                own = total.setdefault(name, {})
                for key, seconds in value.items():
                    own[key] = round(own.get(key, 0.0) + seconds, 6)
            elif name != "ranks":
                total[name] = round(total.get(name, 0.0) + value, 6)
    return total
