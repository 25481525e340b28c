"""A round's variants as tasks: which rows of which template, with how many shots.

The tasks follow from the round alone, never from clocks or the number of ranks, and each has a seed
of its own, so that a run repeats bit for bit wherever it is done.
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
"""How variants are chosen: every one is run, or those of all subcircuits are drawn together."""

_SECONDS_A_ROW = 1e-4
_SECONDS_A_SHOT = 8e-7
_SECONDS_A_NOISY_SHOT = 1e-4
_SECONDS_AN_AMPLITUDE = 1e-9
_LONGEST = 1.0
_SHORTEST = 0.02
_PIECES = 64
_MAX_PIECES = 20_000


@dataclass(frozen=True, eq=False)
class VariantBatch:
    """Variants of one source that are measured in a round.

    Attributes:
        rows: Each variant's settings, then its basis; shape (variants, ports + 1).
        shots: Their shots, shape (variants,); 0 where a variant is left out.
    """

    rows: NDArray[np.int16]
    shots: Numbers

    @classmethod
    def of_all(cls, tensor: SampledTensor, shots: Numbers) -> VariantBatch:
        """Return the batch of all variants of a source, in their order."""
        rows = np.indices(tensor.shape, dtype=np.int16).reshape(len(tensor.shape), -1).T
        return cls(np.ascontiguousarray(rows), shots)


@dataclass(frozen=True, eq=False)
class Piece:
    """Rows of one template.

    Attributes:
        source: The source.
        measured: Places of the gate ports that are measured: the template.
        rows: Numbers of the rows in the source's batch.
        shots: Their shots.
        seconds: What they are likely to take on a usual machine.
    """

    source: int
    measured: tuple[int, ...]
    rows: Numbers
    shots: Numbers
    seconds: float


Task = tuple[Piece, ...]
"""What one rank runs at a time."""


@dataclass(frozen=True, eq=False)
class Portion:
    """A piece as the rank that runs it knows it.

    Attributes:
        source: The source.
        measured: Places of the gate ports that are measured: the template.
        variants: Each variant's settings, then its basis; shape (variants, ports + 1).
        shots: Their shots.
    """

    source: int
    measured: tuple[int, ...]
    variants: NDArray[np.int16]
    shots: Numbers


def make_tasks(
    tensors: Sequence[SampledTensor], batches: Sequence[VariantBatch], *, noisy: bool, whole: bool
) -> list[Task]:
    """Divide the batches of all sources into tasks.

    Args:
        tensors: The sources.
        batches: A batch of each of them.
        noisy: Whether every shot may be a simulation of its own.
        whole: Whether all of them are one task, for devices with a queue of jobs.
    """
    groups: list[tuple[int, tuple[int, ...], Numbers, NDArray[np.float64]]] = []
    for source, (tensor, batch) in enumerate(zip(tensors, batches, strict=True)):
        templates: dict[tuple[int, ...], list[int]] = {}
        for row in np.flatnonzero(batch.shots).tolist():
            measured = tensor.measured_ports(batch.rows[row, :-1].tolist())
            templates.setdefault(measured, []).append(row)
        for measured, own in sorted(templates.items()):
            # Rows with as many shots run together, so they are put side by side.
            rows = np.array(sorted(own, key=lambda row: (-batch.shots[row], row)))
            seconds = _seconds(tensor, measured, batch.shots[rows], noisy=noisy)
            groups.append((source, measured, rows, seconds))
    total = sum(float(seconds.sum()) for *_, seconds in groups)
    longest = max(min(_LONGEST, max(_SHORTEST, total / _PIECES)), total / _MAX_PIECES)
    if whole:
        longest = float("inf")
    pieces = [
        Piece(source, measured, *piece)
        for source, measured, rows, seconds in groups
        for piece in _pieces(rows, batches[source].shots[rows], seconds, longest)
    ]
    if whole:
        return [tuple(pieces)] if pieces else []
    return [(piece,) for piece in pieces]


def predicted_seconds(tensors: Sequence[SampledTensor], shots: int, rounds: int) -> float:
    """Predict an ideal run of every variant on one rank of a usual machine.

    Args:
        tensors: The sources.
        shots: Shots of all variants together.
        rounds: Number of rounds.
    """
    once = np.zeros(1, dtype=np.int64)
    rows = [float(_seconds(t, (), once, noisy=False)[0]) * t.num_variants for t in tensors]
    return rounds * sum(rows) + shots * _SECONDS_A_SHOT


def _pieces(
    rows: Numbers, shots: Numbers, seconds: NDArray[np.float64], longest: float
) -> list[tuple[Numbers, Numbers, float]]:
    """Divide rows into pieces that take about as long as allowed; a long row into several."""
    pieces = []
    first = 0
    while first < len(rows):
        last, cost = first + 1, float(seconds[first])
        while last < len(rows) and cost + seconds[last] <= longest:
            cost += float(seconds[last])
            last += 1
        parts = 1
        if last == first + 1 and cost > longest:
            parts = int(min(np.ceil(cost / longest), shots[first]))
        for part in range(parts):
            # The shots of a divided row add up to all of them.
            own = shots[first:last] * (part + 1) // parts - shots[first:last] * part // parts
            pieces.append((rows[first:last], own, cost / parts))
        first = last
    return pieces


def _seconds(
    tensor: SampledTensor, measured: tuple[int, ...], shots: Numbers, *, noisy: bool
) -> NDArray[np.float64]:
    """Return what rows of one template are likely to take on a usual machine."""
    gates = tensor.subcircuit.circuit.size() + len(tensor.ports) + len(tensor.wires)
    width = min(tensor.num_qubits + len(measured), 60)
    states = gates * 2.0**width * _SECONDS_AN_AMPLITUDE
    times = [
        1 if should_defer(measured, own) else own / 2.0 ** len(measured) for own in shots.tolist()
    ]
    ideal = _SECONDS_A_ROW + states * np.array(times) + shots * _SECONDS_A_SHOT
    if not noisy:
        return np.asarray(ideal)
    matrix = gates * 4.0**width * _SECONDS_AN_AMPLITUDE + shots * _SECONDS_A_SHOT
    noise = np.minimum(matrix, shots * (_SECONDS_A_NOISY_SHOT + states))
    return np.asarray(_SECONDS_A_ROW + noise)


def portions_of(task: Task, batches: Sequence[VariantBatch]) -> list[Portion]:
    """Return what a rank must know of a task beside the sources.

    Args:
        task: The task.
        batches: The round's batches.
    """
    return [
        Portion(
            piece.source,
            piece.measured,
            batches[piece.source].rows[piece.rows],
            piece.shots.astype(np.int64),
        )
        for piece in task
    ]
