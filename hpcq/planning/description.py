"""Describe plans: as text for people, and as JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from hpcq.core.errors import InputError
from hpcq.core.system import format_bytes
from hpcq.cutting.qubit_reuse import device_qubits
from hpcq.parallel.tasks import MAX_TASKS
from hpcq.planning.assembly import Plan, describe_with
from hpcq.planning.sampling import Sampling, check_memory
from hpcq.reconstruction.estimation.variant_batches import predicted_seconds

_MAX_SHOWN_SUBCIRCUITS = 24
_MAX_SHOWN_CUTS = 24
"""Rows of the tables of subcircuits and cuts, which together fit on a screen or two."""

_MIN_DOMINANT_SHARE = 0.5
"""Share of the simulations' seconds from which one subcircuit is named as dominant."""

_TYPICAL_ROUNDS = 3
"""Rounds that the predicted seconds of a run with shots assume; each simulates every variant."""


def plan_text(plan: Plan) -> str:
    """Return a plan as text: its subcircuits, cuts and cost."""
    cut = plan.cut
    lines = [
        f"{_count(plan.circuit.num_qubits, 'qubit')},"
        f" {_count(len(cut.cuts.gates), 'gate cut')},"
        f" {_count(len(cut.cuts.wires), 'wire cut')} →"
        f" {_count(len(cut.subcircuits), 'subcircuit')}, {len(plan.tensors)} distinct",
        *plan.simplified.effects,
        *_sharing(plan),
        "",
        *_subcircuit_table(plan),
    ]
    if cut.edges:
        lines += ["", "cuts (gates by their numbers in the circuit; 4+5 is one gate made of two)"]
        for edge in cut.edges[:_MAX_SHOWN_CUTS]:
            (a, _), (b, _) = edge.ends
            lines.append(f"  {edge.cut}, dimension {edge.dimension}, subcircuits {a} and {b}")
        if len(cut.edges) > _MAX_SHOWN_CUTS:
            lines.append(f"  ... and {len(cut.edges) - _MAX_SHOWN_CUTS} more")
    if plan.sampling is not None:
        refusal = _refusal_of_shots(plan)
        warning = [f"warning: `hpcq run` refuses to simulate it ({refusal})"] if refusal else []
        return "\n".join([*lines, "", *_sampling_lines(plan.sampling), *warning])
    return "\n".join([*lines, "", *_cost_lines(plan), *_warnings(plan)])


describe_with(plan_text)


def _sharing(plan: Plan) -> list[str]:
    """Return lines that say how many cuts share an edge, and how many ports an ancilla."""
    cuts = len(plan.cut.cuts.gates) + len(plan.cut.cuts.wires)
    ports = [port for subcircuit in plan.cut.subcircuits for port in subcircuit.ports]
    shared = sum(port.shared_with is not None for port in ports)
    lines = []
    if len(plan.cut.edges) < cuts:
        lines.append(f"shared ports: {cuts} cuts make {len(plan.cut.edges)} edges")
    if shared:
        lines.append(f"shared ancillas: {shared} of {len(ports)} ports have none of their own")
    return lines


def _subcircuit_table(plan: Plan) -> list[str]:
    lines = [
        "subcircuit  qubits  ports  ancillas  branches  strings  variants"
        "       state    seconds  equal to"
    ]
    first_use: dict[int, int] = {}
    for number, (subcircuit, use) in enumerate(zip(plan.cut.subcircuits, plan.uses, strict=True)):
        tensor = plan.tensors[use]
        first = first_use.setdefault(use, number)
        if number < _MAX_SHOWN_SUBCIRCUITS:
            state = format_bytes(plan.limits.amplitude_bytes << tensor.simulated_qubits)
            equal = first if first != number else ""
            lines.append(
                f"{number:>10}  {subcircuit.num_qubits:>6}  {len(subcircuit.ports):>5}"
                f"  {tensor.simulated_qubits - subcircuit.num_qubits:>8}"
                f"  {_short_count(tensor.num_branches):>8}  {len(tensor.strings):>7}"
                f"  {_short_count(subcircuit.variants):>8}  {state:>10}"
                f"  {plan.tensor_seconds[use]:>9.2g}  {equal:>8}".rstrip()
            )
    if len(plan.cut.subcircuits) > _MAX_SHOWN_SUBCIRCUITS:
        lines.append(f"  ... and {len(plan.cut.subcircuits) - _MAX_SHOWN_SUBCIRCUITS} more")
    return lines


