"""The circuits of a job on rank 0: their outputs, plans and outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from hpcq.core.errors import HpcqError, InputError, StoppedError
from hpcq.core.files import printable, printable_path
from hpcq.planning.plan import Plan
from hpcq.results import load_summary
from hpcq.results.result import Result
from hpcq.runs.file_output import FileOutput
from hpcq.runs.many.circuit_tasks import CircuitAnswer, CircuitTask
from hpcq.runs.many.manifest import Manifest
from hpcq.runs.output import RunOutput

_MAX_NAMED = 3
"""Failed circuits that the last message names; the manifest names all."""


@dataclass(frozen=True, eq=False)
class Reporter:
    """Shows results and messages, on rank 0.

    Attributes:
        result: Called with each circuit and its result.
        log: Called with each line of messages.
    """

    result: Callable[[str, Result], object]
    log: Callable[[str], object]


class CircuitRuns:
    """The circuits of a job, with their outputs and outcomes; on rank 0.

    Args:
        manifest: An entry for each circuit, all pending.
        opened: For each circuit its output, or why it cannot be used.
        reporter: Shows results and failures.

    Attributes:
        plans: Plans of the circuits that workers planned but did not run.
        stopped: Why the job stopped; empty if it did not.
        is_resumable: Whether a job that stopped is likely to finish if it is started again.
    """

    def __init__(
        self, manifest: Manifest, opened: Sequence[RunOutput | InputError], reporter: Reporter
    ) -> None:
        self.manifest = manifest
        self.plans: dict[int, Plan] = {}
        self.stopped = ""
        self.is_resumable = True
        self._outputs = list(opened)
        self._reporter = reporter
        self._num_saved = 0
        for index, output in enumerate(opened):
            if isinstance(output, InputError):
                self.fail(index, str(output))
            else:
                self._note_earlier_start(index, output)
        manifest.write()

    def __len__(self) -> int:
        """Return the number of circuits."""
        return len(self._outputs)

    @property
    def unplanned(self) -> list[int]:
        """The circuits that no worker has planned yet."""
        return [
            index
            for index, entry in enumerate(self.manifest.entries)
            if entry.state in ("pending", "partial") and index not in self.plans
        ]

    def name(self, index: int) -> str:
        """Return a circuit's name in messages."""
        return printable_path(self.manifest.entries[index].circuit)

    def output(self, index: int) -> RunOutput:
        """Return the output of a circuit that has not failed."""
        output = self._outputs[index]
        assert isinstance(output, RunOutput), "a circuit without an output has failed"
        return output

    def task(self, index: int) -> CircuitTask:
        """Return the task of a worker that plans a circuit, or runs its plan."""
        output = self.output(index)
        file = str(output.path) if isinstance(output, FileOutput) and output.path.exists() else None
        return CircuitTask(self.manifest.entries[index].circuit, file, self.plans.get(index))

    def take(self, index: int, answer: CircuitAnswer) -> None:
        """Take the answer of a worker: save and show its result, or keep its plan."""
        if answer.error:
            self.fail(index, answer.error)
        elif answer.result is None:
            assert answer.plan is not None, "there is a result, a plan or an error"
            self.plans[index] = answer.plan
            entry = self.manifest.entries[index]
            seconds = answer.plan.predicted_seconds
            self.manifest.update(index, replace(entry, predicted_seconds=seconds))
        else:
            self._take_result(index, answer.result, is_saved=answer.is_saved)

    def _take_result(self, index: int, result: Result, *, is_saved: bool) -> None:
        self.show(index, result)
        if not is_saved:
            try:
                self.output(index).finish(result)
            except HpcqError as error:
                self.fail(index, str(error))
                return
        self.complete(index, result, is_saved=is_saved)

    def show(self, index: int, result: Result) -> None:
        """Show a result, before it is saved."""
        self._reporter.result(self.manifest.entries[index].circuit, result)

    def complete(self, index: int, result: Result, *, is_saved: bool) -> None:
        """Note that a circuit is complete; ``is_saved`` if an earlier start saved its result."""
        self._num_saved += is_saved
        self.manifest.update(index, self.manifest.entries[index].with_result(result))

    def fail(self, index: int, reason: str) -> None:
        """Note that a circuit failed, and log why."""
        reason, name = printable(" ".join(reason.split())), self.name(index)
        self._reporter.log(f"error: {reason if reason.startswith(name) else f'{name}: {reason}'}")
        entry = replace(self.manifest.entries[index], state="failed", reason=reason)
        self.manifest.update(index, entry)

    def stop(self, index: int, reason: str) -> None:
        """Note that the run of a circuit was stopped; its output holds the finished tasks."""
        self.stopped = reason
        self._reporter.log(f"{self.name(index)}: {reason}")
        self._note_earlier_start(index, self.output(index))

    @contextmanager
    def written_out(self) -> Iterator[None]:
        """Write the manifest at the end of the context, however it ends."""
        try:
            yield
        finally:
            self.manifest.write()

    def ending(self) -> HpcqError | None:
        """Return the error that the job ends with; None if all circuits are complete."""
        manifest = self.manifest
        done, failed, total = manifest.count("complete"), manifest.count("failed"), len(self)
        where = "" if manifest.path is None else f"; see {printable_path(manifest.path)}"
        if self._num_saved:
            self._reporter.log(
                f"{self._num_saved} of {total} circuits were complete already, and are not "
                "computed again"
            )
        if self.stopped and done + failed < total:
            text = f"stopped, because {self.stopped}: {done} of {total} circuits are complete"
            if manifest.path is None:
                return HpcqError(f"{text}, the others are lost, because there is no --output")
            kind = StoppedError if self.is_resumable else HpcqError
            return kind(f"{text}; run the same command again to go on{where}")
        if failed:
            names = [self.name(i) for i, e in enumerate(manifest.entries) if e.state == "failed"]
            more = f" and {failed - _MAX_NAMED} more" if failed > _MAX_NAMED else ""
            return HpcqError(
                f"{failed} of {total} circuits failed: {', '.join(names[:_MAX_NAMED])}{more}{where}"
            )
        if manifest.path is not None:
            self._reporter.log(f"{total} circuits are complete{where}")
        return None

    def _note_earlier_start(self, index: int, output: RunOutput) -> None:
        """Note in the manifest if the output holds the progress of an earlier start."""
        if not isinstance(output, FileOutput) or not output.path.exists():
            return
        with suppress(InputError):  # the run will report it
            earlier = load_summary(output.path)
            if earlier.status == "partial":
                entry = replace(
                    self.manifest.entries[index], state="partial", method=earlier.method
                )
                self.manifest.update(index, entry)
