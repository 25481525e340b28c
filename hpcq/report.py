"""Plans and machines written out for people, and for programs as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hpcq.machine import format_bytes

if TYPE_CHECKING:
    from hpcq.assembly import Plan
    from hpcq.result import Result

_SHOWN_SUBCIRCUITS = 24
_SHOWN_CUTS = 24


def plan_text(plan: Plan) -> str:
    """Write a plan as a table: subcircuits, cuts, cost."""
    cut, cost = plan.cut, plan.cost
    lines = [
        f"{_count(cut.num_qubits, 'qubit')}, {_count(len(cut.cuts.gates), 'gate cut')},"
        f" {_count(len(cut.cuts.wires), 'wire cut')} →"
        f" {_count(len(cut.subcircuits), 'subcircuit')}, {len(plan.tensors)} distinct",
        "",
        "subcircuit  qubits  ports  ancillas  branches  strings       state  equal to",
    ]
    first_use: dict[int, int] = {}
    for number, (subcircuit, use) in enumerate(zip(cut.subcircuits, plan.uses, strict=True)):
        tensor = plan.tensors[use]
        first = first_use.setdefault(use, number)
        if number < _SHOWN_SUBCIRCUITS:
            state = format_bytes(plan.limits.amplitude_bytes << tensor.simulated_qubits)
            lines.append(
                f"{number:>10}  {subcircuit.num_qubits:>6}  {len(subcircuit.ports):>5}"
                f"  {tensor.simulated_qubits - subcircuit.num_qubits:>8}"
                f"  {tensor.num_branches:>8}  {len(tensor.strings):>7}  {state:>10}"
                f"  {first if first != number else '':>8}".rstrip()
            )
    if len(cut.subcircuits) > _SHOWN_SUBCIRCUITS:
        lines.append(f"  ... and {len(cut.subcircuits) - _SHOWN_SUBCIRCUITS} more")
    if cut.edges:
        lines += ["", "cuts"]
        for edge in cut.edges[:_SHOWN_CUTS]:
            (a, _), (b, _) = edge.ends
            lines.append(f"  {edge.cut}, dimension {edge.dimension}, subcircuits {a} and {b}")
        if len(cut.edges) > _SHOWN_CUTS:
            lines.append(f"  ... and {len(cut.edges) - _SHOWN_CUTS} more")
    lines += [
        "",
        f"tasks              {plan.num_tasks}",
        f"simulation         {cost.simulation_seconds:.3g} s on one rank,"
        f" longest task {cost.longest_task_seconds:.3g} s",
        f"contraction        {cost.contraction_seconds:.3g} s,"
        f" {cost.contraction_flops:.3g} flops, {plan.network.num_slices} slices",
        f"memory             {format_bytes(cost.task_bytes)} a rank,"
        f" {format_bytes(cost.memory_bytes)} on rank 0"
        f" (limit {format_bytes(plan.limits.memory_bytes)})",
        f"sampling overhead  {_power_of_ten(cut.log10_sampling_overhead)} "
        "(for shots on a device; exact runs pay none)",
    ]
    years = cost.predicted_years()
    if years > 1:
        lines.append(f"warning: predicted to take {years:.2g} years, so `hpcq run` refuses it")
    if cost.cheaper_uncut:
        seconds = min(cost.uncut_seconds, cost.uncut_mps_seconds)
        lines.append(
            f"note: an uncut {cost.cheaper_uncut} simulation should be quicker"
            f" (about {seconds:.2g} s against {cost.predicted_seconds():.2g} s)"
        )
    return "\n".join(lines)


def plan_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain JSON values."""
    cut, cost = plan.cut, plan.cost
    overhead = cut.sampling_overhead
    return {
        "num_qubits": cut.num_qubits,
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
                "distinct": use,
            }
            for subcircuit, use in zip(cut.subcircuits, plan.uses, strict=True)
        ],
        "num_tasks": plan.num_tasks,
        "predicted_seconds": cost.predicted_seconds(),
        "simulation_seconds": cost.simulation_seconds,
        "contraction_seconds": cost.contraction_seconds,
        "contraction_flops": cost.contraction_flops,
        "contraction_slices": plan.network.num_slices,
        "memory_bytes": cost.memory_bytes,
        "memory_bytes_per_rank": cost.task_bytes,
        "cheaper_uncut": cost.cheaper_uncut,
        "observables": [observable.name for observable in plan.observables],
        "config": dict(plan.config),
    }


def pareto_text(front: Sequence[Plan]) -> str:
    """Write the plans that no other beats in both width and cost, as a table."""
    lines = ["width  subcircuits  gate cuts  wire cuts  predicted seconds  sampling overhead"]
    for plan in front:
        cuts = plan.cut.cuts
        lines.append(
            f"{plan.width:>5}  {len(plan.cut.subcircuits):>11}  {len(cuts.gates):>9}"
            f"  {len(cuts.wires):>9}  {plan.cost.predicted_seconds():>17.3g}"
            f"  {_power_of_ten(plan.cut.log10_sampling_overhead):>17}"
        )
    return "\n".join(lines)


def pareto_json(front: Sequence[Plan]) -> dict[str, Any]:
    """Return the same as plain JSON values."""
    return {
        "pareto": [
            {
                "width": plan.width,
                "num_subcircuits": len(plan.cut.subcircuits),
                "num_gate_cuts": len(plan.cut.cuts.gates),
                "num_wire_cuts": len(plan.cut.cuts.wires),
                "predicted_seconds": plan.cost.predicted_seconds(),
                "log10_sampling_overhead": plan.cut.log10_sampling_overhead,
                "cuts": json.loads(plan.cuts.to_json()),
            }
            for plan in front
        ]
    }


def result_text(result: Result) -> str:
    """Write a result with what matters of its history."""
    seconds = result.provenance.get("seconds", {})
    phases = ", ".join(f"{name} {value:.3g} s" for name, value in seconds.items())
    return "\n".join(
        [
            str(result),
            "",
            f"status      {result.status}",
            f"ranks       {result.provenance.get('ranks', '?')} on "
            f"{', '.join(result.provenance.get('hosts', ['?']))}",
            f"seconds     {phases}",
            f"norm error  {result.provenance.get('norm_error', float('nan')):.2g}",
        ]
    )


def _power_of_ten(exponent: float) -> str:
    """Write 10 to a power, however large."""
    return f"{10**exponent:.3g}" if exponent < 300 else f"1e{exponent:.0f}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