def _cost_lines(plan: Plan) -> list[str]:
    cost = plan.cost
    ranks = plan.config["ranks"]
    basis = "measured" if cost.calibrated else "usual; `hpcq doctor --calibrate` measures"
    lines = [
        f"tasks              {_short_count(plan.num_tasks)}",
        f"simulation         {cost.simulation_seconds:.3g} s on one rank,"
        f" longest task {cost.longest_task_seconds:.3g} s",
        f"contraction        {cost.contraction_seconds:.3g} s,"
        f" {cost.contraction_flops:.3g} flops, {_count(plan.network.num_slices, 'slice')}",
        f"predicted          {plan.predicted_seconds:.3g} s on {_count(ranks, 'rank')},"
        f" most of it in"
        f" {dominant_part(plan)} (speeds of this machine: {basis})",
        f"memory             {format_bytes(cost.rank_bytes)} per rank,"
        f" {format_bytes(cost.memory_bytes)} on rank 0"
        f" (limit {format_bytes(plan.limits.memory_bytes)})",
        f"sampling overhead  {_power_of_ten(plan.cut.log10_sampling_overhead)} "
        "(gamma squared, for shots on a device; exact runs pay none)",
    ]
    if plan.bound is not None:
        overhead = _power_of_ten(plan.bound.overhead * math.log10(2))
        lines.append(
            f"lower bound        {_count(plan.bound.cuts, 'cut')}, sampling overhead {overhead};"
            " none is known for the seconds"
        )
    elif plan.config.get("max_qubits") is not None:
        lines.append("lower bound        none is known with reused qubits")
    if plan.config.get("reuse_qubits"):
        needed = max(device_qubits(plan.simplified.analysis, plan.cut.cuts), default=0)
        lines.append(f"device             {_count(needed, 'qubit')} with reuse are enough")
    return lines


def _sampling_lines(sampling: Sampling) -> list[str]:
    """Return lines on how a run with shots samples, and what standard error to expect."""
    budget, tensors = sampling.budget, sampling.sources.tensors
    max_variants = max((tensor.num_variants for tensor in tensors), default=0)
    descriptions = {
        "enumerated": "every variant is run",
        "joint": f"joint samples, at most {budget.max_variants} variants of a subcircuit a round",
    }
    gamma = max(sampling.gammas, default=1.0)
    lines = [
        f"sampling           {sampling.mode}: {descriptions[sampling.mode]}",
        f"variants           {_short_count(sampling.num_variants)} of {len(tensors)} distinct "
        f"subcircuits, at most {_short_count(max_variants)} of one",
        f"overhead           gamma squared {_power_of_ten(2 * math.log10(gamma))}: a Pauli string "
        "takes at most about that many times the shots of the uncut circuit",
        f"qubits             {max((t.num_qubits for t in tensors), default=0)} on a device, "
        f"{max((t.simulated_qubits for t in tensors), default=0)} in a simulation",
    ]
    if budget.shots is not None:
        error = gamma / math.sqrt(budget.shots)
        lines.append(
            f"shots              {budget.shots}; standard error of a Pauli string at most about "
            f"{error:.2g}, often far less"
        )
        if sampling.mode == "enumerated":
            seconds = predicted_seconds(tensors, budget.shots, _TYPICAL_ROUNDS)
            lines.append(f"predicted          {seconds:.2g} s of ideal simulation on one rank")
    if budget.target_error is not None:
        shots = (gamma / budget.target_error) ** 2
        lines.append(
            f"target error       {budget.target_error:g}; for a Pauli string at most about "
            f"{shots:.2g} shots, often far fewer"
        )
    return lines


def _refusal_of_shots(plan: Plan) -> str:
    """Return the reason why a simulation of the shots is refused; empty if it is not."""
    try:
        if plan.sampling is not None:
            check_memory(plan.sampling, plan.limits)
    except InputError as error:
        return str(error)
    return ""


def _sampling_json(sampling: Sampling) -> dict[str, Any]:
    """Return how a run with shots samples, as plain JSON values."""
    return {
        "mode": sampling.mode,
        "num_variants": sampling.num_variants,
        "variants": [tensor.num_variants for tensor in sampling.sources.tensors],
        "sources": list(sampling.sources.uses),
        "gamma_squared": [gamma**2 for gamma in sampling.gammas],
        "shots": sampling.budget.shots,
        "precision": sampling.budget.target_error,
        "max_variants": sampling.budget.max_variants,
    }


def _warnings(plan: Plan) -> list[str]:
    cost, lines = plan.cost, []
    years = cost.predicted_years()
    if not plan.fits:
        lines.append(
            "warning: the exact run does not fit into the memory, so `hpcq run` refuses it"
        )
    elif years > 1:
        lines.append(f"warning: predicted to take {years:.2g} years, so `hpcq run` refuses it")
    elif plan.num_tasks > MAX_TASKS:
        lines.append(
            f"warning: its slices make {_short_count(plan.num_tasks)} tasks, of at most "
            f"{MAX_TASKS} that `hpcq run` takes, so it refuses it"
        )
    if cost.cheaper_uncut:
        seconds = min(cost.uncut_seconds, cost.uncut_mps_seconds)
        lines.append(
            f"note: an uncut {cost.cheaper_uncut} simulation should be quicker"
            f" (about {seconds:.2g} s against {cost.predicted_seconds():.2g} s)"
        )
    return lines


