"""Plan a circuit: from the user's arguments to a question, and to the plan that answers it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.circuits.normalise import check_bound
from hpcq.circuits.observables import as_observables
from hpcq.circuits.slots import parametrise
from hpcq.core.errors import InputError
from hpcq.core.limits import (
    SHARE_OF_MEMORY,
    Limits,
    Precision,
    checked_memory,
    precision_of,
    round_memory_down,
)
from hpcq.core.system import usable_cores, usable_memory
from hpcq.cutting.cuts import Cuts
from hpcq.parallel.serial import Farm
from hpcq.planning.cut_request import DEFAULT_SEARCH_SECONDS, CutRequest
from hpcq.planning.kind import kind_for
from hpcq.planning.machine_speeds import Speeds, read_speeds
from hpcq.planning.plan import CutPlan, Plan
from hpcq.planning.problem import Budget, Problem, Question, question_about
from hpcq.planning.search.objective import ObjectiveName
from hpcq.planning.verdict import (
    DEFAULT_ERROR_TOLERANCE,
    DEFAULT_METHOD,
    Method,
    MethodRequest,
)

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_NARROWING = 0.75
"""Ratio of successive width limits of a Pareto front. Larger: more plans, but more searches."""


def plan(
    circuit: QuantumCircuit,
    observables: Any = None,
    *,
    max_qubits: int | None = None,
    cut_labels: str | Sequence[object] | None = None,
    cuts: Cuts | Mapping[str, Any] | str | Path | None = None,
    shots: int | None = None,
    target_error: float | None = None,
    max_variants: int | None = None,
    method: Method = "auto",
    error_tolerance: float = DEFAULT_ERROR_TOLERANCE,
    objective: ObjectiveName | None = None,
    search_seconds: float = DEFAULT_SEARCH_SECONDS,
    reuse_qubits: bool = False,
    ranks: int = 1,
    seed: int = 0,
    memory: int | None = None,
    threads: int | None = None,
    dtype: str | None = None,
    partition: str | Sequence[object] | None = None,
    standard_error: float | None = None,
    precision: Precision | None = None,
) -> Plan:
    """Plan the expectation values of a cut circuit, exact or with shots.

    Args:
        circuit: A circuit of unitary gates. Final measurements do not matter, and gates on more
            than two qubits are decomposed. It may have free parameters, whose values are given to
            :func:`hpcq.run` in rows; the plan then does not depend on them.
        observables: One or a list of SparsePauliOp, SparseObservable, Pauli or text: a sum such as
            ``"Z0 Z5 + 0.5 X2"``, a label such as ``"ZIIX"`` or ``"label:Z0+-"`` (rightmost is qubit
            0; Qiskit's letters), or an outcome of all qubits such as ``"0011"``, which stands for
            its probability. By default, Z on every qubit.
        max_qubits: Search for cuts so that no subcircuit is wider than this.
        cut_labels: One label for each qubit; every gate between different labels is cut.
        cuts: Explicit cuts: an object, the JSON that ``hpcq plan --save`` writes, or the path of
            such a file. Give at most one of these three; with none, the method decides whether and
            where to cut.
        shots: Shots of all variants together, for a run like one on a device, with error bars. If
            you give neither shots nor a target error, the run is exact.
        target_error: Continue until no observable has a larger standard error; if you give shots
            too, they are the maximum.
        max_variants: If a subcircuit has more variants than this, joint samples are drawn instead
            of running all variants; by default 4096.
        method: ``cut``, ``statevector``, ``stabilizer``, ``pauli`` (Pauli propagation) or ``mps``
            (matrix product state), or ``auto``: where no cuts and no width limit are given, the
            quickest of them for each part of the circuit whose error bound is within the tolerance.
        error_tolerance: The error bound that ``auto`` accepts, relative to the sum of the absolute
            coefficients of an observable.
        objective: What the search minimises: ``seconds`` of the exact run, the default of exact
            runs, or ``overhead``, the sampling overhead (gamma squared), the default with shots.
        search_seconds: About how long to search. The same seconds and seed find the same cuts if
            ``memory`` is the same.
        reuse_qubits: Whether ``max_qubits`` counts the qubits of a device that can measure a qubit,
            reset it and use it for another wire.
        ranks: Number of MPI ranks that the plan is made for; it can run on any number.
        seed: Seed of the search and of shots.
        memory: Bytes that a rank may use; by default most of what is free on this machine.
        threads: Threads of one simulation; by default the cores that this process may use.
        dtype: Type of amplitudes: ``complex128`` (16 bytes), the default, or ``complex64`` (8).
        partition: Deprecated, use ``cut_labels``.
        standard_error: Deprecated, use ``target_error``.
        precision: Deprecated, use ``dtype``; ``double`` or ``single``.

    Returns:
        The plan, with its predicted cost.

    Raises:
        InputError: If an argument is wrong, or the plan does not fit into the memory.

    Example:
        >>> from qiskit import QuantumCircuit
        >>> circuit = QuantumCircuit(4)
        >>> _ = circuit.h(0)
        >>> for qubit in range(3):
        ...     _ = circuit.cx(qubit, qubit + 1)
        >>> len(plan(circuit, "Z0 Z3", cut_labels="AABB").cut.subcircuits)
        2
    """
    from hpcq.circuits.normalise import normalise

    cut_labels = _renamed("partition", partition, "cut_labels", cut_labels)
    target_error = _renamed("standard_error", standard_error, "target_error", target_error)
    precision = _renamed(
        "precision", precision, "dtype", None if dtype is None else precision_of(dtype)
    )
    return plan_normalised(
        normalise(circuit, free_parameters=True),
        observables,
        CutRequest(
            max_qubits, cut_labels, cuts, objective, search_seconds, reuse_qubits, ranks, seed
        ),
        given_limits(memory, threads, precision),
        budget=Budget.of(shots, target_error, max_variants),
        method=MethodRequest(method, error_tolerance),
        parameters=getattr(circuit, "parameters", None),
    )


def given_limits(memory: int | None, threads: int | None, precision: Precision | None) -> Limits:
    """Return the limits of a rank; those that are None are what this machine has.

    Raises:
        InputError: If one of them is wrong.
    """
    return Limits(
        round_memory_down(int(SHARE_OF_MEMORY * usable_memory()))
        if memory is None
        else checked_memory(memory),
        len(usable_cores()) if threads is None else threads,
        "double" if precision is None else precision,
    )


def _renamed(old: str, value: Any, new: str, new_value: Any) -> Any:
    """Return the value of a renamed argument, and warn if it was given by the old name.

    Raises:
        InputError: If it was given by both names.
    """
    if value is None:
        return new_value
    if new_value is not None:
        raise InputError(f"{old}, {new}: given together, expected {new} alone")
    message = f"hpcq.plan: the argument {old} is now {new}; {old} still works"
    warnings.warn(message, DeprecationWarning, stacklevel=3)
    return value


def plan_normalised(
    circuit: QuantumCircuit,
    observables: Any,
    request: CutRequest,
    limits: Limits,
    *,
    budget: Budget | None = None,
    method: MethodRequest = DEFAULT_METHOD,
    farm: Farm | None = None,
    earlier: Mapping[str, Any] | None = None,
    parameters: Sequence[Any] | None = None,
) -> CutPlan:
    """Return the plan of a normalised circuit; see :func:`plan` for most arguments.

    The ranks of ``farm`` share the search; by default, this process searches alone. ``earlier`` is
    the configuration that an earlier start of the same run stored: its speeds lead to the same
    plan, and its method is not decided again. ``parameters`` are the free parameters in the order
    of the columns of their values, by default those of the circuit.
    """
    if observables is None:
        observables = [f"Z{qubit}" for qubit in range(circuit.num_qubits)]
    question = question_about(as_observables(observables, circuit.num_qubits), budget, method)
    found = plan_question(
        circuit, question, request, limits, farm=farm, earlier=earlier, parameters=parameters
    )
    assert isinstance(found, CutPlan), "both kinds of run that give values cut the circuit"
    return found


def plan_question(
    circuit: QuantumCircuit,
    question: Question,
    request: CutRequest,
    limits: Limits,
    *,
    farm: Farm | None = None,
    earlier: Mapping[str, Any] | None = None,
    parameters: Sequence[Any] | None = None,
) -> Plan:
    """Return the plan that answers a question about a normalised circuit.

    The last three arguments are those of :func:`plan_normalised`.

    Raises:
        InputError: If there is no such plan, or no kind of run answers the question.
    """
    kind = kind_for(question)
    if not kind.takes_parameters:
        check_bound(circuit)
    columns = circuit.parameters if parameters is None else parameters
    parametrised = parametrise(circuit, columns) if columns else None
    if parametrised is not None:
        circuit = parametrised.generic
    request = request.with_objective(kind.objective)
    # Choose by the speeds of one thread, so that plans do not depend on the ranks of a node.
    speeds = None if earlier is None else earlier.get("speeds")
    single = read_speeds(replace(limits, threads=1)) if speeds is None else _stored_speeds(speeds)
    config = {
        "mode": kind.name,
        **request.config(),
        "memory_bytes": limits.memory_bytes,
        "threads": limits.threads,
        "precision": limits.precision,
        "speeds": asdict(single),
        **question.config(),
    }
    verdict = None if earlier is None else earlier.get("verdict")
    problem = Problem(
        circuit, question, limits, config, single, read_speeds(limits), verdict, parametrised
    )
    return kind.plan(problem, request, farm)


def _stored_speeds(speeds: Mapping[str, Any]) -> Speeds:
    """Return the speeds that an earlier start or another job stored in a file."""
    try:
        return Speeds(**speeds)
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:100]
        raise InputError(f"output: its machine speeds are damaged ({reason})") from None


def pareto_plans(
    circuit: QuantumCircuit, observables: Any, request: CutRequest, limits: Limits, **options: Any
) -> list[CutPlan]:
    """Return the Pareto front of width and cost: plans for a width limit and for narrower ones.

    Args:
        circuit: The normalised circuit.
        observables: The observables.
        request: The width limit, and the options of the search.
        limits: Memory, threads and number format of a rank.
        options: The other arguments of :func:`plan_normalised`.

    Returns:
        The best plan within the limit, then narrower ones that cost more. A plan that another one
        beats in both width and cost is left out.

    Raises:
        InputError: If :func:`plan_normalised` raises it for the limit itself.
    """

    def plan_within(width: int) -> CutPlan:
        narrower = replace(request, max_qubits=width)
        return plan_normalised(circuit, observables, narrower, limits, **options)

    assert request.max_qubits is not None, "the width limit is given"
    # With qubit reuse the width of a plan, in wires, may exceed the limit, in qubits.
    reuse = request.reuse_qubits
    plans = [plan_within(request.max_qubits)]
    width = plans[0].width if not reuse else min(request.max_qubits, circuit.num_qubits)
    while (width := min(width - 1, int(width * _NARROWING))) > 0:
        try:
            narrower = plan_within(width)
        except InputError:
            break
        plans.append(narrower)
        width = narrower.width if not reuse else width
    front: list[CutPlan] = []
    for candidate in reversed(plans):
        if not front or candidate.score < front[0].score:
            front.insert(0, candidate)
    return front
