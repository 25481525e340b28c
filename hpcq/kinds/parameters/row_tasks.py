"""The tasks of a run at rows: values of rows, tensors of pieces, and values from tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.engines.protocol import Engine
from hpcq.engines.registry import EngineSpec
from hpcq.kinds.parameters.evaluator import Evaluator
from hpcq.kinds.parameters.pieces import Piece, piece_engines
from hpcq.kinds.parameters.row_groups import Block, RowGroups
from hpcq.kinds.parameters.setup import ProgramSetup
from hpcq.parallel.tasks import TaskFunction, Tasks
from hpcq.reconstruction.matrix_product import product_threads

Tensor = NDArray[np.complex128]
Rows = NDArray[np.float64]

_INTEGER_BYTES = 8
"""Bytes of each integer before the angles in a payload: a count, or a piece's number and one."""


@dataclass(frozen=True, eq=False)
class RowTasks:
    """Values of blocks of rows; the payload of a task has the angles of its rows.

    Rank 0 sends this to every rank once.

    Attributes:
        setup: The program.
        engine_spec: The engine of the run.
    """

    setup: ProgramSetup
    engine_spec: EngineSpec

    def farm_tasks(self, angles: Rows, blocks: Sequence[range], row_seconds: float) -> Tasks:
        """Return all tasks, for the farm.

        Args:
            angles: Angles of all slots in radians, shape (rows, slots).
            blocks: The rows of each task.
            row_seconds: Predicted seconds of a row.
        """
        costs = row_seconds * np.array([len(rows) for rows in blocks])

        def payload(task: int) -> bytes:
            rows = angles[blocks[task].start : blocks[task].stop]
            return np.int64(len(rows)).tobytes() + rows.tobytes()

        def describe(task: int) -> str:
            return f"rows {blocks[task].start} to {blocks[task].stop - 1}"

        return Tasks(costs, np.float64, payload=payload, describe=describe)

    def task_function(self, open_engine: Callable[[], Engine]) -> TaskFunction:
        """Return the function that computes a block; the argument returns this rank's engine."""
        limits = self.setup.limits
        engines = piece_engines(self.engine_spec, limits, open_engine().simulator_device)
        evaluator = Evaluator(self.setup, engines)

        def compute(_task: int, payload: bytes) -> Rows:
            (rows,) = np.frombuffer(payload, np.int64, 1).tolist()
            angles = np.frombuffer(payload, offset=_INTEGER_BYTES)
            with product_threads(limits.threads):
                return evaluator.values(angles.reshape(rows, self.setup.num_slots))

        return compute


@dataclass(frozen=True, eq=False)
class PieceTasks:
    """Tensors of pieces; the payload of a task says which piece, and at which angles.

    Rank 0 sends this to every rank once.

    Attributes:
        setup: The program.
        engine_spec: The engine of the run.
    """

    setup: ProgramSetup
    engine_spec: EngineSpec

    def farm_tasks(self, groups: RowGroups, blocks: Sequence[Block]) -> Tasks:
        """Return the tasks of some blocks, for the farm."""
        pieces = np.array([block.piece for block in blocks], dtype=np.int64)
        costs = [groups.pieces[block.piece].seconds_each * len(block.indices) for block in blocks]

        def payload(task: int) -> bytes:
            block = blocks[task]
            angles = groups.pieces[block.piece].angles[block.indices]
            return np.array([block.piece, len(angles)], np.int64).tobytes() + angles.tobytes()

        def describe(task: int) -> str:
            count = len(blocks[task].indices)
            subcircuit = self.setup.uses.index(blocks[task].piece)
            return f"subcircuit {subcircuit} at {count} sets of angles"

        return Tasks(
            np.array(costs),
            np.complex128,
            payload=payload,
            owner=lambda tasks: pieces[tasks],
            describe=describe,
        )

    def task_function(self, open_engine: Callable[[], Engine]) -> TaskFunction:
        """Return the function that computes a block; the argument returns this rank's engine."""
        engines = piece_engines(self.engine_spec, self.setup.limits, open_engine().simulator_device)
        pieces: dict[int, Piece] = {}

        def compute(_task: int, payload: bytes) -> Tensor:
            number, count = np.frombuffer(payload, np.int64, 2).tolist()
            if number not in pieces:
                pieces[number] = self.setup.piece(number, engines)
            angles = np.frombuffer(payload, np.float64, offset=2 * _INTEGER_BYTES)
            return pieces[number].tensors(angles.reshape(count, -1))

        return compute


@dataclass(frozen=True, eq=False)
class PieceTensors:
    """Tensors of one piece at some of its sets of angles.

    Attributes:
        indices: Indices of the sets among the piece's distinct ones, ascending.
        tensors: The tensors, shape (sets, operators, D, D).
    """

    indices: NDArray[np.intp]
    tensors: Tensor

    def at(self, indices: NDArray[np.intp]) -> Tensor:
        """Return the tensors at some sets of angles, which may occur several times."""
        return self.tensors[np.searchsorted(self.indices, indices)]


@dataclass(frozen=True, eq=False)
class ValueTasks:
    """Values of the observables in some rows; a task is a block of rows.

    Rank 0 sends the tensors to all ranks that contract.

    Attributes:
        setup: The program.
        tensors: The tensors of each piece.
        of_row: For each piece and row, the index of its set of angles, shape (pieces, rows).
        block: Number of rows of a task.
    """

    setup: ProgramSetup
    tensors: tuple[PieceTensors, ...]
    of_row: NDArray[np.intp]
    block: int

    def farm_tasks(self, row_seconds: float) -> Tasks:
        """Return all tasks, for the farm.

        Args:
            row_seconds: Predicted seconds of a row.
        """
        count = -(-self.of_row.shape[1] // self.block)
        return Tasks(
            np.full(count, row_seconds * self.block),
            np.float64,
            describe="block {} of the contraction".format,
        )

    def task_function(self, _open_engine: Any = None) -> TaskFunction:
        """Return the function that computes a block of values; it takes no engine."""
        evaluator = Evaluator(self.setup)

        def compute(task: int, _payload: bytes = b"") -> NDArray[np.float64]:
            indices = self.of_row[:, task * self.block : (task + 1) * self.block]
            chosen = [piece.at(indices[n]) for n, piece in enumerate(self.tensors)]
            with product_threads(self.setup.limits.threads):
                return evaluator.values_from(chosen)

        return compute
