"""What an engine that measures circuits shot by shot can be asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import InputError
from hpcq.cutting.subexperiments.device_circuits import Template

Row = tuple[NDArray[np.uint64], NDArray[np.int64]]
"""Distinct outcomes, ascending, and how often each came; bit b is classical bit b."""


@dataclass(frozen=True, eq=False)
class ShotRequest:
    """Some rows of a template, to be measured.

    Attributes:
        prepared: What :meth:`ShotEngine.prepare` returned for the template.
        rows: Values of the parameters, shape (rows, parameters).
        shots: Shots of each row, at least 1, shape (rows,).
    """

    prepared: Any
    rows: NDArray[np.float64]
    shots: NDArray[np.int64]


class ShotEngine(Protocol):
    """Runs the rows of templates, each with its own number of shots."""

    @property
    def name(self) -> str:
        """What it is, in words, such as ``aer cpu, noise fake_brisbane``."""

    @property
    def deferred(self) -> bool:
        """Whether templates must come with deferred measurements, as simulators want them."""

    def prepare(self, template: Template) -> Any:
        """Do what is needed once for a template: transpile, convert.

        Args:
            template: It measures at least one bit.

        Raises:
            InputError: If the device or the noise is not fit for it.
        """

    def measure(self, runs: Sequence[ShotRequest], seed: int) -> list[list[Row]]:
        """Run rows of some templates, on a device with a queue as one job.

        Args:
            runs: The templates and their rows.
            seed: Of up to 63 bits. On simulators the same seed and arguments give the same
                counts. Each row has randomness of its own.

        Returns:
            For each run each row's outcomes and their numbers, which add up to its shots.

        Raises:
            EngineError: If the engine refuses or fails.
        """


def check_rows(
    rows: NDArray[np.float64], shots: NDArray[np.int64], parameters: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return rows and shots as arrays that fit each other.

    Raises:
        InputError: If they don't.
    """
    rows, shots = np.asarray(rows, dtype=np.float64), np.asarray(shots, dtype=np.int64)
    if rows.ndim != 2 or rows.shape[1] != parameters or shots.shape != rows.shape[:1]:
        raise InputError(
            f"rows and shots: shapes {rows.shape} and {shots.shape}, expected "
            f"(n, {parameters}) and (n,)"
        )
    if shots.size and shots.min() < 1:
        raise InputError(f"shots: {shots.min()}, expected at least 1 for each row")
    return rows, shots


def sorted_row(outcomes: NDArray[np.uint64], times: NDArray[np.int64]) -> Row:
    """Return distinct outcomes in ascending order, without those that never came."""
    came = times > 0
    outcomes, times = outcomes[came], times[came]
    order = np.argsort(outcomes)
    return outcomes[order], times[order]
