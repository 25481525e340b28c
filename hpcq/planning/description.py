"""Parts of plan descriptions that the kinds of run share, as text and as JSON values."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from hpcq.cutting.subcircuits import CutCircuit
from hpcq.planning.plan import CutPlan

MAX_SHOWN_SUBCIRCUITS = 24
_MAX_SHOWN_CUTS = 24
"""Rows of the tables of subcircuits and of cuts, which together fit on a screen or two."""


def heading_lines(plan: CutPlan, num_distinct: int) -> list[str]:
    """Return lines on the size of the circuit, its cuts, and its simplifications."""
    *size, subcircuits = size_texts(plan.circuit.num_qubits, plan.cut)
    return [f"{', '.join(size)} → {subcircuits}, {num_distinct} distinct", *passes(plan)]


def size_texts(num_qubits: int, cut: CutCircuit) -> list[str]:
    """Return the numbers of qubits, gate cuts, wire cuts and subcircuits as texts."""
    gates, wires = len(cut.cuts.gates), len(cut.cuts.wires)
    counts = (num_qubits, gates, wires, len(cut.subcircuits))
    nouns = ("qubit", "gate cut", "wire cut", "subcircuit")
    return list(map(count_text, counts, nouns))


def passes(plan: CutPlan) -> list[str]:
    """Return lines on simplifications, on cuts that share an edge, and on shared ancillas."""
    cuts = len(plan.cut.cuts.gates) + len(plan.cut.cuts.wires)
    ports = [port for subcircuit in plan.cut.subcircuits for port in subcircuit.ports]
    shared = sum(port.shared_with is not None for port in ports)
    lines = [*plan.simplified.effects]
    if len(plan.cut.edges) < cuts:
        lines.append(f"shared ports: {cuts} cuts make {len(plan.cut.edges)} edges")
    if shared:
        lines.append(f"shared ancillas: {shared} of {len(ports)} ports have none of their own")
    return lines


def cut_lines(plan: CutPlan) -> list[str]:
    """Return a table of the cuts; no line if there are none."""
    edges = plan.cut.edges
    if not edges:
        return []
    lines = ["", "cuts (gates by their numbers in the circuit; 4+5 is one gate made of two)"]
    for edge in edges[:_MAX_SHOWN_CUTS]:
        (a, _), (b, _) = edge.ends
        lines.append(f"  {edge.cut}, dimension {edge.dimension}, subcircuits {a} and {b}")
    if len(edges) > _MAX_SHOWN_CUTS:
        lines.append(f"  ... and {len(edges) - _MAX_SHOWN_CUTS} more")
    return lines


def cut_json(plan: CutPlan) -> dict[str, Any]:
    """Return the cuts of a plan and their bound as plain JSON values."""
    cut, bound = plan.cut, plan.bound
    overhead = cut.sampling_overhead
    return {
        "num_qubits": plan.circuit.num_qubits,
        "num_gate_cuts": len(cut.cuts.gates),
        "num_wire_cuts": len(cut.cuts.wires),
        "sampling_overhead": overhead if math.isfinite(overhead) else None,
        "log10_sampling_overhead": cut.log10_sampling_overhead,
        "num_edges": len(cut.edges),
        "num_light_cones": plan.simplified.num_cones,
        "passes": passes(plan),
        "predicted_seconds": plan.predicted_seconds,
        "lower_bound": None
        if bound is None
        else {"cuts": bound.cuts, "log10_sampling_overhead": bound.overhead * math.log10(2)},
        "observables": [observable.name for observable in plan.observables],
        "config": dict(plan.config),
    }


def subcircuit_json(plan: CutPlan) -> list[dict[str, Any]]:
    """Return the values of each subcircuit that plans of all kinds have, as plain JSON values."""
    return [
        {
            "num_qubits": subcircuit.num_qubits,
            "ports": len(subcircuit.ports),
            "qubits": list(subcircuit.qubits),
            "port_dimensions": [port.dimension for port in subcircuit.ports],
            "light_cone": subcircuit.cone,
        }
        for subcircuit in plan.cut.subcircuits
    ]


def pareto_text(front: Sequence[CutPlan]) -> str:
    """Return a table of plans that no other plan beats in both width and cost."""
    lines = ["width  subcircuits  gate cuts  wire cuts  predicted seconds  sampling overhead"]
    for plan in front:
        cuts, seconds = plan.cut.cuts, plan.predicted_seconds
        shown = "unknown" if seconds is None else f"{seconds:.3g}"
        lines.append(
            f"{plan.width:>5}  {len(plan.cut.subcircuits):>11}  {len(cuts.gates):>9}"
            f"  {len(cuts.wires):>9}  {shown:>17}"
            f"  {power_of_ten(plan.cut.log10_sampling_overhead):>17}"
        )
    return "\n".join(lines)


def pareto_json(front: Sequence[CutPlan]) -> dict[str, Any]:
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


def short_count(number: int) -> str:
    """Return a count in at most eight characters."""
    if number < 10**8:
        return str(number)
    return f"{float(number):.1e}" if number < 10**300 else "> 1e300"


def power_of_ten(exponent: float) -> str:
    """Return 10 to a power as text, even where it would overflow."""
    return f"{10**exponent:.3g}" if exponent < 300 else f"1e{exponent:.0f}"


def count_text(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless the number is 1."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
