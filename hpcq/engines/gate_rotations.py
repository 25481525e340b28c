"""Write gates as Pauli rotations; those by multiples of pi/2 become Clifford tableaus.

A rotation about a Pauli P by an angle t is exp(-i t P / 2). Up to a global phase, a one-qubit gate
is at most three rotations, a two-qubit gate at most fifteen (its Cartan form). Rotations by
multiples of pi/2 map Paulis to Paulis, so they cost nothing when Paulis are propagated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
import stim
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.exceptions import QiskitError

from hpcq.circuits.angles import reduce_parameters
from hpcq.circuits.rotations import PARAMETRISED, Rotation, controlled_phase
from hpcq.circuits.unitary import nearest_unitary
from hpcq.core.errors import InputError
from hpcq.cutting.gate_decompositions import PAULI_MATRICES, u_angles

MAX_ROUNDED = 1e-12
"""Angles in radians, summed over a circuit, that are rounded to multiples of pi/2: an upper bound
of the error that this causes in the expectation value of a Pauli string."""

_MATRIX_ROUNDING = 4e-15
"""Angle in radians below which a rotation found in a matrix is rounding: two-qubit Cliffords
written as matrices of doubles came out with up to 1e-15."""

ANGLE_ROUNDING = 4e-16
"""Relative rounding error of an angle: two units in the last place."""

_QUARTER = math.pi / 2
_ONE_QUBIT = ("X", "Y", "Z")
_TWO_QUBITS = tuple(a + b for a in "_XYZ" for b in "_XYZ")[1:]
_IGNORED = frozenset(("barrier", "id", "global_phase", "delay"))


@dataclass(frozen=True)
class GateSteps:
    """A gate as a sequence of Cliffords and rotations.

    Attributes:
        steps: In temporal order, tableaus of the Heisenberg picture (P to C^dagger P C) on the
            gate's qubits, and rotations by other angles.
        rotations: Number of rotations in ``steps``.
        rounded: Sum of the angles in radians that were rounded to multiples of pi/2.
    """

    steps: tuple[stim.Tableau | Rotation, ...]
    rotations: int
    rounded: float


def circuit_steps(circuit: QuantumCircuit) -> list[tuple[GateSteps, list[int]]]:
    """Return the steps of a circuit's gates in temporal order, with the gates' qubits.

    Angles near multiples of pi/2 are rounded to them if their distances add up to no more than
    :data:`MAX_ROUNDED`; otherwise none is.

    Raises:
        InputError: If an instruction is not a unitary gate on one or two qubits.
    """
    steps = _circuit_steps(circuit, exact=False)
    if sum([gate.rounded for gate, _ in steps]) > MAX_ROUNDED:
        steps = _circuit_steps(circuit, exact=True)
    return steps


def count_rotations(circuit: QuantumCircuit) -> int:
    """Return the number of rotations by angles other than multiples of pi/2.

    Zero means a Clifford circuit. It takes about 2 microseconds a gate.

    Raises:
        InputError: If an instruction is not a unitary gate on one or two qubits.
    """
    return sum([gate.rotations for gate, _ in circuit_steps(circuit)])


def first_rotating_gate(circuit: QuantumCircuit) -> str | None:
    """Return the name of the first gate that is not Clifford, with its qubits; None if all are.

    Raises:
        InputError: If an instruction is not a unitary gate on one or two qubits.
    """
    gates = (step for step in circuit.data if step.name not in _IGNORED)
    for step, (gate, qubits) in zip(gates, circuit_steps(circuit), strict=True):
        if gate.rotations:
            values = ", ".join(f"{value:.6g}" for value in step.params if isinstance(value, float))
            return f"{step.name}{f'({values})' if values else ''} on {', '.join(map(str, qubits))}"
    return None


def _circuit_steps(circuit: QuantumCircuit, exact: bool) -> list[tuple[GateSteps, list[int]]]:
    positions = {bit: index for index, bit in enumerate(circuit.qubits)}
    steps = []
    for instruction in circuit.data:
        name = instruction.name
        if name in _IGNORED:
            continue
        qubits = [positions[bit] for bit in instruction.qubits]
        if instruction.is_standard_gate() and len(qubits) <= 2:
            gate = _standard_steps(name, tuple(instruction.params), exact)
        else:
            gate = _matrix_steps(_matrix(instruction.operation, qubits), exact)
        steps.append((gate, qubits))
    return steps


def _matrix(operation: Any, qubits: Sequence[int]) -> bytes:
    if len(qubits) > 2 or not hasattr(operation, "to_matrix"):
        raise InputError(
            f"circuit: {operation.name} on {len(qubits)} qubits, expected unitary gates on one or "
            "two qubits"
        )
    try:
        return np.asarray(operation.to_matrix(), dtype=complex).tobytes()
    except QiskitError:
        raise InputError(f"circuit: {operation.name} has no matrix, expected one") from None


@lru_cache(1 << 14)
def _standard_steps(name: str, params: tuple[Any, ...], exact: bool) -> GateSteps:
    """Return the steps of one of Qiskit's standard gates."""
    try:
        angles = reduce_parameters(name, [float(value) for value in params])
    except TypeError:
        raise InputError(f"circuit: {name} has a free parameter, expected numbers") from None
    if name not in _ROTATIONS:
        operation = _standard_class(name)(*angles)
        return _matrix_steps(_matrix(operation, range(operation.num_qubits)), exact)
    return _collect(_ROTATIONS[name](*angles), exact, rounding=0.0)


