"""How a run is to be done, beside its plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcq.farm.serial import Progress, silent

if TYPE_CHECKING:
    from hpcq.result import Result

Note = Callable[[str], None]
"""Is told now and then how a run goes, in one line."""


def unheard(line: str) -> None:
    """Take a note that nobody reads."""


@dataclass(frozen=True, eq=False)
class RunOptions:
    """How a run is to be done; :func:`hpcq.running.run` says what each of them is."""

    device: str = "auto"
    noise: Any = None
    backend: Any = None
    previous: Result | None = None
    progress: Progress = silent
    note: Note = unheard

    @property
    def for_shots(self) -> list[str]:
        """Names of those that are given and only for runs with shots."""
        named = {"noise": self.noise, "backend": self.backend, "previous": self.previous}
        return [name for name, value in named.items() if value is not None]
