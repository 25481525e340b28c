"""Samples with the vector of each shot over the frontier: the quickest way, where that fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpcq.circuits.packed_bits import num_bytes
from hpcq.reconstruction.outcomes.counted_outcomes import CountedOutcomes
from hpcq.reconstruction.outcomes.environments import Environments, environments_of
from hpcq.reconstruction.outcomes.order import Step
from hpcq.reconstruction.outcomes.sampling_cost import (
    chunks_together,
    depths_of_trees,
    stored_amplitudes,
)
from hpcq.reconstruction.outcomes.site_sampler import Shots, SiteSampler
from hpcq.reconstruction.outcomes.site_tables import Mixing, build_tree, state_rows
from hpcq.reconstruction.outcomes.sites import SiteNetwork


@dataclass(frozen=True, eq=False)
class FrontierSampler:
    """Draws shots step by step, each a group's vector over the frontier.

    Attributes:
        environments: The environments of all steps.
        samplers: What each step needs, in the order of the steps.
        chunks_together: Number of chunks that are drawn together, to share the simulation of
            branches; 1 if all states are kept.
    """

    environments: Environments
    samplers: tuple[SiteSampler, ...]
    chunks_together: int

    @classmethod
    def of(cls, network: SiteNetwork, steps: Sequence[Step], memory_bytes: int) -> FrontierSampler:
        """Compute the tables; arguments as for :meth:`PerfectSampler.of`."""
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
        return cls(environments, tuple(samplers), together)

    def draw(
        self, network: SiteNetwork, sizes: Sequence[int], rngs: Sequence[np.random.Generator]
    ) -> list[CountedOutcomes]:
        """Draw some chunks of shots together.

        Args:
            network: The network that the tables are of.
            sizes: Number of shots of each chunk.
            rngs: Source of random numbers of each chunk.
        """
        groups = [_initial(size, network.num_qubits) for size in sizes]
        for sampler in self.samplers:
            groups = sampler.advance(network, groups, rngs)
        norm = self.environments.log_norm
        return [
            CountedOutcomes(found.outcomes, found.counts, found.log_weights - norm)
            for found in groups
        ]


def _initial(shots: int, qubits: int) -> Shots:
    return Shots(
        np.ones((1, 1), dtype=complex),
        np.zeros((1, num_bytes(qubits)), dtype=np.uint8),
        np.array([shots], dtype=np.int64),
        np.zeros(1),
    )
