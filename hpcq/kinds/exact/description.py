"""Exact plans as text for people, and as JSON for programs."""

from __future__ import annotations

import math
from typing import Any

from hpcq.core.system import format_bytes
from hpcq.core.text import some_names
from hpcq.cutting.qubit_reuse import device_qubits
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.parallel.tasks import MAX_TASKS
from hpcq.planning.description import (
    MAX_SHOWN_SUBCIRCUITS,
    count_text,
    cut_json,
    cut_lines,
    heading_lines,
    passes,
    power_of_ten,
    short_count,
    subcircuit_json,
)
from hpcq.planning.exact_plan import ExactPlan
from hpcq.planning.verdict import ASKED_TO_CUT, verdict_lines

_MIN_DOMINANT_SHARE = 0.5
"""Share of the simulations' seconds from which one subcircuit is named as dominant."""


def exact_plan_text(plan: ExactPlan) -> str:
    """Return an exact plan as text: its subcircuits, cuts and cost."""
    is_cut = bool(plan.cut.edges) or plan.verdict == ASKED_TO_CUT
    lines = [
        *verdict_lines(plan.verdict, plan.cost.predicted_seconds(), _largest_bound(plan)),
        "",
        *(heading_lines(plan, len(plan.tensors)) if is_cut else _heading_of_parts(plan)),
        "",
        *(_subcircuit_table(plan) if is_cut else _table_of_parts(plan)),
        *cut_lines(plan),
        "",
        *_cost_lines(plan),
        *_warnings(plan),
    ]
    return "\n".join(lines)


def _heading_of_parts(plan: ExactPlan) -> list[str]:
    """Return lines on the size of a circuit that is not cut, and its simplifications."""
    parts = count_text(len(plan.cut.subcircuits), "part")
    qubits = count_text(plan.circuit.num_qubits, "qubit")
    return [f"{qubits} → {parts}, {len(plan.tensors)} distinct", *passes(plan)]


def _table_of_parts(plan: ExactPlan) -> list[str]:
    """Return a table of the distinct parts of a circuit that is not cut."""
    lines = ["  qubits  strings  engine or state    seconds  times"]
    for use, tensor in enumerate(plan.tensors[:MAX_SHOWN_SUBCIRCUITS]):
        lines.append(
            f"  {tensor.subcircuit.num_qubits:>6}  {len(tensor.strings):>7}"
            f"  {_state_text(plan, tensor):>15}  {plan.tensor_seconds[use]:>9.2g}"
            f"  {plan.uses.count(use):>5}"
        )
    if len(plan.tensors) > MAX_SHOWN_SUBCIRCUITS:
        lines.append(f"  ... and {len(plan.tensors) - MAX_SHOWN_SUBCIRCUITS} more")
    return lines


def _subcircuit_table(plan: ExactPlan) -> list[str]:
    lines = [
        "subcircuit  qubits  ports  ancillas  branches  strings  variants"
        "       state    seconds  equal to"
    ]
    first_use: dict[int, int] = {}
    for number, (subcircuit, use) in enumerate(zip(plan.cut.subcircuits, plan.uses, strict=True)):
        tensor = plan.tensors[use]
        first = first_use.setdefault(use, number)
        if number < MAX_SHOWN_SUBCIRCUITS:
            state = _state_text(plan, tensor)
            equal = first if first != number else ""
            lines.append(
                f"{number:>10}  {subcircuit.num_qubits:>6}  {len(subcircuit.ports):>5}"
                f"  {tensor.simulated_qubits - subcircuit.num_qubits:>8}"
                f"  {short_count(tensor.num_branches):>8}  {len(tensor.strings):>7}"
                f"  {short_count(subcircuit.variants):>8}  {state:>10}"
                f"  {plan.tensor_seconds[use]:>9.2g}  {equal:>8}".rstrip()
            )
    if len(plan.cut.subcircuits) > MAX_SHOWN_SUBCIRCUITS:
        lines.append(f"  ... and {len(plan.cut.subcircuits) - MAX_SHOWN_SUBCIRCUITS} more")
    return lines


def _state_text(plan: ExactPlan, tensor: ExactTensor) -> str:
    """Return the size of a tensor's statevector, or the engine that simulates it otherwise."""
    if tensor.simulation is not None:
        return tensor.simulation.engine
    return format_bytes(plan.limits.amplitude_bytes << tensor.simulated_qubits)


def _largest_bound(plan: ExactPlan) -> float | None:
    """Return the largest bound on the error of a string's value, if the plan knows it."""
    largest = 0.0
    for tensor in plan.tensors:
        simulation = tensor.simulation
        if simulation is None:
            if plan.limits.precision == "single":
                return None
        elif simulation.answer is not None:
            largest = max(largest, float(simulation.answer[1].max()))
        elif simulation.engine != "stabilizer":
            return simulation.tolerance
    return largest


