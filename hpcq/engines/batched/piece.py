"""A piece that is compiled once, then executed for many rows of angles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.limits import Limits
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.batched.compiler import compile_branch
from hpcq.engines.batched.kept_states import KeptStates
from hpcq.engines.batched.operator_set import OperatorSet
from hpcq.engines.batched.ports import PortOrder
from hpcq.engines.batched.steps import RowMatrices
from hpcq.engines.protocol import PreparedPiece
from hpcq.engines.requests import Derivatives, Operator, OperatorTensors, Request

Rows = NDArray[np.float64]

_CHUNK_BYTES = 1 << 22
"""Bytes of the rows that are simulated together, including the states that are kept. Larger: fewer
calls of NumPy, but more cache misses. Measured at 8 qubits and 256 rows, CPU time of an energy in
ms a row: 0.089, 0.046, 0.035 and 0.074 with 2**18, 2**20, 2**22 and 2**23 bytes."""

_SUM_BYTES = 1 << 22
"""Bytes of the adjoint states mu that are carried back through a circuit together, those of several
sums. Larger: more memory and more cache misses; smaller: more calls of NumPy."""


@dataclass(frozen=True, eq=False)
class _Simulated:
    """The states of some rows, and what derivatives need of them.

    Attributes:
        gates: For each branch, the matrices of its gates.
        kept: For each branch, its states after each step with angles.
        states: psi[p, rest] over all ports, shape (rows, D, 2**wires).
        applied: The states times operators, as :meth:`OperatorSet.applied` returns them.
    """

    gates: list[RowMatrices]
    kept: list[list[Any]]
    states: Any
    applied: dict[tuple[Operator, ...], list[Any]] = field(default_factory=dict)


class BatchedPiece(PreparedPiece):
    """A compiled subcircuit.

    Rows are simulated in chunks, whose size depends on the piece alone, and no product mixes rows:
    the numbers of a row do not depend on the others.

    Args:
        tensor: The subcircuit and its sliced ports.
        limits: Memory and precision.
        xp: The module of arrays, NumPy or CuPy.
        kept: Where states are kept for derivatives.
    """

    def __init__(self, tensor: ExactTensor, limits: Limits, xp: Any, kept: KeptStates) -> None:
        self._tensor, self._xp, self._kept = tensor, xp, kept
        self._dtype = xp.complex64 if limits.precision == "single" else xp.complex128
        self._branches = [
            compile_branch(tensor, branch, xp, self._dtype) for branch in range(tensor.num_branches)
        ]
        open_wires = tensor.subcircuit.open_wires.values()
        self._qubit_of = {wire: qubit for qubit, wire in enumerate(open_wires)}
        self._ports = PortOrder(tensor, xp)
        self._operators: dict[tuple[Operator, ...], OperatorSet] = {}
        self._row_bytes = sum(branch.row_bytes for branch in self._branches)
        self._chunk = max(1, _CHUNK_BYTES // self._row_bytes)
        states_bytes = tensor.num_branches * limits.amplitude_bytes << tensor.simulated_qubits
        self._sums = max(1, _SUM_BYTES // (self._chunk * states_bytes))

    def execute(self, rows: Rows, request: Request) -> Any:
        """Answer a request for tensors of operators, or for derivatives."""
        rows = np.ascontiguousarray(rows, dtype=np.float64)
        if isinstance(request, OperatorTensors):
            return self._tensors(rows, request.operators)
        assert isinstance(request, Derivatives), "the engine refuses all others"
        return self._derivatives(rows, request)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the compiled branches, without the states that are kept."""
        return sum(branch.nbytes for branch in self._branches)

    def _tensors(self, rows: Rows, operators: tuple[Operator, ...]) -> NDArray[np.complex128]:
        size, operator_set = self._ports.dimension, self._operator_set(operators)
        answer = np.empty((len(rows), len(operators), size, size), dtype=complex)

        def fill(chunk: slice, simulated: _Simulated) -> None:
            applied = self._applied(operators, simulated)
            answer[chunk] = _to_numpy(operator_set.tensors(simulated.states, applied))
            extra = len(operators) * simulated.states[0].nbytes
            nbytes = len(simulated.states) * (self._row_bytes + extra)
            self._kept.put(self._key(rows[chunk]), simulated, nbytes)

        chunks = {rows[chunk].tobytes() for chunk in self._chunks(rows)}
        self._kept.keep_only(self._tensor.fingerprint, chunks)
        self._for_chunks(rows, fill)
        return answer

    def _derivatives(self, rows: Rows, request: Derivatives) -> NDArray[np.float64]:
        environments = np.asarray(request.environments)
        # Tensors are Hermitian, so only this part of the environments has an effect.
        environments = (environments + environments.conj().swapaxes(-1, -2)) / 2
        sums, slots = environments.shape[1], len(self._tensor.slots)
        answer = np.zeros((len(rows), sums, slots))
        operator_set = self._operator_set(request.operators)

        def fill(chunk: slice, simulated: _Simulated) -> None:
            applied = self._applied(request.operators, simulated)
            for start in range(0, sums, self._sums):
                part = slice(start, start + self._sums)
                mu = operator_set.adjoint(applied, self._xp.asarray(environments[chunk, part]))
                answer[chunk, part] = _to_numpy(self._backward(mu, simulated, slots))

        if sums and slots and request.operators:
            self._for_chunks(rows, fill)
        return answer

    def _backward(self, mu: Any, simulated: _Simulated, slots: int) -> Any:
        """Return the derivatives of sums, shape (rows, sums, slots), added up over branches."""
        parts = self._ports.split(mu)
        branches = zip(self._branches, parts, simulated.kept, simulated.gates, strict=True)
        return sum(
            branch.backward(part, kept, gates, slots) for branch, part, kept, gates in branches
        )

    def _chunks(self, rows: Rows) -> Iterator[slice]:
        for start in range(0, len(rows), self._chunk):
            yield slice(start, min(start + self._chunk, len(rows)))

    def _for_chunks(self, rows: Rows, use: Callable[[slice, _Simulated], None]) -> None:
        """Simulate rows in chunks and pass each to a function.

        If memory runs out, all rows are simulated again, in chunks of half as many.
        """
        try:
            for chunk in self._chunks(rows):
                use(chunk, self._simulated(rows[chunk]))
        except Exception as error:
            if not _is_out_of_memory(error) or self._chunk == 1:
                raise
            self._kept.clear()
            self._chunk //= 2
            self._for_chunks(rows, use)

    def _simulated(self, rows: Rows) -> _Simulated:
        kept = self._kept.get(self._key(rows))
        if kept is not None:
            assert isinstance(kept, _Simulated)
            return kept
        gates = [branch.matrices(rows) for branch in self._branches]
        passes = [each.forward(of) for each, of in zip(self._branches, gates, strict=True)]
        finals = [final.reshape(len(rows), -1, 1 << len(self._qubit_of)) for final, _ in passes]
        return _Simulated(gates, [states for _, states in passes], self._ports.join(finals))

    def _key(self, rows: Rows) -> tuple[str, bytes]:
        return self._tensor.fingerprint, rows.tobytes()

    def _applied(self, operators: tuple[Operator, ...], simulated: _Simulated) -> list[Any]:
        if operators not in simulated.applied:
            simulated.applied[operators] = self._operator_set(operators).applied(simulated.states)
        return simulated.applied[operators]

    def _operator_set(self, operators: tuple[Operator, ...]) -> OperatorSet:
        if operators not in self._operators:
            self._operators[operators] = OperatorSet(
                operators, self._qubit_of, self._ports.dimension, self._xp, self._dtype
            )
        return self._operators[operators]


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, of this machine or of a GPU (an error of CuPy)."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _to_numpy(array: Any) -> Any:
    """Return an array of any module as one of NumPy."""
    return array.get() if hasattr(array, "get") else array
