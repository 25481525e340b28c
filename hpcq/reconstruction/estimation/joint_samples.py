"""Joint samples: variants of all subcircuits drawn together, where there are too many to run all.

Every edge is a weighted sum of pairs of signals, one at either end. A joint sample draws one pair
for every edge, with probabilities in proportion to the weights' absolute values, and thereby one
variant of every subcircuit. Its value is the product of the signs of the variants and the pairs,
times gamma for every edge, the sum of the weights' absolute values. The mean over samples is
unbiased (Mitarai and Fujii, New J. Phys. 23, 023021 (2021)), and its variance is at most the
squared product of the gammas over the number of samples. A variant that is drawn more than once is
run once, with the shots of all its samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from hpcq.cutting.subcircuits import CutCircuit, Edge
from hpcq.cutting.subexperiments.port_settings import port_basis_of
from hpcq.reconstruction.connected_parts import ConnectedParts
from hpcq.reconstruction.estimation.counts import Counts
from hpcq.reconstruction.estimation.joint_means import Indices, Reals, SignMeans, distinct_variants
from hpcq.reconstruction.estimation.joint_variance import PartEstimate, PartSamples
from hpcq.reconstruction.estimation.product_variance import (
    MAX_PAIRS,
    MIN_PAIRS,
    Arrays,
    random_signs,
    variance_of_all_orders,
)
from hpcq.reconstruction.estimation.sources import Sources
from hpcq.reconstruction.estimation.variant_batches import VariantBatch
from hpcq.reconstruction.term_table import choice_table


@dataclass(frozen=True, eq=False)
class WeightedPairs:
    """The weighted pairs of signals that add up to an edge.

    Attributes:
        weights: Weight of each pair, shape (signals of the first end, signals of the second).
    """

    weights: Reals

    @classmethod
    def of(cls, edge: Edge, cut: CutCircuit) -> WeightedPairs:
        """Return the pairs of an edge for the inversions with the smallest gamma."""
        port_bases = [port_basis_of(cut.subcircuits[k].ports[port]) for k, port in edge.ends]
        ket = np.asarray(edge.weights, dtype=complex)
        pair_weights = np.outer(ket, ket.conj()).reshape(-1, 1)
        candidates = [
            (first.T @ (pair_weights * second)).real
            for first, second in product(port_bases[0].inversions, port_bases[1].inversions)
        ]
        return cls(min(candidates, key=lambda weights: round(float(np.abs(weights).sum()), 9)))

    @property
    def gamma(self) -> float:
        """Sum of the weights' absolute values."""
        return float(np.abs(self.weights).sum())

    def draw(self, num_samples: int, rng: np.random.Generator) -> tuple[Indices, Indices, Reals]:
        """Draw pairs with probabilities in proportion to their absolute weights.

        Returns:
            The signals at the first and at the second end, and the factors: gamma with the sign of
            the pair's weight. Each has the shape (num_samples,).
        """
        flat = self.weights.reshape(-1)
        indices = rng.choice(flat.size, size=num_samples, p=np.abs(flat) / np.abs(flat).sum())
        first, second = np.unravel_index(indices, self.weights.shape)
        return first, second, self.gamma * np.sign(flat[indices])


@dataclass(frozen=True, eq=False)
class JointDraws:
    """The joint samples of a round.

    Attributes:
        factors: For each part, the product of its edges' factors, shape (samples,).
        signals: For each subcircuit, the signal at each port, shape (samples, ports).
    """

    factors: tuple[Reals, ...]
    signals: tuple[Indices, ...]


@dataclass(frozen=True, eq=False)
class JointRound:
    """A measured round of joint samples.

    Attributes:
        weight: Weight of the round in the average over rounds, not normalised.
        draws: The joint samples.
        rows: For each source, the variants that were run, as in :class:`VariantBatch`.
        counts: For each source, the counts of these variants.
    """

    weight: float
    draws: JointDraws
    rows: tuple[NDArray[np.int16], ...]
    counts: tuple[Counts, ...]

    @property
    def shots(self) -> int:
        """Number of shots of all variants together."""
        return int(sum(int(counts.shots.sum()) for counts in self.counts))


