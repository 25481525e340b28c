"""The variants of a round as tasks: rows of templates, each with a number of shots.

The tasks follow from the round alone, never from clocks or the number of ranks, and each has its
own seed, so that a run repeats bit for bit on any machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpcq.cutting.subexperiments.device_circuits import SampledTensor, should_defer

Numbers = NDArray[np.int64]

Mode = Literal["enumerated", "joint"]
"""How variants are chosen: all of them are run, or those of all subcircuits are drawn together."""

# A cost model for balancing only: seconds of a usual machine, never measured on the one at hand.
_SECONDS_PER_ROW = 1e-4
_SECONDS_PER_SHOT = 8e-7
_SECONDS_PER_NOISY_SHOT = 1e-4
_SECONDS_PER_AMPLITUDE = 1e-9
"""Seconds of one gate per amplitude; above: per row, per shot, and at least per noisy shot."""

_MAX_TASK_SECONDS = 1.0
"""Maximum predicted seconds of a task. Larger: fewer messages, but ranks finish less evenly."""

_MIN_TASK_SECONDS = 0.02
"""Predicted seconds below which a task is not divided: its message would cost as much."""

_TARGET_TASKS = 64
"""Tasks that a short round is divided into, so that several ranks share it."""

_MAX_TASKS = 20_000
"""Approximate maximum number of tasks of a round; in longer rounds, tasks exceed
``_MAX_TASK_SECONDS``."""


@dataclass(frozen=True, eq=False)
class VariantBatch:
    """Variants of one source that are measured in a round.

    Attributes:
        rows: Each variant's settings, then its basis; shape (variants, ports + 1).
        shots: Shots of each variant, shape (variants,); 0 for a variant that is not run.
    """

    rows: NDArray[np.int16]
    shots: Numbers

    @classmethod
    def of_all(cls, tensor: SampledTensor, shots: Numbers) -> VariantBatch:
        """Return the batch of all variants of a source, in order."""
        rows = np.indices(tensor.shape, dtype=np.int16).reshape(len(tensor.shape), -1).T
        return cls(np.ascontiguousarray(rows), shots)


@dataclass(frozen=True, eq=False)
class TemplateRows:
    """Rows of one template: all that a rank needs to measure them apart from the sources.

    Attributes:
        source: Number of the source.
        measured: The gate ports that are measured, which identify the template.
        variants: Each row's settings, then its basis; shape (rows, ports + 1).
        rows: Numbers of the rows in the source's batch.
        shots: Shots of each row.
        seconds: Predicted seconds of all rows on a usual machine.
    """

    source: int
    measured: tuple[int, ...]
    variants: NDArray[np.int16]
    rows: Numbers
    shots: Numbers
    seconds: float


Task = tuple[TemplateRows, ...]
"""What one rank runs at a time."""


def make_tasks(
    tensors: Sequence[SampledTensor],
    batches: Sequence[VariantBatch],
    *,
    noisy: bool,
    single_task: bool,
) -> list[Task]:
    """Return the tasks that the batches of all sources are divided into.

    With noise every shot may need its own simulation. Backends with a queue of jobs get one task
    of all.
    """
    groups: list[tuple[int, tuple[int, ...], Numbers, NDArray[np.float64]]] = []
    for source, (tensor, batch) in enumerate(zip(tensors, batches, strict=True)):
        templates: dict[tuple[int, ...], list[int]] = {}
        for row in np.flatnonzero(batch.shots).tolist():
            measured = tensor.measured_ports(batch.rows[row, :-1].tolist())
            templates.setdefault(measured, []).append(row)
        for measured, row_numbers in sorted(templates.items()):
            # Rows with equal numbers of shots run together, so they are made neighbours.
            rows = np.array(sorted(row_numbers, key=lambda row: (-batch.shots[row], row)))
            seconds = _row_seconds(tensor, measured, batch.shots[rows], noisy=noisy)
            groups.append((source, measured, rows, seconds))
    total = sum(float(seconds.sum()) for *_, seconds in groups)
    max_seconds = min(_MAX_TASK_SECONDS, max(_MIN_TASK_SECONDS, total / _TARGET_TASKS))
    max_seconds = float("inf") if single_task else max(max_seconds, total / _MAX_TASKS)
    parts = [
        TemplateRows(source, measured, batches[source].rows[part[0]], *part)
        for source, measured, rows, seconds in groups
        for part in _split_rows(rows, batches[source].shots[rows], seconds, max_seconds)
    ]
    if single_task:
        return [tuple(parts)] if parts else []
    return [(part,) for part in parts]


def predicted_seconds(tensors: Sequence[SampledTensor], shots: int, rounds: int) -> float:
    """Predict the seconds of a noiseless run of all variants on one rank of a usual machine."""
    no_shots = np.zeros(1, dtype=np.int64)
    source_seconds = [
        float(_row_seconds(t, (), no_shots, noisy=False)[0]) * t.num_variants for t in tensors
    ]
    return rounds * sum(source_seconds) + shots * _SECONDS_PER_SHOT


def _split_rows(
    rows: Numbers, shots: Numbers, seconds: NDArray[np.float64], max_seconds: float
) -> list[tuple[Numbers, Numbers, float]]:
    """Return rows in parts of at most ``max_seconds``; a longer row is in several parts."""
    parts = []
    first = 0
    while first < len(rows):
        last, cost = first + 1, float(seconds[first])
        while last < len(rows) and cost + seconds[last] <= max_seconds:
            cost += float(seconds[last])
            last += 1
        num_parts = 1
        if last == first + 1 and cost > max_seconds:
            num_parts = int(min(np.ceil(cost / max_seconds), shots[first]))
        for index in range(num_parts):
            # Differences of cumulative shares, so that the parts of a row add up to its shots.
            before, after = (shots[first:last] * i // num_parts for i in (index, index + 1))
            parts.append((rows[first:last], after - before, cost / num_parts))
        first = last
    return parts


def _row_seconds(
    tensor: SampledTensor, measured: tuple[int, ...], shots: Numbers, *, noisy: bool
) -> NDArray[np.float64]:
    """Return the predicted seconds of each row of one template on a usual machine."""
    gates = tensor.subcircuit.circuit.size() + len(tensor.ports) + len(tensor.wires)
    width = min(tensor.num_qubits + len(measured), 60)
    state_seconds = gates * 2.0**width * _SECONDS_PER_AMPLITUDE
    simulations = [
        1 if should_defer(measured, row_shots) else row_shots / 2.0 ** len(measured)
        for row_shots in shots.tolist()
    ]
    ideal_seconds = (
        _SECONDS_PER_ROW + state_seconds * np.array(simulations) + shots * _SECONDS_PER_SHOT
    )
    if not noisy:
        return np.asarray(ideal_seconds)
    density_matrix_seconds = gates * 4.0**width * _SECONDS_PER_AMPLITUDE + shots * _SECONDS_PER_SHOT
    noisy_seconds = np.minimum(
        density_matrix_seconds, shots * (_SECONDS_PER_NOISY_SHOT + state_seconds)
    )
    return np.asarray(_SECONDS_PER_ROW + noisy_seconds)