def dominant_part(plan: Plan) -> str:
    """Return the name of what takes most of a plan's predicted time."""
    if plan.cost.contraction_seconds > plan.cost.simulation_seconds:
        return "the contraction"
    largest = max(range(len(plan.tensors)), key=lambda number: plan.tensor_seconds[number])
    share = plan.tensor_seconds[largest] / plan.cost.simulation_seconds
    if share < _MIN_DOMINANT_SHARE:
        return "the simulations"
    return f"subcircuit {plan.uses.index(largest)}"


def plan_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain JSON values."""
    cut, cost = plan.cut, plan.cost
    overhead = cut.sampling_overhead
    bound = plan.bound
    return {
        "num_qubits": plan.circuit.num_qubits,
        "num_gate_cuts": len(cut.cuts.gates),
        "num_wire_cuts": len(cut.cuts.wires),
        "sampling_overhead": overhead if math.isfinite(overhead) else None,
        "log10_sampling_overhead": cut.log10_sampling_overhead,
        "subcircuits": [
            {
                "num_qubits": subcircuit.num_qubits,
                "ports": len(subcircuit.ports),
                "qubits": list(subcircuit.qubits),
                "port_dimensions": [port.dimension for port in subcircuit.ports],
                "ancillas": plan.tensors[use].simulated_qubits - subcircuit.num_qubits,
                "branches": plan.tensors[use].num_branches,
                "strings": len(plan.tensors[use].strings),
                "variants": subcircuit.variants,
                "seconds": plan.tensor_seconds[use],
                "distinct": use,
                "light_cone": subcircuit.cone,
            }
            for subcircuit, use in zip(cut.subcircuits, plan.uses, strict=True)
        ],
        "num_edges": len(cut.edges),
        "num_light_cones": plan.simplified.num_cones,
        "passes": [*plan.simplified.effects, *_sharing(plan)],
        "num_tasks": plan.num_tasks,
        "predicted_seconds": plan.predicted_seconds,
        "calibrated": cost.calibrated,
        "dominates": dominant_part(plan),
        "lower_bound": None
        if bound is None
        else {"cuts": bound.cuts, "log10_sampling_overhead": bound.overhead * math.log10(2)},
        "fits_memory": plan.fits if plan.sampling is None else not _refusal_of_shots(plan),
        "simulation_seconds": cost.simulation_seconds,
        "contraction_seconds": cost.contraction_seconds,
        "contraction_flops": cost.contraction_flops,
        "contraction_slices": plan.network.num_slices,
        "memory_bytes": cost.memory_bytes,
        "memory_bytes_per_rank": cost.rank_bytes,
        "cheaper_uncut": cost.cheaper_uncut,
        "sampling": None if plan.sampling is None else _sampling_json(plan.sampling),
        "observables": [observable.name for observable in plan.observables],
        "config": dict(plan.config),
    }


def pareto_text(front: Sequence[Plan]) -> str:
    """Return a table of plans that no other plan beats in both width and cost."""
    lines = ["width  subcircuits  gate cuts  wire cuts  predicted seconds  sampling overhead"]
    for plan in front:
        cuts = plan.cut.cuts
        lines.append(
            f"{plan.width:>5}  {len(plan.cut.subcircuits):>11}  {len(cuts.gates):>9}"
            f"  {len(cuts.wires):>9}  {plan.predicted_seconds:>17.3g}"
            f"  {_power_of_ten(plan.cut.log10_sampling_overhead):>17}"
        )
    return "\n".join(lines)


def pareto_json(front: Sequence[Plan]) -> dict[str, Any]:
    """Return these plans as plain JSON values."""
    return {
        "pareto": [
            {
                "width": plan.width,
                "num_subcircuits": len(plan.cut.subcircuits),
                "num_gate_cuts": len(plan.cut.cuts.gates),
                "num_wire_cuts": len(plan.cut.cuts.wires),
                "predicted_seconds": plan.predicted_seconds,
                "log10_sampling_overhead": plan.cut.log10_sampling_overhead,
                "cuts": json.loads(plan.cuts.to_json()),
            }
            for plan in front
        ]
    }


def _short_count(number: int) -> str:
    """Return a count in at most eight characters."""
    return (
        str(number) if number < 10**8 else f"{float(number):.1e}" if number < 10**300 else "> 1e300"
    )


def _power_of_ten(exponent: float) -> str:
    """Return 10 to a power as text, even where it would overflow."""
    return f"{10**exponent:.3g}" if exponent < 300 else f"1e{exponent:.0f}"


def _count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless the number is 1."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
