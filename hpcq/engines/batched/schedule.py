"""Schedule a circuit: order its gates in layers, so that few steps apply all of them.

Single-qubit gates wait until a gate on two qubits needs them. Gates that only permute basis states
and change phases (*monomial* gates, rotations about Z and ZZ among them) are merged into one layer
for as long as the gates that wait on their qubits are monomial too. Other fixed gates are collected
in blocks of a few qubits. When neither can go on, all gates that wait form a layer of local
unitaries.

The ancilla of a port joins the simulation at its first gate. Until then it is in |0> + |1>, not
normalised, so that products of states need no factor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpcq.engines.batched.gates import Gate, Matrix
from hpcq.engines.batched.local_unitaries import NO_GATES, LocalUnitary

GROUP = 4
"""Maximum number of qubits of a matrix. Per qubit and amplitude, complex products on 3, 4 and 5
neighbouring qubits took 1.1, 0.9 and 1.2 ns on one core (2**12 amplitudes, OpenBLAS 0.3)."""


@dataclass(frozen=True)
class Product:
    """The first local unitaries of all wires, which start in a product state.

    Attributes:
        unitaries: Wire → its local unitary.
    """

    unitaries: Mapping[int, LocalUnitary]


@dataclass(frozen=True)
class LocalLayer:
    """Local unitaries of some qubits, which are active or are ancillas that join.

    Attributes:
        unitaries: Qubit → its local unitary.
    """

    unitaries: Mapping[int, LocalUnitary]


@dataclass(frozen=True)
class MonomialLayer:
    """Gates that permute basis states and change phases; ancillas among their qubits join.

    Attributes:
        gates: The gates, in order.
    """

    gates: tuple[Gate, ...]


@dataclass(frozen=True)
class Block:
    """Fixed gates on a few qubits, as one matrix.

    Attributes:
        qubits: The qubits, the lowest bit of the matrix's index first.
        matrix: The matrix, shape (2**qubits, 2**qubits).
    """

    qubits: tuple[int, ...]
    matrix: Matrix


Layer = Product | LocalLayer | MonomialLayer | Block


class Scheduler:
    """Divides the gates of a circuit into layers.

    Args:
        gates: The gates; none on an ancilla before it is in |0> + |1>.
        wires: All other qubits, which start in |0> or in a basis state that a port chooses.
        ancillas: The ancillas.

    Attributes:
        rotations: The rotations by the angles of slots, in the order of the circuit.
    """

    def __init__(
        self, gates: Iterable[Gate], wires: Iterable[int], ancillas: Iterable[int]
    ) -> None:
        self._wires, self._ancillas = tuple(wires), frozenset(ancillas)
        self._queues: dict[int, deque[Gate]] = {q: deque() for q in (*wires, *ancillas)}
        self._waiting: dict[int, list[Gate]] = {q: [] for q in self._queues}
        self.rotations: list[Gate] = []
        self._numbers: dict[Gate, int] = {}
        for gate in gates:
            for qubit in gate.qubits:
                self._queues[qubit].append(gate)
            if gate.matrix is None:
                self._numbers[gate] = len(self.rotations)
                self.rotations.append(gate)

    def number(self, gate: Gate) -> int:
        """Return the number of a rotation, its place among ``rotations``."""
        return self._numbers[gate]

    def layers(self) -> Iterator[Layer]:
        """Yield the layers; the first is a Product."""
        for qubit in self._queues:
            self._collect(qubit)
        yield Product({wire: self._take_unitary(wire) for wire in self._wires})
        while any(self._queues.values()):
            gates = self._monomial_gates()
            if gates:
                yield MonomialLayer(tuple(gates))
                continue
            block = self._block()
            yield block or self._local_layer()
        if any(self._waiting.values()):
            yield self._local_layer()

    def _collect(self, qubit: int) -> None:
        """Move the single-qubit gates that come next on a qubit to those that wait."""
        queue = self._queues[qubit]
        while queue and len(queue[0].qubits) == 1:
            self._waiting[qubit].append(queue.popleft())

    def _take_unitary(self, qubit: int) -> LocalUnitary:
        """Return the product of the gates that wait on a qubit, which wait no longer."""
        unitary = NO_GATES
        for gate in self._waiting[qubit]:
            if gate.matrix is None:
                unitary = unitary.rotated(self.number(gate))
            else:
                unitary = unitary.then(gate.matrix)
        self._waiting[qubit] = []
        return unitary

    def _local_layer(self) -> LocalLayer:
        return LocalLayer(
            {q: self._take_unitary(q) for q, waiting in self._waiting.items() if waiting}
        )

    def _next(self) -> Iterator[Gate]:
        """Yield the two-qubit gates that can come next, after those that wait on their qubits."""
        for qubit, queue in self._queues.items():
            if queue:
                gate = queue[0]
                if qubit == gate.qubits[0] and self._queues[gate.qubits[1]][0] is gate:
                    yield gate

    def _take(self, gate: Gate) -> list[Gate]:
        """Take a gate and those that wait on its qubits; return them in order."""
        taken = []
        for qubit in gate.qubits:
            taken += self._waiting[qubit]
            self._waiting[qubit] = []
            self._queues[qubit].popleft()
        for qubit in gate.qubits:
            self._collect(qubit)
        return [*taken, gate]

    def _repeat(self, choose: Callable[[], Gate | None]) -> list[Gate]:
        """Take one chosen gate after the other, until none is chosen."""
        taken: list[Gate] = []
        while (gate := choose()) is not None:
            taken += self._take(gate)
        return taken

    def _monomial_gates(self) -> list[Gate]:
        return self._repeat(lambda: next(filter(self._joins_monomial, self._next()), None))

    def _joins_monomial(self, gate: Gate) -> bool:
        return gate.is_monomial and all(
            each.is_monomial for qubit in gate.qubits for each in self._waiting[qubit]
        )

    def _block(self) -> Block | None:
        """Return a block of fixed gates on a few qubits, if there is one."""
        members: list[int] = []

        def choose() -> Gate | None:
            best = None
            for gate in self._next():
                new = [qubit for qubit in gate.qubits if qubit not in members]
                fits = len(members) + len(new) <= GROUP and self._is_fixed(gate)
                if not fits or (new and gate.is_monomial):
                    continue
                distance = min((abs(q - m) for q in gate.qubits for m in members), default=0)
                rank = (len(new), distance)
                if best is None or rank < best[0]:
                    best = rank, gate
            if best is None:
                return None
            members.extend(q for q in best[1].qubits if q not in members)
            return best[1]

        gates = self._repeat(choose)
        if not gates:
            return None
        for qubit in members:
            if all(gate.matrix is not None for gate in self._waiting[qubit]):
                gates += self._waiting[qubit]
                self._waiting[qubit] = []
        qubits = tuple(sorted(members))
        return Block(qubits, _matrix_of(gates, qubits))

    def _is_fixed(self, gate: Gate) -> bool:
        return gate.matrix is not None and all(
            qubit not in self._ancillas and all(g.matrix is not None for g in self._waiting[qubit])
            for qubit in gate.qubits
        )


def _matrix_of(gates: Sequence[Gate], qubits: Sequence[int]) -> Matrix:
    """Return the product of fixed gates; the first of the qubits is the lowest bit."""
    size = len(qubits)
    state = np.eye(1 << size, dtype=complex).reshape((2,) * size + (-1,))
    for gate in gates:
        assert gate.matrix is not None, "blocks have fixed gates"
        axes = [size - 1 - qubits.index(qubit) for qubit in reversed(gate.qubits)]
        count = len(axes)
        tensor = gate.matrix.reshape((2,) * (2 * count))
        state = np.tensordot(tensor, state, (range(count, 2 * count), axes))
        state = np.moveaxis(state, range(count), axes)
    return state.reshape(1 << size, 1 << size)
