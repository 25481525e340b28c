"""Plans for outcomes as text for people, and as JSON for programs."""

from __future__ import annotations

from typing import Any

from hpcq.core.system import format_bytes
from hpcq.kinds.exact.description import exact_plan_json, exact_plan_text
from hpcq.planning.description import count_text
from hpcq.planning.outcome_plan import OutcomesPlan


def outcomes_plan_text(plan: OutcomesPlan) -> str:
    """Return a plan for outcomes as text: its subcircuits, cuts and cost."""
    return "\n".join([exact_plan_text(plan), *_outcome_lines(plan)])


def _outcome_lines(plan: OutcomesPlan) -> list[str]:
    question = plan.question
    measured = len(question.measurements.qubits)
    names = ", ".join(f"{each.name}[{len(each)}]" for each in question.measurements.registers)
    lines = [f"measured           {count_text(measured, 'qubit')}, registers {names}"]
    asked = [count_text(question.shots, "sample")] if question.shots else []
    if question.bitstrings:
        asked.append(f"probabilities of {count_text(len(question.bitstrings), 'outcome')}")
    if question.marginals:
        asked.append(count_text(len(question.marginals), "marginal"))
    if question.top:
        asked.append(f"the {question.top} most probable outcomes")
    if asked:
        lines.append(f"asked for          {', '.join(asked)}")
    if plan.sampling is not None:
        lines.append(
            f"sampling           {plan.shot_seconds * 1e6:.2g} us per shot after"
            f" {plan.sampling.setup_seconds:.2g} s, {format_bytes(plan.sampling.memory_bytes)} for"
            " tables; no sampling overhead"
        )
    return lines


def outcomes_plan_json(plan: OutcomesPlan) -> dict[str, Any]:
    """Return a plan for outcomes as plain JSON values."""
    sampling = plan.sampling
    return {
        **exact_plan_json(plan),
        "registers": plan.question.measurements.describe(),
        "asked": {k: v for k, v in plan.question.config().items() if k in _ASKED},
        "has_amplitudes": plan.has_amplitudes,
        "sampling": sampling
        and {
            "setup_seconds": sampling.setup_seconds,
            "shot_seconds": sampling.shot_seconds,
            "memory_bytes": sampling.memory_bytes,
        },
    }


_ASKED = ("shots", "bitstrings", "marginals", "top")
"""What may be asked for, by names in the configuration."""
