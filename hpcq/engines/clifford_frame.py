"""Move all Clifford gates of a circuit behind its rotations.

A circuit is U = C R_m ... R_1: Pauli rotations R_j in temporal order, then one Clifford C. The
expectation value of O in U|0> is that of C^dagger O C after the rotations alone. A rotation about P
that stood behind the Cliffords D gets the axis D^dagger P D, which stim's tableaus give in time
linear in the number of qubits (Gidney, Quantum 5, 497 (2021)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import stim
from numpy.typing import NDArray
from qiskit import QuantumCircuit

from hpcq.circuits.pauli_text import AXES, PROJECTED_BITS, PauliString
from hpcq.engines.gate_rotations import circuit_steps

GATE_SECONDS = 3e-6
"""Seconds of one gate: 1.9 us to move it into the tableau of 100 qubits, 1.2 us to read it."""

_MAX_MERGE_DISTANCE = 1000
"""Maximum number of rotations between two about the same axis that are merged. To test whether all
of them commute with it takes about 20 ns for each."""


@dataclass(frozen=True, eq=False)
class Paulis:
    """Some Paulis i^phase X^x Z^z.

    Attributes:
        words: 64 qubits to a word: the words of x, then those of z; uint64, shape (2 words, terms).
        phases: Exponents of i, from 0 to 3, uint8, shape (terms,).
    """

    words: NDArray[np.uint64]
    phases: NDArray[np.uint8]

    @staticmethod
    def of(paulis: Sequence[stim.PauliString], num_qubits: int) -> Paulis:
        """Pack Hermitian Paulis of stim."""
        size = max(1, -(-num_qubits // 64))
        octets = np.zeros((len(paulis), 2, 8 * size), np.uint8)
        phases = np.zeros(len(paulis), np.uint8)
        for row, pauli in enumerate(paulis):
            x, z = pauli.to_numpy(bit_packed=True)
            octets[row, 0, : len(x)], octets[row, 1, : len(z)] = x, z
            phases[row] = 2 if pauli.sign.real < 0 else 0
        words = octets.reshape(-1, 16 * size).view("<u8").astype(np.uint64).T.copy()
        ys = np.bitwise_count(words[:size] & words[size:]).sum(axis=0, dtype=np.uint64)
        return Paulis(words, (phases + ys).astype(np.uint8) & 3)

    def times(self, other: Paulis) -> Paulis:
        """Return the products of these Paulis, on the left, and others or one other."""
        size = len(self.words) // 2
        swaps = np.bitwise_count(self.words[size:] & other.words[:size]).sum(axis=0)
        phases = self.phases + other.phases + 2 * swaps
        return Paulis(self.words ^ other.words, phases.astype(np.uint8) & 3)

    def take(self, index: NDArray[np.int64] | slice) -> Paulis:
        """Return some of the Paulis."""
        return Paulis(self.words[:, index], self.phases[index])


@dataclass(frozen=True, eq=False)
class CliffordFrame:
    """A circuit as rotations followed by a Clifford.

    Attributes:
        num_qubits: Number of qubits.
        tableau: The Clifford in the Heisenberg picture: P to C^dagger P C.
        rotations: The axes of the rotations in temporal order, as Paulis with signs.
        angles: Their angles in radians, shape (rotations,).
    """

    num_qubits: int
    tableau: stim.Tableau
    rotations: Paulis
    angles: NDArray[np.float64]

    @staticmethod
    def of(circuit: QuantumCircuit) -> CliffordFrame:
        """Return the frame of a circuit of one- and two-qubit gates.

        Raises:
            InputError: If an instruction is not a unitary gate on one or two qubits.
        """
        tableau = stim.Tableau(circuit.num_qubits)
        axes, angles = [], []
        for gate, qubits in circuit_steps(circuit):
            for step in gate.steps:
                if isinstance(step, tuple):
                    axes.append(_image(tableau, zip(qubits, step[0], strict=True)))
                    angles.append(step[1])
                else:
                    tableau.prepend(step, qubits)
        rotations, merged = _merged(Paulis.of(axes, circuit.num_qubits), angles)
        return CliffordFrame(circuit.num_qubits, tableau, rotations, merged)

    @cached_property
    def simulator(self) -> stim.TableauSimulator:
        """A simulator in the state that the Clifford alone prepares."""
        simulator = stim.TableauSimulator()
        simulator.set_inverse_tableau(self.tableau)
        return simulator

    def observable(self, string: PauliString) -> stim.PauliString:
        """Return C^dagger P C for a string of Paulis, without projectors."""
        pauli = stim.PauliString(self.num_qubits)
        for wire, letter in string:
            pauli[wire] = letter
        return self.tableau(pauli)

    def expanded(self, string: PauliString) -> Paulis:
        """Return the terms C^dagger P C of a string, 2**k of equal weights 2**-k for k projectors.

        Each projector is (1 + P) / 2 or (1 - P) / 2.
        """
        paulis, projectors = split_projectors(string)
        terms = Paulis.of([self.observable(paulis)], self.num_qubits)
        for wire, letter in projectors:
            axis = Paulis.of([self.observable(((wire, AXES[letter]),))], self.num_qubits)
            other = terms.times(axis)
            signs = np.uint8(2 * PROJECTED_BITS[letter])
            terms = Paulis(
                np.concatenate([terms.words, other.words], axis=1),
                np.concatenate([terms.phases, (other.phases + signs) & np.uint8(3)]),
            )
        return terms


def split_projectors(string: PauliString) -> tuple[PauliString, PauliString]:
    """Return the Paulis and the projectors of a string."""
    paulis = tuple(factor for factor in string if factor[1] not in PROJECTED_BITS)
    return paulis, tuple(factor for factor in string if factor[1] in PROJECTED_BITS)


def _merged(rotations: Paulis, angles: Sequence[float]) -> tuple[Paulis, NDArray[np.float64]]:
    """Add the angles of rotations about the same axis if all those between commute with it."""
    merged = np.array(angles, dtype=np.float64)
    kept = np.ones(len(merged), bool)
    latest: dict[bytes, int] = {}
    for number, axis in enumerate(np.ascontiguousarray(rotations.words.T)):
        key = axis.tobytes()
        earlier = latest.get(key, -1)
        between = rotations.words[:, earlier + 1 : number]
        if earlier >= max(0, number - _MAX_MERGE_DISTANCE) and commute(between, axis).all():
            same = rotations.phases[earlier] == rotations.phases[number]
            merged[earlier] += merged[number] if same else -merged[number]
            kept[number] = False
        else:
            latest[key] = number
    index = np.flatnonzero(kept)
    return rotations.take(index), merged[index]


def commute(words: NDArray[np.uint64], axis: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which Paulis, given as words of shape (words, terms), commute with another."""
    half = len(axis) // 2
    swapped = np.concatenate([axis[half:], axis[:half]])
    odd: NDArray[np.bool_] = np.bitwise_count(words & swapped[:, np.newaxis]).sum(axis=0) % 2 == 1
    return ~odd


def _image(tableau: stim.Tableau, factors: zip[tuple[int, str]]) -> stim.PauliString:
    """Return the image of a product of one or two Paulis."""
    outputs = {"X": tableau.x_output, "Y": tableau.y_output, "Z": tableau.z_output}
    images = [outputs[letter](qubit) for qubit, letter in factors if letter != "_"]
    return images[0] if len(images) == 1 else images[0] * images[1]
