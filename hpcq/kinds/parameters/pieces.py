"""The pieces of a program: each distinct subcircuit, prepared by the engine that is quickest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import InputError
from hpcq.core.limits import Device, Limits
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.part_values import part_values
from hpcq.engines.protocol import Cost, Engine, Refusal
from hpcq.engines.registry import DEFAULT_ENGINE, EngineSpec, open_engine
from hpcq.engines.requests import Derivatives, Operator, OperatorTensors, Request

Tensor = NDArray[np.complex128]
Rows = NDArray[np.float64]

ENGINES = (DEFAULT_ENGINE, "batched")
"""Names of the engines that compute tensors of operators and their derivatives."""


def piece_engines(spec: EngineSpec, limits: Limits, device: Device) -> list[Engine]:
    """Return the engines that may compute pieces: the usual ones, or the one that was asked for."""
    names = ENGINES if spec.name == DEFAULT_ENGINE else (spec.name,)
    return [open_engine(EngineSpec(name), limits, device) for name in names]


class Piece:
    """A distinct subcircuit of a program.

    Args:
        tensor: The subcircuit and its sliced ports.
        operators: The operators whose tensors are needed.
        limits: Threads, memory and precision of a rank.
        engines: Engines that may compute it.
        name: Name of the piece in messages.

    Attributes:
        tensor: The subcircuit and its sliced ports.
        operators: The operators.
        dimension: D, the range of the combined index of the ports that share no ancilla with an
            earlier port.
        seconds: Predicted seconds of the tensors at one row.
        gradient_seconds: Predicted seconds of the derivatives of one sum at one row.
        engine_name: Name of the engine that computes the tensors.

    Raises:
        InputError: If no engine computes the tensors.
    """

    def __init__(
        self,
        tensor: ExactTensor,
        operators: Sequence[Operator],
        limits: Limits,
        engines: Sequence[Engine],
        name: str,
    ) -> None:
        self.tensor, self.operators, self._limits = tensor, tuple(operators), limits
        self.dimension = tensor.num_branches * tensor.block_shape[1]
        self.seconds = self.gradient_seconds = 0.0
        self._gradient_error: InputError | None = None
        if tensor.simulation is not None:
            if tensor.slots:
                raise InputError(
                    f"plan: {name} has free parameters and is computed by "
                    f"{tensor.simulation.engine}, expected statevectors"
                )
            self.seconds, self.engine_name = tensor.simulation.seconds, tensor.simulation.engine
            return
        choice = _Choice(tensor, engines, name)
        engine, self.seconds = choice.quickest(OperatorTensors(self.operators))
        self._forward, self.engine_name = engine.prepared(tensor), engine.name
        if tensor.slots:
            shape = (1, 1, len(self.operators), self.dimension, self.dimension)
            environments = np.broadcast_to(np.complex128(0), shape)
            request = Derivatives(self.operators, environments)
            try:
                engine, self.gradient_seconds = choice.quickest(request)
                self._backward = engine.prepared(tensor)
            except InputError as error:  # derivatives take more memory than values
                self._gradient_error = error

    def tensors(self, rows: Rows) -> Tensor:
        """Return the operators' tensors, shape (rows, operators, D, D).

        Args:
            rows: Angles of the piece's slots in radians, shape (rows, slots).
        """
        if self.tensor.simulation is not None:
            return np.repeat(self._constant, len(rows), axis=0)
        answer = self._forward.execute(rows, OperatorTensors(self.operators))
        return np.asarray(answer, dtype=complex)

    def check_gradients(self) -> None:
        """Check that an engine computes derivatives.

        Raises:
            InputError: If none does.
        """
        if self._gradient_error is not None:
            raise self._gradient_error

    def derivatives(self, rows: Rows, environments: Tensor) -> Rows:
        """Return derivatives of sums over the tensors, shape (rows, sums, slots).

        Args:
            rows: Angles of the piece's slots in radians, shape (rows, slots).
            environments: Shape (rows, sums, operators, D, D).
        """
        return np.asarray(self._backward.execute(rows, Derivatives(self.operators, environments)))

    @cached_property
    def _constant(self) -> Tensor:
        """The operators' values on a piece without ports, shape (1, operators, 1, 1).

        Bounds on their errors are dropped; see :mod:`hpcq.kinds.parameters.row_bounds`.
        """
        values, _ = part_values(self.tensor, self._limits)
        of_string = dict(zip(self.tensor.strings, values.tolist(), strict=True))
        sums = [sum(c * of_string[string] for string, c in each) for each in self.operators]
        return np.array(sums, dtype=complex).reshape(1, -1, 1, 1)


class PieceComputer(Protocol):
    """Computes pieces of a program, in this process or on several ranks."""

    def tensors(self, numbers: Sequence[int], rows: Sequence[Rows]) -> list[Tensor]:
        """Return the tensors of some pieces; see :meth:`Piece.tensors`.

        Args:
            numbers: Numbers of the pieces.
            rows: For each of them, the angles of its slots in radians, shape (rows, slots).
        """

    def derivatives(
        self, numbers: Sequence[int], rows: Sequence[Rows], environments: Sequence[Tensor]
    ) -> list[Rows]:
        """Return derivatives with respect to the angles of some pieces.

        See :meth:`Piece.derivatives`; the arguments have an entry for each piece.
        """


@dataclass(frozen=True)
class LocalPieces:
    """Computes pieces in this process, one after the other.

    Attributes:
        pieces: All pieces of the program.
    """

    pieces: Sequence[Piece]

    def tensors(self, numbers: Sequence[int], rows: Sequence[Rows]) -> list[Tensor]:
        """Return the tensors of some pieces."""
        return [self.pieces[number].tensors(of) for number, of in zip(numbers, rows, strict=True)]

    def derivatives(
        self, numbers: Sequence[int], rows: Sequence[Rows], environments: Sequence[Tensor]
    ) -> list[Rows]:
        """Return derivatives with respect to the angles of some pieces."""
        return [
            self.pieces[number].derivatives(of, given)
            for number, of, given in zip(numbers, rows, environments, strict=True)
        ]


@dataclass(frozen=True)
class _Choice:
    """The choice among the engines that may compute a piece."""

    tensor: ExactTensor
    engines: Sequence[Engine]
    name: str

    def quickest(self, request: Request) -> tuple[Engine, float]:
        """Return the engine with the shortest predicted time for a request, and its seconds.

        The choice does not depend on the number of rows, so that a row has the same bits among
        any others.

        Raises:
            InputError: If every engine refuses.
        """
        found: tuple[float, Engine] | None = None
        reasons = []
        for engine in self.engines:
            answer: Cost | Refusal = engine.supports(self.tensor, request)
            if isinstance(answer, Refusal):
                reasons.append(f"{engine.name} refuses: {answer.reason}")
            elif found is None or answer.seconds < found[0]:
                found = answer.seconds, engine
        if found is None:
            raise InputError(
                f"plan: no engine computes {self.name} ({'; '.join(reasons)}); expected narrower "
                "subcircuits, or more memory"
            )
        seconds, engine = found
        return engine, seconds
