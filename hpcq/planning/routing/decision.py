"""What is decided about the parts of a circuit, and the verdict that follows from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from hpcq.cutting.subexperiments.exact_tensors import ExactTensor, Simulation
from hpcq.planning.routing.parts import Parts
from hpcq.planning.verdict import Alternative, Verdict


@dataclass(frozen=True, eq=False)
class Fallback:
    """The quickest simulation of a part that is certain to answer, without cuts.

    Attributes:
        seconds: Its predicted seconds; infinite if a statevector does not fit into the memory.
        simulation: The simulation; None for a statevector.
    """

    seconds: float
    simulation: Simulation | None


@dataclass(eq=False)
class Decision:
    """Which method answers each part of a circuit, as far as this is decided.

    Attributes:
        parts: The parts.
        simulations: How parts are simulated, if not as statevectors, by content.
        hard: The parts for which no method is decided yet, or which are cut.
        width: Width limit of the search for cuts.
        fallbacks: The fallback of each hard part that was probed, by content.
        notes: Why methods were not chosen, by their names.
        seconds: Predicted seconds of methods that were not chosen.
    """

    parts: Parts
    simulations: dict[str, Simulation] = field(default_factory=dict)
    hard: list[ExactTensor] = field(default_factory=list)
    width: int | None = None
    fallbacks: dict[str, Fallback] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def use_fallbacks(self, within: float) -> None:
        """Choose the fallbacks of hard parts that are predicted to take at most some seconds."""
        left = []
        for tensor in self.hard:
            content = tensor.subcircuit.content
            fallback = self.fallbacks[content]
            if fallback.seconds > within:
                left.append(tensor)
            elif fallback.simulation is not None:
                self.simulations[content] = fallback.simulation
        self.hard = left

    @property
    def settings(self) -> tuple[tuple[Any, ...], ...]:
        """The settings of the verdict; parts that are still hard are cut."""
        hard = {tensor.subcircuit.content for tensor in self.hard}
        settings: list[tuple[Any, ...]] = [(self.parts.name, self.width)]
        for tensor in self.parts.tensors:
            content = tensor.subcircuit.content
            simulation = self.simulations.get(content)
            if simulation is not None:
                settings.append(tuple(simulation.content))
            else:
                settings.append(("cut" if content in hard else "statevector",))
        return tuple(settings)

    @property
    def methods(self) -> list[str]:
        """The names of the methods, in alphabetical order."""
        return sorted({setting[0] for setting in self.settings[1:]})

    def is_simulated(self, tensor: ExactTensor) -> bool:
        """Whether a part is not simulated as a statevector."""
        return tensor.subcircuit.content in self.simulations

    def verdict(self, reason: str) -> Verdict:
        """Return the verdict; parts that are still hard are cut."""
        methods = self.methods
        others = {name: note for name, note in self.notes.items() if name not in methods}
        return Verdict(
            "+".join(methods),
            reason,
            tuple(
                Alternative(name, self.seconds.get(name, math.inf), note)
                for name, note in others.items()
            ),
            self.settings,
        )
