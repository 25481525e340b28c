"""The parts of a circuit that no gate connects, which may be simulated by different methods."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from hpcq.cutting.cut_circuit import cut_circuit
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.passes.simplify import SimplifiedCircuit
from hpcq.cutting.subcircuits import CutCircuit
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.planning.exact_plan import distinct_tensors
from hpcq.planning.problem import Problem
from hpcq.reconstruction.term_table import tabulate

CircuitName = Literal["unchanged", "joint", "cones"]
"""Which circuit is divided: the original one, the joint light cone of all terms, or several."""


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a circuit, as subcircuits without ports.

    Attributes:
        name: Which circuit was divided.
        simplified: The circuit after its passes.
        cut: The parts.
        tensors: The distinct parts, with all strings whose values on them are needed.
        max_parts_of_term: Largest number of parts on which a term is not the identity.
    """

    name: CircuitName
    simplified: SimplifiedCircuit
    cut: CutCircuit
    tensors: tuple[ExactTensor, ...]
    max_parts_of_term: int

    @classmethod
    def of(cls, problem: Problem, name: CircuitName) -> Parts | None:
        """Return the parts of a circuit; None for light cones that are not separate and narrow."""
        simplified = _circuit(problem, name)
        if simplified is None:
            return None
        cut = cut_circuit(simplified.analysis, Cuts(), simplified.labels)
        terms = tabulate(problem.observables, cut, simplified.cone_of)
        tensors, _ = distinct_tensors(cut, terms)
        return cls(name, simplified, cut, tensors, max(map(len, terms.picks)))

    def qubits_except(self, tensors: Collection[ExactTensor]) -> list[int]:
        """Return the qubits of all parts but some, by the names of their wires."""
        contents = {tensor.subcircuit.content for tensor in tensors}
        return [
            qubit
            for subcircuit in self.cut.subcircuits
            if subcircuit.content not in contents
            for qubit in subcircuit.qubits
        ]


def _circuit(problem: Problem, name: CircuitName) -> SimplifiedCircuit | None:
    simplifier = problem.simplifier
    if name == "unchanged":
        return simplifier.unchanged
    if name == "joint":
        return simplifier.unmerged_cone
    amplitudes = problem.limits.memory_bytes // problem.limits.amplitude_bytes
    return simplifier.separate_unmerged_cones(amplitudes.bit_length() - 1)
