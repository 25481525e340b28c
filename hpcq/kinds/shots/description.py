"""Plans with shots as text for people, and as JSON for programs."""

from __future__ import annotations

import math
from typing import Any

from hpcq.core.errors import InputError
from hpcq.core.system import format_bytes
from hpcq.kinds.shots.sampling import Sampling, ShotsPlan, check_memory
from hpcq.planning.description import (
    MAX_SHOWN_SUBCIRCUITS,
    count_text,
    cut_json,
    cut_lines,
    heading_lines,
    power_of_ten,
    short_count,
    subcircuit_json,
)


def shots_plan_text(plan: ShotsPlan) -> str:
    """Return a plan with shots as text: its subcircuits, cuts, variants and errors."""
    refusal = _refusal(plan)
    warning = [f"warning: `hpcq run` refuses to simulate it ({refusal})"] if refusal else []
    lines = [
        *heading_lines(plan, len(plan.sampling.sources.tensors)),
        "",
        *_subcircuit_table(plan),
        *cut_lines(plan),
        "",
        *_sampling_lines(plan.sampling),
        *_seconds_lines(plan),
        *warning,
    ]
    return "\n".join(lines)


def _subcircuit_table(plan: ShotsPlan) -> list[str]:
    lines = ["subcircuit  qubits  ports  strings  variants       state  equal to"]
    sources = plan.sampling.sources
    for number, (subcircuit, use) in enumerate(
        zip(plan.cut.subcircuits, sources.uses, strict=True)
    ):
        if number == MAX_SHOWN_SUBCIRCUITS:
            lines.append(f"  ... and {len(plan.cut.subcircuits) - number} more")
            break
        size = f"{number:>10}  {subcircuit.num_qubits:>6}  {len(subcircuit.ports):>5}"
        if use is None:
            lines.append(f"{size}  not measured: no observable depends on it")
            continue
        tensor, first = sources.tensors[use], sources.uses.index(use)
        state = format_bytes(plan.limits.amplitude_bytes << tensor.simulated_qubits)
        equal = first if first != number else ""
        lines.append(
            f"{size}  {len(tensor.strings):>7}  {short_count(tensor.num_variants):>8}"
            f"  {state:>10}  {equal:>8}".rstrip()
        )
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
        f"variants           {short_count(sampling.num_variants)} of {len(tensors)} distinct "
        f"subcircuits, at most {short_count(max_variants)} of one",
        f"overhead           gamma squared {power_of_ten(2 * math.log10(gamma))}: a Pauli string "
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
    if budget.target_error is not None:
        shots = (gamma / budget.target_error) ** 2
        lines.append(
            f"target error       {budget.target_error:g}; for a Pauli string at most about "
            f"{shots:.2g} shots, often far fewer"
        )
    return lines


def _seconds_lines(plan: ShotsPlan) -> list[str]:
    """Return a line on the predicted seconds, if they are known."""
    if plan.predicted_seconds is None:
        return []
    ranks = "one rank" if plan.config["ranks"] == 1 else count_text(plan.config["ranks"], "rank")
    return [f"predicted          {plan.predicted_seconds:.2g} s of ideal simulation on {ranks}"]


def _refusal(plan: ShotsPlan) -> str:
    """Return the reason why a simulation of the shots is refused; empty if it is not."""
    try:
        check_memory(plan.sampling, plan.limits)
    except InputError as error:
        return str(error)
    return ""


def shots_plan_json(plan: ShotsPlan) -> dict[str, Any]:
    """Return a plan with shots as plain JSON values."""
    sources = plan.sampling.sources
    subcircuits = [
        {
            **each,
            "strings": 0 if use is None else len(sources.tensors[use].strings),
            "variants": 0 if use is None else sources.tensors[use].num_variants,
            "distinct": use,
        }
        for each, use in zip(subcircuit_json(plan), sources.uses, strict=True)
    ]
    qubits = max((tensor.simulated_qubits for tensor in sources.tensors), default=0)
    return {
        **cut_json(plan),
        "subcircuits": subcircuits,
        "fits_memory": not _refusal(plan),
        "memory_bytes": plan.limits.amplitude_bytes << qubits,
        "sampling": _sampling_json(plan.sampling),
    }


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
