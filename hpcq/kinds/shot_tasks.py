"""The work order of a sampled run: what a rank must know to measure any variant, sent once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.limits import Limits
from hpcq.cutting.subexperiments.device_circuits import SampledTensor, Template, should_defer
from hpcq.engines.protocol import ShotEngine, ShotRequest
from hpcq.engines.shot_engine import ShotEngineSpec
from hpcq.parallel import messages
from hpcq.parallel.tasks import TaskFunction, Tasks
from hpcq.reconstruction.estimation import counts
from hpcq.reconstruction.estimation.variant_batches import (
    Task,
    TemplateVariants,
    VariantBatch,
    make_tasks,
    variants_of_task,
)


@dataclass(frozen=True, eq=False)
class ShotTasks:
    """The sources to measure; what is measured of them comes round by round.

    Attributes:
        tensors: The sources.
        limits: What a rank may use.
        seed: Root of all seeds.
        wanted: Which engine runs them.
        names: Number of the first subcircuit that each source is; known on rank 0.
    """

    tensors: tuple[SampledTensor, ...]
    limits: Limits
    seed: int
    wanted: ShotEngineSpec
    names: tuple[int, ...] = ()
    _prepared: dict[tuple[int, tuple[int, ...], bool], tuple[Template, Any]] = field(
        default_factory=dict, init=False
    )

    def tasks(self, batches: Sequence[VariantBatch]) -> list[Task]:
        """Divide a round into tasks."""
        noisy, whole = self.wanted.noise is not None, self.wanted.backend is not None
        return make_tasks(self.tensors, batches, noisy=noisy, single_task=whole)

    def prepared(
        self, source: int, measured: tuple[int, ...], engine: ShotEngine, *, deferred: bool
    ) -> tuple[Template, Any]:
        """Return a template, and what the engine made of it."""
        deferred = deferred and bool(measured)
        key = (source, measured, deferred)
        if key not in self._prepared:
            template = self.tensors[source].template(measured, deferred=deferred)
            self._prepared[key] = (template, engine.prepare(template))
        return self._prepared[key]

    def farmed(self, number: int, batches: Sequence[VariantBatch], tasks: Sequence[Task]) -> Tasks:
        """Return the tasks of round ``number``, for the farm."""
        sources = np.array([task[0].source for task in tasks], dtype=np.int64)

        def describe(place: int) -> str:
            return f"round {number + 1}, " + " and ".join(
                f"subcircuit {self.names[piece.source]}, variants {_span(piece.rows)}"
                for piece in tasks[place]
            )

        return Tasks(
            np.array([sum(piece.seconds for piece in task) for task in tasks]),
            np.uint64,
            payload=lambda place: messages.dumps(
                (number, place, variants_of_task(tasks[place], batches))
            ),
            owner=lambda places: sources[places],
            describe=describe,
        )

    def worker(self, engine: ShotEngine) -> TaskFunction:
        """Return the function that does a task with the given engine."""

        def work(_task: int, payload: bytes) -> NDArray[np.uint64]:
            number, place, portions = messages.loads(payload)
            seeds = np.random.SeedSequence(self.seed, spawn_key=(number, place))
            seed = int(seeds.generate_state(1, np.uint64)[0] >> 1)
            variants = [portion.variants.tolist() for portion in portions]
            runs = [
                self._run(portion, own, engine)
                for portion, own in zip(portions, variants, strict=True)
            ]
            return counts.pack(
                [
                    counts.masked(*row, self.tensors[portion.source].bit_mask(own[:-1], own[-1]))
                    for portion, rows, measured in zip(
                        portions, variants, engine.measure(runs, seed), strict=True
                    )
                    for own, row in zip(rows, measured, strict=True)
                ]
            )

        return work

    def _run(
        self, portion: TemplateVariants, variants: Sequence[Sequence[int]], engine: ShotEngine
    ) -> ShotRequest:
        """Return what the engine is to measure for a portion of a task."""
        source, measured = portion.source, portion.measured
        deferred = engine.defers_measurements and should_defer(measured, int(portion.shots.max()))
        template, prepared = self.prepared(source, measured, engine, deferred=deferred)
        rows = np.empty((len(variants), len(template.columns)))
        for row, own in enumerate(variants):
            table = self.tensors[source].angles(own[:-1], own[-1])
            rows[row] = [table[column] for column in template.columns]
        return ShotRequest(prepared, rows, portion.shots)


def _span(rows: NDArray[np.int64]) -> str:
    """Name some variants by the first and the last."""
    low, high = int(rows.min()), int(rows.max())
    return str(low) if low == high else f"{low} to {high}"
