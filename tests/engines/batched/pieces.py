"""Pieces with slots, and what Aer's simulations of their circuits say about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.quantum_info import random_unitary

from hpcq.circuits.slots import generic_angle, slot_label, slot_of
from hpcq.core.limits import Limits
from hpcq.cutting.cut_circuit import cut_circuit
from hpcq.cutting.cuts import Cuts, GateCut, WireCut
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.aer import Aer
from hpcq.engines.requests import Operator

_ROTATIONS = ("rx", "ry", "rz")
_PAIR_ROTATIONS = ("rxx", "ryy", "rzz", "rzx")
_FIXED = ("h", "s", "x", "sx", "t", "y")
_FIXED_PAIRS = ("cx", "cz", "swap", "iswap", "ecr", "ch", "cy", "csx", "dcx")
_STANDARD = get_standard_gate_name_mapping()


def slot_gate(circuit: QuantumCircuit, name: str, slot: int, sign: int, qubits: object) -> None:
    """Append a rotation by the angle of a slot."""
    kind = type(_STANDARD[name])
    gate = kind(sign * generic_angle(slot), label=slot_label((slot, sign)))
    circuit.append(gate, qubits)


def random_circuit(
    rng: np.random.Generator, num_qubits: int, gates: int, slots: int
) -> QuantumCircuit:
    """Return gates of all kinds; several of them may have the same slot."""
    circuit = QuantumCircuit(num_qubits)
    for _ in range(gates):
        pair = rng.choice(num_qubits, 2, replace=False).tolist()
        slot, sign = int(rng.integers(slots)), int(rng.choice((-1, 1)))
        kind = rng.integers(8)
        if kind < 3:
            slot_gate(circuit, rng.choice(_ROTATIONS), slot, sign, pair[:1])
        elif kind < 5:
            slot_gate(circuit, rng.choice(_PAIR_ROTATIONS), slot, sign, pair)
        elif kind == 5:
            getattr(circuit, rng.choice(_FIXED))(pair[0])
        elif kind == 6:
            getattr(circuit, rng.choice(_FIXED_PAIRS))(*pair)
        else:
            size = int(rng.integers(1, 3))
            circuit.unitary(random_unitary(2**size, seed=int(rng.integers(1000))), pair[:size])
    return circuit


def cut_pieces(
    circuit: QuantumCircuit, labels: str, wires: Sequence[WireCut] = ()
) -> list[ExactTensor]:
    """Return the pieces of a circuit whose gates between labels are cut."""
    pairs = [
        [circuit.find_bit(q).index for q in i.qubits] for i in circuit.data if len(i.qubits) == 2
    ]
    cuts = [GateCut(number) for number, (a, b) in enumerate(pairs) if labels[a] != labels[b]]
    cut = cut_circuit(circuit, Cuts(tuple(cuts), tuple(wires)))
    return [ExactTensor(subcircuit, ()) for subcircuit in cut.subcircuits]


def random_operators(
    piece: ExactTensor, rng: np.random.Generator, count: int
) -> tuple[Operator, ...]:
    """Return the identity, Z on a wire, and random sums of strings on the piece's open wires."""
    wires = sorted(piece.subcircuit.open_wires.values())

    def string() -> tuple[tuple[int, str], ...]:
        chosen = sorted(rng.permutation(wires)[: rng.integers(0, 4)].tolist())
        return tuple((wire, str(rng.choice(list("XXYYZZ01+-rl")))) for wire in chosen)

    sums = [
        tuple((string(), float(rng.normal())) for _ in range(rng.integers(1, 7)))
        for _ in range(count)
    ]
    ends = [(((wires[0], "Z"),), 1.0)] if wires else []
    if len(wires) > 1:
        ends.append((((wires[0], "1"), (wires[-1], "Z")), 0.5))
    return ((((), 1.0),), *sums, *((each,) for each in ends))


class AerReference:
    """Tensors of operators, and their derivatives by shifts of single gates, from Aer's states."""

    def __init__(self, piece: ExactTensor, operators: Sequence[Operator]) -> None:
        self._piece, self._operators = piece, operators
        self._strings = tuple(dict.fromkeys(s for operator in operators for s, _ in operator))
        self._aer = Aer(Limits(1 << 30))
        self._circuits = [piece.circuit(branch) for branch in range(piece.num_branches)]

    def tensors(self, row: NDArray[np.float64], gate: int = -1, shift: float = 0.0) -> Any:
        """Return the tensors, shape (operators, D, D), with one gate's angle shifted."""
        piece = self._piece
        states = [
            self._aer.compile_circuit(self._bound(circuit, row, gate, shift))()
            for circuit in self._circuits
        ]
        states = [state.reshape(piece.block_shape[1], -1) for state in states]
        blocks = []
        for task in range(piece.num_tasks):
            ket, bra = piece.branches(task)
            blocks.append(piece.products(states[ket], states[bra], self._strings))
        tensors = piece.join(blocks)
        place = {string: number for number, string in enumerate(self._strings)}
        return np.array(
            [sum(c * tensors[place[string]] for string, c in o) for o in self._operators]
        )

    def derivatives(
        self, row: NDArray[np.float64], environments: NDArray[np.complex128]
    ) -> NDArray[np.float64]:
        """Return derivatives by the parameter-shift rule, shape (sums, slots)."""
        slots = [slot_of(i) for i in self._circuits[0].data]
        numbers = [slot[0] for slot in slots if slot is not None]
        found = np.zeros((len(environments), len(self._piece.slots)))
        for gate, number in enumerate(numbers):
            up, down = (self.tensors(row, gate, s * np.pi / 2) for s in (1, -1))
            change = np.einsum("sopq,opq->s", environments, (up - down) / 2).real
            found[:, self._piece.slots.index(number)] += change
        return found

    def _bound(
        self, circuit: QuantumCircuit, row: NDArray[np.float64], gate: int, shift: float
    ) -> QuantumCircuit:
        bound = circuit.copy_empty_like()
        count = 0
        for instruction in circuit.data:
            slot = slot_of(instruction)
            if slot is not None:
                angle = row[self._piece.slots.index(slot[0])] + (shift if count == gate else 0)
                operation = type(instruction.operation)(slot[1] * angle)
                instruction = instruction.replace(operation=operation)
                count += 1
            bound._append(instruction)
        return bound
