"""Evaluators of circuits of one structure: exact, or from shots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit

from hpcq.core.errors import InputError
from hpcq.core.seeds import sub_seed
from hpcq.cutting.cuts import Cuts
from hpcq.kinds.parameters.program import Program
from hpcq.kinds.parameters.together import Evaluation
from hpcq.kinds.shots.program import Estimates, ShotsProgram
from hpcq.planning.plan import CompiledPlan, Plan
from hpcq.primitives.structure import Structure
from hpcq.results.result import Result

_SLOW_SECONDS = 1.0
"""Minimum predicted seconds of a row for which a program for all angles is compared with a plan for
the given ones. Smaller: more circuits are planned twice."""

_MAX_SLOWDOWN = 10.0
"""Maximum predicted seconds of a row with free angles, in multiples of those with the given angles;
above, each circuit is planned with its angles."""

_QUICK_SECONDS = 0.05
"""Maximum predicted seconds of a row for which a program for all angles serves the first circuit
too: a plan for its angles would take longer than it could save. Larger: fewer circuits are planned
twice, but single ones may take longer than by a method for their angles."""

_SPECIAL = 1e-6
"""Maximum sine of twice an angle that counts as a multiple of pi/2. Circuits with such angles may
be far quicker than others of their structure."""

Rows = NDArray[np.float64]
MakePlan = Callable[..., Plan]
"""Plans a circuit; keyword arguments are options of :func:`hpcq.plan`."""


class ExactEvaluator:
    """Exact values for circuits of one structure.

    The first circuit without free parameters is planned with its angles, as if it were the only
    one: if some are multiples of pi/2, for example, only a method for Clifford circuits may be
    possible. If others follow, a program for all angles is compiled, unless it is not possible or
    far slower; then each circuit is planned with its angles. A quick program for all angles serves
    the first circuit too, if no angle is special.

    Args:
        make_plan: Plans a circuit.
        compile_plan: Returns the program of a plan.
    """

    def __init__(self, make_plan: MakePlan, compile_plan: Callable[[Plan], CompiledPlan]) -> None:
        self._make_plan, self._compile_plan = make_plan, compile_plan
        self._general: Program | None = None
        self._general_plan: Plan | None = None
        self._refusal: InputError | None = None
        self._last: tuple[bytes, Plan, Program] | None = None

    def evaluations(
        self, structure: Structure, rows: Rows, *, gradients: bool
    ) -> Iterator[Evaluation]:
        """Yield the evaluations of all rows of parameter values, in order.

        Raises:
            InputError: If derivatives are asked for and no program for all angles is possible, or
                if a circuit cannot be planned.
        """
        if self._general is None and self._refusal is None:
            self._choose(structure, rows)
        if self._general is not None:
            yield Evaluation(self._general, rows, gradients)
            return
        if gradients and self._refusal is not None:
            raise self._refusal
        for row in rows:
            yield Evaluation(self._at(structure, row)[1], np.empty((1, 0)))

    def _choose(self, structure: Structure, rows: Rows) -> None:
        """Compile a program for all angles if it serves these circuits, or note that none does."""
        if not rows.shape[1] and structure.is_bound:
            return
        try:
            if not structure.is_bound or self._has_followers(rows):
                self._compile_general(structure, rows)
            elif self._last is None and self._general_plan is None and not _has_special(rows):
                self._general_plan = self._make_plan(structure.general())
                seconds = self._general_plan.predicted_seconds
                if seconds is not None and seconds <= _QUICK_SECONDS:
                    self._compile_general(structure, rows)
        except InputError as error:
            self._refusal = error

    def _has_followers(self, rows: Rows) -> bool:
        """Whether there are two circuits with different angles."""
        known = {row.tobytes() for row in rows}
        if self._last is not None:
            known.add(self._last[0])
        return len(known) > 1

    def _compile_general(self, structure: Structure, rows: Rows) -> None:
        """Compile a program for all angles, unless it is far slower than those for given ones."""
        made = self._general_plan or self._make_plan(structure.general())
        if structure.is_bound and self._is_too_slow(made, structure, rows[0]):
            message = "circuit: far slower with free angles than with the given ones"
            self._refusal = InputError(message)
        else:
            self._general = self._compiled(made)
            self._last = None
        self._general_plan = None

    def _is_too_slow(self, general: Plan, structure: Structure, row: Rows) -> bool:
        """Whether a circuit is far slower with free angles than with its own."""
        seconds = general.predicted_seconds
        if seconds is None or seconds < _SLOW_SECONDS:
            return False
        particular = self._at(structure, row)[0].predicted_seconds
        return particular is not None and seconds > _MAX_SLOWDOWN * particular

    def _at(self, structure: Structure, row: Rows) -> tuple[Plan, Program]:
        """Return the plan of a circuit with its values, and its program."""
        name = row.tobytes()
        if self._last is None or self._last[0] != name:
            made = self._make_plan(structure.at(row))
            self._last = name, made, self._compiled(made)
        return self._last[1:]

    def _compiled(self, plan: Plan) -> Program:
        program = self._compile_plan(plan)
        assert isinstance(program, Program), "the plan is exact"
        return program


class ShotsEvaluator:
    """Sampled values of circuits of one structure with free parameters.

    Args:
        program: Their program.
    """

    def __init__(self, program: ShotsProgram) -> None:
        self._program = program

    def estimate(self, _: Structure, rows: Rows, *, gradients: bool) -> Estimates:
        """Return estimates at rows of values, each from shots of its own."""
        return self._program.estimate(rows, gradients=gradients)


class BoundShotsEvaluator:
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
        options: dict[str, Any] = {"seed": sub_seed(self._seed, self._num_runs)}
        self._num_runs += 1
        if self._cuts is not None:
            options |= {"cuts": self._cuts, "max_qubits": None, "cut_labels": None}
        made = self._make_plan(circuit, **options)
        self._cuts = made.cuts
        return self._run_plan(made)


def _has_special(rows: Rows) -> bool:
    """Whether there are angles that are multiples of pi/2."""
    return bool((np.abs(np.sin(2 * rows)) < _SPECIAL).any())
