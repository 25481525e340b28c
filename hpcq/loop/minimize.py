"""Minimise an observable over the free parameters of a circuit, with a file that resumes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from qiskit import QuantumCircuit
from scipy.optimize import OptimizeResult

from hpcq.core.errors import HpcqError, InputError
from hpcq.loop.problem import LoopProblem, LoopRequest
from hpcq.loop.solve import Loop
from hpcq.parallel import messages
from hpcq.parallel.world import abort_on_error
from hpcq.planning.kind import kind_of
from hpcq.planning.plan import Plan
from hpcq.results import load_summary
from hpcq.results.result import Result
from hpcq.runs.agreement import agree_on_run
from hpcq.runs.arguments import RunArguments
from hpcq.runs.collective import decode_error, encode_error
from hpcq.runs.output import RunOutput
from hpcq.runs.plan_arguments import as_plan, split_options
from hpcq.runs.run import check_plan
from hpcq.runs.session import Session, current_session
from hpcq.runs.stop_conditions import StopConditions

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

_NOT_FOR_LOOPS = ("parameter_values", "previous", "shared")
"""Arguments of a run that a loop does not have."""


def minimize(
    ansatz: QuantumCircuit | Plan | None,
    observable: Any = None,
    x0: Any = None,
    *,
    optimizer: str | None = None,
    output: Any = None,
    starts: int = 1,
    max_evaluations: int | None = None,
    options: Mapping[str, Any] | None = None,
    bounds: Any = None,
    tol: float | None = None,
    callback: Callable[..., object] | None = None,
    comm: Comm | None = None,
    **more: Any,
) -> OptimizeResult:
    """Minimise an observable over the free parameters of a circuit.

    With an output, all evaluations are stored, those of line searches included. If the loop is
    stopped or killed, the same call replays them through a fresh optimizer and continues: the
    trajectory is the same bit for bit as without the interruption, on any number of ranks.

    Under MPI, all ranks call this function, or rank 0 alone within a :class:`hpcq.Session`. A
    single start is evaluated by all ranks together; several starts are shared among the ranks.

    Args:
        ansatz: A circuit with free parameters, or a plan of one. Only rank 0's is used; other ranks
            may pass None for a plan.
        observable: With a circuit, the observable, as for :func:`hpcq.plan`; a weighted sum is one
            observable.
        x0: The starting point: values of the parameters in the order of ``ansatz.parameters``, a
            mapping from their names to values, or one number for all of them. Several rows are the
            first of several starting points. The others are drawn by the seed, uniformly from -pi
            to pi.
        optimizer: A method of ``scipy.optimize.minimize``: with exact gradients ``L-BFGS-B`` (the
            default), ``BFGS``, ``CG``, ``SLSQP``, ``TNC``, ``trust-constr`` or ``Newton-CG``;
            without, ``COBYLA``, ``COBYQA``, ``Nelder-Mead`` or ``Powell``. Or ``SPSA``, the default
            with shots; its options are those of :func:`hpcq.loop.spsa.spsa`.
        output: The HDF5 file to write and to resume from. Only rank 0's is used.
        starts: Number of starting points.
        max_evaluations: Maximum number of evaluations of each start. A larger one continues a loop
            that has reached it.
        options: Options of the optimizer, as scipy takes them.
        bounds: Bounds of the parameters, as scipy takes them.
        tol: Tolerance for termination, as scipy takes it.
        callback: Called on rank 0 after each iteration, as scipy calls it. A restarted loop calls
            it for the replayed iterations too; several starts call it when all have ended.
        comm: An mpi4py communicator whose ranks share the work, as for :func:`hpcq.run`.
        more: With a circuit, the options of :func:`hpcq.plan`, such as ``max_qubits=20``, ``shots``
            and ``seed``; and ``device``, ``noise``, ``backend``, ``engine``, ``time_limit``,
            ``stop_signal`` and ``checkpoint_seconds`` of :func:`hpcq.run`.

    Returns:
        scipy's result of the best start. It has further entries: ``parameters`` by name,
        ``evaluations``, ``standard_error`` of the value, ``start``, its number, and on rank 0
        ``starts``, the results of all starts. On other ranks it has numbers, arrays and texts only.

    Raises:
        InputError: If an argument is wrong, or the output belongs to another loop, to another
            optimizer or to another version of scipy.
        StoppedError: If the loop was stopped; the output holds all evaluations.
        HpcqError: If an evaluation fails.

    Example:
        >>> import hpcq
        >>> from qiskit import QuantumCircuit
        >>> from qiskit.circuit import Parameter
        >>> circuit, angle = QuantumCircuit(2), Parameter("angle")
        >>> _ = circuit.ry(angle, 0), circuit.cx(0, 1)
        >>> found = hpcq.minimize(circuit, "Z0 Z1 + X0 X1", 0.5, cut_labels="AB")
        >>> round(found.fun, 9), round(found.parameters["angle"], 4)
        (0.0, -1.5708)
    """
    arguments, planning = split_options(ansatz, {**more, "output": output}, "minimize")
    for name in _NOT_FOR_LOOPS:
        if getattr(arguments, name) not in (None, False):
            raise InputError(f"{name}: given to hpcq.minimize, expected only with hpcq.run")
    request = LoopRequest(x0, optimizer, starts, max_evaluations, options, bounds, tol)
    session = Session(comm)
    if current_session() is None:
        others = {name: value for name, value in vars(request).items() if name != "x0"}
        names = {"rows_name": "x0", "name": "hpcq.minimize"}
        agree_on_run(session.farm, ansatz, observable, planning, x0, **names, **others)
    stop_conditions = arguments.stop_conditions(session.rank)
    how = LoopRun(request, arguments, stop_conditions, callback=callback)

    def make_plan() -> Plan | None:
        if isinstance(ansatz, QuantumCircuit):
            # Free memory and ranks change from start to start, and the plan must not.
            earlier = _config_before(arguments)
            planning.setdefault("memory", earlier.get("memory_bytes"))
            planning.setdefault("ranks", earlier.get("ranks", session.size))
        elif not isinstance(ansatz, Plan):
            given = "None" if ansatz is None else f"a {type(ansatz).__name__}"
            raise InputError(f"ansatz: {given}, expected a circuit or what hpcq.plan returns")
        return as_plan(ansatz, observable, planning)

    with stop_conditions:
        return how.on_ranks(session, make_plan)[0]


def _config_before(arguments: RunArguments) -> Mapping[str, Any]:
    """Return the configuration of an earlier start; empty if there is none."""
    if isinstance(arguments.output, str | PathLike):
        path = Path(arguments.output)
        with suppress(InputError, OSError):  # the output is refused where it is opened
            if path.is_file():
                return load_summary(path).config
    return {}


@dataclass(frozen=True, eq=False)
class LoopRun:
    """How a loop is run on this rank.

    Attributes:
        request: What is asked for; only rank 0's is used.
        arguments: The arguments of a run among the user's.
        stop_conditions: When to stop, entered.
        stream: Where to show progress; None for nowhere.
        callback: Called after each iteration, on rank 0.
        output: The output, if it is open already.
    """

    request: LoopRequest
    arguments: RunArguments
    stop_conditions: StopConditions
    stream: TextIO | None = None
    callback: Callable[..., object] | None = None
    output: RunOutput | None = None

    def on_ranks(
        self, session: Session, make_plan: Callable[[], Plan | None]
    ) -> tuple[OptimizeResult, Result | None]:
        """Run a loop, whose plan rank 0 makes, on all ranks of a session that is not entered.

        All ranks call this together, or rank 0 alone if the ranks are those of an open session.

        Returns:
            scipy's result, and on rank 0 the result that the file holds.
        """
        if current_session() is not None:
            with session:
                return self._run(session, make_plan())
        with abort_on_error(session.farm):
            outcome, failure = None, None
            with session:
                if session.rank == 0:
                    try:
                        outcome = self._run(session, make_plan())
                    except HpcqError as error:
                        failure = error
            if failure is not None:
                failure.on_all_ranks = True
                if not session.farm.has_lost_ranks:
                    session.farm.broadcast(encode_error(failure))
                raise failure
            if outcome is not None:
                if not session.farm.has_lost_ranks:
                    session.farm.broadcast(messages.dumps(_plain(outcome[0])))
                return outcome
            received = session.farm.broadcast(b"")
            if received.startswith(b"["):
                raise decode_error(json.loads(received))
            return messages.loads(received), None

    def _run(self, session: Session, plan: Plan | None) -> tuple[OptimizeResult, Result]:
        """Run the loop on rank 0."""
        checked = check_plan(plan, session.size)
        problem = LoopProblem.of(checked, self.request, self.arguments)
        output = self.output
        if output is None:
            output = self.arguments.open_output()
            output.load_previous(kind_of(checked))
        streams = self.stream, self.callback
        return Loop(session, problem, output, self.stop_conditions, *streams).run()


def _plain(result: OptimizeResult) -> OptimizeResult:
    """Return the numbers, arrays and texts of a result, for the other ranks."""
    kinds = (bool, int, float, str, np.ndarray, np.generic)
    plain = {name: value for name, value in result.items() if isinstance(value, kinds)}
    return OptimizeResult(plain, parameters=result.parameters)
