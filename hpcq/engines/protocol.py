"""The protocol of engines that sample circuits shot by shot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import InputError
from hpcq.cutting.subexperiments.device_circuits import Template

Row = tuple[NDArray[np.uint64], NDArray[np.int64]]
"""Distinct outcomes, ascending, and the number of times that each occurred; bit b of an outcome is
classical bit b."""


@dataclass(frozen=True, eq=False)
class ShotRequest:
    """Rows of a template to measure.

    Attributes:
        prepared: The template as :meth:`ShotEngine.prepare` returned it.
        rows: Values of the parameters, shape (rows, parameters).
        shots: Number of shots of each row, at least 1, shape (rows,).
    """

    prepared: Any
    rows: NDArray[np.float64]
    shots: NDArray[np.int64]


class ShotEngine(Protocol):
    """Runs the rows of templates, each with its own number of shots."""

    @property
    def name(self) -> str:
        """Description for messages, such as ``aer cpu, noise fake_brisbane``."""

    @property
    def defers_measurements(self) -> bool:
        """Whether templates must have deferred measurements, which simulators sample faster."""

    def prepare(self, template: Template) -> Any:
        """Transpile or convert a template, once for all its rows.

        Args:
            template: A template that measures at least one bit.

        Raises:
            InputError: If the device or the noise does not support the template.
        """

    def measure(self, runs: Sequence[ShotRequest], seed: int) -> list[list[Row]]:
        """Run rows of some templates; on a device with a queue, as one job.

        Args:
            runs: The templates and their rows.
            seed: Seed of up to 63 bits. On simulators the same seed and arguments give the same
                counts. Rows are statistically independent.

        Returns:
            For each template and row the outcomes with their counts, which add up to the shots.

        Raises:
            EngineError: If the engine refuses or fails.
        """


def check_rows(
    rows: NDArray[np.float64], shots: NDArray[np.int64], parameters: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return rows and shots as arrays of matching shapes.

    Raises:
        InputError: If the shapes do not match, or if a row has less than one shot.
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
    """Return distinct outcomes in ascending order, without those of count 0."""
    occurred = times > 0
    outcomes, times = outcomes[occurred], times[occurred]
    order = np.argsort(outcomes)
    return outcomes[order], times[order]
