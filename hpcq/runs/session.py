"""Sessions: ranks that stay for any number of runs, and keep whatever the next run can reuse.

A single run, from Python or from the command line, is a session of one. While a session is open,
:func:`run`, compiled plans and primitives use its ranks, unless they are told otherwise.
"""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from qiskit import QuantumCircuit

from hpcq.core.errors import HpcqError, InputError
from hpcq.engines.registry import EngineSpec
from hpcq.parallel import messages
from hpcq.parallel.serial import Farm
from hpcq.parallel.world import (
    abort_on_error,
    check_free,
    check_thread,
    open_farm,
    open_sessions,
    stop_before_start,
)
from hpcq.planning.kind import kind_of
from hpcq.planning.plan import CompiledPlan, Plan
from hpcq.results.result import Result
from hpcq.runs.agreement import agree_on_run, agree_on_session
from hpcq.runs.arguments import RunArguments
from hpcq.runs.collective import all_ranks_or_none, from_rank_0
from hpcq.runs.options import RunOptions
from hpcq.runs.output import NoOutput, RunOutput
from hpcq.runs.plan_arguments import as_plan, split_options
from hpcq.runs.progress import ProgressMonitor
from hpcq.runs.run import check_plan, run_on_farm
from hpcq.runs.stop_conditions import StopConditions
from hpcq.runs.stop_signals import uninterrupted

if TYPE_CHECKING:
    from types import TracebackType

    from mpi4py.MPI import Comm

_END = b""
"""Message by which rank 0 ends the session; commands are never empty."""

_entered: list[Session] = []
"""The sessions that this process, their rank 0, has entered and not left, in this order."""

_MAX_KEPT = 8
"""Maximum number of programs that ranks keep. Larger: fewer programs are prepared again in a loop
that alternates between many, but ranks have less memory for everything else."""


def run(
    plan: Plan | QuantumCircuit | None,
    observables: Any = None,
    comm: Comm | None = None,
    **options: Any,
) -> Result:
    """Run a plan, or plan a circuit and run it.

    Args:
        plan: The plan, or a circuit. Only rank 0's is used; other ranks may pass None for a plan.
        observables: With a circuit, its observables, as for :func:`hpcq.plan`.
        comm: An mpi4py communicator whose ranks share the work; all of them must call this
            function. By default the ranks of the open session, where rank 0 alone calls it;
            without one all ranks of the MPI job, or this process alone if there is none. With a
            plan it may be the second argument.
        options: Fields of :class:`hpcq.runs.arguments.RunArguments`, such as ``output="out.h5"``,
            and with a circuit the options of :func:`hpcq.plan`, such as ``max_qubits=20``.

    Returns:
        The result, with the same values on every rank; only rank 0's has ``details``.

    Raises:
        InputError: On every rank, if the plan or another argument is missing or wrong, or not the
            same on all ranks that give one.
        StoppedError: On every rank, if the run was stopped; the output holds all finished work.
        HpcqError: If tasks fail, or the result fails its own check. Any other failure of one
            rank among several ends the whole job.

    Example:
        >>> import hpcq
        >>> from qiskit import QuantumCircuit
        >>> circuit = QuantumCircuit(2)
        >>> _ = circuit.h(0), circuit.cx(0, 1)
        >>> print(hpcq.run(circuit, "Z0 Z1"))
        Z0 Z1  +1.000000000000
    """
    if comm is None and not isinstance(plan, QuantumCircuit):
        comm, observables = observables, None
    current = current_session() if comm is None else None
    if current is not None:
        return current.run(plan, observables, **options)
    arguments, planning = split_options(plan, options)
    session = Session(comm)
    check_free(session.farm)
    agree_on_run(session.farm, plan, observables, planning, arguments.parameter_values)
    planning.setdefault("ranks", session.size)
    return session.run_on_all_ranks(lambda: as_plan(plan, observables, planning), arguments)