@cache
def _standard_class(name: str) -> Any:
    from qiskit.circuit.library import get_standard_gate_name_mapping

    return get_standard_gate_name_mapping()[name].base_class


@lru_cache(1 << 14)
def _matrix_steps(matrix: bytes, exact: bool) -> GateSteps:
    """Return the steps of a gate given by its matrix."""
    unitary = np.frombuffer(matrix, dtype=complex)
    unitary = nearest_unitary(unitary.reshape(2, 2) if unitary.size == 4 else unitary.reshape(4, 4))
    clifford = _as_clifford(unitary)
    if clifford is not None:
        tableau, distance = clifford
        if distance <= (_MATRIX_ROUNDING if exact else MAX_ROUNDED):
            return GateSteps((tableau,), 0, distance if distance > _MATRIX_ROUNDING else 0.0)
    if len(unitary) == 2:
        return _collect(_local(unitary), exact, _MATRIX_ROUNDING)
    return _collect(_cartan(unitary), exact, _MATRIX_ROUNDING)


def _as_clifford(unitary: NDArray[np.complex128]) -> tuple[stim.Tableau, float] | None:
    """Return the tableau of a matrix close to a Clifford, in the Heisenberg picture, and an error.

    The error is the largest sum of the absolute coefficients of the Paulis that are dropped from
    the image of a generator. Returns None if the matrix is not close to a Clifford.
    """
    letters = _ONE_QUBIT if len(unitary) == 2 else _TWO_QUBITS
    matrices = _pauli_matrices(len(letters[0]))
    generators = ("X", "Z") if len(unitary) == 2 else ("X_", "_X", "Z_", "_Z")
    images, distance = [], 0.0
    for generator in generators:
        image = unitary.conj().T @ matrices[letters.index(generator)] @ unitary
        parts = np.einsum("kij,ji->k", matrices, image).real / len(unitary)
        sizes = np.abs(parts)
        main = int(sizes.argmax())
        distance = max(distance, float(sizes.sum() - sizes[main]))
        if distance > 1e-6:
            return None
        images.append(stim.PauliString(("-" if parts[main] < 0 else "+") + letters[main]))
    half = len(images) // 2
    return stim.Tableau.from_conjugated_generators(xs=images[:half], zs=images[half:]), distance


@cache
def _pauli_matrices(num_qubits: int) -> NDArray[np.complex128]:
    matrices = {"_": PAULI_MATRICES["I"], **PAULI_MATRICES}
    if num_qubits == 1:
        return np.array([matrices[letter] for letter in _ONE_QUBIT])
    # The gate's first qubit is the lowest bit of a matrix.
    return np.array([np.kron(matrices[pair[1]], matrices[pair[0]]) for pair in _TWO_QUBITS])


