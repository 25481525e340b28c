"""How a plan is run: the user's arguments, and what they have opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hpcq.results.result import Result
from hpcq.runs.arguments import RunArguments
from hpcq.runs.output import NoOutput, RunOutput
from hpcq.runs.progress import ProgressMonitor
from hpcq.runs.stop_conditions import StopConditions


@dataclass(frozen=True, eq=False)
class RunOptions:
    """How a plan is run on this rank.

    Attributes:
        arguments: The user's arguments.
        output: Where results are kept; on ranks other than 0, nowhere.
        monitor: Shows progress, writes checkpoints and stops the run.
        on_result: Called on rank 0 with the result, before it is saved.
    """

    arguments: RunArguments = field(default_factory=RunArguments)
    output: RunOutput = field(default_factory=NoOutput)
    monitor: ProgressMonitor = field(
        default_factory=lambda: ProgressMonitor(StopConditions(environment={}))
    )
    on_result: Callable[[Result], object] = lambda _: None

    @property
    def previous(self) -> Result | None:
        """The earlier result that the run continues; None if there is none."""
        return self.output.previous

    @property
    def shot_only_options(self) -> list[str]:
        """Names of the given options that only runs with shots have."""
        options = {"noise": self.arguments.noise, "backend": self.arguments.backend}
        return [name for name, value in options.items() if value is not None]

    def finish(self, result: Result) -> None:
        """Save the complete result on rank 0, before the other ranks are dismissed.

        Raises:
            NotWrittenError: If it cannot be written.
        """
        self.on_result(result)
        for path in self.output.finish(result):
            self.monitor.log(f"wrote {path}")
