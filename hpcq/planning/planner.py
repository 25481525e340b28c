"""Plan a circuit: validate the options, find or read the cuts, and assemble the plan."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import hpcq.planning.description  # noqa: F401  (so that plans can be printed)
from hpcq.circuits.observables import as_observables
from hpcq.core.errors import InputError, MemoryLimitError
from hpcq.core.files import printable_path
from hpcq.core.limits import (
    SHARE_OF_MEMORY,
    Limits,
    Precision,
    as_integer,
    as_seconds,
    checked_memory,
    precision_of,
    round_memory_down,
)
from hpcq.core.system import format_bytes, usable_cores, usable_memory
from hpcq.cutting.cuts import Cuts, cuts_from_partition, read_cuts, split_labels
from hpcq.cutting.passes.simplify import SimplifiedCircuit
from hpcq.parallel.serial import Farm
from hpcq.planning.assembly import Plan, Problem, assemble, with_cost_for
from hpcq.planning.candidates import SEARCH_SECONDS, SearchOptions, choose_plan, score_by
from hpcq.planning.machine_speeds import Speeds, read_speeds
from hpcq.planning.sampling import MAX_VARIANTS, Budget, sampling_of
from hpcq.planning.search.objective import ObjectiveName

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_MAX_SEARCH = 1e6
"""Maximum budget of a search in seconds: twelve days."""

_QUICK_SEARCH = 1.0
"""Budget in seconds of the search for a width to name in a message."""

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
    objective: ObjectiveName | None = None,
    search_seconds: float = SEARCH_SECONDS,
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
        circuit: A circuit of unitary gates with numbers as parameters. Final measurements are
            dropped, and gates on more than two qubits are decomposed.
        observables: One or a list of SparsePauliOp, SparseObservable, Pauli or text: a sum such as
            ``"Z0 Z5 + 0.5 X2"``, a label such as ``"ZIIX"`` or ``"label:Z0+-"`` (rightmost is qubit
            0; Qiskit's letters), or an outcome of all qubits such as ``"0011"``, which stands for
            its probability. By default, Z on every qubit.
        max_qubits: Search for cuts so that no subcircuit is wider than this.
        cut_labels: One label for each qubit; every gate between different labels is cut.
        cuts: Explicit cuts: an object, the JSON that ``hpcq plan --save`` writes, or the path of
            such a file. Give at most one of these three; with none, the circuit is not cut, and
            only its connected components are separated.
        shots: Shots of all variants together, for a run like one on a device, with error bars. If
            you give neither shots nor a target error, the run is exact.
        target_error: Continue until no observable has a larger standard error; if you give shots
            too, they are the maximum.
        max_variants: If a subcircuit has more variants than this, joint samples are drawn instead
            of running all variants; by default 4096.
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
        normalise(circuit),
        observables,
        max_qubits=max_qubits,
        cut_labels=cut_labels,
        cuts=cuts,
        budget=budget_of(shots, target_error, max_variants),
        objective=objective,
        search_seconds=search_seconds,
        reuse_qubits=reuse_qubits,
        ranks=ranks,
        seed=seed,
        limits=Limits(
            round_memory_down(int(SHARE_OF_MEMORY * usable_memory()))
            if memory is None
            else checked_memory(memory),
            len(usable_cores()) if threads is None else threads,
            "double" if precision is None else precision,
        ),
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
    *,
    max_qubits: int | None,
    cut_labels: str | Sequence[object] | None,
    cuts: Cuts | Mapping[str, Any] | str | Path | None,
    seed: int,
    limits: Limits,
    budget: Budget | None = None,
    objective: ObjectiveName | None = None,
    search_seconds: float = SEARCH_SECONDS,
    reuse_qubits: bool = False,
    ranks: int = 1,
    farm: Farm | None = None,
    speeds: Mapping[str, Any] | None = None,
    exact: bool = True,
) -> Plan:
    """Return the plan of a normalised circuit; see :func:`plan` for most arguments.

    The ranks of ``farm`` share the search; by default, this process searches alone. ``speeds`` are
    those that an earlier start of the same run stored, so that it finds the same plan; by default
    those of this machine. With ``exact``, a plan is refused if its exact run does not fit into the
    memory.
    """
    if budget is not None:
        exact_plan = plan_normalised(
            circuit,
            observables,
            max_qubits=max_qubits,
            cut_labels=cut_labels,
            cuts=cuts,
            seed=seed,
            limits=limits,
            objective=objective or "overhead",
            search_seconds=search_seconds,
            reuse_qubits=reuse_qubits,
            ranks=ranks,
            farm=farm,
            speeds=speeds,
            exact=False,
        )
        config = {
            **exact_plan.config,
            "mode": "shots",
            "shots": budget.shots,
            "standard_error": budget.target_error,
            "max_variants": budget.max_variants,
        }
        return replace(
            exact_plan, config=config, sampling=sampling_of(exact_plan.cut_problem, budget)
        )
    objective = objective or "seconds"
    alternatives = {"max_qubits": max_qubits, "cut_labels": cut_labels, "cuts": cuts}
    given_names = [name for name, value in alternatives.items() if value is not None]
    if len(given_names) > 1:
        raise InputError(
            f"{' and '.join(given_names)}: given together, expected at most one of them"
        )
    if max_qubits is not None:
        max_qubits = as_integer(max_qubits, "max_qubits", 1)
    if cut_labels is not None and not isinstance(cut_labels, Sequence):
        raise InputError(f"cut_labels: {_shown(cut_labels)}, expected one label for each qubit")
    if isinstance(cut_labels, str):
        cut_labels = split_labels(cut_labels, "cut_labels")
    seed = as_integer(seed, "seed", 0)
    ranks = as_integer(ranks, "ranks", 1)
    if objective not in get_args(ObjectiveName):
        raise InputError(f"objective: {_shown(objective)}, expected seconds or overhead")
    search_seconds = as_seconds(search_seconds, "search_seconds", _MAX_SEARCH)
    if observables is None:
        observables = [f"Z{qubit}" for qubit in range(circuit.num_qubits)]
    parsed = as_observables(observables, circuit.num_qubits)
    config = {
        "mode": "exact",
        "max_qubits": max_qubits,
        "partition": cut_labels if cut_labels is None else [str(label) for label in cut_labels],
        "cuts": "given" if cuts is not None else None,
        "objective": objective,
        "search_seconds": search_seconds,
        "reuse_qubits": reuse_qubits,
        "ranks": ranks,
        "seed": seed,
        "memory_bytes": limits.memory_bytes,
        "threads": limits.threads,
        "precision": limits.precision,
    }
    # Choose by the speeds of one thread, so that plans do not depend on the ranks of a node.
    single = read_speeds(replace(limits, threads=1)) if speeds is None else _stored_speeds(speeds)
    config["speeds"] = asdict(single)
    problem = Problem(circuit, parsed, limits, config, single)
    problem_here = replace(problem, speeds=read_speeds(limits))
    if max_qubits is not None:
        options = SearchOptions(max_qubits, objective, search_seconds, seed, reuse_qubits, ranks)
        return with_cost_for(choose_plan(problem, options, farm), problem_here)
    simplified = problem.simplifier.unchanged
    if cut_labels is not None:
        chosen = cuts_from_partition(circuit, cut_labels, "cut_labels")
    elif cuts is not None:
        given_cuts = _as_cuts(cuts)
        given_cuts.check(circuit, _source_of(cuts))
        simplified = _simplified_for(given_cuts, problem)
        chosen = simplified.from_original(given_cuts)
        if given_cuts.cones and len(given_cuts.cones) != simplified.num_cones:
            note = (
                f"cuts: found for {len(given_cuts.cones)} light cones, but these observables have "
                f"{simplified.num_cones}, so every cut applies to all of them"
            )
            simplified = replace(simplified, effects=(*simplified.effects, note))
    else:
        chosen = Cuts()
    try:
        return with_cost_for(
            assemble(problem, simplified, chosen, within_memory=exact), problem_here
        )
    except MemoryLimitError as error:
        raise MemoryLimitError(f"{error}{_width_hint(problem, seed)}") from None


def _stored_speeds(speeds: Mapping[str, Any]) -> Speeds:
    """Return the speeds that an earlier start or another job stored in a file."""
    try:
        return Speeds(**speeds)
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:100]
        raise InputError(f"output: its machine speeds are damaged ({reason})") from None


def with_limits(plan: Plan, limits: Limits) -> Plan:
    """Return the same plan for ranks with these limits; only the number of threads changes.

    Raises:
        MemoryLimitError: If the plan needs more memory than they have.
    """
    if plan.sampling is None and plan.fits and plan.cost.memory_bytes > limits.memory_bytes:
        raise MemoryLimitError(
            f"memory: the run was begun with a plan that needs "
            f"{format_bytes(plan.cost.memory_bytes)} on a rank, which has "
            f"{format_bytes(limits.memory_bytes)} here; expected fewer ranks per node, or more "
            "memory"
        )
    threads = replace(plan.limits, threads=limits.threads)
    return replace(plan, limits=threads)


def budget_of(
    shots: int | None, target_error: float | None, max_variants: int | None
) -> Budget | None:
    """Return the budget of a run with shots; None for an exact run.

    Raises:
        InputError: If a value is invalid.
    """
    if shots is None and target_error is None:
        if max_variants is not None:
            raise InputError("max_variants: given without shots, expected them too")
        return None
    return Budget(shots, target_error, MAX_VARIANTS if max_variants is None else max_variants)


def pareto_plans(circuit: QuantumCircuit, *, max_qubits: int, **options: Any) -> list[Plan]:
    """Return the Pareto front of width and cost: plans for a width limit and for narrower ones.

    Args:
        circuit: The normalised circuit.
        max_qubits: The width limit.
        options: The other arguments of :func:`plan_normalised`.

    Returns:
        The best plan within the limit, then narrower ones that cost more. A plan that another one
        beats in both width and cost is left out.

    Raises:
        InputError: If :func:`plan_normalised` raises it for the limit itself.
    """
    # With qubit reuse the width of a plan, in wires, may exceed the limit, in qubits.
    reuse = options.get("reuse_qubits", False)
    plans = [plan_normalised(circuit, max_qubits=max_qubits, **options)]
    width = plans[0].width if not reuse else min(max_qubits, circuit.num_qubits)
    while (width := min(width - 1, int(width * _NARROWING))) > 0:
        try:
            narrower = plan_normalised(circuit, max_qubits=width, **options)
        except InputError:
            break
        plans.append(narrower)
        width = narrower.width if not reuse else width
    score = score_by(plans[0].config["objective"], plans[0].config["ranks"])
    front: list[Plan] = []
    for candidate in reversed(plans):
        if not front or score(candidate) < score(front[0]):
            front.insert(0, candidate)
    return front


def _simplified_for(cuts: Cuts, problem: Problem) -> SimplifiedCircuit:
    """Return the circuit after the passes that were applied when the cuts were found."""
    if not cuts.simplified:
        return problem.simplifier.unchanged
    separate = problem.simplifier.separate_cones if cuts.cones else None
    return separate or problem.simplifier.joint_cone


def _width_hint(problem: Problem, seed: int) -> str:
    """Return a hint that names a width limit that works, or nothing if a quick search fails."""
    amplitudes = problem.limits.memory_bytes // (2 * problem.limits.amplitude_bytes)
    width = max(1, min(problem.circuit.num_qubits - 1, amplitudes.bit_length() - 1))
    try:
        narrower = choose_plan(problem, SearchOptions(width, seconds=_QUICK_SEARCH, seed=seed))
    except InputError:
        return ""
    return f"; --max-qubits {narrower.width} would work"


def _as_cuts(cuts: object) -> Cuts:
    if isinstance(cuts, Cuts):
        return cuts
    if isinstance(cuts, Mapping):
        return Cuts.from_json(json.dumps(cuts))
    if isinstance(cuts, str) and cuts.lstrip().startswith("{"):
        return Cuts.from_json(cuts)
    if isinstance(cuts, (str, Path)):
        return read_cuts(Path(cuts))
    raise InputError(f"cuts: {_shown(cuts)}, expected Cuts, their JSON, or the path of its file")


def _source_of(cuts: object) -> str:
    """Return the name of cuts in messages: that of their file, if there is one."""
    is_path = isinstance(cuts, Path) or (
        isinstance(cuts, str) and not cuts.lstrip().startswith("{")
    )
    return printable_path(str(cuts)) if is_path else "cuts"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
