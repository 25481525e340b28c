"""Compiled plans, kept by the structure of their circuits and by their observables."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparseObservable

from hpcq.core.seeds import sub_seed
from hpcq.kinds.parameters.together import Answer, Evaluation, evaluate_together
from hpcq.kinds.shots.program import Estimates, ShotsProgram
from hpcq.kinds.shots.sampling import ShotsPlan
from hpcq.planning.plan import Plan
from hpcq.planning.planner import plan
from hpcq.primitives.evaluators import (
    BoundShotsEvaluator,
    ExactEvaluator,
    MakePlan,
    ShotsEvaluator,
)
from hpcq.primitives.observables import observable_key
from hpcq.primitives.options import EstimatorOptions
from hpcq.primitives.structure import Structure, StructureReader

_MAX_KEPT = 256
"""Maximum number of compiled plans that are kept. Measured: a program of 20 qubits takes 0.3 to 0.5
MB, and more after an evaluation of many rows, whose tensors it keeps. Smaller: algorithms with a
circuit for each pair of parameters, as for a geometric tensor, plan each of them again."""

Rows = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Request:
    """Values that are asked for.

    Attributes:
        structure: The circuit.
        observables: The observables, all different.
        rows: Values of the circuit's parameters, or of its angles if it has none, shape (rows,
            values).
        precision: Target error of estimates from shots; 0 if the shots decide.
    """

    structure: Structure
    observables: Sequence[SparseObservable]
    rows: Rows
    precision: float


class _SampledEvaluator(Protocol):
    """Estimates values of circuits of one structure from shots."""

    def estimate(self, structure: Structure, rows: Rows, *, gradients: bool) -> Estimates:
        """Return the estimates at rows of values, shape (rows, values)."""


class ProgramCache:
    """Compiled plans of the structures that were used most recently.

    Args:
        options: The options of the estimator.

    Attributes:
        structures: Finds the structures of circuits.
    """

    def __init__(self, options: EstimatorOptions) -> None:
        self._options = options
        self.structures = StructureReader()
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._num_made = 0

    def key(
        self, structure: Structure, observables: Sequence[SparseObservable], precision: float
    ) -> Hashable:
        """Return the key by which the compiled plan is kept."""
        names = tuple(map(observable_key, observables))
        return structure.key, names, precision if self._options.is_sampled else None

    def estimate(self, requests: Sequence[Request], *, gradients: bool = False) -> list[Estimates]:
        """Return values of observables at rows of values of circuits, for each request.

        On a session with several ranks, those that take a short time are computed side by side.

        Args:
            requests: The requests.
            gradients: Whether to return derivatives too.

        Raises:
            InputError: If a circuit cannot be planned.
        """
        if self._options.is_sampled:
            return [
                self._evaluator(each, self._make_sampled).estimate(
                    each.structure, each.rows, gradients=gradients
                )
                for each in requests
            ]
        owners: list[int] = []

        def evaluations() -> Iterator[Evaluation]:
            for number, each in enumerate(requests):
                evaluator: ExactEvaluator = self._evaluator(each, self._make_exact)
                for found in evaluator.evaluations(each.structure, each.rows, gradients=gradients):
                    owners.append(number)
                    yield found

        answers: list[list[Answer]] = [[] for _ in requests]
        for answer, owner in zip(evaluate_together(evaluations()), owners, strict=True):
            answers[owner].append(answer)
        return list(map(_exact_estimates, answers))

    def _evaluator(self, request: Request, make: Callable[[Request], Any]) -> Any:
        """Return the evaluator that is kept for a request, or a new one."""
        key = self.key(request.structure, request.observables, request.precision)
        if key not in self._kept:
            self._kept[key] = make(request)
            while len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _make_exact(self, request: Request) -> ExactEvaluator:
        return ExactEvaluator(self._planner(request, {}), self._options.compile)

    def _make_sampled(self, request: Request) -> _SampledEvaluator:
        make_plan = self._planner(request, self._options.budget(request.precision))
        # Each program has shots of its own, the same ones if a script is run again.
        seed = sub_seed(self._options.planning.get("seed", 0), self._num_made)
        self._num_made += 1
        if request.structure.is_bound:
            return BoundShotsEvaluator(make_plan, self._options.run, seed)
        made = make_plan(request.structure.source, seed=seed)
        assert isinstance(made, ShotsPlan), "shots or a target error were given"
        return ShotsEvaluator(ShotsProgram(made, self._options.run))

    def _planner(self, request: Request, budget: Mapping[str, Any]) -> MakePlan:
        """Return a function that plans circuits with the observables of a request."""
        options, observables = {**self._options.planning, **budget}, list(request.observables)

        def make_plan(circuit: QuantumCircuit, **others: Any) -> Plan:
            return plan(circuit, observables, **{**options, **others})

        return make_plan


def _exact_estimates(answers: Sequence[Answer]) -> Estimates:
    """Return the values, and derivatives if there are, of one or several evaluations."""
    values = np.concatenate([values for values, _ in answers])
    derivatives = [each for _, each in answers if each is not None]
    gradients = np.concatenate(derivatives) if derivatives else None
    return Estimates(values, np.zeros_like(values), gradients)
