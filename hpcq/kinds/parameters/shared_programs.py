"""Programs that the ranks of a session evaluate side by side, each on ranks that have its tasks.

A program travels once, and a rank prepares it when it computes the first of its tasks.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from numpy.typing import NDArray

from hpcq.core.limits import Device
from hpcq.core.system import blas_threads
from hpcq.kinds.parameters.rank_tasks import EvaluationTasks, RankTask
from hpcq.kinds.parameters.setup import ProgramSetup
from hpcq.parallel import messages
from hpcq.parallel.tasks import TaskFunction
from hpcq.parallel.world import abort_on_error
from hpcq.runs.rank_devices import choose_rank_device
from hpcq.runs.session import Session

_MAX_PREPARED = 64
"""Maximum number of prepared programs that a rank keeps. Measured: a program of 24 qubits takes 6
ms to prepare, and 0.3 to 0.5 MB. Larger: loops over many programs prepare fewer of them again, but
ranks have less memory for everything else."""


@dataclass(frozen=True, eq=False)
class SharedProgram:
    """A program as it is sent to the ranks, which keep it.

    Attributes:
        key: Key by which it is named once they have it.
        setup: The program.
    """

    key: str
    setup: ProgramSetup

    @property
    def message_key(self) -> str:
        """Key of the program in stores of objects; see :func:`hpcq.parallel.messages.dumps`."""
        return self.key


@dataclass(frozen=True, eq=False)
class ProgramTask:
    """A task of one of several programs.

    Attributes:
        program: Number of the program.
        task: The task.
    """

    program: int
    task: RankTask

    def to_bytes(self) -> bytes:
        """Return the task as a message."""
        return messages.dumps(self)


class SharedPrograms:
    """The programs that a rank has prepared; also the factory of its worker's task function.

    Args:
        device: ``cpu`` or ``gpu``.
        prepared: Programs that the rank has prepared for itself; by default none.
    """

    def __init__(
        self, device: Device, prepared: Iterable[tuple[SharedProgram, EvaluationTasks]] = ()
    ) -> None:
        self.device = device
        self._prepared = OrderedDict((shared.key, tasks) for shared, tasks in prepared)

    def __call__(self, programs: Sequence[SharedProgram]) -> TaskFunction:
        """Return the function that computes tasks of these programs."""
        return partial(self._compute, programs)

    def _compute(
        self, programs: Sequence[SharedProgram], _task: int, payload: bytes
    ) -> NDArray[Any]:
        task: ProgramTask = messages.loads(payload)
        program = programs[task.program]
        key = program.key
        if key not in self._prepared:
            self._prepared[key] = EvaluationTasks.of(program.setup, self.device)
        self._prepared.move_to_end(key)
        result = self._prepared[key].result(task.task)
        while len(self._prepared) > max(_MAX_PREPARED, len(programs)):
            self._prepared.popitem(last=False)
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        return SharedPrograms, (self.device,)


@dataclass(frozen=True)
class OpenPrograms:
    """Command by which every rank keeps the shared programs that it prepares.

    Attributes:
        device: ``auto``, ``cpu`` or ``gpu``.
    """

    device: str

    def serve(self, session: Session) -> None:
        """Choose this rank's device; all ranks call this together, and all raise the same error."""
        _ = shared_programs(session, self.device)


@dataclass(frozen=True)
class JoinPrograms:
    """Command by which a rank computes tasks of shared programs, until rank 0 ends the evaluation.

    Attributes:
        device: ``auto``, ``cpu`` or ``gpu``.
    """

    device: str

    def serve(self, session: Session) -> None:
        """Compute the tasks that rank 0 sends."""
        with blas_threads(1):
            session.farm.run_worker(shared_programs(session, self.device))


def open_programs(session: Session, device: str) -> SharedPrograms:
    """Return the programs that rank 0 keeps, and have the other ranks keep theirs.

    Raises:
        InputError: If a rank has no such device.
    """
    with session.commanding(), abort_on_error(session.farm):
        if _key(device) not in session.fixtures:
            session.start(OpenPrograms(device))
        return shared_programs(session, device)


def shared_programs(session: Session, device: str) -> SharedPrograms:
    """Return the programs that this rank keeps; the first call is collective.

    Raises:
        InputError: On all ranks, if one of them has no such device.
    """
    key = _key(device)
    if key not in session.fixtures:
        farm = session.farm
        farm.gather_names(socket.gethostname())  # for messages about failed tasks
        session.fixtures[key] = SharedPrograms(choose_rank_device(farm, device))
    kept: SharedPrograms = session.fixtures[key]
    return kept


def _key(device: str) -> str:
    return f"programs on {device}"
