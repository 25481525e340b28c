"""Gradients for qiskit-algorithms, which is optional: ``pip install 'hpcq[algorithms]'``."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.quantum_info.operators.base_operator import BaseOperator

from hpcq.core.errors import InputError, MissingDependencyError
from hpcq.primitives.estimator import Estimator
from hpcq.primitives.job import FinishedJob
from hpcq.primitives.lock import computing
from hpcq.primitives.observables import flat_observables
from hpcq.primitives.programs import Request

try:
    from qiskit_algorithms.gradients import (
        BaseEstimatorGradient,
        DerivativeType,
        EstimatorGradientResult,
    )
except ImportError:  # The class then says what is missing.
    BaseEstimatorGradient = object


class EstimatorGradient(BaseEstimatorGradient):  # type: ignore[misc]  # it brings no types
    """Gradients of expectation values, with respect to all parameters at once.

    Exact gradients take a few times as long as the values, whatever the number of parameters; those
    from shots take two evaluations for each angle.

    Args:
        estimator: An :class:`hpcq.primitives.Estimator`, whose options and compiled plans are used.
        precision: Target error of sampled values; by default that of the estimator.

    Raises:
        InputError: If it is another estimator.
        MissingDependencyError: If qiskit-algorithms is not installed.
    """

    def __init__(self, estimator: Estimator, precision: float | None = None) -> None:
        if BaseEstimatorGradient is object:
            raise MissingDependencyError(
                "qiskit-algorithms is not installed: pip install 'hpcq[algorithms]'"
            )
        if not isinstance(estimator, Estimator):
            raise InputError(
                f"estimator: a {type(estimator).__name__}, expected an hpcq.primitives.Estimator"
            )
        super().__init__(estimator, precision)

    def run(
        self,
        circuits: Sequence[QuantumCircuit] | QuantumCircuit,
        observables: Sequence[Any] | Any,
        parameter_values: Sequence[Sequence[float]],
        parameters: Sequence[Sequence[Parameter] | None] | None = None,
        *,
        precision: float | Sequence[float | None] | None = None,
    ) -> FinishedJob[EstimatorGradientResult]:
        """Compute gradients, in the calling thread: no other may use MPI.

        Args:
            circuits: Circuits with free parameters, or one.
            observables: An observable for each circuit.
            parameter_values: Values of the parameters of each circuit.
            parameters: For each circuit, the parameters with respect to which to differentiate;
                None for all.
            precision: Target error of sampled values, for all circuits or for each.

        Returns:
            A job that has ended.

        Raises:
            ValueError: If these do not fit together.
        """
        if isinstance(circuits, QuantumCircuit):
            circuits = [circuits]
        if isinstance(observables, BaseOperator):
            observables = [observables]
        asked = [None] * len(circuits) if parameters is None else parameters
        chosen = [
            circuits[number].parameters if each is None else each
            for number, each in enumerate(asked)
        ]
        self._validate_arguments(circuits, observables, parameter_values, chosen)
        default = self.precision if precision is None else precision
        return FinishedJob(
            lambda: self._run(circuits, observables, parameter_values, chosen, precision=default)
        )

    def _run(
        self,
        circuits: Sequence[QuantumCircuit],
        observables: Sequence[Any],
        parameter_values: Sequence[Sequence[float]],
        parameters: Sequence[Sequence[Parameter]],
        *,
        precision: float | Sequence[float | None] | None,
    ) -> EstimatorGradientResult:
        """Return the gradients; those of one circuit and observable are computed together."""
        programs, default = self._estimator.programs, self._estimator.default_precision
        is_one = not isinstance(precision, Sequence)
        asked = precision if isinstance(precision, Sequence) else [precision] * len(circuits)
        precisions = [default if each is None else float(each) for each in asked]
        structures = [programs.structures.read(circuit) for circuit in circuits]
        operators = [flat_observables(ObservablesArray.coerce(each)) for each in observables]
        groups: dict[Hashable, list[int]] = {}
        for number, each in enumerate(zip(structures, operators, precisions, strict=True)):
            groups.setdefault(programs.key(*each), []).append(number)
        requests = [
            Request(
                structures[numbers[0]],
                operators[numbers[0]],
                np.array([parameter_values[number] for number in numbers], dtype=float),
                precisions[numbers[0]],
            )
            for numbers in groups.values()
        ]
        with computing:
            found = programs.estimate(requests, gradients=True)
        gradients: list[NDArray[np.float64]] = [np.empty(0)] * len(circuits)
        for numbers, estimates in zip(groups.values(), found, strict=True):
            assert estimates.gradients is not None, "they were asked for"
            for number, gradient in zip(numbers, estimates.gradients[:, 0], strict=True):
                column_of = {each: k for k, each in enumerate(circuits[number].parameters)}
                gradients[number] = gradient[[column_of[each] for each in parameters[number]]]
        metadata = [
            {"parameters": each, "derivative_type": DerivativeType.REAL} for each in parameters
        ]
        return EstimatorGradientResult(
            gradients=gradients,
            metadata=metadata,
            precision=precisions[0] if is_one and precisions else precisions,
        )
