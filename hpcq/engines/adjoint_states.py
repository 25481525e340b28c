"""Derivatives of a statevector's sums by the adjoint method, a segment of the circuit at a time.

A sum is E = <psi|lambda>, with lambda = M psi for a Hermitian M. A gate exp(-i a P / 2) contributes
dE/da = Im <lambda|P|psi>, both states taken right after the gate. So psi and lambda are undone
together, from the end of the circuit to its beginning (Jones and Gacon, arXiv:2009.02823).

Passing states between simulator and NumPy is costly. So whole segments are undone at once, and the
derivatives of many gates are computed from the states at the end of their segment. If only gates on
a gate's own qubits follow it there, P becomes W P W^dagger, with W the product of these gates; if
it and all that follow on its qubits are diagonal, P stays as it is. These operators act on one or
two qubits, so all they need is ``C[y, x] = sum_rest psi[y, rest] conj(lambda[x, rest])`` of these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.slots import Slot, slot_of

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import CircuitInstruction

State = NDArray[np.complexfloating]
Evolve = Callable[["QuantumCircuit", State], State]
"""Applies a circuit to a state of any norm and returns the result, up to a global phase that
depends on the circuit alone."""

_GROUP = 4
"""Number of neighbouring qubits whose matrix C is computed as one product. Larger: more operations;
smaller: more passes over the states."""

_BLOCK_AMPLITUDES = 1 << 20
"""Number of amplitudes that are multiplied at a time. Larger: more memory."""

_PAULIS = {
    "X": np.array([[0, 1], [1, 0]], dtype=complex),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1.0 + 0j, -1]),
}

_DIAGONAL = frozenset({"rz", "rzz", "z", "s", "sdg", "t", "tdg", "p", "cz", "cp", "crz", "id"})
"""Names of diagonal gates; a diagonal gate of another name ends a segment
without need."""


@dataclass(frozen=True)
class _SlotGate:
    """A gate of a slot, and how its derivative is computed at the end of its segment.

    Attributes:
        index: Its number in the circuit.
        slot: Its slot.
        qubits: The qubits on which it acts.
        later: Numbers of the gates in W, in order; empty if P stays as it is.
    """

    index: int
    slot: Slot
    qubits: tuple[int, ...]
    later: tuple[int, ...]


@dataclass(frozen=True)
class Segment:
    """Gates that are undone together.

    Attributes:
        start: Number of its first gate in the circuit.
        stop: Number of the gate after its last one.
        slot_gates: Its gates of slots.
    """

    start: int
    stop: int
    slot_gates: tuple[_SlotGate, ...]


def segments_of(circuit: QuantumCircuit) -> tuple[Segment, ...]:
    """Return the segments of a circuit whose slots are labelled, the last segment first."""
    acts_on = [tuple(circuit.find_bit(q).index for q in gate.qubits) for gate in circuit.data]
    segments = []
    stop = len(acts_on)
    later: list[list[int]] = [[] for _ in range(circuit.num_qubits)]
    found: list[_SlotGate] = []
    for index in reversed(range(len(acts_on))):
        slot, qubits = slot_of(circuit.data[index]), acts_on[index]
        if slot is not None:
            after = sorted({number for qubit in qubits for number in later[qubit]})
            is_local = all(set(acts_on[number]) <= set(qubits) for number in after)
            stays = all(circuit.data[k].name in _DIAGONAL for k in (index, *after))
            if not is_local and not stays:
                segments.append(Segment(index + 1, stop, tuple(found)))
                stop, found, after = index + 1, [], []
                later = [[] for _ in later]
            found.append(_SlotGate(index, slot, qubits, () if stays else tuple(after)))
        for qubit in qubits:
            later[qubit].append(index)
    if found:
        # Nothing before the first slot has to be undone.
        segments.append(Segment(found[-1].index, stop, tuple(found)))
    return tuple(segments)


def adjoint_derivatives(
    circuit: QuantumCircuit,
    segments: Sequence[Segment],
    state: State,
    adjoints: Sequence[State],
    evolve: Evolve,
) -> dict[int, NDArray[np.float64]]:
    """Return the derivatives of sums with respect to angles, by the number of their slot.

    Args:
        circuit: The circuit with its angles, in radians.
        segments: Its segments, the last one first.
        state: The state at its end, shape (2**n,).
        adjoints: For each sum, lambda at its end, shape (2**n,).
        evolve: Applies circuits to states.

    Returns:
        For each slot, an array of shape (sums,).
    """
    derivatives: dict[int, NDArray[np.float64]] = {}
    adjoints = list(adjoints)
    for number, segment in enumerate(segments):
        operators = [_operator(circuit, gate) for gate in segment.slot_gates]
        for column, adjoint in enumerate(adjoints):
            overlaps = _Overlaps(state, adjoint)
            for gate, operator in zip(segment.slot_gates, operators, strict=True):
                slot, sign = gate.slot
                by_sum = derivatives.setdefault(slot, np.zeros(len(adjoints)))
                by_sum[column] += sign * overlaps.imaginary_part(gate.qubits, operator)
        if number + 1 < len(segments):
            backwards = _inverse(circuit, segment)
            state = evolve(backwards, state)
            adjoints = [evolve(backwards, adjoint) for adjoint in adjoints]
    return derivatives


def _operator(circuit: QuantumCircuit, gate: _SlotGate) -> NDArray[np.complex128]:
    """Return ``W P W^dagger`` on a gate's qubits, the first of them the lowest bit."""
    letters = circuit.data[gate.index].name[1:].upper()
    operator = _PAULIS[letters[0]]
    for letter in letters[1:]:
        operator = np.kron(_PAULIS[letter], operator)
    for number in gate.later:
        matrix = _matrix_on(circuit, circuit.data[number], gate.qubits)
        operator = matrix @ operator @ matrix.conj().T
    return operator


