"""The provenance of a result: hosts, versions, seconds of each phase, and their cost."""

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

_SLURM_VARIABLES = (
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
    "SLURM_JOB_NAME",
    "SLURM_JOB_NODELIST",
    "SLURM_CLUSTER_NAME",
)


class RunAccounting:
    """The cost of a run, in this start and in the earlier ones that it resumes.

    Args:
        farm: The ranks.
        rank_engines: For each rank, its host and its engine, separated by a space.
        threads: Cores that each rank uses.
        started: When this start began, on the clock of ``time.perf_counter``; its phase ``share``
            ends now.
        ledger: Work of the ranks in this start.
        previous: Result of the earlier starts; None for the first.
    """

    def __init__(
        self,
        farm: Farm,
        rank_engines: Sequence[str],
        threads: int,
        started: float,
        ledger: Ledger,
        previous: Result | None = None,
    ) -> None:
        self._farm, self._rank_engines, self._threads = farm, rank_engines, threads
        self._seconds: dict[str, float] = {}
        self._last, self._ledger = started, ledger
        self._earlier_starts: list[dict[str, Any]] = []
        self._timelines: tuple[NDArray[np.float64], ...] = ()
        if previous is not None and previous.details is not None:
            self._earlier_starts = list(previous.provenance.get("starts", []))
            self._timelines = previous.details.timelines
        self.end("share")

    def end(self, phase: str) -> None:
        """Add the seconds since the last call to a phase."""
        now = time.perf_counter()
        self._seconds[phase] = round(self._seconds.get(phase, 0.0) + now - self._last, 6)
        self._last = now

    def provenance(self) -> dict[str, Any]:
        """Return the provenance of the result as JSON values."""
        starts = [*self._earlier_starts, self._start()]
        return {
            "hosts": sorted({engine.split()[0] for engine in self._rank_engines}),
            "devices": [engine.split(maxsplit=1)[1] for engine in self._rank_engines],
            "ranks": self._farm.size,
            "seconds": dict(self._seconds),
            "versions": versions(),
            "slurm": {name: os.environ[name] for name in _SLURM_VARIABLES if name in os.environ},
            "account": _total(starts),
            "starts": starts,
        }

    def timelines(self) -> tuple[NDArray[np.float64], ...]:
        """Return for each start that did any work what its ranks computed and when.

        See :class:`hpcq.results.details.ResultDetails` for the columns.
        """
        timeline = self._ledger.table()
        return (*self._timelines, timeline) if len(timeline) else self._timelines

    def _start(self) -> dict[str, Any]:
        """Return the cost of this start."""
        seconds = sum(self._seconds.values())
        ranks = self._farm.size
        gpus = sum("gpu" in engine.split(maxsplit=1)[1] for engine in self._rank_engines)
        busy = sum(self._ledger.busy_seconds.values())
        return {
            "ranks": ranks,
            "seconds": dict(self._seconds),
            "rank_seconds": {k: round(v * ranks, 6) for k, v in self._seconds.items()},
            "core_seconds": round(seconds * ranks * self._threads, 6),
            "gpu_seconds": round(seconds * gpus, 6),
            "busy_seconds": round(busy, 6),
            "idle_seconds": round(max(0.0, seconds * ranks - busy), 6),
            "subcircuit_seconds": {
                str(k): round(v, 6) for k, v in sorted(self._ledger.seconds_by_owner.items())
            },
        }


def _total(starts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sum of the starts' costs; ranks are not added up."""
    total: dict[str, Any] = {}
    for start in starts:
        for name, value in start.items():
            if isinstance(value, Mapping):
                sums = total.setdefault(name, {})
                for key, seconds in value.items():
                    sums[key] = round(sums.get(key, 0.0) + seconds, 6)
            elif name != "ranks":
                total[name] = round(total.get(name, 0.0) + value, 6)
    return total
