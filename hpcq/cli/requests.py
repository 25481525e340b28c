"""What a command line asks for: the circuit, and its plan."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.core.errors import InputError
from hpcq.core.system import launched_rank, parse_bytes, usable_cores

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

    from hpcq.circuits.reader import CircuitReader
    from hpcq.core.limits import Limits
    from hpcq.engines.shot_engine import ShotEngineSpec
    from hpcq.parallel.serial import Farm
    from hpcq.planning.assembly import Plan
    from hpcq.planning.sampling import Budget


def read_ahead(options: argparse.Namespace) -> CircuitReader | InputError | None:
    """Begin to read the circuit, on rank 0.

    The file is read by a process of its own, started before MPI and while the libraries load.
    Whatever is wrong with it must wait until all ranks can hear of it.
    """
    from hpcq.circuits.reader import start_reader

    if launched_rank() > 0 or options.refusal is not None:
        return None
    try:
        return start_reader(circuit_path(options.circuit), seconds=options.read_seconds)
    except InputError as error:
        return error


def planned(
    options: argparse.Namespace,
    reader: CircuitReader | InputError | None,
    farm: Farm,
    check: Callable[[], None],
    *,
    to_run: bool = False,
) -> list[Plan]:
    """Make the plan on rank 0, and with ``--pareto`` narrower ones; nothing on other ranks.

    Args:
        options: The command line.
        reader: What :func:`read_ahead` returned.
        farm: The ranks.
        check: Called on rank 0 first; what it refuses all ranks do.
        to_run: Whether the plan is to be run, and not only looked at.
    """
    from hpcq.core.limits import check_threads
    from hpcq.kinds.running import check_plan
    from hpcq.planning.planner import pareto_plans, plan_normalised, with_limits
    from hpcq.runs.collective import all_ranks_or_none, from_rank_0
    from hpcq.runs.rank_devices import choose_rank_device, min_rank_resources

    cores, memory = min_rank_resources(farm, getattr(options, "device", "auto"))

    from_rank_0(farm, check)
    if to_run:
        all_ranks_or_none(farm, lambda: check_threads(options.threads or 1, len(usable_cores())))
    if farm.broadcast(b"Aer" if to_run and _takes_aer(options) else b""):
        choose_rank_device(farm, options.device)  # or the search for cuts would be for nothing

    def make() -> list[Plan]:
        begun = reader or read_ahead(options)
        if begun is None or isinstance(begun, InputError):
            raise begun or InputError(
                f"launcher: its variables say that this process is rank {launched_rank()}, and "
                "MPI that it is rank 0; expected both to say the same"
            )
        circuit = begun.result()
        limits = limits_for(options, cores, memory)
        known = getattr(options, "known", None)
        planned = limits if known is None else limits_as_before(known, options, limits)
        how = how_to_plan(circuit, options, planned)
        if getattr(options, "pareto", False):
            return pareto_plans(circuit, farm=farm, **how)
        speeds = None if known is None else known.get("speeds")
        plan = plan_normalised(circuit, farm=farm, speeds=speeds, **how)
        if not to_run:
            return [plan]
        return [check_plan(with_limits(plan, limits), farm.size)]

    return from_rank_0(farm, make) or []


def _takes_aer(options: argparse.Namespace) -> bool:
    """Whether a run simulates: on no device, and with something left to do; known on rank 0."""
    previous = getattr(options, "previous", None)
    if previous is None or previous.status != "complete":
        return not options.backend
    return not options.backend and budget_for(options) is not None and not options.shared


def how_to_plan(
    circuit: QuantumCircuit, options: argparse.Namespace, limits: Limits
) -> dict[str, Any]:
    """Return the arguments of :func:`hpcq.planning.planner.plan_normalised`."""
    from hpcq.circuits.observables import parse_observable, read_observables

    observables: list[Any] = [
        parse_observable(text, circuit.num_qubits) for text in options.observable
    ]
    if options.observables is not None:
        observables += read_observables(options.observables, circuit.num_qubits)
    search = {
        name: getattr(options, name)
        for name in ("objective", "search_seconds", "reuse_qubits")
        if getattr(options, name) is not None
    }
    if search and options.max_qubits is None:
        raise InputError(f"{min(search)}: it is for a search, expected --max-qubits with it")
    return {
        "observables": observables or None,
        "budget": budget_for(options),
        "max_qubits": options.max_qubits,
        "cut_labels": options.cut_labels,
        "cuts": Path(options.cuts) if options.cuts is not None else None,
        **search,
        "ranks": options.ranks,
        "seed": options.seed,
        "limits": limits,
    }


def budget_for(options: argparse.Namespace) -> Budget | None:
    """Return the shots that are asked for; None for an exact run."""
    from hpcq.planning.planner import budget_of

    return budget_of(options.shots, options.target_error, options.max_variants)


def measuring(options: argparse.Namespace) -> ShotEngineSpec:
    """Return what is to measure the shots, if there are any.

    Raises:
        InputError: If there are none, and noise or a backend is given; or there is no such noise.
    """
    from hpcq.engines.shot_engine import ShotEngineSpec

    if budget_for(options) is None and (options.noise or options.backend):
        raise InputError("noise, backend: they are for shots, expected --shots or --target-error")
    return ShotEngineSpec.of(options.noise, options.backend)


def limits_for(options: argparse.Namespace, cores: int, memory: int) -> Limits:
    """Return what a rank may use, of the cores and the bytes of memory that it has."""
    from hpcq.core.limits import SHARE_OF_MEMORY, Limits, precision_of, round_memory_down

    wanted = round_memory_down(int(SHARE_OF_MEMORY * memory))
    if options.memory is not None:
        wanted = parse_bytes(options.memory)
    return Limits(wanted, options.threads or cores, precision_of(options.dtype or "complex128"))


def limits_as_before(
    known: Mapping[str, Any], options: argparse.Namespace, limits: Limits
) -> Limits:
    """Return the limits that an earlier start was planned with, as far as they are not given."""
    memory = known.get("memory_bytes", limits.memory_bytes)
    return replace(
        limits,
        memory_bytes=limits.memory_bytes if options.memory is not None else memory,
        threads=options.threads or known.get("threads", limits.threads),
    )


def circuit_path(circuit: str) -> Path:
    """Return the file of a circuit, or of an example that the package brings along."""
    if not circuit.startswith("example:"):
        return Path(circuit)
    folder = Path(__file__).parents[1] / "examples"
    name = circuit.removeprefix("example:")
    known = sorted(path.stem for path in folder.glob("*.qasm"))
    if name not in known:
        raise InputError(f"circuit: no example {name[:40]!r}, expected one of {', '.join(known)}")
    return folder / f"{name}.qasm"
