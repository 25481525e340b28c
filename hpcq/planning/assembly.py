"""From cuts to a plan: the distinct tensors, what is sliced to fit, and what it all costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hpcq.circuits.observables import Observable
from hpcq.core.errors import MemoryLimitError
from hpcq.core.limits import Limits
from hpcq.core.system import format_bytes
from hpcq.cutting.cut_circuit import cut_circuit
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.gate_decompositions import weighted_gates
from hpcq.cutting.passes.simplify import SimplifiedCircuit, Simplifier
from hpcq.cutting.subcircuits import CutCircuit, Subcircuit
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.planning import cost as costs
from hpcq.planning.cost import Cost
from hpcq.planning.machine_speeds import Speeds
from hpcq.planning.sampling import CutProblem, Sampling
from hpcq.planning.search.lower_bound import LowerBound
from hpcq.reconstruction.contraction_work import predicted_work
from hpcq.reconstruction.network import Network, build_network
from hpcq.reconstruction.term_table import TermTable, tabulate

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


_UNLIMITED = 1 << 100_000


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be computed, wherever it will be cut.

    Attributes:
        circuit: The normalised circuit: unitary gates on one or two qubits.
        observables: What is asked for.
        limits: What a rank may use.
        config: How the plan was asked for, as plain JSON values.
        speeds: How fast this machine is.
    """

    circuit: QuantumCircuit
    observables: tuple[Observable, ...]
    limits: Limits
    config: Mapping[str, Any]
    speeds: Speeds

    @cached_property
    def simplifier(self) -> Simplifier:
        """The passes over the circuit for the observables' terms."""
        return Simplifier(self.circuit, (t for o in self.observables for t, _ in o.terms))

    @cached_property
    def uncut_seconds(self) -> tuple[float, float]:
        """Predicted seconds of an uncut statevector and matrix-product-state simulation."""
        return (
            costs.uncut_seconds(self.circuit, self.limits, self.speeds),
            costs.uncut_mps_seconds(self.circuit, weighted_gates(self.circuit), self.speeds),
        )


@dataclass(frozen=True, eq=False)
class Plan:
    """A run that is planned but not done.

    Printing it shows the subcircuits and the cost.

    Attributes:
        circuit: The normalised circuit: unitary gates on one or two qubits.
        observables: What is asked for.
        simplified: What is left of the circuit to be cut.
        cut: The subcircuits and the edges between them.
        tensors: One computation for each distinct subcircuit.
        uses: For each subcircuit the number of its computation in ``tensors``.
        terms: The observables' terms taken apart over the subcircuits.
        network: The order of contraction.
        limits: What a rank may use.
        cost: The predicted cost.
        config: How the plan was asked for, as plain JSON values.
        fits: Whether it fits into the memory.
        bound: What no cuts can go below, where that is known.
        sampling: What a run with shots does; None for an exact run.
    """

    circuit: QuantumCircuit
    observables: tuple[Observable, ...]
    simplified: SimplifiedCircuit
    cut: CutCircuit
    tensors: tuple[ExactTensor, ...]
    uses: tuple[int, ...]
    terms: TermTable
    network: Network
    limits: Limits
    cost: Cost
    config: Mapping[str, Any]
    fits: bool = True
    bound: LowerBound | None = None
    sampling: Sampling | None = None

    @cached_property
    def cuts(self) -> Cuts:
        """The cuts, as places of the circuit that was given."""
        return self.simplified.to_original(self.cut.cuts)

    @cached_property
    def tensor_seconds(self) -> tuple[float, ...]:
        """Predicted seconds of each computation in ``tensors``, on one rank."""
        return tuple(
            costs.tensor_seconds(tensor, self.limits, self.cost.speeds) for tensor in self.tensors
        )

    @property
    def predicted_seconds(self) -> float:
        """Predicted wall time on the ranks that it is planned for."""
        return self.cost.predicted_seconds(self.config["ranks"])

    @property
    def width(self) -> int:
        """Number of qubits of the widest subcircuit."""
        return max((subcircuit.num_qubits for subcircuit in self.cut.subcircuits), default=0)

    @property
    def num_tasks(self) -> int:
        """Number of tasks to farm out."""
        return sum(tensor.num_tasks for tensor in self.tensors)

    @cached_property
    def strings(self) -> tuple[dict[Any, int], ...]:
        """For each computation, the place of each Pauli string in its tensor."""
        return tuple({s: i for i, s in enumerate(t.strings)} for t in self.tensors)

    @property
    def cut_problem(self) -> CutProblem:
        """What is asked of which cut circuit, however it will be run."""
        return CutProblem(self.observables, self.simplified, self.cut.cuts, self.terms, self.limits)

    def __str__(self) -> str:
        return _text_of(self)


_text_of: Callable[[Plan], str] = repr


def describe_with(text_of: Callable[[Plan], str]) -> None:
    """Set what ``str(plan)`` calls: the description of plans, which has to know them."""
    global _text_of
    _text_of = text_of


