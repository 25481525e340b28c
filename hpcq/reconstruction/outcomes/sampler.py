"""Perfect samples of a cut circuit: independent outcomes of all qubits, with their probabilities.

Sites are sampled one after the other, each from its exact distribution given the outcomes of those
before. There is no sampling overhead: a million shots take at most a million times the work of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcq.core.errors import InputError
from hpcq.reconstruction.outcomes.contraction_sampler import ContractionSampler
from hpcq.reconstruction.outcomes.counted_outcomes import CountedOutcomes
from hpcq.reconstruction.outcomes.environments import environment_bytes
from hpcq.reconstruction.outcomes.frontier_sampler import FrontierSampler
from hpcq.reconstruction.outcomes.order import Step, sampling_order
from hpcq.reconstruction.outcomes.sampling_cost import CHUNK_SHOTS
from hpcq.reconstruction.outcomes.sites import SiteNetwork


def num_chunks(shots: int) -> int:
    """Return the number of chunks of some shots; all but the last have 2**16 shots."""
    return -(-shots // CHUNK_SHOTS)


@dataclass(frozen=True, eq=False)
class PerfectSampler:
    """Draws outcomes of a network of sites. It can be pickled if the network can.

    Shots come in chunks of 2**16. Each chunk has random numbers of its own, so that samples are the
    same however chunks are divided among ranks or calls.

    Attributes:
        network: The network.
        method: How shots are drawn: by vectors over the frontier, or by contractions of the whole
            network where the frontier is too wide.
    """

    network: SiteNetwork
    method: FrontierSampler | ContractionSampler

    @classmethod
    def of(
        cls, network: SiteNetwork, memory_bytes: int, steps: Sequence[Step] | None = None
    ) -> PerfectSampler:
        """Compute the tables that samples are drawn from.

        Args:
            network: The network.
            memory_bytes: Bytes that tables and shots may take, besides the network's states.
            steps: The order of the sites; by default that of
                :func:`~hpcq.reconstruction.outcomes.order.sampling_order`.

        Raises:
            MemoryLimitError: If the bonds of a site are too wide for the memory.
        """
        steps = sampling_order(network) if steps is None else tuple(steps)
        if environment_bytes(steps) <= memory_bytes:
            return cls(network, FrontierSampler.of(network, steps, memory_bytes))
        order = tuple(step.site for step in steps)
        return cls(network, ContractionSampler.of(network, order, memory_bytes))

    def draw(self, chunks: Sequence[int], shots: int, seed: int) -> CountedOutcomes:
        """Draw the shots of some chunks.

        Args:
            chunks: Numbers of the chunks, below :func:`num_chunks`.
            shots: Number of shots of all chunks together, also of those that are not drawn now.
            seed: Seed of all chunks.

        Returns:
            The samples. ``CountedOutcomes.merged`` of those of all chunks is the same however they
            are divided among calls.

        Raises:
            InputError: If there is no such chunk.
        """
        return CountedOutcomes.merged(self.draw_each(chunks, shots, seed))

    def draw_each(self, chunks: Sequence[int], shots: int, seed: int) -> list[CountedOutcomes]:
        """Return the samples of each of some chunks; see :meth:`draw`.

        Those of a chunk are the same whatever other chunks are drawn with it.
        """
        wrong = [chunk for chunk in chunks if not 0 <= chunk < num_chunks(shots)]
        if wrong or not chunks:
            raise InputError(
                f"chunks: {wrong or list(chunks)}, expected some from 0 to {num_chunks(shots) - 1} "
                f"for {shots} shots"
            )
        parts = []
        for start in range(0, len(chunks), self.method.chunks_together):
            together = chunks[start : start + self.method.chunks_together]
            sizes = [min(CHUNK_SHOTS, shots - CHUNK_SHOTS * chunk) for chunk in together]
            sequences = [np.random.SeedSequence(seed, spawn_key=(chunk,)) for chunk in together]
            rngs = [np.random.default_rng(sequence) for sequence in sequences]
            parts += self.method.draw(self.network, sizes, rngs)
        return [CountedOutcomes.merged([part]) for part in parts]


@dataclass
class KeptSampler:
    """Keeps a sampler, whose tables take as long as thousands of samples, from draw to draw.

    It is not sent to other processes: a copy there is empty.

    Attributes:
        sampler: The sampler; None if there is none yet.
    """

    sampler: PerfectSampler | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return KeptSampler, ()
