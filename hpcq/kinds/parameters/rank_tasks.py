"""The tasks of an evaluation on several ranks: as messages, and how a rank computes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.limits import Device
from hpcq.engines.registry import EngineSpec
from hpcq.kinds.parameters.evaluator import Evaluator
from hpcq.kinds.parameters.pieces import Rows, Tensor, piece_engines
from hpcq.kinds.parameters.setup import ProgramSetup
from hpcq.parallel import messages
from hpcq.parallel.tasks import TaskFunction
from hpcq.reconstruction.matrix_product import product_threads


@dataclass(frozen=True, eq=False)
class RankTask:
    """A task of an evaluation.

    Attributes:
        name: What it computes: ``values`` or ``gradients`` of rows, or ``tensors`` or
            ``derivatives`` of a piece.
        piece: Number of the piece; None for rows.
        rows: Angles in radians, shape (rows, slots): of all slots, or of those of the piece.
        environments: For derivatives, their environments, shape (rows, sums, operators, D, D).
    """

    name: str
    piece: int | None
    rows: Rows
    environments: Tensor | None = None

    def to_bytes(self) -> bytes:
        """Return the task as a message."""
        return messages.dumps(self)

    def describe(self, setup: ProgramSetup) -> str:
        """Return the name of the task in messages."""
        if self.piece is None:
            return f"the {self.name} of {len(self.rows)} rows"
        return f"the {self.name} of subcircuit {setup.uses.index(self.piece)}"


@dataclass(frozen=True, eq=False)
class EvaluationTasks:
    """A program that is ready to compute tasks on a rank.

    It is also the factory of the task function of the rank's worker. A worker in a process of its
    own prepares the program anew.

    Attributes:
        setup: The program.
        device: ``cpu`` or ``gpu``.
        evaluator: The program, prepared.
    """

    setup: ProgramSetup
    device: Device
    evaluator: Evaluator

    @classmethod
    def of(cls, setup: ProgramSetup, device: Device) -> EvaluationTasks:
        """Prepare a program.

        Raises:
            InputError: If no engine computes one of the pieces.
        """
        evaluator = Evaluator(setup, piece_engines(EngineSpec(), setup.limits, device))
        _ = evaluator.pieces  # prepared now, so that a refusal comes before the loop
        return cls(setup, device, evaluator)

    def __call__(self, _setup: object = None) -> TaskFunction:
        """Return the function that computes tasks."""
        return self.compute

    def compute(self, _task: int, payload: bytes) -> NDArray[Any]:
        """Return the result of a task, a flat array."""
        return self.result(messages.loads(payload))

    def result(self, task: RankTask) -> NDArray[Any]:
        """Return the result of a task, a flat array."""
        with product_threads(self.setup.limits.threads):
            return np.ascontiguousarray(self._result(task)).reshape(-1)

    def _result(self, task: RankTask) -> NDArray[Any]:
        if task.name == "values":
            return self.evaluator.values(task.rows)
        if task.name == "gradients":
            values, gradients = self.evaluator.values_and_gradients(task.rows)
            return np.concatenate([values[..., np.newaxis], gradients], axis=-1)
        assert task.piece is not None, "the other tasks are those of pieces"
        piece = self.evaluator.pieces[task.piece]
        if task.environments is None:
            return piece.tensors(task.rows)
        return piece.derivatives(task.rows, task.environments)

    def __reduce__(self) -> tuple[Any, ...]:
        return EvaluationTasks.of, (self.setup, self.device)
