"""The question about outcomes that the options of `sample` ask."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from hpcq.cli.sample_flags import as_qubits
from hpcq.core.errors import InputError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

DEFAULT_SHOTS = 1024
"""Number of samples if nothing is asked for, as for Qiskit's samplers."""


def asks_outcomes(options: argparse.Namespace) -> bool:
    """Whether a command is about outcomes rather than expectation values."""
    return bool(getattr(options, "outcomes", False))


def has_device(options: argparse.Namespace) -> bool:
    """Whether shots are to be measured, on a device or with noise."""
    return bool(getattr(options, "noise", None) or getattr(options, "backend", None))


def check_outcomes(options: argparse.Namespace) -> None:
    """Check the options of a command about outcomes, before the circuit is read.

    Raises:
        InputError: If one cannot be answered.
    """
    if options.values.rows is not None:
        raise InputError(
            "parameters: a list of rows given for outcomes, expected one object of values; run "
            "each row by itself"
        )
    if options.target_error is not None:
        raise InputError("target_error: given for outcomes, expected --shots")
    for name in ("observable", "observables", "pareto"):
        if getattr(options, name, None):
            raise InputError(f"{name}: given for outcomes, expected only for expectation values")
    if not has_device(options):
        return
    if options.top is not None:
        raise InputError(
            "top: given with noise or a backend, where each estimate has an error of its own; "
            "expected --marginal of a few qubits"
        )
    if not options.probabilities and not options.marginal:
        raise InputError(
            "shots: with noise or a backend there are no samples, because shots of subcircuits are "
            "combined with coefficients of both signs; expected --probabilities or --marginal"
        )
    if options.shots is None:
        raise InputError("shots: not given, expected their number with noise or a backend")


def wanted_outcomes(options: argparse.Namespace) -> dict[str, Any]:
    """Return what is asked for, as attributes of ``MeasuredOutcomes``."""
    bitstrings = tuple(getattr(options, "probabilities", ()))
    marginals = tuple(map(tuple, as_qubits(getattr(options, "marginal", ()))))
    top = getattr(options, "top", None) or 0
    is_anything = bool(bitstrings or marginals or top)
    shots = options.shots or (0 if is_anything else DEFAULT_SHOTS)
    return {"shots": shots, "bitstrings": bitstrings, "marginals": marginals, "top": top}


def device_observables(circuit: QuantumCircuit, options: argparse.Namespace) -> list[str]:
    """Return the observables from whose counts the requested outcomes are estimated.

    Raises:
        InputError: If what is asked for is none of the circuit.
    """
    from hpcq.circuits.measurements import measurements_of
    from hpcq.kinds.shots.outcomes import outcome_observables
    from hpcq.planning.problem import MeasuredOutcomes

    measurements = measurements_of(circuit)
    MeasuredOutcomes(measurements, **wanted_outcomes(options))
    return outcome_observables(measurements)
