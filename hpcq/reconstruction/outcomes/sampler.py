"""Perfect samples of a cut circuit: independent outcomes of all qubits, with their probabilities.

Sites are sampled one after the other, each from its exact distribution given the outcomes of those
before. No sampling overhead is paid: a million shots take a million times the work of one, at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpcq.core.errors import InputError
from hpcq.reconstruction.outcomes.environments import (
    Environments,
    environments_of,
)
from hpcq.reconstruction.outcomes.order import Step, sampling_order
from hpcq.reconstruction.outcomes.packed_bits import num_bytes
from hpcq.reconstruction.outcomes.samples import Samples
from hpcq.reconstruction.outcomes.sampling_cost import (
    CHUNK_SHOTS,
    chunks_together,
    depths_of_trees,
    stored_amplitudes,
)
from hpcq.reconstruction.outcomes.site_sampler import Shots, SiteSampler
from hpcq.reconstruction.outcomes.site_tables import Mixing, build_tree, state_rows
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
        environments: The environments of all steps.
        samplers: What each step needs, in the order of the steps.
        chunks_together: Number of chunks that are drawn together, to share the simulation of
            branches; 1 if all states are kept.
    """

    network: SiteNetwork
    environments: Environments
    samplers: tuple[SiteSampler, ...]
    chunks_together: int

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
            MemoryLimitError: If the environments do not fit.
        """
        steps = sampling_order(network) if steps is None else tuple(steps)
        bits = depths_of_trees(network, steps, memory_bytes)
        environments = environments_of(network, steps)
        samplers = []
        stored = stored_amplitudes(network, steps, memory_bytes)
        for number, step in enumerate(steps):
            mixing = Mixing.of(network.sites[step.site], step)
            factor = environments.factor(number + 1)
            tree = build_tree(network, step, mixing, factor, bits[number])
            amplitudes = None
            if number in stored:
                ((_, states),) = state_rows(network, step.site)
                amplitudes = np.ascontiguousarray(mixing.apply(states, None))
            qubits = network.sites[step.site].qubits
            samplers.append(SiteSampler(step, qubits, mixing, tree, factor, amplitudes))
        together = chunks_together(network, steps, bits, memory_bytes)
        return cls(network, environments, tuple(samplers), together)

    def draw(self, chunks: Sequence[int], shots: int, seed: int) -> Samples:
        """Draw the shots of some chunks.

        Args:
            chunks: Numbers of the chunks, below :func:`num_chunks`.
            shots: Number of shots of all chunks together, also of those that are not drawn now.
            seed: Seed of all chunks.

        Returns:
            The samples. ``Samples.merged`` of those of all chunks is the same however they are
            divided among calls.

        Raises:
            InputError: If there is no such chunk.
        """
        wrong = [chunk for chunk in chunks if not 0 <= chunk < num_chunks(shots)]
        if wrong or not chunks:
            raise InputError(
                f"chunks: {wrong or list(chunks)}, expected some from 0 to {num_chunks(shots) - 1} "
                f"for {shots} shots"
            )
        parts = []
        for start in range(0, len(chunks), self.chunks_together):
            parts += self._draw(chunks[start : start + self.chunks_together], shots, seed)
        return Samples.merged(parts)

    def _draw(self, chunks: Sequence[int], shots: int, seed: int) -> list[Samples]:
        """Draw some chunks together."""
        rngs = [
            np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(chunk,)))
            for chunk in chunks
        ]
        sizes = [min(CHUNK_SHOTS, shots - CHUNK_SHOTS * chunk) for chunk in chunks]
        groups = [self._initial(size) for size in sizes]
        for sampler in self.samplers:
            groups = sampler.advance(self.network, groups, rngs)
        return [
            Samples(found.outcomes, found.counts, found.log_weights - self.environments.log_norm)
            for found in groups
        ]

    def _initial(self, shots: int) -> Shots:
        return Shots(
            np.ones((1, 1), dtype=complex),
            np.zeros((1, num_bytes(self.network.num_qubits)), dtype=np.uint8),
            np.array([shots], dtype=np.int64),
            np.zeros(1),
        )
