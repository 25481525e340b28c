"""Simplify a circuit before it is cut, and translate cuts between it and the original."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from qiskit import QuantumCircuit

from hpcq.circuits.pauli_text import PauliString
from hpcq.cutting.analysis import CircuitAnalysis
from hpcq.cutting.cuts import Cuts, GateCut, WireCut, two_qubit_gates
from hpcq.cutting.passes.gate_steps import GateStep, WirePosition, circuit_of, steps_of
from hpcq.cutting.passes.light_cones import Cone, ConeFinder, cones_of_terms
from hpcq.cutting.passes.merge_gates import merge_blocks
from hpcq.cutting.passes.swaps import relabel_swaps

_Wires = Mapping[WirePosition, tuple[int, int]]


@dataclass(frozen=True, eq=False)
class SimplifiedCircuit:
    """The circuit that is cut in place of the original one.

    Its qubits are those of its light cones, one cone after the other, so it may have a qubit of the
    original circuit more than once, or not at all.

    Attributes:
        original: The circuit before all passes.
        circuit: The circuit that is cut.
        labels: For each of its qubits the number of its light cone, and the qubit of the original
            circuit on which its wire ends.
        cone_of: The light cone of each term of the observables; a term that is missing is in cone
            0.
        pairs: Its two-qubit gates.
        wires: For each position of the original circuit its wire, as in ``labels``, and the gate
            before it; None if no pass was applied.
        effects: A description of what each pass did.
    """

    original: QuantumCircuit
    circuit: QuantumCircuit
    labels: tuple[tuple[int, int], ...]
    cone_of: Mapping[PauliString, int]
    pairs: tuple[GateStep, ...]
    wires: _Wires | None
    effects: tuple[str, ...]

    @cached_property
    def analysis(self) -> CircuitAnalysis:
        """The analysis of the circuit, with gates and positions named as in the original one."""
        if self.wires is None:
            return CircuitAnalysis(self.circuit)
        passed = [0] * len(self.labels)
        positions = {}
        for step in self.pairs:
            for qubit, position in zip(step.qubits, step.ends, strict=True):
                passed[qubit] += 1
                positions[qubit, passed[qubit]] = position
        names = ["+".join(map(str, step.origin)) for step in self.pairs]
        return CircuitAnalysis(self.circuit, names, positions)

    @property
    def num_cones(self) -> int:
        """Number of light cones."""
        return 1 + max((cone for cone, _ in self.labels), default=0)

    def to_original(self, cuts: Cuts) -> Cuts:
        """Translate cuts of this circuit into cuts of the original one."""
        if self.wires is None:
            return cuts
        gates: list[set[int]] = [set() for _ in range(self.num_cones)]
        wires: list[set[WireCut]] = [set() for _ in range(self.num_cones)]
        for cut in cuts.gates:
            step = self.pairs[cut.gate]
            gates[self.labels[step.qubits[0]][0]].update(step.origin)
        for wire_cut in cuts.wires:
            position = self.analysis.original_position(wire_cut.qubit, wire_cut.after)
            wires[self.labels[wire_cut.qubit][0]].add(WireCut(*position))
        pairs = two_qubit_gates(self.original)

        def sorted_cuts(gates: set[int], wires: set[WireCut]) -> Cuts:
            return Cuts(
                tuple(GateCut(gate, pairs[gate]) for gate in sorted(gates)), tuple(sorted(wires))
            )

        cones = tuple(map(sorted_cuts, gates, wires))
        all_cuts = sorted_cuts(set().union(*gates), set().union(*wires))
        return replace(all_cuts, simplified=True, cones=cones if len(cones) > 1 else ())

    def from_original(self, cuts: Cuts) -> Cuts:
        """Translate cuts of the original circuit into cuts of this one.

        A cut of a gate that no term sees is dropped; a cut of a wire behind such gates moves to
        behind the last gate before them.
        """
        if self.wires is None:
            return cuts
        cones = cuts.cones if len(cuts.cones) == self.num_cones else (cuts,) * self.num_cones
        cut_gates = [{cut.gate for cut in cone_cuts.gates} for cone_cuts in cones]
        gates = []
        behind: dict[tuple[int, int], list[int]] = {label: [] for label in self.labels}
        for number, step in enumerate(self.pairs):
            a, b = step.qubits
            if not cut_gates[self.labels[a][0]].isdisjoint(step.origin):
                gates.append(GateCut(number, (a, b)))
            for qubit in step.qubits:
                behind[self.labels[qubit]].append(step.origin[-1])
        qubits = {label: qubit for qubit, label in enumerate(self.labels)}
        wires = set()
        for cone, cone_cuts in enumerate(cones):
            for cut in cone_cuts.wires:
                wire, gate = self.wires[cut.qubit, cut.after]
                before = bisect_right(behind.get((cone, wire), ()), gate)
                if 0 < before < len(behind.get((cone, wire), ())):
                    wires.add(WireCut(qubits[cone, wire], before))
        return Cuts(tuple(gates), tuple(sorted(wires)))


@dataclass(frozen=True, eq=False)
class _Passes:
    """A circuit after the passes that do not depend on the observables, and what each of them did.

    The wires are those of :class:`SimplifiedCircuit`.
    """

    finder: ConeFinder
    wires: _Wires
    effects: tuple[str, ...]


class Simplifier:
    """Applies the passes to one circuit; the expectation values of some terms stay the same.

    In one light cone, so do those of all products of the terms. With Z on each measured qubit as
    the terms, that is the joint distribution of the outcomes.

    Args:
        circuit: The circuit.
        terms: The terms.
        are_joint: Whether products of the terms matter, so that there is one light cone for all.
    """

    def __init__(
        self, circuit: QuantumCircuit, terms: Iterable[PauliString], *, are_joint: bool = False
    ) -> None:
        self._original = circuit
        self._terms = sorted(set(terms) - {()})
        self._are_joint = are_joint

    @cached_property
    def unchanged(self) -> SimplifiedCircuit:
        """The circuit without any pass."""
        labels = tuple((0, qubit) for qubit in range(self._original.num_qubits))
        return SimplifiedCircuit(self._original, self._original, labels, {}, (), None, ())

    @cached_property
    def joint_cone(self) -> SimplifiedCircuit:
        """The circuit after all passes, with one light cone for all terms."""
        return self._simplified(self._merged, [self._merged.finder.cone(self._terms)])

    @cached_property
    def separate_cones(self) -> SimplifiedCircuit | None:
        """The circuit after all passes, with several light cones; None if one is better."""
        if self._are_joint:
            return None
        cones = cones_of_terms(self._merged.finder, self._terms)
        return self._simplified(self._merged, cones) if cones else None

    @cached_property
    def unmerged_cone(self) -> SimplifiedCircuit:
        """One light cone for all terms, with the gates as they are.

        Gates are merged to make cuts cheaper. Simulations without cuts may need the gates as they
        are: matrices of merged ones are known to rounding only, so they are not exactly Clifford.
        """
        return self._simplified(self._unmerged, [self._unmerged.finder.cone(self._terms)])

    def separate_unmerged_cones(self, max_qubits: int) -> SimplifiedCircuit | None:
        """Return several light cones, with the gates as they are.

        None if one cone is better, or if the cone of a term is wider than ``max_qubits``.
        """
        if self._are_joint:
            return None
        cones = cones_of_terms(self._unmerged.finder, self._terms, max_qubits)
        return self._simplified(self._unmerged, cones) if cones else None

    def joint_cone_keeping(self, qubits: Collection[int]) -> SimplifiedCircuit:
        """Return the joint cone with the gates on some qubits as they are, and the others merged.

        No gate of :attr:`unmerged_cone` may act on one of these qubits, by the names of their
        wires, and on another one.
        """
        steps = self._unmerged.finder.cone(self._terms).steps
        kept = [step for step in steps if step.qubits[0] in qubits]
        others = [step for step in steps if step.qubits[0] not in qubits]
        passes = self._merge(self._unmerged, others, kept)
        return self._simplified(passes, [passes.finder.cone(self._terms)])

    @cached_property
    def _unmerged(self) -> _Passes:
        """The circuit after the pass that turns swaps into renamed wires, and no other."""
        num_qubits = self._original.num_qubits
        steps, wires, swapped = relabel_swaps(steps_of(self._original), num_qubits)
        effects = (f"swaps: {swapped} turned into renamed wires",) if swapped else ()
        return _Passes(ConeFinder(steps, num_qubits), wires, effects)

    @cached_property
    def _merged(self) -> _Passes:
        return self._merge(self._unmerged, self._unmerged.finder.steps)

    def _merge(
        self, passes: _Passes, steps: Sequence[GateStep], kept: Sequence[GateStep] = ()
    ) -> _Passes:
        """Merge some steps; the kept ones, on other qubits, stay as they are."""
        merged, fewer = merge_blocks(steps)
        effect = f"rows of gates on one pair: {fewer} two-qubit gates fewer"
        effects = (*passes.effects, effect) if fewer else passes.effects
        finder = ConeFinder([*merged, *kept], self._original.num_qubits)
        return _Passes(finder, passes.wires, effects)

    def _simplified(self, passes: _Passes, cones: Sequence[Cone]) -> SimplifiedCircuit:
        finder, wires, effects = passes.finder, passes.wires, passes.effects
        if not any(cone.qubits for cone in cones):
            cones = [Cone((), (), (0,))]
        labels = tuple((k, qubit) for k, cone in enumerate(cones) for qubit in cone.qubits)
        index = {label: qubit for qubit, label in enumerate(labels)}
        steps = [
            replace(step, qubits=tuple([index[number, q] for q in step.qubits]))
            for number, cone in enumerate(cones)
            for step in cone.steps
        ]
        pairs = tuple(step for step in steps if step.is_pair)
        before = sum(step.is_pair for step in finder.steps)
        visible = len({step.origin for step in pairs})
        if visible < before:
            unseen = f"{before - visible} of {before} two-qubit gates unseen, dropped"
            effects += (f"light cone: {unseen}",)
        if len(cones) > 1:
            widest = max(len(cone.qubits) for cone in cones)
            cones_text = f"{len(cones)} cones of up to {widest} qubits"
            effects += (f"light cones: {len(self._terms)} terms in {cones_text}",)
        circuit = circuit_of(steps, len(labels))
        cone_of = {term: number for number, cone in enumerate(cones) for term in cone.terms}
        return SimplifiedCircuit(self._original, circuit, labels, cone_of, pairs, wires, effects)
