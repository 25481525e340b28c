"""A plan, or a circuit and how to plan it: what runs and loops are called with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from inspect import signature
from typing import Any

from qiskit import QuantumCircuit

from hpcq.core.errors import InputError
from hpcq.planning import planner
from hpcq.planning.plan import Plan
from hpcq.runs.arguments import RunArguments

PLAN_OPTIONS = frozenset(list(signature(planner.plan).parameters)[2:])
"""Names of the options of a plan."""


def split_options(
    plan: Plan | QuantumCircuit | None, options: Mapping[str, Any], caller: str = "run"
) -> tuple[RunArguments, dict[str, Any]]:
    """Return the arguments of a run, and those of the plan if a circuit is given.

    ``caller`` is the function to which they were given.

    Raises:
        InputError: If options of the plan are given with one.
        TypeError: If there is no such option.
    """
    planning = {name: value for name, value in options.items() if name in PLAN_OPTIONS}
    if planning and not isinstance(plan, QuantumCircuit):
        raise InputError(
            f"{min(planning)}: given with a plan, expected it in hpcq.plan's arguments"
        )
    others = {name: value for name, value in options.items() if name not in planning}
    unknown = others.keys() - {field.name for field in fields(RunArguments)}
    if unknown:
        raise TypeError(f"{caller}() got an unexpected keyword argument {min(unknown)!r}")
    return RunArguments(**others), planning


def as_plan(
    plan: Plan | QuantumCircuit | None, observables: Any, planning: Mapping[str, Any]
) -> Plan | None:
    """Return the plan that is given, or that of a circuit."""
    if isinstance(plan, QuantumCircuit):
        return planner.plan(plan, observables, **planning)
    return plan
