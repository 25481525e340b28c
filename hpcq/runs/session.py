"""Sessions: ranks that stay for any number of runs, and keep whatever the next run can reuse."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from hpcq.core.errors import HpcqError, InputError
from hpcq.parallel import messages
from hpcq.parallel.world import abort_on_error, check_free, open_farm, open_sessions
from hpcq.planning.plan import Plan
from hpcq.results.result import Result
from hpcq.runs.run import RunArguments, run_plan

if TYPE_CHECKING:
    from types import TracebackType

    from mpi4py.MPI import Comm

_END = b""
"""Message by which rank 0 ends the session; the arguments of a run are never empty."""


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
        self._farm = open_farm(comm)
        self._is_open = False

    @property
    def rank(self) -> int:
        """Rank of this process."""
        return self._farm.rank

    @property
    def size(self) -> int:
        """Number of ranks."""
        return self._farm.size

    def __enter__(self) -> Session:
        check_free(self._farm)
        open_sessions.append(self._farm)
        self._farm.keeps_workers = self._is_open = True
        if self.rank > 0:
            with abort_on_error(self._farm):
                self._serve()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.rank == 0 and not self._farm.has_lost_ranks:
            self._farm.broadcast(_END)
        self._is_open = False
        open_sessions.remove(self._farm)
        self._farm.close()

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
        if self._farm.has_lost_ranks:
            raise HpcqError("session: a rank is lost, and the others cannot begin another run")
        arguments = RunArguments(**options)
        command = _command(arguments)
        with abort_on_error(self._farm):
            self._farm.broadcast(command)
            return run_plan(self._farm, plan, arguments)

    def _serve(self) -> None:
        """Take part in the runs that rank 0 starts, until it leaves the session."""
        farm = self._farm
        # Once a rank is lost, rank 0 can begin no run, nor tell the others that it leaves.
        while not farm.has_lost_ranks and (command := farm.broadcast(b"")) != _END:
            try:
                run_plan(farm, None, messages.loads(command))
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
