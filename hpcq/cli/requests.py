"""From the options of a command to its circuit, its limits and its plan."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.cli.outcome_requests import (
    asks_outcomes,
    check_outcomes,
    device_observables,
    has_device,
    wanted_outcomes,
)
from hpcq.core.errors import InputError
from hpcq.core.system import launched_rank, parse_bytes, usable_cores

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

    from hpcq.circuits.reader import CircuitReader
    from hpcq.core.limits import Limits
    from hpcq.engines.registry import EngineSpec
    from hpcq.parallel.serial import Farm
    from hpcq.planning.plan import CutPlan
    from hpcq.planning.problem import Budget, Question
    from hpcq.planning.verdict import MethodRequest
    from hpcq.reports.outcome_tables import OutcomeTables
    from hpcq.results.result import Result


def start_reading_circuit(options: argparse.Namespace) -> CircuitReader | InputError | None:
    """Start to read the circuit, on rank 0.

    A separate process reads the file. It starts before MPI, and runs while this process loads
    libraries. An error is returned, so that all ranks can raise it later.
    """
    from hpcq.circuits.reader import start_reader

    if launched_rank() > 0 or options.refusal is not None:
        return None
    try:
        return start_reader(circuit_path(options.circuit), seconds=options.read_seconds)
    except InputError as error:
        return error


def make_plans(
    options: argparse.Namespace,
    reader: CircuitReader | InputError | None,
    farm: Farm,
    check: Callable[[], None],
    *,
    to_run: bool = False,
) -> list[CutPlan]:
    """Return the plan, and with ``--pareto`` narrower ones, on rank 0; an empty list on others.

    Collective. ``check`` is called first, on rank 0; an error that it raises is raised on all
    ranks. A plan that is to be run, rather than printed, has the limits of the ranks.
    ``options.values`` are the values of parameters.
    """
    from hpcq.core.limits import check_threads
    from hpcq.planning.kind import kind_of
    from hpcq.planning.outcome_planner import plan_normalised_outcomes
    from hpcq.planning.planner import pareto_plans, plan_normalised
    from hpcq.runs.collective import all_ranks_or_none, from_rank_0
    from hpcq.runs.rank_devices import choose_rank_device, min_rank_resources
    from hpcq.runs.run import check_plan

    cores, memory = min_rank_resources(farm, getattr(options, "device", "auto"))

    from_rank_0(farm, check)
    if to_run:
        all_ranks_or_none(farm, lambda: check_threads(options.threads or 1, len(usable_cores())))
    if farm.broadcast(b"Aer" if to_run and _takes_aer(options) else b""):
        # An error now does not waste a search for cuts.
        choose_rank_device(farm, options.device)

    def make() -> list[CutPlan]:
        started_reading = reader or start_reading_circuit(options)
        if started_reading is None or isinstance(started_reading, InputError):
            raise started_reading or InputError(
                f"launcher: its variables say that this process is rank {launched_rank()}, and "
                "MPI that it is rank 0; expected both to say the same"
            )
        circuit = options.values.assign(started_reading.result())
        limits = limits_for(options, cores, memory)
        known = getattr(options, "known", None)
        how = plan_arguments(circuit, options, plan_limits(known, options, limits))
        if getattr(options, "pareto", False):
            return list(pareto_plans(circuit, farm=farm, **how))
        make_plan: Callable[..., CutPlan] = plan_normalised
        if has_outcomes_plan(options):
            make_plan = plan_normalised_outcomes
        plan = make_plan(circuit, farm=farm, earlier=known, **how)
        if to_run:
            plan = kind_of(plan).with_limits(plan, limits)
            check_plan(plan, farm.size)
        return [plan]

    return from_rank_0(farm, make) or []


def _takes_aer(options: argparse.Namespace) -> bool:
    """Whether a run will simulate, rather than use a backend or a complete result; on rank 0."""
    previous = getattr(options, "previous", None)
    if previous is None or previous.status != "complete":
        return not options.backend
    return not options.backend and budget_for(options) is not None and not options.shared


def plan_arguments(
    circuit: QuantumCircuit, options: argparse.Namespace, limits: Limits
) -> dict[str, Any]:
    """Return the arguments of :func:`hpcq.planning.planner.plan_normalised`.

    For outcomes, they are those of :func:`hpcq.planning.outcome_planner.plan_normalised_outcomes`.
    """
    from hpcq.circuits.measurements import measurements_of
    from hpcq.circuits.observables import parse_observable, read_observables
    from hpcq.planning.cut_request import CutRequest
    from hpcq.planning.problem import MeasuredOutcomes

    asked: dict[str, Any]
    if has_outcomes_plan(options):
        asked = wanted_outcomes(options)
        MeasuredOutcomes(measurements_of(circuit), **asked)
    else:
        asks_values = not asks_outcomes(options)
        texts = options.observable if asks_values else device_observables(circuit, options)
        observables: list[Any] = [parse_observable(text, circuit.num_qubits) for text in texts]
        if asks_values and options.observables is not None:
            observables += read_observables(options.observables, circuit.num_qubits)
        asked = {
            "observables": observables or None,
            "budget": budget_for(options),
            "parameters": options.values.columns(circuit),
        }
    names = ("objective", "search_seconds", "reuse_qubits")
    search = {n: getattr(options, n) for n in names if getattr(options, n) is not None}
    has_cuts = (options.cut_labels, options.cuts) != (None, None)
    if search and options.max_qubits is None and (has_cuts or {*search} != {"search_seconds"}):
        raise InputError(f"{min(search)}: given without a search, expected --max-qubits too")
    return {
        **asked,
        "method": method_for(options),
        "request": CutRequest(
            max_qubits=options.max_qubits,
            cut_labels=options.cut_labels,
            cuts=Path(options.cuts) if options.cuts is not None else None,
            **search,
            ranks=options.ranks,
            seed=options.seed,
        ),
        "limits": limits,
    }


def budget_for(options: argparse.Namespace) -> Budget | None:
    """Return the budget of shots; None for an exact run."""
    from hpcq.planning.problem import Budget

    return Budget.of(options.shots, options.target_error, options.max_variants)


def method_for(options: argparse.Namespace) -> MethodRequest:
    """Return the method that is asked for, and the tolerance of errors."""
    from hpcq.planning.verdict import MethodRequest

    return MethodRequest(options.method, options.error_tolerance)


def has_outcomes_plan(options: argparse.Namespace) -> bool:
    """Whether the plan is one for outcomes, rather than for observables from which they follow."""
    return asks_outcomes(options) and not has_device(options)


def question_for(options: argparse.Namespace) -> Question:
    """Return a question of the kind that options ask, about no circuit in particular."""
    from hpcq.circuits.measurements import Measurements
    from hpcq.planning.problem import MeasuredOutcomes, question_about

    if has_outcomes_plan(options):
        return MeasuredOutcomes(Measurements(()))
    return question_about((), budget_for(options), method_for(options))


def estimated_outcomes(result: Result, options: argparse.Namespace) -> OutcomeTables | None:
    """Return the outcomes estimated from shots, as options ask; None for other results."""
    if not asks_outcomes(options) or not has_device(options):
        return None
    from hpcq.kinds.shots.outcomes import outcomes_of
    from hpcq.reports.outcome_tables import OutcomeTables

    wanted = wanted_outcomes(options)
    return OutcomeTables.estimated(outcomes_of(result), wanted["bitstrings"], wanted["marginals"])


def check_asked(options: argparse.Namespace) -> None:
    """Check what options ask for, before the circuit is read.

    Raises:
        InputError: If it cannot be answered.
    """
    if asks_outcomes(options):
        check_outcomes(options)
    check_shot_engine(options)


def check_shot_engine(options: argparse.Namespace) -> EngineSpec:
    """Return the specification of the engine that measures shots.

    Raises:
        InputError: If noise or a backend is given without shots, or the noise does not exist.
    """
    from hpcq.engines.registry import EngineSpec

    if budget_for(options) is None and (options.noise or options.backend):
        raise InputError("noise, backend: given without shots, expected --shots or --target-error")
    return EngineSpec.of(options.noise, options.backend, options.engine)


def limits_for(options: argparse.Namespace, cores: int, memory: int) -> Limits:
    """Return the limits of a rank with this many cores and bytes of memory."""
    from hpcq.core.limits import SHARE_OF_MEMORY, Limits, precision_of, round_memory_down

    memory_bytes = round_memory_down(int(SHARE_OF_MEMORY * memory))
    if options.memory is not None:
        memory_bytes = parse_bytes(options.memory)
    precision = precision_of(options.dtype or "complex128")
    return Limits(memory_bytes, options.threads or cores, precision)


def plan_limits(
    known: Mapping[str, Any] | None, options: argparse.Namespace, limits: Limits
) -> Limits:
    """Return the limits to plan with: those of an earlier start, unless options replace them."""
    if known is None:
        return limits
    if options.memory is None:
        limits = replace(limits, memory_bytes=known.get("memory_bytes", limits.memory_bytes))
    return replace(limits, threads=options.threads or known.get("threads", limits.threads))


def is_for_many(options: argparse.Namespace) -> bool:
    """Return whether a run is one of several circuits, or of one into an existing folder."""
    if options.more_circuits:
        return True
    if options.output is None or options.shared:
        return False
    try:
        return Path(options.output).is_dir()
    except (OSError, ValueError):  # an impossible name, which the run will refuse
        return False


def circuit_path(circuit: str) -> Path:
    """Return the path of a circuit, or of one of the package's examples."""
    if not circuit.startswith("example:"):
        return Path(circuit)
    folder = Path(__file__).parents[1] / "examples"
    name = circuit.removeprefix("example:")
    known = sorted(path.stem for path in folder.glob("*.qasm"))
    if name not in known:
        raise InputError(f"circuit: no example {name[:40]!r}, expected one of {', '.join(known)}")
    return folder / f"{name}.qasm"
