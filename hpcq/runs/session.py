"""Sessions: ranks that stay for any number of runs, and keep whatever the next run can reuse.

A single run, from Python or from the command line, is a session of one.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from hpcq.core.errors import HpcqError, InputError
from hpcq.engines.registry import EngineSpec
from hpcq.parallel import messages
from hpcq.parallel.world import (
    abort_on_error,
    check_free,
    open_farm,
    open_sessions,
    stop_before_start,
)
from hpcq.planning.kind import kind_of
from hpcq.planning.plan import Plan
from hpcq.results.result import Result
from hpcq.runs.arguments import RunArguments
from hpcq.runs.collective import all_ranks_or_none, from_rank_0
from hpcq.runs.options import RunOptions
from hpcq.runs.output import NoOutput, RunOutput
from hpcq.runs.progress import ProgressMonitor
from hpcq.runs.run import check_plan, run_on_farm
from hpcq.runs.stop_conditions import StopConditions

if TYPE_CHECKING:
    from types import TracebackType

    from mpi4py.MPI import Comm

_END = b""
"""Message by which rank 0 ends the session; the arguments of a run are never empty."""


def run(plan: Plan | None, comm: Comm | None = None, **options: Any) -> Result:
    """Run a plan.

    Args:
        plan: The plan. Only rank 0's is used; other ranks may pass None.
        comm: An mpi4py communicator whose ranks share the work; all of them must call this
            function. By default all ranks of the MPI job, or this process alone if there is none.
        options: Fields of :class:`hpcq.runs.arguments.RunArguments`, such as ``output="out.h5"``.

    Returns:
        The result, with the same values on every rank; only rank 0's has ``details``.

    Raises:
        InputError: On every rank, if the plan or another argument is missing or wrong.
        StoppedError: On every rank, if the run was stopped; the output holds all finished work.
        HpcqError: If tasks fail, or the result fails its own check. Any other failure of one
            rank among several ends the whole job.
    """
    arguments = RunArguments(**options)
    session = Session(comm)
    check_free(session.farm)
    return session.run_on_all_ranks(plan, arguments)


class Session:
    """Ranks that stay for any number of runs.

    Enter a session on all ranks. Rank 0 continues at once and runs plans; the other ranks compute
    for it, and continue when it leaves the session. Between runs, the ranks keep their worker
    processes, the subcircuits that they have received, and the circuits that their simulators have
    prepared, so that a run similar to an earlier one starts in milliseconds.

    Args:
        comm: An mpi4py communicator. By default all ranks of the MPI job, or this process alone if
            there is none.

    Example:
        >>> import hpcq
        >>> from qiskit import QuantumCircuit
        >>> circuit = QuantumCircuit(2)
        >>> _ = circuit.h(0), circuit.cx(0, 1)
        >>> with hpcq.Session() as session:
        ...     if session.rank == 0:
        ...         plan = hpcq.plan(circuit, "X0 X1", cut_labels="AB")
        ...         result = session.run(plan, device="cpu")
        >>> print(result)
        X0 X1  +1.000000000000
    """

    def __init__(self, comm: Comm | None = None) -> None:
        self.farm = open_farm(comm)
        self._is_open = False

    @property
    def rank(self) -> int:
        """Rank of this process."""
        return self.farm.rank

    @property
    def size(self) -> int:
        """Number of ranks."""
        return self.farm.size

    def __enter__(self) -> Session:
        check_free(self.farm)
        open_sessions.append(self.farm)
        self.farm.keeps_workers = self._is_open = True
        if self.rank > 0:
            with abort_on_error(self.farm):
                self._serve()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.rank == 0 and not self.farm.has_lost_ranks:
            self.farm.broadcast(_END)
        self._is_open = False
        open_sessions.remove(self.farm)
        self.farm.close()

    def run(self, plan: Plan, **options: Any) -> Result:
        """Run a plan on all ranks; call it on rank 0.

        Args:
            plan: The plan.
            options: The other arguments of :func:`hpcq.run`, except ``comm``. With several ranks a
                backend is given by its name.

        Returns:
            The result.

        Raises:
            InputError: If the plan or another argument is wrong.
            StoppedError: If the run was stopped; the output holds all finished work.
            HpcqError: If tasks fail, the result fails its own check, a rank is lost, or this is not
                rank 0 within the session.
        """
        if not self._is_open or self.rank > 0:
            raise HpcqError(
                "session: it runs plans between entering and leaving it, and on rank 0 only"
            )
        if self.farm.has_lost_ranks:
            raise HpcqError("session: a rank is lost, and the others cannot begin another run")
        arguments = RunArguments(**options)
        command = _command(arguments)
        with abort_on_error(self.farm):
            self.farm.broadcast(command)
            return self.run_on_all_ranks(plan, arguments)

    def run_on_all_ranks(self, plan: Plan | None, arguments: RunArguments) -> Result:
        """Run rank 0's plan on all ranks, which call this together."""
        farm = self.farm

        def prepare() -> tuple[Plan, RunOutput]:
            checked_plan = check_plan(plan, farm.size)
            output = arguments.open_output()
            output.load_previous(kind_of(checked_plan))
            return checked_plan, output

        with abort_on_error(farm):
            texts = EngineSpec.argument_texts(arguments.noise, arguments.backend, arguments.engine)
            rank_0_texts = messages.loads(farm.broadcast(messages.dumps(texts)))

            def check() -> StopConditions:
                # Each rank checks its own arguments, because those of a single rank may be wrong.
                if farm.rank > 0:
                    engine = arguments.noise, arguments.backend, rank_0_texts, arguments.engine
                    EngineSpec.check_same(*engine)
                return arguments.stop_conditions(farm.rank)

            stop_conditions = all_ranks_or_none(farm, check)
        return self.plan_and_run(
            arguments, stop_conditions, lambda: from_rank_0(farm, prepare) or (None, NoOutput())
        )

    def plan_and_run(
        self,
        arguments: RunArguments,
        stop_conditions: StopConditions,
        make_plan: Callable[[], tuple[Plan | None, RunOutput]],
        stream: TextIO | None = None,
        on_result: Callable[[Result], object] = lambda _: None,
    ) -> Result:
        """Make a plan and run it on all ranks, which call this together.

        Args:
            arguments: The user's arguments.
            stop_conditions: When to stop; a signal that arrives during planning ends the job.
            make_plan: Returns, on rank 0, the plan and the output, opened; collective.
            stream: Where to show progress; None for nowhere.
            on_result: Called on rank 0 with the result, before it is saved.
        """
        farm = self.farm
        with abort_on_error(farm), stop_conditions:
            with stop_conditions.before_start(lambda reason: stop_before_start(farm, reason)):
                plan, output = make_plan()
            monitor = ProgressMonitor(stop_conditions, output, stream)
            return run_on_farm(plan, farm, RunOptions(arguments, output, monitor, on_result))

    def _serve(self) -> None:
        """Take part in the runs that rank 0 starts, until it leaves the session."""
        farm = self.farm
        # Once a rank is lost, rank 0 can begin no run, nor tell the others that it leaves.
        while not farm.has_lost_ranks and (command := farm.broadcast(b"")) != _END:
            try:
                self.run_on_all_ranks(None, messages.loads(command))
            except HpcqError as error:
                if not error.on_all_ranks:
                    raise


def _command(arguments: RunArguments) -> bytes:
    """Return the message that starts a run on the other ranks.

    Raises:
        InputError: If an argument is nothing that can be sent, and so wrong in any case.
    """
    try:
        return messages.dumps(arguments.for_other_ranks())
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise InputError(
            f"session: an argument of the run cannot be sent to ranks: {error}"
        ) from None
