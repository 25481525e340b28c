"""The tasks that draw samples: chunks of shots, each with random numbers of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.measurements import Measurements
from hpcq.circuits.packed_bits import num_bytes, pack_bits, packed_mask, unpack_bits
from hpcq.core.limits import Limits
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.protocol import Engine
from hpcq.kinds.outcomes.part_samples import Part, parts_of, shuffled
from hpcq.kinds.outcomes.state_tasks import branch_source
from hpcq.parallel.tasks import TaskFunction, Tasks
from hpcq.planning.outcome_plan import OutcomesPlan
from hpcq.reconstruction.outcomes.counted_outcomes import CountedOutcomes
from hpcq.reconstruction.outcomes.distribution import Distribution
from hpcq.reconstruction.outcomes.sampler import KeptSampler, PerfectSampler, num_chunks
from hpcq.reconstruction.outcomes.sampling_cost import CHUNK_SHOTS
from hpcq.reconstruction.outcomes.sites import SiteNetwork
from hpcq.results.samples import Samples

_GROUPS_PER_RANK = 2
"""Groups of chunks per rank where states are not kept, so that each group simulates them anew.
More: the ranks finish closer together; fewer: less is simulated."""

_ORDER_KEY, _PART_KEY = 1, 2
"""Keys of a chunk's random numbers for the order of its samples, and for those of parts; those of
its sites have none."""


@dataclass(frozen=True, eq=False)
class SampleTasks:
    """Chunks of shots; a task is one chunk, or a group of them if states are simulated for each.

    Rank 0 sends this to every rank once. Groups change no sample.

    Attributes:
        network: The sites; a source of states that are not kept is added on each rank.
        tensors: The distinct tensors, for states that are not kept.
        parts: The parts that engines sample.
        measurements: The measured qubits.
        limits: Limits of a rank.
        table_bytes: Bytes that the tables of a rank may take.
        shots: Number of shots.
        seed: Seed of the samples.
        group: Number of chunks of a task.
        shot_seconds: Predicted seconds of a shot.
        kept: Keeps what sites are sampled with on this rank.
    """

    network: SiteNetwork
    tensors: tuple[ExactTensor, ...]
    parts: tuple[Part, ...]
    measurements: Measurements
    limits: Limits
    table_bytes: int
    shots: int
    seed: int
    group: int
    shot_seconds: float
    kept: KeptSampler

    @property
    def num_tasks(self) -> int:
        """Number of tasks."""
        return math.ceil(num_chunks(self.shots) / self.group)

    def chunks(self, task: int) -> range:
        """Return the chunks of a task."""
        start = task * self.group
        return range(start, min(start + self.group, num_chunks(self.shots)))

    def chunk_shots(self, chunk: int) -> int:
        """Return the number of shots of a chunk."""
        return min(CHUNK_SHOTS, self.shots - CHUNK_SHOTS * chunk)

    def farm_tasks(self) -> Tasks:
        """Return all tasks, for the farm."""
        shots = [sum(map(self.chunk_shots, self.chunks(task))) for task in range(self.num_tasks)]
        return Tasks(
            np.array(shots, dtype=float) * self.shot_seconds,
            np.uint8,
            describe=lambda task: f"shots of chunk {self.chunks(task)[0]}",
        )

    def task_function(self, open_main_engine: Callable[[], Engine]) -> TaskFunction:
        """Return the function that draws; the argument returns this rank's engine."""
        network = self.network
        if not all(map(network.is_kept, range(len(network.sites)))):
            source = branch_source(self.tensors, open_main_engine())
            network = replace(network, source=source)
        here = replace(self, network=network)

        def compute(task: int, _payload: bytes = b"") -> NDArray[np.uint8]:
            return here.compute(task)

        return compute

    def compute(self, task: int) -> NDArray[np.uint8]:
        """Return the samples of each chunk of a task as bytes, for :meth:`samples`."""
        chunks = self.chunks(task)
        of_sites: list[CountedOutcomes | None] = [None] * len(chunks)
        if self.sampler is not None:
            of_sites = [*self.sampler.draw_each(chunks, self.shots, self.seed)]
        found = []
        for chunk, of_chunk in zip(chunks, of_sites, strict=True):
            drawn, distance = of_chunk, 0.0
            if self.parts:
                drawn, distance = self._joined(chunk, of_chunk)
            assert drawn is not None, "a circuit has sites or parts"
            found.append(_as_bytes(self._measured(drawn) if self._unmeasured else drawn, distance))
        return np.concatenate(found)

    @property
    def sampler(self) -> PerfectSampler | None:
        """What sites are sampled with; None if there are none."""
        if self.network.sites and self.kept.sampler is None:
            self.kept.sampler = PerfectSampler.of(self.network, self.table_bytes)
        return self.kept.sampler

    @cached_property
    def _unmeasured(self) -> bool:
        measured = set(self.measurements.qubits)
        parts = {qubit for part in self.parts for qubit in part.qubits}
        return not measured >= {*self.network.qubits, *parts}

    def _joined(
        self, chunk: int, of_sites: CountedOutcomes | None
    ) -> tuple[CountedOutcomes, float]:
        """Return the samples of a chunk, sites and parts together, and a bound on their distance.

        The distances of independent parts from their exact distributions add up.
        """
        shots, width = self.chunk_shots(chunk), self.network.num_qubits
        sequence = np.random.SeedSequence(self.seed, spawn_key=(chunk, _PART_KEY))
        *of_parts, order = sequence.spawn(len(self.parts) + 1)
        packed = np.zeros((shots, num_bytes(width)), dtype=np.uint8)
        logs, distance = np.zeros(shots), 0.0
        if of_sites is not None:
            packed, logs = shuffled(of_sites, np.random.default_rng(order))
        for part, seeds in zip(self.parts, of_parts, strict=True):
            outcomes, logs_of_part, bound = part.draw(shots, seeds, self.limits, width)
            packed, logs, distance = packed | outcomes, logs + logs_of_part, distance + bound
        single = np.ones(shots, dtype=np.int64)
        return CountedOutcomes.merged([CountedOutcomes(packed, single, logs)]), distance

    def _measured(self, drawn: CountedOutcomes) -> CountedOutcomes:
        """Return samples without the qubits that are not measured, whose outcomes are summed."""
        kept = drawn.outcomes & packed_mask(self.network.num_qubits, self.measurements.qubits)
        merged = CountedOutcomes.merged(
            [CountedOutcomes(kept, drawn.counts, drawn.log_probabilities)]
        )
        logs = np.full(len(merged.counts), np.nan)
        if not self.parts:
            distribution = Distribution(self.network, self.table_bytes)
            logs = distribution.log_probabilities(merged.outcomes, self.measurements.qubits)
        return CountedOutcomes(merged.outcomes, merged.counts, logs)

    def samples(self, finished: Iterable[NDArray[np.uint8]]) -> tuple[Samples, float]:
        """Return the samples of all tasks, each chunk in random order.

        The second value is a bound on the total variation distance of their distribution from the
        exact one: 0, unless an engine has truncated states.
        """
        width = num_bytes(self.network.num_qubits)
        packed, probabilities, distances = [], [], []
        chunks = (each for data in finished for each in _from_bytes(data, width))
        for chunk, (drawn, distance) in enumerate(chunks):
            key = chunk, _ORDER_KEY
            rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))
            outcomes, logs = shuffled(drawn, rng)
            packed.append(classical_bits(outcomes, self.measurements))
            probabilities.append(np.exp(logs))
            distances.append(distance)
        bits = np.concatenate(packed)
        found = Samples(self.measurements, bits, np.concatenate(probabilities))
        return found, max(distances)


