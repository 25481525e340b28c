"""What is simulated of the farm: tasks of many kinds, predictions, and what befalls workers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from report import grid
from simulated_farm import Messages, Seconds, Simulation, Team, simulate

Record = dict[str, Any]
Chance = np.random.Generator

_EFFICIENCY = 0.9
_LONG_ENOUGH = 10.0
"""Seconds: what is over earlier is a matter of how quickly the first leases can be sent."""

_EACH = 20
"""Tasks for each rank where the question is how many messages rank 0 can take."""


def uniform(size: int, chance: Chance) -> Seconds:
    return chance.uniform(1, 10, size)


def lognormal(size: int, chance: Chance) -> Seconds:
    return chance.lognormal(np.log(3.3), 1.0, size)


def bimodal(size: int, chance: Chance) -> Seconds:
    return np.where(np.arange(size) % 10_000 == 5_000, 150.0, chance.uniform(1.8, 2.2, size))


def small(size: int, chance: Chance) -> Seconds:
    return chance.uniform(0.02, 0.08, size)


def tiny(size: int, chance: Chance) -> Seconds:
    return chance.uniform(0.0009, 0.0011, size)


def right(seconds: Seconds, _: Chance) -> Seconds:
    return seconds


def within_3(seconds: Seconds, chance: Chance) -> Seconds:
    return seconds * 3.0 ** chance.uniform(-1, 1, len(seconds))


def all_equal(seconds: Seconds, _: Chance) -> Seconds:
    return np.ones_like(seconds)


def too_large(seconds: Seconds, _: Chance) -> Seconds:
    return 100 * seconds


def too_small(seconds: Seconds, _: Chance) -> Seconds:
    return seconds / 100


@dataclass(frozen=True)
class Case:
    """Tasks, what hpcq is told of them, and what befalls the workers.

    Attributes:
        name: A name.
        seconds: Makes what the tasks take.
        predicted: Makes what hpcq is told.
        slow: Share of the workers that become 5 times slower.
        dead: Share of the workers that die.
        deadline: Whether there is an end of the allocation, far away.
    """

    name: str
    seconds: Callable[[int, Chance], Seconds]
    predicted: Callable[[Seconds, Chance], Seconds] = right
    slow: float = 0.0
    dead: float = 0.0
    deadline: bool = False

    def run(self, ranks: int, chunks: int, messages: Messages) -> Simulation:
        """Simulate it."""
        chance = np.random.default_rng(7)
        seconds = self.seconds(chunks, chance)
        within = float(seconds.sum()) / ranks
        team = Team.of(ranks - 1, self.slow, self.dead, within, chance)
        predicted = self.predicted(seconds, chance)
        deadline = 1e6 if self.deadline else None
        return simulate(seconds, team, predicted, messages=messages, deadline=deadline)


CASES = (
    Case("uniform", uniform),
    Case("uniform, predicted within 3 times", uniform, within_3),
    Case("uniform, predicted 100 times too large", uniform, too_large),
    Case("uniform, predicted 100 times too small", uniform, too_small),
    Case("uniform, 1 % die", uniform, dead=0.01),
    Case("uniform, 5 % slow", uniform, slow=0.05),
    Case("uniform, all of it", uniform, within_3, slow=0.05, dead=0.01),
    Case("uniform, all of it, an end", uniform, within_3, slow=0.05, dead=0.01, deadline=True),
    Case("lognormal", lognormal),
    Case("lognormal, predicted equal", lognormal, all_equal),
    Case("lognormal, all of it", lognormal, within_3, slow=0.05, dead=0.01),
    Case("bimodal", bimodal),
    Case("bimodal, all of it", bimodal, within_3, slow=0.05, dead=0.01),
    Case("small", small),
    Case("small, all of it", small, within_3, slow=0.05, dead=0.01),
    Case("tiny", tiny),
)


def simulated(
    ranks: Sequence[int], chunks: int, only: Sequence[str], messages: Messages
) -> Iterator[Record]:
    """Simulate the cases, those whose names begin with one of some words."""
    for number in ranks:
        for case in CASES:
            if only and not case.name.startswith(tuple(only)):
                continue
            found = case.run(number, chunks, messages)
            share = found.efficiency if case.name == "uniform" else found.of_best
            goal = f"{_EFFICIENCY:.0%}{'' if case.name == 'uniform' else ' of the best'}"
            judged = found.least >= _LONG_ENOUGH
            met = (share >= _EFFICIENCY and found.outcome.complete) if judged else None
            yield record_of(case.name, found) | {"target": goal if judged else "", "met": met}


def saturating(ranks: Sequence[int], messages: Messages) -> Iterator[Record]:
    """Have tasks of about a second computed by ever more ranks, in leases of one and as usual."""
    for number in ranks:
        for name, most in (("1 s, one a lease", 1), ("1 s, leases as they are", None)):
            chance = np.random.default_rng(7)
            seconds = chance.uniform(0.9, 1.1, _EACH * number)
            team = Team.of(number - 1, 0.0, 0.0, 1.0, chance)
            found = simulate(seconds, team, messages=messages, most_tasks=most)
            yield record_of(name, found) | {"target": "", "met": None}


def record_of(name: str, found: Simulation) -> Record:
    """Return the numbers of a simulation."""
    numbers = {own: value for own, value in vars(found).items() if own != "outcome"}
    shares = {own: getattr(found, own) for own in ("efficiency", "of_best", "busy_share")}
    tasks, outcome = len(found.outcome.finished), found.outcome
    record = {"case": name, "tasks": tasks, **numbers, **shares, "complete": outcome.complete}
    sys.stderr.write(f"{name}, {found.ranks} ranks: {found.of_best:.1%} of the best\n")
    return {**record, "lost": len(outcome.lost), "a_second": found.received / found.busy}


def simulation_table(records: Sequence[Record]) -> str:
    """Lay simulations out in Markdown."""
    head = ["case", "ranks", "tasks", "makespan", "efficiency", "of the best", "rank 0 busy"]
    head += ["a batch", "batches", "leases", "copied", "computed twice", "lost", "target", "met"]
    lines = [head]
    for own in records:
        lines.append(
            [
                own["case"],
                str(own["ranks"]),
                str(own["tasks"]),
                f"{own['makespan']:.4g} s",
                f"{own['efficiency']:.1%}",
                f"{own['of_best']:.1%}",
                f"{own['busy_share']:.1%}",
                f"{1e6 / own['a_second']:.0f} µs",
                str(own["received"]),
                str(own["sent"]),
                str(own["copied"]),
                str(own["computed"] - own["tasks"]),
                str(own["lost"]),
                own["target"],
                {True: "yes", False: "**NO**", None: ""}[own["met"]],
            ]
        )
    return grid(lines)