def current_session() -> Session | None:
    """Return the session whose ranks this process can use, the one opened last.

    None if no session is open, or if this process is not rank 0 of one: a process that rank 0 forks
    is none.
    """
    return _entered[-1] if _entered and _entered[-1].is_in_this_process else None


class Command(Protocol):
    """What rank 0 has the other ranks do; it is sent to them."""

    def serve(self, session: Session) -> object:
        """Take part, on a rank other than 0; an error of all ranks is reported by rank 0."""


@dataclass(frozen=True, eq=False)
class _TakePartInRun:
    """Has the other ranks take part in a run.

    Attributes:
        arguments: The user's arguments.
    """

    arguments: RunArguments

    def serve(self, session: Session) -> object:
        """Take part in the run."""
        return session.run_on_all_ranks(lambda: None, self.arguments)


class Session:
    """Ranks that stay for any number of runs.

    Enter a session on all ranks. Rank 0 continues at once and runs plans; the other ranks compute
    for it, and continue when it leaves the session. Between runs, the ranks keep their worker
    processes, the subcircuits that they have received, and the circuits that their simulators have
    prepared, so that a run similar to an earlier one starts in milliseconds.

    Within a session, :func:`hpcq.run`, ``plan.compile()`` and :class:`hpcq.primitives.Estimator`
    use its ranks on rank 0, and so does another session without a communicator.

    Args:
        comm: An mpi4py communicator. By default the ranks of the session that is open; without one
            all ranks of the MPI job, or this process alone if there is none.

    Attributes:
        farm: The ranks.
        fixtures: Objects of commands that stay until the session ends, by name.

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
        self._outer = current_session() if comm is None else None
        self.farm: Farm = open_farm(comm) if self._outer is None else self._outer.farm
        self._is_open = False
        self._process = os.getpid()
        self._kept: OrderedDict[str, Any] = OrderedDict()
        self.fixtures: dict[str, Any] = {}
        self._one_command = RLock()
        if self._outer is not None:
            self._kept, self.fixtures = self._outer._kept, self._outer.fixtures
            self._one_command = self._outer._one_command

    @property
    def rank(self) -> int:
        """Rank of this process."""
        return self.farm.rank

    @property
    def size(self) -> int:
        """Number of ranks."""
        return self.farm.size

    def __enter__(self) -> Session:
        if self._outer is not None:
            self._outer.check_open()
            self._is_open = True
            return self
        check_free(self.farm)
        agree_on_session(self.farm)
        open_sessions.append(self.farm)
        self.farm.keeps_workers = self._is_open = True
        if self.rank == 0:
            _entered.append(self)
        else:
            with abort_on_error(self.farm):
                self._serve()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._outer is not None:
            self._is_open = False
            return
        with self._one_command:  # of another thread, which then ends first
            self._is_open = False
            if self.rank == 0:
                _entered.remove(self)
                if not self.farm.has_lost_ranks:
                    self.farm.broadcast(_END)
            self._kept.clear()
            self.fixtures.clear()
            open_sessions.remove(self.farm)
            self.farm.close()

    def run(self, plan: Plan | QuantumCircuit, observables: Any = None, **options: Any) -> Result:
        """Run a plan, or plan a circuit and run it, on all ranks; call it on rank 0.

        Args:
            plan: The plan, or a circuit.
            observables: With a circuit, its observables.
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
        self.check_open()
        arguments, planning = split_options(plan, options)
        command = _message(arguments)
        planning.setdefault("ranks", self.size)
        made = as_plan(plan, observables, planning)
        with self.commanding(), abort_on_error(self.farm):
            self.farm.broadcast(command)
            return self.run_on_all_ranks(lambda: made, arguments)

    def compile(self, plan: Plan, device: str = "cpu") -> CompiledPlan:
        """Return the program of a plan, whose long evaluations all ranks share.

        Call it on rank 0, and evaluate the program there, between entering and leaving the session.

        Args:
            plan: A plan with free parameters.
            device: ``cpu``, ``gpu`` or ``auto``.

        Raises:
            InputError: As for :meth:`hpcq.Plan.compile`.
            HpcqError: If a rank is lost, or this is not rank 0 within the session.
        """
        with self.commanding():
            return check_plan(plan, self.size).compile(self, device)

    @contextmanager
    def commanding(self) -> Iterator[None]:
        """Give commands, and take part in them, within the context; call it on rank 0.

        Other threads wait until its end, and so does the exception that stops a script.

        Raises:
            HpcqError: If a rank is lost, or this is not rank 0 within the session, or a thread that
                cannot use MPI.
        """
        with uninterrupted(), self._one_command:
            self.check_open()
            check_thread(self.farm)
            yield

    def start(self, command: Command) -> None:
        """Have the other ranks serve a command; call it on rank 0, while :meth:`commanding`.

        Raises:
            HpcqError: If a rank is lost, or this is not rank 0 within the session.
        """
        self.check_open()
        message = messages.dumps(command)
        with abort_on_error(self.farm):
            self.farm.broadcast(message)

    def keep(self, key: str, value: Any) -> None:
        """Keep an object for later commands; of too many, those used least recently are dropped.

        Ranks that keep and use objects in the same order drop the same ones.
        """
        self._kept[key] = value
        while len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)

    def keeps(self, key: str) -> bool:
        """Return whether an object is kept."""
        return key in self._kept

    def kept(self, key: str) -> Any:
        """Return an object that is kept."""
        self._kept.move_to_end(key)
        return self._kept[key]

    @property
    def is_in_this_process(self) -> bool:
        """Whether this process has made the session, and not one that has forked it."""
        return self._process == os.getpid()

    def check_open(self) -> None:
        """Check that commands can be given.

        Raises:
            HpcqError: If a rank is lost, or this is not rank 0 within the session.
        """
        if not self._is_open or self.rank > 0 or not self.is_in_this_process:
            raise HpcqError(
                "session: it runs plans between entering and leaving it, and on rank 0 only"
            )
        if self.farm.has_lost_ranks:
            raise HpcqError("session: a rank is lost, and the others cannot begin another run")

    def run_on_all_ranks(
        self, make_plan: Callable[[], Plan | None], arguments: RunArguments
    ) -> Result:
        """Run a plan, which rank 0 makes, on all ranks, which call this together."""
        farm = self.farm

        def prepare() -> tuple[Plan, RunOutput]:
            checked_plan = check_plan(make_plan(), farm.size)
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
            stop_conditions: When to stop; a signal that arrives during planning ends the job,
                unless a session is open, whose plans are made before.
            make_plan: Returns, on rank 0, the plan and the output, opened; collective.
            stream: Where to show progress; None for nowhere.
            on_result: Called on rank 0 with the result, before it is saved.
        """
        farm = self.farm
        with abort_on_error(farm), stop_conditions:
            before = stop_conditions.before_start(lambda reason: stop_before_start(farm, reason))
            with nullcontext() if self._is_open else before:
                plan, output = make_plan()
            monitor = ProgressMonitor(stop_conditions, output, stream)
            return run_on_farm(plan, farm, RunOptions(arguments, output, monitor, on_result))

    def _serve(self) -> None:
        """Take part in the runs that rank 0 starts, until it leaves the session."""
        farm = self.farm
        # Once a rank is lost, rank 0 can begin no run, nor tell the others that it leaves.
        while not farm.has_lost_ranks and (command := farm.broadcast(b"")) != _END:
            try:
                messages.loads(command).serve(self)
            except HpcqError as error:
                if not error.on_all_ranks:
                    raise


def _message(arguments: RunArguments) -> bytes:
    """Return the message that starts a run on the other ranks.

    Raises:
        InputError: If an argument is nothing that can be sent, and so wrong in any case.
    """
    try:
        return messages.dumps(_TakePartInRun(arguments.for_other_ranks()))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise InputError(
            f"session: an argument of the run cannot be sent to ranks: {error}"
        ) from None