def tasks_of(plan: OutcomesPlan, network: SiteNetwork) -> SampleTasks:
    """Return the tasks that draw the samples of a plan."""
    shots = plan.question.shots
    # States that are simulated anew belong to the engine of one run.
    is_kept = all(map(network.is_kept, range(len(network.sites))))
    return SampleTasks(
        network,
        plan.tensors,
        parts_of(plan),
        plan.question.measurements,
        plan.limits,
        plan.table_bytes,
        shots,
        plan.config["seed"],
        group_size(network, shots, plan.config["ranks"]),
        plan.shot_seconds,
        plan.kept_sampler if is_kept else KeptSampler(),
    )


def group_size(network: SiteNetwork, shots: int, ranks: int) -> int:
    """Return the number of chunks of a task: 1 unless states are simulated for each task."""
    if all(map(network.is_kept, range(len(network.sites)))):
        return 1
    return max(1, math.ceil(num_chunks(shots) / (_GROUPS_PER_RANK * ranks)))


def classical_bits(outcomes: NDArray[np.uint8], measurements: Measurements) -> NDArray[np.uint8]:
    """Return packed outcomes of all qubits of a circuit as packed classical bits."""
    sources = [qubit for register in measurements.registers for qubit in register.qubits]
    if sources == list(range(len(sources))) and num_bytes(len(sources)) == outcomes.shape[1]:
        return outcomes
    return measurements.packed(measured_bits(outcomes, measurements))


def measured_bits(outcomes: NDArray[np.uint8], measurements: Measurements) -> NDArray[np.uint8]:
    """Return packed outcomes of all qubits as bits of the measured ones, shape (n, measured)."""
    return unpack_bits(outcomes)[:, list(measurements.qubits)]


def packed_outcomes(
    bits: NDArray[np.uint8], measurements: Measurements, num_qubits: int
) -> NDArray[np.uint8]:
    """Return bits of the measured qubits as packed outcomes of all qubits, the others 0."""
    rows = np.zeros((len(bits), 8 * num_bytes(num_qubits)), dtype=np.uint8)
    rows[:, list(measurements.qubits)] = bits
    return pack_bits(rows)


def _as_bytes(drawn: CountedOutcomes, distance: float) -> NDArray[np.uint8]:
    """Return the samples of a chunk as bytes: their number, the distance, and their arrays."""
    head = np.array([float(len(drawn.counts)), distance])
    parts = (head, drawn.outcomes, drawn.counts, drawn.log_probabilities)
    return np.concatenate([np.ascontiguousarray(p).reshape(-1).view(np.uint8) for p in parts])


def _from_bytes(data: NDArray[np.uint8], width: int) -> Iterator[tuple[CountedOutcomes, float]]:
    """Yield the samples of each chunk, whose outcomes take ``width`` bytes, and their distance."""
    start = 0
    while start < len(data):
        number, distance = np.frombuffer(data[start : start + 16].tobytes())
        size = int(number)
        ends = start + 16 + np.cumsum([0, size * width, 8 * size, 8 * size])
        outcomes, counts, logs = np.split(data[: ends[-1]], ends[:-1])[1:]
        start = int(ends[-1])
        drawn = CountedOutcomes(
            outcomes.reshape(size, width),
            np.frombuffer(counts.tobytes(), dtype=np.int64),
            np.frombuffer(logs.tobytes(), dtype=np.float64),
        )
        yield drawn, float(distance)