def _cost_lines(plan: ExactPlan) -> list[str]:
    cost = plan.cost
    ranks = plan.config["ranks"]
    basis = "measured" if cost.calibrated else "usual; `hpcq doctor --calibrate` measures"
    lines = []
    if plan.parameters:
        lines.append(
            f"free parameters    {len(plan.parameters)}: {some_names(plan.parameters)}; the cost "
            "is that of one row of values"
        )
    lines += [
        f"tasks              {short_count(plan.num_tasks)}",
        f"simulation         {cost.simulation_seconds:.3g} s on one rank,"
        f" longest task {cost.longest_task_seconds:.3g} s",
        f"contraction        {cost.contraction_seconds:.3g} s,"
        f" {cost.contraction_flops:.3g} flops, {count_text(plan.network.num_slices, 'slice')}",
        f"predicted          {plan.predicted_seconds:.3g} s on {count_text(ranks, 'rank')},"
        f" most of it in"
        f" {_dominant_part(plan)} (speeds of this machine: {basis})",
        f"memory             {format_bytes(cost.rank_bytes)} per rank,"
        f" {format_bytes(cost.memory_bytes)} on rank 0"
        f" (limit {format_bytes(plan.limits.memory_bytes)})",
    ]
    if not plan.cut.edges and plan.verdict != ASKED_TO_CUT:
        return lines
    lines += [
        f"sampling overhead  {power_of_ten(plan.cut.log10_sampling_overhead)} "
        "(gamma squared, for shots on a device; exact runs pay none)",
    ]
    if plan.bound is not None:
        overhead = power_of_ten(plan.bound.overhead * math.log10(2))
        lines.append(
            f"lower bound        {count_text(plan.bound.cuts, 'cut')}, sampling overhead "
            f"{overhead}; none is known for the seconds"
        )
    elif plan.config.get("max_qubits") is not None:
        lines.append("lower bound        none is known with reused qubits")
    if plan.config.get("reuse_qubits"):
        needed = max(device_qubits(plan.simplified.analysis, plan.cut.cuts), default=0)
        lines.append(f"device             {count_text(needed, 'qubit')} with reuse are enough")
    return lines


def _warnings(plan: ExactPlan) -> list[str]:
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
            f"warning: its slices make {short_count(plan.num_tasks)} tasks, so `hpcq run`, which "
            f"takes at most {MAX_TASKS}, refuses it"
        )
    if cost.cheaper_uncut and plan.verdict == ASKED_TO_CUT:
        seconds = min(cost.uncut_seconds, cost.uncut_mps_seconds)
        lines.append(
            f"note: an uncut {cost.cheaper_uncut} simulation should be quicker"
            f" (about {seconds:.2g} s against {cost.predicted_seconds():.2g} s)"
        )
    return lines


def _dominant_part(plan: ExactPlan) -> str:
    """Return the part of a run that takes most of its predicted seconds, as text."""
    if plan.cost.contraction_seconds > plan.cost.simulation_seconds:
        return "the contraction"
    largest = max(range(len(plan.tensors)), key=lambda number: plan.tensor_seconds[number])
    share = plan.tensor_seconds[largest] / plan.cost.simulation_seconds
    if share < _MIN_DOMINANT_SHARE:
        return "the simulations"
    return f"subcircuit {plan.uses.index(largest)}"


def exact_plan_json(plan: ExactPlan) -> dict[str, Any]:
    """Return an exact plan as plain JSON values."""
    cost = plan.cost
    subcircuits = [
        {
            **each,
            "engine": tensor.engine_name,
            "ancillas": tensor.simulated_qubits - subcircuit.num_qubits,
            "branches": tensor.num_branches,
            "strings": len(tensor.strings),
            "variants": subcircuit.variants,
            "seconds": plan.tensor_seconds[use],
            "distinct": use,
        }
        for each, subcircuit, use, tensor in zip(
            subcircuit_json(plan),
            plan.cut.subcircuits,
            plan.uses,
            (plan.tensors[use] for use in plan.uses),
            strict=True,
        )
    ]
    return {
        "method": plan.verdict.method,
        "reason": plan.verdict.reason,
        "alternatives": [each.to_json() for each in plan.verdict.alternatives],
        "error_bound": _largest_bound(plan),
        **cut_json(plan),
        "subcircuits": subcircuits,
        "parameters": list(plan.parameters),
        "num_tasks": plan.num_tasks,
        "calibrated": cost.calibrated,
        "dominates": _dominant_part(plan),
        "fits_memory": plan.fits,
        "simulation_seconds": cost.simulation_seconds,
        "contraction_seconds": cost.contraction_seconds,
        "contraction_flops": cost.contraction_flops,
        "contraction_slices": plan.network.num_slices,
        "memory_bytes": cost.memory_bytes,
        "memory_bytes_per_rank": cost.rank_bytes,
        "cheaper_uncut": cost.cheaper_uncut,
        "sampling": None,
    }
