"""Programs: plans with free parameters that are ready to be evaluated, again and again.

A classical optimiser calls a program at each of its steps. What does not depend on the parameters
is done once, when the plan is compiled.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from hpcq.circuits.slots import Slots
from hpcq.core.system import blas_threads
from hpcq.engines.aer import choose_device
from hpcq.engines.registry import EngineSpec
from hpcq.kinds.parameters.evaluator import Evaluator
from hpcq.kinds.parameters.pieces import piece_engines
from hpcq.kinds.parameters.setup import ProgramSetup
from hpcq.kinds.parameters.spread import SpreadEvaluator
from hpcq.planning.exact_plan import ExactPlan
from hpcq.planning.plan import CompiledPlan
from hpcq.reconstruction.matrix_product import product_threads
from hpcq.runs.session import Session, current_session
from hpcq.runs.stop_signals import uninterrupted

_NO_SLOTS = Slots((), csr_array((0, 0)), np.empty(0), {})

_lock = RLock()
"""Held during an evaluation: the number of BLAS threads is that of the whole process."""


@contextmanager
def one_evaluation() -> Iterator[None]:
    """Let no other thread evaluate, and have BLAS use one thread; see ``matrix_product``.

    A script is stopped only after the evaluation.
    """
    with uninterrupted(), _lock, blas_threads(1):
        yield


def compile_plan(plan: ExactPlan, session: Session | None, device: str) -> Program:
    """Return the program of a plan, on the ranks of a session or in this process.

    Without a session it is the one that is open, if there is one.

    Raises:
        InputError: If the device is wrong, or no engine computes one of the subcircuits.
    """
    session = session or current_session()
    if session is not None and session.size > 1:
        return Program(plan, SpreadEvaluator(session, ProgramSetup.of(plan), device))
    return compile_here(plan, device)


def compile_here(plan: ExactPlan, device: str) -> Program:
    """Return the program of a plan in this process, even if a session is open.

    Raises:
        InputError: As for :func:`compile_plan`.
    """
    setup = ProgramSetup.of(plan)
    engines = piece_engines(EngineSpec(), plan.limits, choose_device(device))
    evaluator = Evaluator(setup, engines)
    _ = evaluator.pieces  # prepared now, so that a refusal comes before the first evaluation
    return Program(plan, evaluator)


class Program(CompiledPlan):
    """An exact plan that is ready to be evaluated at rows of its free parameters.

    Threads of Python may share programs: their evaluations take place one after the other.

    Make one with ``plan.compile()``. Values and derivatives are exact to rounding. Those of a row
    are the same bit for bit alone and among other rows, and subcircuits are simulated again only
    where their angles have changed since the last call. The derivatives with respect to all
    parameters together take a few times as long as the values, whatever the number of parameters.

    Args:
        plan: The plan.
        evaluator: Evaluates it at rows of angles.

    Attributes:
        plan: The plan.
        slots: The angles as functions of the parameters.
        evaluator: Evaluates the plan at rows of angles.

    Example:
        >>> import hpcq
        >>> import numpy as np
        >>> from qiskit import QuantumCircuit
        >>> from qiskit.circuit import Parameter
        >>> circuit, angle = QuantumCircuit(2), Parameter("angle")
        >>> _ = circuit.ry(angle, 0), circuit.cx(0, 1)
        >>> program = hpcq.plan(circuit, ["Z0", "Z1", "X0 X1"], cut_labels="AB").compile()
        >>> program.parameters
        ('angle',)
        >>> program.values([[0.0], [np.pi / 2]]).round(12) + 0.0
        array([[1., 1., 0.],
               [0., 0., 1.]])
        >>> values, gradients = program.values_and_gradients([np.pi / 2])
        >>> gradients.shape, gradients[0, :, 0].round(12) + 0.0
        ((1, 3, 1), array([-1., -1.,  0.]))
    """

    def __init__(self, plan: ExactPlan, evaluator: Evaluator | SpreadEvaluator) -> None:
        self.plan: ExactPlan = plan
        self.slots = _NO_SLOTS if plan.slots is None else plan.slots
        self.evaluator = evaluator

    def values(self, rows: Any) -> NDArray[np.float64]:
        """Return the values of the observables.

        Args:
            rows: Values of the parameters, shape (rows, parameters), or those of one row, shape
                (parameters,).

        Returns:
            Shape (rows, observables).

        Raises:
            InputError: If the rows have another shape, are not finite real numbers, or an angle is
                not a finite real number there.
            HpcqError: If the result fails its own check.
        """
        angles = self.slots.angles(self.slots.rows(rows, "rows"))
        with self._threads():
            return self.evaluator.values(angles)

    def values_and_gradients(self, rows: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the values of the observables and their derivatives.

        Args:
            rows: Values of the parameters, as for :meth:`values`.

        Returns:
            Shapes (rows, observables) and (rows, observables, parameters).

        Raises:
            InputError: As for :meth:`values`, or if an angle has no derivative, or if derivatives
                take more memory than there is.
            HpcqError: If the result fails its own check.
        """
        checked = self.slots.rows(rows, "rows")
        angles = self.slots.angles(checked)
        with self._threads():
            values, by_angle = self.evaluator.values_and_gradients(angles)
        return values, self.slots.pull_back(checked, by_angle)

    @contextmanager
    def _threads(self) -> Iterator[None]:
        """Make products give the same bits on any number of threads; see ``matrix_product``."""
        threads = self.plan.limits.threads
        with one_evaluation(), product_threads(threads):
            yield
