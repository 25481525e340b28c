"""How a run is to be done, beside its plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpcq.runs.progress import ProgressMonitor
from hpcq.runs.stop_conditions import StopConditions

if TYPE_CHECKING:
    from hpcq.results.result import Result
    from hpcq.runs.checkpoint import Checkpoint


def _none(result: Result) -> None:
    """Do nothing with a result."""


@dataclass(frozen=True, eq=False)
class RunOptions:
    """How a run is to be done; :func:`hpcq.kinds.running.run` says what the first four are.

    Attributes:
        device: Where Aer runs.
        noise: Of the simulation.
        backend: A device.
        previous: What is there already.
        checkpoint: Keeps the output, on rank 0.
        watch: Looks on.
        finish: Is given the result on rank 0 before the other ranks are dismissed.
    """

    device: str = "auto"
    noise: Any = None
    backend: Any = None
    previous: Result | None = None
    checkpoint: Checkpoint | None = None
    watch: ProgressMonitor = field(
        default_factory=lambda: ProgressMonitor(StopConditions(environment={}))
    )
    finish: Callable[[Result], None] = _none

    @property
    def for_shots(self) -> list[str]:
        """Names of those that are given and only for runs with shots."""
        named = {"noise": self.noise, "backend": self.backend}
        return [name for name, value in named.items() if value is not None]
