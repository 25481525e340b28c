"""Schedule a circuit: an order of its gates in which few steps do all of them.

Gates on one qubit wait in its *run*. Gates that permute basis states, and rotations about Z and ZZ,
are taken as long as the runs on their qubits are of that kind too, and become one step. Other fixed
gates are collected in blocks of a few qubits. When neither can go on, all runs become matrices on
groups of neighbouring qubits.

The ancilla of a port takes part from its first gate on. Until then it is in |0> + |1>: it is not
normalised, so that no factor remains in products of states.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpcq.engines.batched.gates import Gate, Matrix
from hpcq.engines.batched.runs import EMPTY_RUN, Run

GROUP = 4
"""Maximum number of qubits of a matrix. Per qubit and amplitude, complex products on 3, 4 and 5
neighbouring qubits took 1.1, 0.9 and 1.2 ns on one core (2**12 amplitudes, OpenBLAS 0.3)."""


@dataclass(frozen=True)
class Product:
    """The first runs of all wires.

    Attributes:
        runs: Wire → its run.
    """

    runs: Mapping[int, Run]


@dataclass(frozen=True)
class Runs:
    """Runs of some qubits, all of them at work, or ancillas that join."""

    runs: Mapping[int, Run]


@dataclass(frozen=True)
class Moves:
    """Gates that permute basis states or change phases; ancillas among their qubits join."""

    gates: tuple[Gate, ...]


@dataclass(frozen=True)
class Block:
    """A fixed matrix.

    Attributes:
        qubits: The qubits, the lowest bit of the matrix's index first.
        matrix: The matrix.
    """

    qubits: tuple[int, ...]
    matrix: Matrix


Layer = Product | Runs | Moves | Block


class Scheduler:
    """Takes the gates of a circuit in layers.

    Args:
        gates: The gates; none on an ancilla before it is in |0> + |1>.
        wires: All other qubits, which start in |0>, or at the value of a port.
        ancillas: The ancillas.
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
        yield Product({wire: self._take_run(wire) for wire in self._wires})
        while any(self._queues.values()):
            moves = self._moves()
            if moves:
                yield Moves(tuple(moves))
                continue
            block = self._block()
            yield block or self._runs()
        if any(self._waiting.values()):
            yield self._runs()

    def _collect(self, qubit: int) -> None:
        """Let the gates on one qubit wait that are next on it."""
        queue = self._queues[qubit]
        while queue and len(queue[0].qubits) == 1:
            self._waiting[qubit].append(queue.popleft())

    def _take_run(self, qubit: int) -> Run:
        run = EMPTY_RUN
        for gate in self._waiting[qubit]:
            run = run.rotated(self.number(gate)) if gate.matrix is None else run.then(gate.matrix)
        self._waiting[qubit] = []
        return run

    def _runs(self) -> Runs:
        return Runs({q: self._take_run(q) for q, waiting in self._waiting.items() if waiting})

    def _next(self) -> Iterator[Gate]:
        """Yield the gates on two qubits that can come next but for the runs."""
        for qubit, queue in self._queues.items():
            if queue:
                gate = queue[0]
                if qubit == gate.qubits[0] and self._queues[gate.qubits[1]][0] is gate:
                    yield gate

    def _take(self, gate: Gate) -> list[Gate]:
        """Take a gate and the runs before it, in order."""
        taken = []
        for qubit in gate.qubits:
            taken += self._waiting[qubit]
            self._waiting[qubit] = []
            self._queues[qubit].popleft()
        for qubit in gate.qubits:
            self._collect(qubit)
        return [*taken, gate]

    def _repeat(self, choose: Callable[[], Gate | None]) -> list[Gate]:
        """Take the gates that are chosen, until there is none."""
        taken: list[Gate] = []
        while (gate := choose()) is not None:
            taken += self._take(gate)
        return taken

    def _moves(self) -> list[Gate]:
        return self._repeat(lambda: next(filter(self._can_move, self._next()), None))

    def _can_move(self, gate: Gate) -> bool:
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
