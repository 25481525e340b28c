"""The job of many circuits: first tasks of the farm, then runs on all ranks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from hpcq.circuits.reader import forked_readers
from hpcq.core.errors import HpcqError, StoppedError
from hpcq.core.limits import Device
from hpcq.parallel import messages
from hpcq.parallel.task_source import AllTasks
from hpcq.parallel.tasks import Array, FinishedTasks, Numbers, TaskResults, Tasks
from hpcq.planning.kind import kind_of
from hpcq.planning.plan import Plan
from hpcq.results.result import Result
from hpcq.runs.arguments import RunArguments
from hpcq.runs.collective import decode_error, encode_error, from_rank_0
from hpcq.runs.many.circuit_runs import CircuitRuns
from hpcq.runs.many.circuit_tasks import (
    CircuitFunctionFactory,
    CircuitTasks,
    is_divisible,
    serial_seconds,
)
from hpcq.runs.many.manifest import Manifest
from hpcq.runs.options import RunOptions
from hpcq.runs.output import NoOutput, RunOutput
from hpcq.runs.progress import ProgressMonitor
from hpcq.runs.run import run_on_farm
from hpcq.runs.stop_conditions import StopConditions

if TYPE_CHECKING:
    from hpcq.parallel.serial import Farm

_TASKS, _RUN, _END = b"tasks", b"run", b"end"
"""Commands by which rank 0 starts tasks of the farm or a run on all ranks, and ends the job."""

_CIRCUIT_SECONDS = 0.1
"""Predicted seconds to read, plan and run a circuit that is not planned yet: 0.05 s were measured
with 4 to 8 qubits. The farm corrects it by the times that it measures."""


class _ManifestOutput(NoOutput):
    """Writes the manifest from time to time while workers compute."""

    def __init__(self, manifest: Manifest) -> None:
        super().__init__()
        self._manifest = manifest

    def update(self, status: Mapping[str, Any], partial: Callable[[], Result] | None) -> None:  # noqa: ARG002
        """Write the manifest if it is time."""
        self._manifest.write_if_due()


class _ForwardedTasks(FinishedTasks):
    """Finished tasks whose results are passed to a function at once, and not kept."""

    def __init__(self, total: int, take: Callable[[int, Array], object]) -> None:
        super().__init__(total, np.uint8)
        self._take = take

    def add(self, batch: TaskResults) -> Numbers:
        """Pass on the results of tasks that had none before."""
        ends = np.cumsum(batch.sizes)
        parts = zip(batch.tasks.tolist(), (ends - batch.sizes).tolist(), ends.tolist(), strict=True)
        done = self.done
        for task, start, end in parts:
            if not done[task]:
                self._take(task, batch.data[start:end])
        nothing = np.empty(0, dtype=np.uint8)
        return super().add(replace(batch, sizes=np.zeros_like(batch.sizes), data=nothing))


@dataclass(frozen=True, eq=False)
class ManyCircuitsJob:
    """The job of many circuits, which all ranks run together.

    Attributes:
        farm: The ranks.
        arguments: The arguments of every run, without output.
        device: The device of this rank.
        stop_conditions: When to stop.
        stream: Where to show progress; None for nowhere.
    """

    farm: Farm
    arguments: RunArguments
    device: Device
    stop_conditions: StopConditions
    stream: TextIO | None = None

    def run(self, runs: CircuitRuns | None, tasks: CircuitTasks | None) -> None:
        """Run all circuits; ranks other than 0 pass None.

        Raises:
            StoppedError: On every rank, if the job was stopped; finished work is saved.
            HpcqError: On every rank, if circuits failed.
        """
        self.farm.keeps_workers = True
        try:
            with self.stop_conditions, forked_readers():
                if runs is None or tasks is None:
                    self._serve()
                else:
                    with runs.written_out():
                        self._coordinate(runs, tasks)
        finally:
            self.farm.keeps_workers = False
            self.farm.close()

    def _serve(self) -> None:
        """Take part in what rank 0 starts, until it ends the job."""
        while not self.farm.has_lost_ranks:
            command = self.farm.broadcast(b"")
            if command == _TASKS:
                self.farm.run_worker(CircuitFunctionFactory(self.device))
            elif command == _RUN:
                self._run_on_all_ranks(lambda: None, lambda _: None)
            elif command == _END:
                return
            else:
                raise decode_error(json.loads(command))

    def _coordinate(self, runs: CircuitRuns, tasks: CircuitTasks) -> None:
        self._compute_tasks(runs, tasks, runs.unplanned)
        ranks, rows = self.farm.size, self.arguments.num_rows
        packed = [i for i, plan in runs.plans.items() if not is_divisible(plan, ranks, rows)]
        self._compute_tasks(runs, tasks, packed)
        for index in sorted(runs.plans):
            if not runs.stopped and not self.farm.has_lost_ranks:
                self._run_large(runs, index)
        if runs.plans and not runs.stopped and self.farm.has_lost_ranks:
            runs.stopped = "a rank is lost, and the others cannot begin another run"
        error = runs.ending()
        if not self.farm.has_lost_ranks:
            self.farm.broadcast(_END if error is None else encode_error(error))
        if error is not None:
            error.on_all_ranks = True
            raise error

    def _compute_tasks(
        self, runs: CircuitRuns, tasks: CircuitTasks, indices: Sequence[int]
    ) -> None:
        """Let workers plan circuits and run the small ones, or run those that have plans."""
        if not indices or runs.stopped or self.farm.has_lost_ranks:
            return
        are_planned = indices[0] in runs.plans
        rows = self.arguments.num_rows
        costs = np.array([_seconds(runs.plans.get(index), rows) for index in indices])

        def take(task: int, data: Array) -> None:
            runs.plans.pop(indices[task], None)
            runs.take(indices[task], messages.loads(data.tobytes()))

        source = AllTasks(
            Tasks(
                costs,
                np.uint8,
                payload=lambda task: messages.dumps(runs.task(indices[task])),
                describe=lambda task: runs.name(indices[task]),
            ),
            _ForwardedTasks(len(indices), take),
        )
        monitor = ProgressMonitor(self.stop_conditions, _ManifestOutput(runs.manifest), self.stream)
        monitor.begin_phase("circuits")
        self.farm.broadcast(_TASKS)
        with self.farm.coordinator(CircuitFunctionFactory(self.device)) as coordinator:
            coordinator.prepare(tasks, in_subprocess=are_planned)
            outcome = coordinator.run(source, monitor)
            coordinator.exit_code = StoppedError.exit_code if outcome.stopped else 0
        monitor.end_line()
        for failure in outcome.failures:
            runs.plans.pop(indices[failure.task], None)
            runs.fail(indices[failure.task], str(failure))
        runs.stopped = outcome.stopped
        runs.is_resumable = not outcome.failures

    def _run_large(self, runs: CircuitRuns, index: int) -> None:
        """Run a plan on all ranks."""
        output, plan = runs.output(index), runs.plans.pop(index)

        def prepare() -> tuple[Plan, RunOutput]:
            output.load_previous(kind_of(plan))
            return plan, output

        shown: list[Result] = []

        def show(result: Result) -> None:
            shown.append(result)
            runs.show(index, result)

        runs.manifest.write()
        self.farm.broadcast(_RUN)
        answer = self._run_on_all_ranks(prepare, show)
        if isinstance(answer, Result):
            if not shown:  # the output was complete already
                show(answer)
            runs.complete(index, answer, is_saved=answer is output.previous)
        elif isinstance(answer, StoppedError) or self.stop_conditions.stop_request is not None:
            runs.stop(index, str(answer))
        else:
            runs.fail(index, str(answer))

    def _run_on_all_ranks(
        self,
        prepare: Callable[[], tuple[Plan, RunOutput] | None],
        on_result: Callable[[Result], object],
    ) -> Result | HpcqError:
        """Return the result of a run, or the error that all ranks raise; collective."""
        try:
            plan, output = from_rank_0(self.farm, prepare) or (None, NoOutput())
            monitor = ProgressMonitor(self.stop_conditions, output, self.stream)
            options = RunOptions(self.arguments, output, monitor, on_result)
            return run_on_farm(plan, self.farm, options)
        except HpcqError as error:
            if not error.on_all_ranks:
                raise
            return error


def _seconds(plan: Plan | None, rows: int) -> float:
    """Return the predicted seconds of a task, given its plan if it has one."""
    seconds = None if plan is None else serial_seconds(plan, rows)
    return _CIRCUIT_SECONDS if seconds is None else seconds
