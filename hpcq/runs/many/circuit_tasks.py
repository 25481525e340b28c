"""Circuits as tasks of the farm: a worker reads, plans and runs one, and returns its result."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hpcq.core.errors import HpcqError, InputError
from hpcq.core.files import printable_path
from hpcq.core.limits import Device
from hpcq.core.system import write_stderr
from hpcq.parallel import messages
from hpcq.parallel.serial import SerialFarm
from hpcq.parallel.tasks import Array
from hpcq.parallel.worker import format_error
from hpcq.planning.kind import Kind
from hpcq.planning.plan import Plan
from hpcq.results.result import Result
from hpcq.runs.arguments import RunArguments
from hpcq.runs.file_output import FileOutput
from hpcq.runs.options import RunOptions
from hpcq.runs.output import NoOutput, RunOutput
from hpcq.runs.progress import ProgressMonitor
from hpcq.runs.run import check_plan, run_on_farm
from hpcq.runs.stop_conditions import StopConditions

_SMALL_SECONDS = 0.5
"""Predicted seconds up to which a worker runs a circuit at once, in a thread. Longer: fewer runs
use all ranks, but more is computed again after a stop, as small runs have no checkpoints. To start
a run on all ranks of a node takes about 0.05 s."""

_MIN_EFFICIENCY = 0.5
"""Fraction of the ranks that a run must keep busy, and more, to use all of them; other runs are
packed, one circuit a rank. A statevector is one task, and keeps one rank busy, however long it
takes. Larger: less idle time, but packed runs have no checkpoints."""


class CircuitPlanner(Protocol):
    """Makes the plan of each circuit with the options of all; it is sent to every rank."""

    def kind(self) -> Kind:
        """Return the kind of all runs."""

    def plan(self, circuit: str, known: Mapping[str, Any] | None) -> Plan:
        """Read a circuit and return its plan.

        Args:
            circuit: The circuit, as the user gave it.
            known: The configuration that an earlier start stored; None without one.

        Raises:
            InputError: If the circuit cannot be read, or the options do not fit it.
        """


@dataclass(frozen=True, eq=False)
class CircuitTask:
    """One circuit, as rank 0 sends it to a worker.

    Attributes:
        circuit: The circuit, as the user gave it.
        output: Its output file, if one exists; None if there is none.
        plan: Its plan, to be run; None to plan first, and to run only what is small.
    """

    circuit: str
    output: str | None
    plan: Plan | None = None


@dataclass(frozen=True, eq=False)
class CircuitAnswer:
    """The outcome of a task: a result, a plan or an error.

    Attributes:
        result: The result.
        is_saved: Whether the output file already holds this result.
        plan: The plan of a run that is not small, or that an earlier start began.
        error: Why there is neither, in one line; empty otherwise.
    """

    result: Result | None = None
    is_saved: bool = False
    plan: Plan | None = None
    error: str = ""


class _ReadOnlyOutput(FileOutput):
    """An output file that this process only reads; rank 0 writes it."""

    def update(self, status: Mapping[str, Any], partial: Callable[[], Result] | None) -> None:
        """Write nothing."""

    def stop(self, partial: Callable[[], Result]) -> str:  # noqa: ARG002 (protocol)
        """Return that the finished tasks are lost: a run in a worker starts anew."""
        return "were done and are lost"

    def finish(self, result: Result) -> list[Path]:  # noqa: ARG002 (protocol)
        """Return no files."""
        return []


@dataclass(frozen=True, eq=False)
class CircuitTasks:
    """What all circuits have in common; rank 0 sends it to every worker once.

    Attributes:
        planner: Makes the plans.
        arguments: The arguments of every run, without output.
        ranks: Number of ranks of the job.
    """

    planner: CircuitPlanner
    arguments: RunArguments
    ranks: int


@dataclass(frozen=True)
class CircuitFunctionFactory:
    """Makes the function that computes a circuit on this rank's device."""

    device: Device

    def __call__(self, tasks: CircuitTasks) -> CircuitFunction:
        """Return the function."""
        arguments = replace(tasks.arguments, device=self.device)
        return CircuitFunction(tasks.planner, arguments, tasks.ranks)


@dataclass(frozen=True, eq=False)
class CircuitFunction:
    """Computes one circuit alone; see :class:`CircuitTasks` for the attributes."""

    planner: CircuitPlanner
    arguments: RunArguments
    ranks: int

    def __call__(self, _number: int, payload: bytes) -> Array:
        """Return a :class:`CircuitAnswer` as a message of bytes; errors are answers too."""
        task: CircuitTask = messages.loads(payload)
        try:
            answer = self._answer(task)
        except HpcqError as error:
            answer = CircuitAnswer(error=str(error) or type(error).__name__)
        except Exception as error:  # a circuit must not stop the others
            name = printable_path(task.circuit)
            write_stderr(f"hpcq: {name} failed on {socket.gethostname()}\n{format_error(error)}")
            answer = CircuitAnswer(error=f"{type(error).__name__}: {error}")
        return np.frombuffer(messages.dumps(answer), dtype=np.uint8)

    def _answer(self, task: CircuitTask) -> CircuitAnswer:
        output = self._open(task)
        previous = output.load_previous(self.planner.kind())
        plan = task.plan
        if plan is None:
            plan = self.planner.plan(task.circuit, output.planned_settings())
            check_plan(plan, self.ranks)
            was_started = previous is not None and previous.status != "complete"
            if was_started or not is_small(plan, self.arguments):
                return CircuitAnswer(plan=plan)
        result = self._run(plan, output)
        return CircuitAnswer(result, is_saved=result is output.previous)

    def _open(self, task: CircuitTask) -> RunOutput:
        if task.output is None:
            return NoOutput()
        path = Path(task.output)
        if not path.exists():
            host = socket.gethostname()
            raise InputError(
                f"output: {printable_path(path)!r} does not exist on {host}, but on rank 0; "
                "expected a folder that all ranks share"
            )
        return _ReadOnlyOutput(path)

    def _run(self, plan: Plan, output: RunOutput) -> Result:
        monitor = ProgressMonitor(StopConditions(environment={}), output)
        farm = SerialFarm(thread_only=True)
        return run_on_farm(plan, farm, RunOptions(self.arguments, output, monitor))


def serial_seconds(plan: Plan, rows: int = 1) -> float | None:
    """Return the predicted seconds of a plan on one rank; None if they are not known."""
    if plan.cost is not None:
        return plan.cost.for_rows(rows).predicted_seconds()
    seconds = plan.predicted_seconds
    return None if seconds is None else seconds * float(plan.config["ranks"])


def is_small(plan: Plan, arguments: RunArguments) -> bool:
    """Return whether a worker may run a plan as soon as it is made.

    The predicted seconds of shots are those of an ideal simulation; noise takes far longer.
    """
    seconds = serial_seconds(plan, arguments.num_rows)
    is_predicted = arguments.noise is None and arguments.backend is None
    return is_predicted and seconds is not None and seconds <= _SMALL_SECONDS


def is_divisible(plan: Plan, ranks: int, rows: int = 1) -> bool:
    """Return whether a run keeps enough of the ranks busy to use all of them."""
    if plan.cost is None or ranks == 1:
        return True
    cost = plan.cost.for_rows(rows)
    speedup = cost.predicted_seconds() / max(cost.predicted_seconds(ranks), 1e-9)
    return speedup > _MIN_EFFICIENCY * ranks