def _cartan(unitary: NDArray[np.complex128]) -> list[Rotation]:
    from qiskit.synthesis import TwoQubitWeylDecomposition

    kak = TwoQubitWeylDecomposition(unitary, fidelity=None)
    # Qiskit's "r" factor acts on qubit 0 of the gate, its "l" factor on qubit 1.
    before = _on(0, _local(kak.K2r)) + _on(1, _local(kak.K2l))
    after = _on(0, _local(kak.K1r)) + _on(1, _local(kak.K1l))
    middle = [("XX", -2 * kak.a), ("YY", -2 * kak.b), ("ZZ", -2 * kak.c)]
    return before + middle + after


def _local(unitary: NDArray[np.complex128]) -> list[Rotation]:
    return _euler(*u_angles(unitary), rounding=_MATRIX_ROUNDING)


def _on(side: int, rotations: Sequence[Rotation]) -> list[Rotation]:
    """Return rotations of one qubit as those of a qubit of a pair."""
    return [(f"_{letter}" if side else f"{letter}_", angle) for letter, angle in rotations]


def _euler(theta: float, phi: float, lam: float, rounding: float = 0.0) -> list[Rotation]:
    """Return the rotations of a ``UGate``, one instead of two about Z where they are adjacent."""
    turn = abs(math.remainder(theta, 2 * math.pi))
    noise = max(rounding, ANGLE_ROUNDING * abs(theta))
    if turn <= noise:
        return [("Z", phi + lam), ("Y", theta)]
    if abs(turn - math.pi) <= noise:
        return [("Z", lam - phi), ("Y", theta)]
    return [("Z", lam), ("Y", theta), ("Z", phi)]


def _collect(rotations: Sequence[Rotation], exact: bool, rounding: float) -> GateSteps:
    """Return rotations as steps; ``rounding`` is the error of their angles, on top of a few ulp."""
    steps: list[stim.Tableau | Rotation] = []
    rounded = 0.0
    for pauli, angle in rotations:
        turns = round(angle / _QUARTER)
        distance = abs(angle - turns * _QUARTER)
        noise = max(rounding, ANGLE_ROUNDING * abs(angle))
        if distance > (noise if exact else max(noise, MAX_ROUNDED)):
            steps.append((pauli, angle))
            continue
        rounded += distance if distance > noise else 0.0
        if turns % 4 == 0:
            continue
        tableau = _quarter_turns(pauli, turns % 4)
        if steps and isinstance(steps[-1], stim.Tableau):
            steps[-1] = tableau.then(steps[-1])  # the later gate acts first on a Pauli
        else:
            steps.append(tableau)
    return GateSteps(tuple(steps), sum(isinstance(step, tuple) for step in steps), rounded)


@cache
def _quarter_turns(pauli: str, turns: int) -> stim.Tableau:
    """Return the tableau P to R^dagger P R of a rotation R by some quarter turns."""
    axis = stim.PauliString(pauli)
    size = len(axis)

    def image(letter: str, qubit: int) -> stim.PauliString:
        generator = stim.PauliString(size)
        generator[qubit] = letter
        for _ in range(turns):
            if not generator.commutes(axis):
                generator = 1j * axis * generator
        return generator

    return stim.Tableau.from_conjugated_generators(
        xs=[image("X", q) for q in range(size)], zs=[image("Z", q) for q in range(size)]
    )


_ROTATIONS: dict[str, Callable[..., list[Rotation]]] = {
    **PARAMETRISED,
    **dict.fromkeys(("u", "u3"), _euler),
    "u2": lambda phi, lam: _euler(_QUARTER, phi, lam),
    "t": lambda: [("Z", math.pi / 4)],
    "tdg": lambda: [("Z", -math.pi / 4)],
    "cs": lambda: controlled_phase(_QUARTER),
    "csdg": lambda: controlled_phase(-_QUARTER),
    "csx": lambda: [("Z_", math.pi / 4), *PARAMETRISED["crx"](_QUARTER)],
    "ch": lambda: [("_Y", -math.pi / 4), *controlled_phase(math.pi), ("_Y", math.pi / 4)],
}
