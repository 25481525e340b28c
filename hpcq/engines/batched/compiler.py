"""Compile the circuit of a branch: turn its layers of gates into steps on the states."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.batched.compiled_branch import CompiledBranch
from hpcq.engines.batched.gates import HADAMARD, Gate, Matrix, gates_of, kronecker
from hpcq.engines.batched.local_unitaries import NO_GATES, LocalUnitary, UnitaryTable
from hpcq.engines.batched.phases import PhaseTable
from hpcq.engines.batched.schedule import (
    GROUP,
    Block,
    LocalLayer,
    MonomialLayer,
    Product,
    Scheduler,
)
from hpcq.engines.batched.steps import (
    FixedStep,
    GroupStep,
    MonomialStep,
    ProductStep,
    Step,
    Window,
    as_real_if_real,
)

Indices = NDArray[np.intp]

_MIN_BELOW = 3
"""Minimum number of bits below the lowest bit of a block for which states are multiplied where they
are. With 1 or 2, the matrix products are so narrow that two permutations of the states cost less
(measured at 2**12 amplitudes, complex128)."""


def compile_branch(tensor: ExactTensor, branch: int, xp: Any, dtype: Any) -> CompiledBranch:
    """Compile one branch of a piece; its states are psi[p, rest], p the index of open ports."""
    ports, high = tensor.subcircuit.ports, tensor.simulated_qubits
    ancillas: list[int] = []
    controls = set()
    ends: dict[int, int] = {}
    circuit = tensor.circuit(branch)
    gates = gates_of(circuit, {number: i for i, number in enumerate(tensor.slots)})
    for number in tensor.open_ports:
        port = ports[number]
        top, high = high - 1, high - port.qubits
        if port.kind != "output":
            ancillas += range(high, top + 1)
        if port.kind == "control":
            controls.add(top)
        if port.kind == "input":
            copied = next(g for g in gates if len(g.qubits) == 2 and g.qubits[0] == top)
            ends[copied.qubits[1]] = top
    return _Compiler(gates, circuit.num_qubits, ancillas, controls, ends, xp, dtype).compiled()


class _Compiler:
    """Turns layers of gates into steps.

    Args:
        gates: The gates of the circuit.
        num_qubits: Number of qubits.
        ancillas: The ancillas of ports.
        controls: Those of control ports.
        ends: Wire that begins at a cut → the ancilla of its input port.
        xp: The module of arrays.
        dtype: Type of the states.
    """

    def __init__(
        self,
        gates: Sequence[Gate],
        num_qubits: int,
        ancillas: Sequence[int],
        controls: set[int],
        ends: Mapping[int, int],
        xp: Any,
        dtype: Any,
    ) -> None:
        self._xp, self._dtype, self._ends = xp, dtype, ends
        inputs, all_ancillas = set(ends.values()), set(ancillas)
        self._joining = all_ancillas - inputs
        self._wires = [q for q in range(num_qubits) if q not in all_ancillas]
        kept = [g for g in gates if not _is_prepared(g, all_ancillas, inputs)]
        # |+> has been left unnormalised, which the last H gate of a control port makes up for.
        kept += [Gate((q,), HADAMARD / np.sqrt(2)) for q in sorted(controls)]
        self._scheduler = Scheduler(kept, self._wires, ancillas)
        self._active = sorted({*self._wires, *ends.values()})
        self._unitaries: list[LocalUnitary] = [NO_GATES]
        self._groups: dict[int, list[tuple[int, ...]]] = {}
        self._steps: list[Step] = []

    def compiled(self) -> CompiledBranch:
        """Return the compiled circuit."""
        layers = self._scheduler.layers()
        first = next(layers)
        assert isinstance(first, Product)
        product = self._product(first.unitaries)
        for layer in layers:
            if isinstance(layer, LocalLayer):
                self._local_layer(layer.unitaries)
            elif isinstance(layer, MonomialLayer):
                self._monomial_layer(layer.gates)
            else:
                assert isinstance(layer, Block)
                self._block(layer)
        self._monomial_layer((), join=self._joining - set(self._active))
        table = UnitaryTable(self._unitaries, self._groups, self._xp, self._dtype)
        steps = (product(table), *self._steps)
        rotations = self._scheduler.rotations
        slots = np.array([gate.slot for gate in rotations], dtype=np.intp)
        signs = self._xp.asarray(np.array([gate.sign for gate in rotations], dtype=float))
        return CompiledBranch(steps, table, slots, signs, self._xp, self._dtype)

    def _add_unitary(self, unitary: LocalUnitary) -> int:
        self._unitaries.append(unitary)
        return len(self._unitaries) - 1

    def _group(self, window: Sequence[int], unitaries: Mapping[int, int]) -> tuple[int, int]:
        """Add a group; return its number of qubits, and its place among those of that many."""
        groups = self._groups.setdefault(len(window), [])
        groups.append(tuple(unitaries.get(qubit, 0) for qubit in reversed(window)))
        return len(window), len(groups) - 1

    def _product(self, layer: Mapping[int, LocalUnitary]) -> Callable[[UnitaryTable], Step]:
        """Return a function that makes the step of the first layer.

        The product state is that of all wires and of the ancillas of input ports.
        """
        unitaries = {wire: self._add_unitary(unitary) for wire, unitary in layer.items()}
        descending = self._wires[::-1]
        order = []
        for wire in descending:
            order += [wire, self._ends[wire]] if wire in self._ends else [wire]
        source = self._permutation(order[::-1], self._active)
        turning = [wire for wire, unitary in layer.items() if not unitary.is_fixed]
        probes = tuple(
            (self._group(window, unitaries), self._window(window))
            for window in self._windows(turning)
        )
        qubits = len(self._active)

        def step(table: UnitaryTable) -> Step:
            factors = tuple(
                (table.place(unitaries[wire]), wire in self._ends) for wire in descending
            )
            return ProductStep(qubits, factors, source, probes, bool(turning))

        return step

    def _local_layer(self, layer: Mapping[int, LocalUnitary]) -> None:
        """Add a step for each group of neighbouring qubits."""
        self._monomial_layer((), join=set(layer) - set(self._active))
        for window in self._windows(layer):
            unitaries = {qubit: layer[qubit] for qubit in window if qubit in layer}
            if all(unitary.is_fixed for unitary in unitaries.values()):
                factors = [unitaries.get(qubit, NO_GATES).first for qubit in reversed(window)]
                self._block(Block(tuple(window), kronecker(factors)))
            else:
                group = self._group(
                    window, {q: self._add_unitary(unitary) for q, unitary in unitaries.items()}
                )
                self._steps.append(GroupStep(len(self._active), self._window(window), group))

    def _windows(self, qubits: Iterable[int]) -> list[list[int]]:
        """Cover qubits by groups of active qubits that are neighbours in the index."""
        windows: list[list[int]] = []
        wanted = sorted(self._active.index(qubit) for qubit in qubits)
        while wanted:
            span = [place for place in wanted if place < wanted[0] + GROUP]
            windows.append(self._active[span[0] : span[-1] + 1])
            wanted = wanted[len(span) :]
        return windows

    def _window(self, qubits: Sequence[int]) -> Window:
        return Window(self._active.index(qubits[0]), len(qubits))

    def _block(self, block: Block) -> None:
        """Add a fixed matrix, between two permutations if its qubits are no neighbours."""
        places = [self._active.index(qubit) for qubit in block.qubits]
        window, source, target = Window(places[0], len(places)), None, None
        is_window = places == list(range(places[0], places[-1] + 1))
        if not is_window or 0 < places[0] < _MIN_BELOW:
            lowest = self._active[: places[-1] + 1]
            order = [*block.qubits, *(q for q in lowest if q not in block.qubits)]
            source = self._permutation(lowest, order)
            target = self._permutation(order, lowest)
            window = Window(0, len(places))
        matrix = as_real_if_real(block.matrix[None], self._xp, self._dtype)
        self._steps.append(FixedStep(len(self._active), window, matrix, source, target))

    def _permutation(self, before: Sequence[int], after: Sequence[int]) -> Any:
        """Return the index before of each index after, for orders of bits, the lowest first."""
        if list(before) == list(after):
            return None
        index = np.arange(1 << len(after))
        return self._xp.asarray(_gathered(index, [after.index(qubit) for qubit in before]))

    def _monomial_layer(self, gates: Sequence[Gate], join: Iterable[int] = ()) -> None:
        joining = {qubit for gate in gates for qubit in gate.qubits} - set(self._active)
        joining |= set(join)
        if not gates and not joining:
            return
        self._active, before = sorted({*self._active, *joining}), self._active
        touched = {*joining, *(qubit for gate in gates for qubit in gate.qubits)}
        after = self._active[: 1 + self._active.index(max(touched))]
        before = before[: len(after) - len(joining)]
        place = {qubit: number for number, qubit in enumerate(after)}
        index = np.arange(1 << len(after))
        phases = np.ones(len(index), dtype=complex)
        numbers, signs = [], []
        for gate in reversed(gates):
            bits = [place[qubit] for qubit in gate.qubits]
            local = _gathered(index, bits)
            if gate.matrix is None:
                numbers.append(self._scheduler.number(gate))
                signs.append(1 - 2 * (np.bitwise_count(local) & 1).astype(float))
                continue
            sources = np.argmax(gate.matrix != 0, axis=1)
            phases *= gate.matrix[np.arange(len(sources)), sources][local]
            index = _scattered(index, bits, sources[local])
        source = _gathered(index, [place[qubit] for qubit in before])
        self._add_monomial_step(len(before), source, phases, numbers, signs)

    def _add_monomial_step(
        self,
        bits_before: int,
        source: Indices,
        phases: Matrix,
        numbers: Sequence[int],
        signs: Sequence[NDArray[np.float64]],
    ) -> None:
        xp, step = self._xp, MonomialStep(len(self._active))
        if len(source) > 1 << bits_before or (source != np.arange(len(source))).any():
            copies = np.argsort(source, kind="stable").reshape(1 << bits_before, -1).T
            copies = xp.asarray(np.ascontiguousarray(copies))
            step = replace(step, source=xp.asarray(source), copies=copies)
        if (phases != 1).any():
            step = replace(step, phases=xp.asarray(phases, dtype=self._dtype))
        if numbers:
            table = PhaseTable(numbers, np.array(signs), xp, self._dtype)
            step = replace(step, rotations=table)
        self._steps.append(step)


def _is_prepared(gate: Gate, ancillas: Set[int], inputs: Set[int]) -> bool:
    """Whether a gate is an H gate of an ancilla, or copies the value of an input port."""
    return gate.qubits[0] in inputs or (len(gate.qubits) == 1 and gate.qubits[0] in ancillas)


def _gathered(index: Indices, bits: Sequence[int]) -> Indices:
    """Return the numbers whose bits, the lowest first, are these bits of an index."""
    numbers = np.zeros_like(index)
    for place, bit in enumerate(bits):
        numbers |= (index >> bit & 1) << place
    return numbers


def _scattered(index: Indices, bits: Sequence[int], numbers: Indices) -> Indices:
    """Return an index with some bits replaced by those of numbers; the inverse of _gathered."""
    mask = sum(1 << bit for bit in bits)
    changed = index & ~mask
    for place, bit in enumerate(bits):
        changed |= (numbers >> place & 1) << bit
    return changed