def _matrix_on(
    circuit: QuantumCircuit, gate: CircuitInstruction, qubits: tuple[int, ...]
) -> NDArray[np.complex128]:
    """Return the matrix of a gate on some qubits, which contain its own."""
    matrix = np.asarray(gate.operation.to_matrix(), dtype=complex)
    places = [qubits.index(circuit.find_bit(qubit).index) for qubit in gate.qubits]
    if places == list(range(len(qubits))):
        return matrix
    if len(places) == 2:  # the same pair in the other order
        return matrix.reshape(2, 2, 2, 2).transpose(1, 0, 3, 2).reshape(4, 4)
    identity = np.eye(2)
    return np.kron(identity, matrix) if places == [0] else np.kron(matrix, identity)


def _inverse(circuit: QuantumCircuit, segment: Segment) -> QuantumCircuit:
    """Return the circuit that undoes a segment."""
    from qiskit.circuit.library import UnitaryGate

    inverse = circuit.copy_empty_like()
    inverse.global_phase = 0
    for gate in reversed(circuit.data[segment.start : segment.stop]):
        undone = gate.operation.inverse()
        if not hasattr(undone, "__array__"):  # Qiskit knows the inverse of CSX by its parts only
            undone = UnitaryGate(gate.operation.to_matrix().conj().T)
        inverse._append(gate.replace(operation=undone))
    return inverse


class _Overlaps:
    """The matrices C of a pair of states, computed when they are needed.

    Args:
        state: psi, shape (2**n,).
        adjoint: lambda, in the same shape.
    """

    def __init__(self, state: State, adjoint: State) -> None:
        self._state, self._adjoint = state, adjoint
        self._groups: dict[int, NDArray[Any]] = {}
        self._diagonal: NDArray[np.floating] | None = None

    def imaginary_part(self, qubits: tuple[int, ...], operator: NDArray[np.complex128]) -> float:
        """Return ``Im <lambda|O|psi>`` for an operator on one or two qubits."""
        if qubits[0] // _GROUP == qubits[-1] // _GROUP:
            matrix = self._in_group(qubits)
        elif not np.any(operator - np.diag(np.diagonal(operator))):
            return float(np.diagonal(operator).real @ self._signed_sums(qubits))
        else:
            matrix = self._pair(qubits)
        return float(np.sum(operator.T * matrix).imag)

    def _in_group(self, qubits: tuple[int, ...]) -> NDArray[Any]:
        """Return C of qubits of one group, from that of the group."""
        first = qubits[0] // _GROUP * _GROUP
        size = min(_GROUP, self._state.size.bit_length() - 1 - first)
        if first not in self._groups:
            shape = (-1, 1 << size, 1 << first)
            psi, lam = self._state.reshape(shape), self._adjoint.reshape(shape)
            total: Any = 0
            step = max(1, _BLOCK_AMPLITUDES >> (size + first))
            for start in range(0, len(psi), step):
                ket, bra = psi[start : start + step], lam[start : start + step].conj()
                if first == 0:
                    total = total + ket[:, :, 0].T @ bra[:, :, 0]
                else:
                    total = total + (ket @ bra.swapaxes(1, 2)).sum(axis=0)
            self._groups[first] = total
        axes = list(range(size))
        places = [size - 1 - (qubit - first) for qubit in reversed(qubits)]
        bras = [size + axis if axis in places else axis for axis in axes]
        kept = [*places, *(size + place for place in places)]
        matrix = np.einsum(self._groups[first].reshape([2] * (2 * size)), [*axes, *bras], kept)
        return np.asarray(matrix.reshape(1 << len(qubits), -1))

    def _pair(self, qubits: tuple[int, ...]) -> NDArray[Any]:
        """Return C of any two qubits."""
        psi = self._split(self._state, qubits).reshape(4, -1)
        lam = self._split(self._adjoint, qubits).reshape(4, -1)
        return np.asarray(psi @ lam.conj().T)

    def _signed_sums(self, qubits: tuple[int, ...]) -> NDArray[np.floating]:
        """Return the imaginary parts of C's diagonal for any two qubits."""
        if self._diagonal is None:
            psi, lam = self._state, self._adjoint
            self._diagonal = psi.imag * lam.real - psi.real * lam.imag
        return np.asarray(self._split(self._diagonal, qubits).reshape(4, -1).sum(axis=1))

    @staticmethod
    def _split(array: NDArray[Any], qubits: tuple[int, ...]) -> NDArray[Any]:
        """Return an array with the bits of two qubits as its first axes, the second bit first."""
        low, high = sorted(qubits)
        split = array.reshape(-1, 2, 1 << (high - low - 1), 2, 1 << low)
        first, second = (3, 1) if qubits[0] == low else (1, 3)
        return split.transpose(second, first, 0, 2, 4)
