"""Cases for the simulated farm: durations of tasks, predictions, slow and dead workers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from report import grid
from simulated_farm import Messages, Seconds, Simulation, Team, simulate

Record = dict[str, Any]
Generator = np.random.Generator

_TARGET_EFFICIENCY = 0.9
_MIN_JUDGED_SECONDS = 10.0
"""Shortest run that is judged: shorter ones depend on how quickly the first leases are sent."""

_TASKS_PER_RANK = 20
"""Tasks for each rank in measurements of how many messages rank 0 can handle."""


def uniform(size: int, rng: Generator) -> Seconds:
    return rng.uniform(1, 10, size)


def lognormal(size: int, rng: Generator) -> Seconds:
    return rng.lognormal(np.log(3.3), 1.0, size)


def bimodal(size: int, rng: Generator) -> Seconds:
    return np.where(np.arange(size) % 10_000 == 5_000, 150.0, rng.uniform(1.8, 2.2, size))


def small(size: int, rng: Generator) -> Seconds:
    return rng.uniform(0.02, 0.08, size)


def tiny(size: int, rng: Generator) -> Seconds:
    return rng.uniform(0.0009, 0.0011, size)


def right(seconds: Seconds, _: Generator) -> Seconds:
    return seconds


def within_3(seconds: Seconds, rng: Generator) -> Seconds:
    return seconds * 3.0 ** rng.uniform(-1, 1, len(seconds))


def all_equal(seconds: Seconds, _: Generator) -> Seconds:
    return np.ones_like(seconds)


def too_large(seconds: Seconds, _: Generator) -> Seconds:
    return 100 * seconds


def too_small(seconds: Seconds, _: Generator) -> Seconds:
    return seconds / 100


@dataclass(frozen=True)
class Case:
    """Tasks, their predicted costs, and failures of workers.

    Attributes:
        name: A name.
        seconds: Returns the seconds of so many tasks.
        predicted: Returns the predicted seconds.
        slow: Share of the workers that become 5 times slower.
        dead: Share of the workers that die.
        deadline: Whether the allocation has an end, which is far off.
    """

    name: str
    seconds: Callable[[int, Generator], Seconds]
    predicted: Callable[[Seconds, Generator], Seconds] = right
    slow: float = 0.0
    dead: float = 0.0
    deadline: bool = False

    def run(self, ranks: int, chunks: int, messages: Messages) -> Simulation:
        """Simulate the case."""
        rng = np.random.default_rng(7)
        seconds = self.seconds(chunks, rng)
        within = float(seconds.sum()) / ranks
        team = Team.of(ranks - 1, self.slow, self.dead, within, rng)
        predicted = self.predicted(seconds, rng)
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
    """Simulate the cases whose names begin with one of ``only``, or all."""
    for number in ranks:
        for case in CASES:
            if only and not case.name.startswith(tuple(only)):
                continue
            simulation = case.run(number, chunks, messages)
            share = simulation.efficiency if case.name == "uniform" else simulation.of_best
            goal = f"{_TARGET_EFFICIENCY:.0%}{'' if case.name == 'uniform' else ' of the best'}"
            judged = simulation.least >= _MIN_JUDGED_SECONDS
            met = (share >= _TARGET_EFFICIENCY and simulation.outcome.complete) if judged else None
            yield record_of(case.name, simulation) | {"target": goal if judged else "", "met": met}


def saturating(ranks: Sequence[int], messages: Messages) -> Iterator[Record]:
    """Simulate tasks of about a second, in leases of one task and of the usual size."""
    for number in ranks:
        for name, most in (("1 s, one a lease", 1), ("1 s, leases as they are", None)):
            rng = np.random.default_rng(7)
            seconds = rng.uniform(0.9, 1.1, _TASKS_PER_RANK * number)
            team = Team.of(number - 1, 0.0, 0.0, 1.0, rng)
            simulation = simulate(seconds, team, messages=messages, most_tasks=most)
            yield record_of(name, simulation) | {"target": "", "met": None}


def record_of(name: str, simulation: Simulation) -> Record:
    """Return the numbers of a simulation as JSON values."""
    numbers = {key: value for key, value in vars(simulation).items() if key != "outcome"}
    shares = {key: getattr(simulation, key) for key in ("efficiency", "of_best", "busy_share")}
    tasks, outcome = len(simulation.outcome.finished), simulation.outcome
    record = {"case": name, "tasks": tasks, **numbers, **shares, "complete": outcome.complete}
    sys.stderr.write(f"{name}, {simulation.ranks} ranks: {simulation.of_best:.1%} of the best\n")
    return {**record, "lost": len(outcome.lost), "a_second": simulation.received / simulation.busy}


def simulation_table(records: Sequence[Record]) -> str:
    """Return a Markdown table of simulations."""
    head = ["case", "ranks", "tasks", "makespan", "efficiency", "of the best", "rank 0 busy"]
    head += ["a batch", "batches", "leases", "copied", "computed twice", "lost", "target", "met"]
    lines = [head]
    for record in records:
        lines.append(
            [
                record["case"],
                str(record["ranks"]),
                str(record["tasks"]),
                f"{record['makespan']:.4g} s",
                f"{record['efficiency']:.1%}",
                f"{record['of_best']:.1%}",
                f"{record['busy_share']:.1%}",
                f"{1e6 / record['a_second']:.0f} µs",
                str(record["received"]),
                str(record["sent"]),
                str(record["copied"]),
                str(record["computed"] - record["tasks"]),
                str(record["lost"]),
                record["target"],
                {True: "yes", False: "**NO**", None: ""}[record["met"]],
            ]
        )
    return grid(lines)
