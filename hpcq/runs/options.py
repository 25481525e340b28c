"""Options of a run that are not part of its plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpcq.runs.output import NoOutput, RunOutput
from hpcq.runs.progress import ProgressMonitor
from hpcq.runs.stop_conditions import StopConditions

if TYPE_CHECKING:
    from hpcq.results.result import Result


@dataclass(frozen=True, eq=False)
class RunOptions:
    """Options of a run; :func:`hpcq.runs.run.run` describes the first four.

    Attributes:
        device: Where Aer simulates: auto, cpu or gpu.
        noise: Noise model of simulated shots.
        backend: Hardware, or a sampler, that takes the shots instead of Aer.
        output: Where results are kept; on ranks other than 0, nowhere.
        monitor: Shows progress, writes checkpoints and stops the run.
        on_result: Called on rank 0 with the result, before the other ranks are dismissed.
        engine: Name of the engine; None for Aer.
    """

    device: str = "auto"
    noise: Any = None
    backend: Any = None
    output: RunOutput = field(default_factory=NoOutput)
    monitor: ProgressMonitor = field(
        default_factory=lambda: ProgressMonitor(StopConditions(environment={}))
    )
    on_result: Callable[[Result], object] = lambda _: None
    engine: str | None = None

    @property
    def previous(self) -> Result | None:
        """The earlier result that the run continues; None if there is none."""
        return self.output.previous

    @property
    def shot_only_options(self) -> list[str]:
        """Names of the given options that only runs with shots have."""
        options = {"noise": self.noise, "backend": self.backend}
        return [name for name, value in options.items() if value is not None]
