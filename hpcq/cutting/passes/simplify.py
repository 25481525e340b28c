"""The circuit that is cut in place of the given one, and where places of one are in the other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from hpcq.circuits.pauli_text import PauliString
from hpcq.cutting.analysis import CircuitAnalysis
from hpcq.cutting.cuts import Cuts, GateCut, WireCut, two_qubit_gates
from hpcq.cutting.passes.gate_steps import GateStep, Place, circuit_of, steps_of
from hpcq.cutting.passes.light_cones import Cone, ConeFinder, cone_for_each
from hpcq.cutting.passes.merge_gates import merge_rows
from hpcq.cutting.passes.swaps import relabel_swaps

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


@dataclass(frozen=True, eq=False)
class SimplifiedCircuit:
    """What is left of a circuit to be cut.

    Its qubits are those of its light cones, one cone after the other, so a qubit of the given
    circuit may be there more than once, or not at all.

    Attributes:
        given: The circuit as it was given.
        circuit: The circuit that is cut.
        labels: For each of its qubits the number of its light cone, and the qubit of the given
            circuit that its wire ends on.
        cone_of: Light cone of each term of the observables; a term that is missing is in cone 0.
        pairs: Its two-qubit gates.
        wires: For each place of the given circuit its wire, as in ``labels``, and the gate before
            it; None if no pass was applied.
        effects: What each pass did, in words.
    """

    given: QuantumCircuit
    circuit: QuantumCircuit
    labels: tuple[tuple[int, int], ...]
    cone_of: Mapping[PauliString, int]
    pairs: tuple[GateStep, ...]
    wires: Mapping[Place, tuple[int, int]] | None
    effects: tuple[str, ...]

    @cached_property
    def analysis(self) -> CircuitAnalysis:
        """What cutting has to know of the circuit, its places called as in the given one."""
        if self.wires is None:
            return CircuitAnalysis(self.circuit)
        passed = [0] * len(self.labels)
        places = {}
        for step in self.pairs:
            for qubit, place in zip(step.qubits, step.ends, strict=True):
                passed[qubit] += 1
                places[qubit, passed[qubit]] = place
        return CircuitAnalysis(
            self.circuit, ["+".join(map(str, s.origin)) for s in self.pairs], places
        )

    @property
    def num_cones(self) -> int:
        """Number of light cones."""
        return 1 + max((cone for cone, _ in self.labels), default=0)

    def given_cuts(self, cuts: Cuts) -> Cuts:
        """Say where cuts of this circuit are in the given one."""
        if self.wires is None:
            return cuts
        gates: list[set[int]] = [set() for _ in range(self.num_cones)]
        wires: list[set[WireCut]] = [set() for _ in range(self.num_cones)]
        for cut in cuts.gates:
            step = self.pairs[cut.gate]
            gates[self.labels[step.qubits[0]][0]].update(step.origin)
        chosen = {(cut.qubit, cut.after) for cut in cuts.wires}
        passed = [0] * len(self.labels)
        for step in self.pairs:
            for qubit, place in zip(step.qubits, step.ends, strict=True):
                passed[qubit] += 1
                if (qubit, passed[qubit]) in chosen:
                    wires[self.labels[qubit][0]].add(WireCut(*place))
        pairs = two_qubit_gates(self.given)

        def places(gates: set[int], wires: set[WireCut]) -> Cuts:
            return Cuts(
                tuple(GateCut(gate, pairs[gate]) for gate in sorted(gates)), tuple(sorted(wires))
            )

        cones = tuple(map(places, gates, wires))
        everywhere = places(set().union(*gates), set().union(*wires))
        return replace(everywhere, simplified=True, cones=cones if len(cones) > 1 else ())

    def own_cuts(self, cuts: Cuts) -> Cuts:
        """Say where cuts of the given circuit are in this one.

        Cuts of gates that no term sees are nowhere; a cut of a wire behind such gates is one
        behind the last gate before them.
        """
        if self.wires is None:
            return cuts
        cones = cuts.cones if len(cuts.cones) == self.num_cones else (cuts,) * self.num_cones
        cut_gates = [{cut.gate for cut in own.gates} for own in cones]
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
        for cone, own in enumerate(cones):
            for cut in own.wires:
                wire, gate = self.wires[cut.qubit, cut.after]
                before = bisect_right(behind.get((cone, wire), ()), gate)
                if 0 < before < len(behind.get((cone, wire), ())):
                    wires.add(WireCut(qubits[cone, wire], before))
        return Cuts(tuple(gates), tuple(sorted(wires)))


class Simplifier:
    """The passes over one circuit for some terms of observables.

    Args:
        circuit: The normalised circuit.
        terms: The terms that are asked for.
    """

    def __init__(self, circuit: QuantumCircuit, terms: Iterable[PauliString]) -> None:
        self._given = circuit
        self._terms = sorted(set(terms) - {()})

    @cached_property
    def nothing(self) -> SimplifiedCircuit:
        """The circuit as it is."""
        labels = tuple((0, qubit) for qubit in range(self._given.num_qubits))
        return SimplifiedCircuit(self._given, self._given, labels, {}, (), None, ())

    @cached_property
    def together(self) -> SimplifiedCircuit:
        """What all passes leave, with one light cone for all terms."""
        circuit, wires, effects = self._local
        return self._reduced([circuit.cone(self._terms)], wires, effects)

    @cached_property
    def apart(self) -> SimplifiedCircuit | None:
        """What all passes leave, with several light cones; None where one for all is better."""
        circuit, wires, effects = self._local
        cones = cone_for_each(circuit, self._terms)
        return self._reduced(cones, wires, effects) if cones else None

    @cached_property
    def _local(self) -> tuple[ConeFinder, Mapping[Place, tuple[int, int]], tuple[str, ...]]:
        """The passes that do not depend on the observables."""
        steps = steps_of(self._given)
        effects = []
        steps, wires, swapped = relabel_swaps(steps, self._given.num_qubits)
        if swapped:
            effects.append(f"swaps: {swapped} turned into renamed wires")
        steps, fewer = merge_rows(steps)
        if fewer:
            effects.append(f"rows of gates on one pair: {fewer} two-qubit gates fewer")
        return ConeFinder(steps, self._given.num_qubits), wires, tuple(effects)

    def _reduced(
        self,
        cones: Sequence[Cone],
        wires: Mapping[Place, tuple[int, int]],
        effects: tuple[str, ...],
    ) -> SimplifiedCircuit:
        if not any(cone.qubits for cone in cones):
            cones = [Cone((), (), (0,))]
        labels = tuple((k, qubit) for k, cone in enumerate(cones) for qubit in cone.qubits)
        place = {label: qubit for qubit, label in enumerate(labels)}
        steps = [
            replace(step, qubits=tuple([place[number, q] for q in step.qubits]))
            for number, cone in enumerate(cones)
            for step in cone.steps
        ]
        pairs = tuple(step for step in steps if step.is_pair)
        before = sum(step.is_pair for step in self._local[0].steps)
        seen = len({step.origin for step in pairs})
        if seen < before:
            effects += (f"light cone: {before - seen} of {before} two-qubit gates unseen, dropped",)
        if len(cones) > 1:
            widest = max(len(cone.qubits) for cone in cones)
            effects += (
                f"light cones: {len(self._terms)} terms in {len(cones)} cones of up to {widest} "
                "qubits",
            )
        return SimplifiedCircuit(
            self._given,
            circuit_of(steps, len(labels)),
            labels,
            {term: number for number, cone in enumerate(cones) for term in cone.terms},
            pairs,
            wires,
            effects,
        )
