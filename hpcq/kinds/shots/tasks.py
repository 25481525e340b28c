"""The tasks of a run with shots, with everything that a rank needs to measure any variant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpcq.core.limits import Limits
from hpcq.cutting.subexperiments.device_circuits import SampledTensor, Template, should_defer
from hpcq.engines.protocol import Engine, PreparedPiece, ShotRun, check_supported
from hpcq.engines.registry import EngineSpec
from hpcq.engines.requests import ShotCounts
from hpcq.parallel import messages
from hpcq.parallel.tasks import TaskFunction, Tasks
from hpcq.reconstruction.estimation import counts
from hpcq.reconstruction.estimation.variant_batches import (
    Task,
    TemplateRows,
    VariantBatch,
    make_tasks,
)


@dataclass(frozen=True, eq=False)
class ShotTasks:
    """The sources to measure; the variants and shots of a task are sent with it.

    Rank 0 sends this to every rank once.

    Attributes:
        tensors: The sources.
        limits: Limits of a rank.
        seed: Root of all seeds.
        engine_spec: The engine that measures.
        uses: The source of each subcircuit, None for one that is not measured, for messages.
    """

    tensors: tuple[SampledTensor, ...]
    limits: Limits
    seed: int
    engine_spec: EngineSpec
    uses: tuple[int | None, ...] = ()
    _templates: dict[tuple[int, tuple[int, ...], bool], Template] = field(
        default_factory=dict, init=False
    )

    def divide(self, batches: Sequence[VariantBatch]) -> list[Task]:
        """Return the tasks of a round."""
        is_noisy = self.engine_spec.noise is not None
        is_queued = self.engine_spec.backend is not None
        return make_tasks(self.tensors, batches, noisy=is_noisy, single_task=is_queued)

    def prepare_template(
        self, source: int, measured: tuple[int, ...], engine: Engine, *, deferred: bool
    ) -> tuple[Template, PreparedPiece]:
        """Return a template, and the piece that the engine prepared from it."""
        template = self._template(source, measured, deferred=deferred)
        return template, engine.prepared(template)

    def _template(self, source: int, measured: tuple[int, ...], *, deferred: bool) -> Template:
        key = (source, measured, deferred and bool(measured))
        if key not in self._templates:
            self._templates[key] = self.tensors[source].template(measured, deferred=key[2])
        return self._templates[key]

    def check_engine(self, engine: Engine) -> None:
        """Check before the run that an engine can run one template of every source.

        Raises:
            InputError: If the engine cannot run a template.
        """
        one_shot = ShotCounts(np.ones(1, dtype=np.int64), 0)
        for source, tensor in enumerate(self.tensors):
            if tensor.num_bits:
                gate_ports = tuple(p for p, port in enumerate(tensor.ports) if port.kind == "gate")
                template = self._template(source, gate_ports, deferred=engine.defers_measurements)
                name = f"subcircuit {self.uses.index(source)}"
                check_supported(engine, template, one_shot, name)
                engine.prepared(template)

    def farm_tasks(self, round_number: int, tasks: Sequence[Task]) -> Tasks:
        """Return the tasks of a round, counted from 0, for the farm."""
        sources = np.array([task[0].source for task in tasks], dtype=np.int64)

        def describe(task_index: int) -> str:
            return f"round {round_number + 1}, " + " and ".join(
                f"subcircuit {self.uses.index(part.source)}, variants {_span(part.rows)}"
                for part in tasks[task_index]
            )

        return Tasks(
            np.array([sum(part.seconds for part in task) for task in tasks]),
            np.uint64,
            payload=lambda index: messages.dumps((round_number, index, tasks[index])),
            owner=lambda task_indices: sources[task_indices],
            describe=describe,
        )

    def task_function(self, open_engine: Callable[[], Engine]) -> TaskFunction:
        """Return the function that measures tasks; ``open_engine`` returns this rank's engine."""
        engine = open_engine()

        def compute(_task: int, payload: bytes) -> NDArray[np.uint64]:
            round_number, task_index, parts = messages.loads(payload)
            sequence = np.random.SeedSequence(self.seed, spawn_key=(round_number, task_index))
            seed = int(sequence.generate_state(1, np.uint64)[0] >> 1)
            measured = engine.measure([self._run(part, engine) for part in parts], seed)
            return counts.pack(
                [
                    counts.masked(*row, self.tensors[part.source].bit_mask(settings, basis))
                    for part, rows in zip(parts, measured, strict=True)
                    for (*settings, basis), row in zip(part.variants.tolist(), rows, strict=True)
                ]
            )

        return compute

    def _run(self, part: TemplateRows, engine: Engine) -> ShotRun:
        """Return the rows of one template, which the engine is to measure."""
        source, measured, shots = part.source, part.measured, part.shots
        deferred = engine.defers_measurements and should_defer(measured, int(shots.max()))
        template, prepared = self.prepare_template(source, measured, engine, deferred=deferred)
        rows = np.empty((len(shots), len(template.columns)))
        for row, (*settings, basis) in enumerate(part.variants.tolist()):
            angles = self.tensors[source].angles(settings, basis)
            rows[row] = [angles[column] for column in template.columns]
        return ShotRun(prepared, rows, shots)


def _span(rows: NDArray[np.int64]) -> str:
    """Return the range of some variants as text."""
    low, high = int(rows.min()), int(rows.max())
    return str(low) if low == high else f"{low} to {high}"