def assemble(
    job: Problem, simplified: SimplifiedCircuit, cuts: Cuts, *, within_memory: bool = True
) -> Plan:
    """Make the plan of a job.

    Args:
        job: The job.
        simplified: What is left of its circuit to be cut.
        cuts: Where that is cut.
        within_memory: Whether to refuse what does not fit; otherwise it is planned as if it did.

    Raises:
        MemoryLimitError: If it needs more memory than a rank has, whatever is sliced.
    """
    cut = cut_circuit(simplified.analysis, cuts, simplified.labels)
    terms = tabulate(job.observables, cut, simplified.cone_of)
    tensors, uses = _distinct_tensors(cut, terms)
    limits = job.limits if within_memory else replace(job.limits, memory_bytes=_UNLIMITED)
    # Whole numbers first: a hopeless plan is refused before anything is ordered or costed.
    _check_stored(costs.stored_bytes(tensors, uses), limits)
    network = build_network(cut, limits.memory_bytes // 2)
    stored = costs.stored_bytes(tensors, uses) + network.sweep_bytes
    _check_stored(stored, limits)
    tensors = _fit_beside(stored, tensors, limits, cut)
    cost = _cost(job, tensors, uses, network, terms)
    while cost.memory_bytes > limits.memory_bytes:
        # Tensors that are sliced take more room, so that there is less for a task.
        _check_stored(cost.tensor_bytes, limits)
        tensors = _fit_beside(cost.tensor_bytes, tensors, limits, cut)
        cost = _cost(job, tensors, uses, network, terms)
    return Plan(
        job.circuit,
        job.observables,
        simplified,
        cut,
        tensors,
        uses,
        terms,
        network,
        job.limits,
        cost,
        job.config,
        within_memory,
    )


def costed(plan: Plan, job: Problem) -> Plan:
    """Return a plan with the cost that it has at a job's speeds."""
    if job.speeds == plan.cost.speeds:
        return plan
    return replace(plan, cost=_cost(job, plan.tensors, plan.uses, plan.network, plan.terms))


def _check_stored(stored: int, limits: Limits) -> None:
    if stored > limits.memory_bytes:
        raise MemoryLimitError(
            f"memory: the tensors and their contraction need {format_bytes(stored)} on rank 0, "
            f"which has {format_bytes(limits.memory_bytes)}; expected fewer ports on each "
            "subcircuit (other cuts), fewer observables, or more memory"
        )


def _distinct_tensors(
    cut: CutCircuit, terms: TermTable
) -> tuple[tuple[ExactTensor, ...], tuple[int, ...]]:
    """Join equal subcircuits, and what is asked of them, into one computation each."""
    numbers: dict[str, int] = {}
    subcircuits: list[Subcircuit] = []
    strings: list[dict[Any, None]] = []
    uses = []
    for subcircuit, asked in zip(cut.subcircuits, terms.strings, strict=True):
        number = numbers.setdefault(subcircuit.content, len(numbers))
        if number == len(subcircuits):
            subcircuits.append(subcircuit)
            strings.append({})
        strings[number].update(dict.fromkeys(asked))
        uses.append(number)
    tensors = tuple(
        ExactTensor(subcircuit, tuple(asked))
        for subcircuit, asked in zip(subcircuits, strings, strict=True)
    )
    return tensors, tuple(uses)


def _fit_beside(
    stored: int, tensors: Sequence[ExactTensor], limits: Limits, cut: CutCircuit
) -> tuple[ExactTensor, ...]:
    """Slice tensors until a task of each fits into the memory beside what is stored."""
    return tuple(_fit(own, limits.memory_bytes - stored, limits, cut) for own in tensors)


def _fit(tensor: ExactTensor, room: int, limits: Limits, cut: CutCircuit) -> ExactTensor:
    """Slice ports, from the last one on, until a task fits into some bytes."""
    ports = tensor.subcircuit.ports
    sliceable = [
        number for number, port in enumerate(ports) if port.ancillas and number not in tensor.sliced
    ]
    while costs.task_bytes(tensor, limits) > room:
        if not sliceable:
            number = next(k for k, s in enumerate(cut.subcircuits) if s is tensor.subcircuit)
            raise MemoryLimitError(
                f"memory: subcircuit {number} of {tensor.subcircuit.num_qubits} qubits and "
                f"{len(ports)} ports needs {format_bytes(costs.task_bytes(tensor, limits))} on a "
                f"rank, which has {format_bytes(room)} for it; expected narrower "
                "subcircuits or more memory"
            )
        tensor = replace(tensor, sliced=tuple(sorted((*tensor.sliced, sliceable.pop()))))
    return tensor


def _cost(
    job: Problem,
    tensors: Sequence[ExactTensor],
    uses: Sequence[int],
    network: Network,
    terms: TermTable,
) -> Cost:
    total = longest = 0.0
    for tensor in tensors:
        total += costs.tensor_seconds(tensor, job.limits, job.speeds)
        alone = tensor.num_tasks == tensor.num_branches
        longest = max(longest, costs.task_seconds(tensor, alone, job.limits, job.speeds))
    work = predicted_work(network, terms, job.limits.memory_bytes // 4)
    stored = costs.stored_bytes(tensors, uses)
    statevector, mps = job.uncut_seconds
    seconds = costs.contraction_seconds(work, stored, len(terms.picks), job.speeds)
    contraction_bytes = 0
    if work.flops >= costs.LONG_CONTRACTION:
        # Every rank then has all tensors over their bonds, for a while twice, and its sweep.
        contraction_bytes = 2 * costs.bond_bytes(tensors, uses) + network.sweep_bytes
    return Cost(
        simulation_seconds=total,
        longest_task_seconds=longest,
        contraction_seconds=seconds,
        contraction_flops=work.flops,
        task_bytes=max(costs.task_bytes(tensor, job.limits) for tensor in tensors),
        contraction_bytes=contraction_bytes,
        tensor_bytes=stored + network.sweep_bytes,
        uncut_seconds=statevector,
        uncut_mps_seconds=mps,
        speeds=job.speeds,
    )
