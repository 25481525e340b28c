"""Exact plans: the distinct tensors of given cuts, sliced to fit, their network, and the cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hpcq.core.errors import MemoryLimitError
from hpcq.core.limits import Limits
from hpcq.core.system import format_bytes
from hpcq.cutting.passes.simplify import SimplifiedCircuit
from hpcq.cutting.subcircuits import CutCircuit, Subcircuit
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor, Simulation
from hpcq.planning import cost as costs
from hpcq.planning.cost import Cost
from hpcq.planning.plan import CutPlan
from hpcq.planning.problem import Problem
from hpcq.planning.search.lower_bound import LowerBound
from hpcq.planning.verdict import ASKED_TO_CUT, Verdict
from hpcq.reconstruction.contraction import Contraction
from hpcq.reconstruction.network import Network, build_network
from hpcq.reconstruction.term_table import TermTable, tabulate

_UNLIMITED = 1 << 100_000
"""Bytes of a memory that any plan fits into, even one with thousands of ports."""


@dataclass(frozen=True, eq=False)
class ExactPlan(CutPlan):
    """A plan that computes the exact tensor of every subcircuit.

    Attributes:
        tensors: The distinct tensors to compute.
        uses: For each subcircuit, the index of its tensor in ``tensors``.
        terms: The observables' terms, as one Pauli string for each subcircuit.
        network: The tensor network with its contraction path.
        verdict: The method, and why it was chosen.
        fits: Whether the run fits into the memory.
    """

    cost: Cost
    tensors: tuple[ExactTensor, ...]
    uses: tuple[int, ...]
    terms: TermTable
    network: Network
    verdict: Verdict = ASKED_TO_CUT
    fits: bool = True

    @property
    def engines(self) -> list[str]:
        """Names of the engines of parts that are not simulated as statevectors."""
        return self.verdict.engines

    @property
    def stored_pieces(self) -> dict[str, Any]:
        """What results hold of the subcircuits, by field; empty if nothing was cut."""
        if not self.cut.edges and "cut" not in self.verdict.method:
            return {}
        return {
            "subcircuits": self.cut.subcircuits,
            "engines": tuple(self.tensors[use].engine_name for use in self.uses),
            "edges": self.cut.edges,
            "strings": tuple(self.tensors[use].strings for use in self.uses),
        }

    @cached_property
    def tensor_seconds(self) -> tuple[float, ...]:
        """Predicted seconds to compute each of ``tensors`` on one rank."""
        return tuple(
            costs.tensor_seconds(tensor, self.limits, self.cost.speeds) for tensor in self.tensors
        )

    @property
    def num_tasks(self) -> int:
        """Number of tasks that simulate subcircuits."""
        return self.cost.num_tasks

    @cached_property
    def strings(self) -> tuple[dict[Any, int], ...]:
        """For each of ``tensors``, the index of each of its Pauli strings."""
        return tuple(
            {string: index for index, string in enumerate(tensor.strings)}
            for tensor in self.tensors
        )


def assemble(
    problem: Problem,
    simplified: SimplifiedCircuit,
    cut: CutCircuit,
    bound: LowerBound | None = None,
    *,
    within_memory: bool = True,
    simulations: Mapping[str, Simulation] = {},
) -> ExactPlan:
    """Return the exact plan of a problem whose simplified circuit is cut.

    With ``within_memory`` a plan that does not fit is refused; otherwise the memory is taken to be
    unlimited. ``simulations`` has those of subcircuits that are not simulated as statevectors, by
    the subcircuit's content.

    Raises:
        MemoryLimitError: If the plan needs more memory than a rank has, however it is sliced.
    """
    terms = tabulate(problem.observables, cut, simplified.cone_of)
    tensors, uses = distinct_tensors(cut, terms)
    tensors = tuple(
        replace(tensor, simulation=simulations.get(tensor.subcircuit.content)) for tensor in tensors
    )
    limits = problem.limits if within_memory else replace(problem.limits, memory_bytes=_UNLIMITED)
    # Integer sizes first: a hopeless plan is refused before a contraction path is sought.
    _check_stored(costs.stored_bytes(tensors, uses), limits)
    network = build_network(cut, limits.memory_bytes // 2)
    stored = costs.stored_bytes(tensors, uses) + network.sweep_bytes
    while True:
        _check_stored(stored, limits)
        available = limits.memory_bytes - stored
        tensors = tuple(_slice_to_fit(tensor, available, limits, cut) for tensor in tensors)
        cost = _predict_cost(problem, tensors, uses, network, terms)
        if cost.memory_bytes <= limits.memory_bytes:
            break
        # Sliced tensors take more memory to store, which leaves less of it for a task.
        stored = cost.tensor_bytes
    return ExactPlan(
        problem.shown_circuit,
        problem.observables,
        problem.limits,
        problem.config,
        cost,
        simplified,
        cut,
        bound,
        tensors,
        uses,
        terms,
        network,
        fits=within_memory,
        parametrised=problem.parametrised,
    )


def with_local_cost(plan: ExactPlan, problem: Problem) -> ExactPlan:
    """Return a plan with its cost at the speeds of all threads of this machine."""
    if problem.local_speeds == plan.cost.speeds:
        return plan
    local = problem.at_local_speeds()
    cost = _predict_cost(local, plan.tensors, plan.uses, plan.network, plan.terms)
    return replace(plan, cost=cost)


def _check_stored(stored: int, limits: Limits) -> None:
    if stored > limits.memory_bytes:
        raise MemoryLimitError(
            f"memory: the tensors and their contraction need {format_bytes(stored)} on rank 0, "
            f"which has {format_bytes(limits.memory_bytes)}; expected fewer ports on each "
            "subcircuit (other cuts), fewer observables, or more memory"
        )


def distinct_tensors(
    cut: CutCircuit, terms: TermTable
) -> tuple[tuple[ExactTensor, ...], tuple[int, ...]]:
    """Return one tensor for equal subcircuits, with all strings requested of them, and the uses."""
    numbers: dict[str, int] = {}
    subcircuits: list[Subcircuit] = []
    strings: list[dict[Any, None]] = []
    uses = []
    for subcircuit, requested in zip(cut.subcircuits, terms.strings, strict=True):
        number = numbers.setdefault(subcircuit.content, len(numbers))
        if number == len(subcircuits):
            subcircuits.append(subcircuit)
            strings.append({})
        strings[number].update(dict.fromkeys(requested))
        uses.append(number)
    tensors = tuple(
        ExactTensor(subcircuit, tuple(requested))
        for subcircuit, requested in zip(subcircuits, strings, strict=True)
    )
    return tensors, tuple(uses)


def _slice_to_fit(
    tensor: ExactTensor, available_bytes: int, limits: Limits, cut: CutCircuit
) -> ExactTensor:
    """Slice ports of a tensor, the last ones first, until a task fits into the available bytes."""
    ports = tensor.subcircuit.ports
    sliceable = [
        number for number, port in enumerate(ports) if port.ancillas and number not in tensor.sliced
    ]
    while costs.task_bytes(tensor, limits) > available_bytes:
        if not sliceable:
            number = next(k for k, s in enumerate(cut.subcircuits) if s is tensor.subcircuit)
            raise MemoryLimitError(
                f"memory: subcircuit {number} of {tensor.subcircuit.num_qubits} qubits and "
                f"{len(ports)} ports needs {format_bytes(costs.task_bytes(tensor, limits))} on a "
                f"rank, which has {format_bytes(available_bytes)} for it; expected narrower "
                "subcircuits or more memory"
            )
        tensor = replace(tensor, sliced=tuple(sorted((*tensor.sliced, sliceable.pop()))))
    return tensor


def _predict_cost(
    problem: Problem,
    tensors: Sequence[ExactTensor],
    uses: Sequence[int],
    network: Network,
    terms: TermTable,
) -> Cost:
    total = longest = 0.0
    for tensor in tensors:
        total += costs.tensor_seconds(tensor, problem.limits, problem.speeds)
        diagonal = tensor.num_tasks == tensor.num_branches
        longest = max(longest, costs.task_seconds(tensor, diagonal, problem.limits, problem.speeds))
    work = Contraction.within(network, terms.picks, problem.limits.memory_bytes // 4).work
    stored = costs.stored_bytes(tensors, uses)
    statevector, mps = problem.uncut_seconds
    seconds = costs.contraction_seconds(work, stored, len(terms.picks), problem.speeds)
    contraction_bytes = 0
    if work.flops >= costs.LONG_CONTRACTION:
        # Every rank then has all tensors over their bonds, twice for a while, and its own sweep.
        contraction_bytes = 2 * costs.bond_bytes(tensors, uses) + network.sweep_bytes
    return Cost(
        num_tasks=sum(tensor.num_tasks for tensor in tensors),
        simulation_seconds=total,
        longest_task_seconds=longest,
        contraction_seconds=seconds,
        contraction_flops=work.flops,
        task_bytes=max(costs.task_bytes(tensor, problem.limits) for tensor in tensors),
        contraction_bytes=contraction_bytes,
        tensor_bytes=stored + network.sweep_bytes,
        uncut_seconds=statevector,
        uncut_mps_seconds=mps,
        speeds=problem.speeds,
    )