class JointEstimator:
    """Draws joint samples and estimates the observables from them.

    Args:
        cut: The cut circuit, in which no port shares the settings of another.
        parts: The terms as products over the connected parts.
        sources: One source for each subcircuit that some term sees.
        rounds: Rounds that were measured already.
    """

    def __init__(
        self,
        cut: CutCircuit,
        parts: ConnectedParts,
        sources: Sources,
        rounds: Sequence[JointRound] = (),
    ) -> None:
        self.cut = cut
        self.parts = parts
        self.sources = sources
        self.rounds: list[JointRound] = []
        self._estimates = [PartEstimate(len(picks)) for picks in parts.picks]
        for measured in rounds:
            self.add(measured)

    @cached_property
    def pairs(self) -> tuple[WeightedPairs, ...]:
        """The pairs of signals of every edge."""
        return tuple(WeightedPairs.of(edge, self.cut) for edge in self.cut.edges)

    @property
    def shots(self) -> int:
        """Number of shots of all rounds together."""
        return sum(measured.shots for measured in self.rounds)

    def draw(self, num_samples: int, rng: np.random.Generator) -> JointDraws:
        """Return random joint samples of every part."""
        signals = [
            np.zeros((num_samples, len(subcircuit.ports)), dtype=np.intp)
            for subcircuit in self.cut.subcircuits
        ]
        factors = [np.ones(num_samples) for _ in self.parts.groups]
        for edge, pairs in zip(self.cut.edges, self.pairs, strict=True):
            (first, first_port), (second, second_port) = edge.ends
            if first in self.parts.part_of:
                signals[first][:, first_port], signals[second][:, second_port], factor = pairs.draw(
                    num_samples, rng
                )
                factors[self.parts.part_of[first]] *= factor
        return JointDraws(tuple(factors), tuple(signals))

    def batches(self, draws: JointDraws, shots: int) -> list[VariantBatch]:
        """Return the distinct variants of joint samples, with shots in proportion to frequency.

        All variants together have ``shots`` shots: at least one for each variant of each sample.
        """
        variants = [
            distinct_variants(self.sources.tensors[source], draws.signals[subcircuit])
            for subcircuit, source in enumerate(self.sources.uses)
            if source is not None
        ]
        total = sum(int(frequencies.sum()) for _, frequencies in variants)
        batches = []
        shots_before = samples_before = 0
        for rows, frequencies in variants:
            # Differences of rounded cumulative shots, so that all of them add up to ``shots``.
            ends = samples_before + np.cumsum(frequencies)
            samples_before = int(ends[-1]) if len(ends) else samples_before
            cumulative_shots = [shots * end // total for end in ends.tolist()] if total else []
            variant_shots = np.diff([shots_before, *cumulative_shots])
            shots_before = cumulative_shots[-1] if cumulative_shots else shots_before
            batches.append(VariantBatch(rows, variant_shots.astype(np.int64)))
        return batches

    def add(self, measured: JointRound) -> None:
        """Add a measured round."""
        sign_means = {
            subcircuit: SignMeans(
                self.sources.tensors[source],
                measured.rows[source],
                measured.counts[source],
                measured.draws.signals[subcircuit],
            )
            for subcircuit, source in enumerate(self.sources.uses)
            if source is not None
        }
        string_means = {subcircuit: means.values() for subcircuit, means in sign_means.items()}
        for estimate, group, picks, factors in zip(
            self._estimates,
            self.parts.groups,
            self.parts.picks,
            measured.draws.factors,
            strict=True,
        ):
            samples = PartSamples(
                factors,
                [sign_means[k] for k in group],
                [string_means[k] for k in group],
                choice_table(picks, len(group)),
            )
            estimate.add(measured.weight, samples)
        self.rounds.append(measured)

    def values(self) -> Reals:
        """Return the estimate of every observable."""
        return self.parts.combine([estimate.values for estimate in self._estimates])

    def errors(self, *, quick: bool = False, cautious: bool = False) -> Reals:
        """Return the standard error of every observable.

        Different parts are independent of each other, and the errors of their products are counted
        to all orders. For the arguments see
        :meth:`hpcq.reconstruction.estimation.estimator.Estimator.errors`.
        """
        if not self.shots:
            return np.zeros(self.parts.num_observables)
        factors = [estimate.error_factor for estimate in self._estimates]

        def draw_errors(number: int, rng: np.random.Generator) -> list[Reals]:
            return [random_signs((number, len(factor)), rng) @ factor for factor in factors]

        variances = variance_of_all_orders(
            self._first_order,
            draw_errors,
            [estimate.values for estimate in self._estimates],
            cautious=cautious,
            max_pairs=MIN_PAIRS if quick else MAX_PAIRS,
        )
        return np.sqrt(variances)

    def _first_order(self, values: Arrays) -> Reals:
        """Return the first-order variance of every observable, shape (points, observables).

        The values of each part have the shape (points, rows).
        """
        observables = np.arange(self.parts.num_observables)
        variances = np.zeros((len(values[0]), len(observables)))
        adjoints = self.parts.adjoints(values, observables)
        for estimate, (indices, adjoint) in zip(self._estimates, adjoints, strict=True):
            # If each term has only one part, the derivatives are the same at all points.
            distinct = adjoint if np.any(adjoint != adjoint[:1]) else adjoint[:1]
            if len(indices):
                part_variances = estimate.variances(distinct.reshape(-1, adjoint.shape[-1]))
                variances[:, indices] += part_variances.reshape(len(distinct), -1)
        return variances
