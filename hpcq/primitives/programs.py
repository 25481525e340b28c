"""Compiled plans, kept by the structure of their circuits and by their observables."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparseObservable

from hpcq.core.errors import InputError
from hpcq.cutting.cuts import Cuts
from hpcq.kinds.shots.program import Estimates, ShotsProgram
from hpcq.kinds.shots.sampling import ShotsPlan
from hpcq.planning.plan import CompiledPlan, Plan
from hpcq.planning.planner import plan
from hpcq.primitives.observables import observable_key
from hpcq.primitives.options import EstimatorOptions
from hpcq.primitives.structure import Structure, StructureReader
from hpcq.results.result import Result

_MAX_KEPT = 256
"""Maximum number of compiled plans that are kept. Measured: a program of 20 qubits takes 0.3 to 0.5
MB, and more after an evaluation of many rows, whose tensors it keeps. Smaller: algorithms with a
circuit for each pair of parameters, as for a geometric tensor, plan each of them again."""

_SLOW_SECONDS = 1.0
"""Minimum predicted seconds of a row for which a program for all angles is compared with a plan for
the given ones. Smaller: more circuits are planned twice."""

_MAX_SLOWDOWN = 10.0
"""Maximum predicted seconds of a row with free angles, in multiples of those with the given angles;
above, each circuit is planned with its angles."""

Rows = NDArray[np.float64]
MakePlan = Callable[..., Plan]
"""Plans a circuit; keyword arguments are options of :func:`hpcq.plan`."""


class _Evaluator(Protocol):
    """Evaluates circuits of one structure."""

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
        self._kept: OrderedDict[Hashable, _Evaluator] = OrderedDict()
        self._num_made = 0

    def key(
        self, structure: Structure, observables: Sequence[SparseObservable], precision: float
    ) -> Hashable:
        """Return the key by which the compiled plan is kept."""
        names = tuple(map(observable_key, observables))
        return structure.key, names, precision if self._options.is_sampled else None

    def estimate(
        self,
        structure: Structure,
        observables: Sequence[SparseObservable],
        rows: Rows,
        precision: float,
        *,
        gradients: bool = False,
    ) -> Estimates:
        """Return values of observables at rows of values of a circuit.

        Args:
            structure: The circuit.
            observables: The observables, all different.
            rows: Values of its parameters, or of its angles if it has none, shape (rows, values).
            precision: Target error of estimates from shots; 0 if the shots decide.
            gradients: Whether to return derivatives too.

        Raises:
            InputError: If the circuit cannot be planned.
        """
        key = self.key(structure, observables, precision)
        evaluator = self._kept.get(key)
        if evaluator is None:
            evaluator = self._make(structure, list(observables), precision)
            self._kept[key] = evaluator
            while len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return evaluator.estimate(structure, rows, gradients=gradients)

    def _make(
        self, structure: Structure, observables: list[SparseObservable], precision: float
    ) -> _Evaluator:
        budget = self._options.budget(precision)
        options = {**self._options.planning, **budget}

        def make_plan(circuit: QuantumCircuit, **others: Any) -> Plan:
            return plan(circuit, observables, **{**options, **others})

        if not self._options.is_sampled:
            return _ExactEvaluator(make_plan, self._options.compile)
        # Each program has shots of its own, the same ones if a script is run again.
        seed = _sub_seed(options.get("seed", 0), self._num_made)
        self._num_made += 1
        if structure.is_bound:
            return _SampledEvaluator(make_plan, self._options.run, seed)
        made = make_plan(structure.source, seed=seed)
        assert isinstance(made, ShotsPlan), "shots or a target error were given"
        return _Compiled(ShotsProgram(made, self._options.run))


class _Compiled:
    """A program for all rows."""

    def __init__(self, program: CompiledPlan) -> None:
        self._program = program

    def estimate(self, _: Structure, rows: Rows, *, gradients: bool) -> Estimates:
        """Return the estimates at rows of values."""
        if isinstance(self._program, ShotsProgram):
            return self._program.estimate(rows, gradients=gradients)
        if gradients:
            values, derivatives = self._program.values_and_gradients(rows)
            return Estimates(values, np.zeros_like(values), derivatives)
        values = self._program.values(rows)
        return Estimates(values, np.zeros_like(values))


class _ExactEvaluator:
    """Exact values for circuits of one structure.

    The first circuit without free parameters is planned with its angles, as if it were the only
    one: if they are multiples of pi/2, for example, only a method for Clifford circuits may be
    possible. If others follow, a program for all angles is compiled, unless it is not
    possible or far slower; then each circuit is planned with its angles.

    Args:
        make_plan: Plans a circuit.
        compile_plan: Returns the program of a plan.
    """

    def __init__(self, make_plan: MakePlan, compile_plan: Callable[[Plan], CompiledPlan]) -> None:
        self._make_plan, self._compile_plan = make_plan, compile_plan
        self._general: _Compiled | None = None
        self._refusal: InputError | None = None
        self._last: tuple[bytes, Plan, _Compiled] | None = None

    def estimate(self, structure: Structure, rows: Rows, *, gradients: bool) -> Estimates:
        """Return the values at rows of values.

        Raises:
            InputError: If derivatives are asked for and no program for all angles is possible, or
                if a circuit cannot be planned.
        """
        if self._general is None and self._refusal is None and self._wants_general(structure, rows):
            self._compile_general(structure, rows)
        if self._general is not None:
            return self._general.estimate(structure, rows, gradients=gradients)
        if gradients and self._refusal is not None:
            raise self._refusal
        nothing = np.empty((1, 0))
        estimates = [
            self._at(structure, row)[1].estimate(structure, nothing, gradients=False)
            for row in rows
        ]
        values = np.concatenate([each.values for each in estimates])
        return Estimates(values, np.zeros_like(values))

    def _wants_general(self, structure: Structure, rows: Rows) -> bool:
        if not structure.is_bound:
            return True
        if not rows.shape[1]:
            return False
        known = {row.tobytes() for row in rows}
        if self._last is not None:
            known.add(self._last[0])
        return len(known) > 1

    def _compile_general(self, structure: Structure, rows: Rows) -> None:
        """Compile a program for all angles, or note why there is none."""
        try:
            made = self._make_plan(structure.general())
            if structure.is_bound and self._is_too_slow(made, structure, rows[0]):
                message = "circuit: far slower with free angles than with the given ones"
                self._refusal = InputError(message)
                return
            self._general = _Compiled(self._compile_plan(made))
        except InputError as error:
            self._refusal = error
        else:
            self._last = None

    def _is_too_slow(self, general: Plan, structure: Structure, row: Rows) -> bool:
        """Whether a circuit is far slower with free angles than with its own."""
        seconds = general.predicted_seconds
        if seconds is None or seconds < _SLOW_SECONDS:
            return False
        particular = self._at(structure, row)[0].predicted_seconds
        return particular is not None and seconds > _MAX_SLOWDOWN * particular

    def _at(self, structure: Structure, row: Rows) -> tuple[Plan, _Compiled]:
        """Return the plan of a circuit with its values, and its program."""
        name = row.tobytes()
        if self._last is None or self._last[0] != name:
            made = self._make_plan(structure.at(row))
            self._last = name, made, _Compiled(self._compile_plan(made))
        return self._last[1:]


class _SampledEvaluator:
    """Sampled values of circuits without free parameters, all cut at the same places.

    Each is planned with its own gates, because noise depends on them.
    """

    def __init__(self, make_plan: MakePlan, run_plan: Callable[[Plan], Result], seed: int) -> None:
        self._make_plan, self._run_plan, self._seed = make_plan, run_plan, seed
        self._cuts: Cuts | None = None
        self._num_runs = 0

    def estimate(self, structure: Structure, rows: Rows, *, gradients: bool) -> Estimates:
        """Return estimates at rows of values, each from shots of its own."""
        assert not gradients, "they are for circuits with free parameters"
        results = [self._run(structure.at(row)) for row in rows]
        return Estimates(
            np.array([result.expectation_values for result in results]),
            np.array([result.standard_errors for result in results]),
        )

    def _run(self, circuit: QuantumCircuit) -> Result:
        options: dict[str, Any] = {"seed": _sub_seed(self._seed, self._num_runs)}
        self._num_runs += 1
        if self._cuts is not None:
            options |= {"cuts": self._cuts, "max_qubits": None, "cut_labels": None}
        made = self._make_plan(circuit, **options)
        self._cuts = made.cuts
        return self._run_plan(made)


def _sub_seed(seed: int, number: int) -> int:
    """Return the seed of the shots of one program or run among several."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
