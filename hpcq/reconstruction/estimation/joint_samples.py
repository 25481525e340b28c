"""Joint samples: variants of all subcircuits drawn together, where there are too many to run all.

Every edge is a sum of pairs of signals, one at either end, with a weight. A joint sample picks a
pair at every edge, with a probability in proportion to the weight, and so one variant of every
subcircuit; its value is the product of their signs, times gamma, the sum of the weights' absolute
values, for every edge. The mean over samples is unbiased (Mitarai and Fujii, New J. Phys. 23,
023021 (2021)), and its variance at most gamma squared over their number. A variant that is drawn
more than once is run once, with shots for all.
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
    FEWEST_PAIRS,
    MAX_PAIRS,
    Arrays,
    random_signs,
    variance_of_all_orders,
)
from hpcq.reconstruction.estimation.sources import Sources
from hpcq.reconstruction.estimation.variant_batches import VariantBatch


@dataclass(frozen=True, eq=False)
class WeightedPairs:
    """The pairs of signals that an edge is a sum of.

    Attributes:
        weights: Their weights, shape (signals of the first end, signals of the second).
    """

    weights: Reals

    @classmethod
    def of(cls, edge: Edge, cut: CutCircuit) -> WeightedPairs:
        """Find the pairs of an edge, by the inversions that make gamma smallest."""
        port_bases = [port_basis_of(cut.subcircuits[k].ports[port]) for k, port in edge.ends]
        ket = np.asarray(edge.weights, dtype=complex)
        both = np.outer(ket, ket.conj()).reshape(-1, 1)
        ways = [
            (first.T @ (both * second)).real
            for first, second in product(port_bases[0].inversions, port_bases[1].inversions)
        ]
        return cls(min(ways, key=lambda own: round(float(np.abs(own).sum()), 9)))

    @property
    def gamma(self) -> float:
        """Sum of the weights' absolute values."""
        return float(np.abs(self.weights).sum())

    def draw(self, samples: int, rng: np.random.Generator) -> tuple[Indices, Indices, Reals]:
        """Draw pairs.

        Returns:
            The signals at either end, and the factor gamma with the pair's sign, each of shape
            (samples,).
        """
        flat = self.weights.reshape(-1)
        drawn = rng.choice(flat.size, size=samples, p=np.abs(flat) / np.abs(flat).sum())
        first, second = np.unravel_index(drawn, self.weights.shape)
        return first, second, self.gamma * np.sign(flat[drawn])


@dataclass(frozen=True, eq=False)
class JointDraws:
    """The joint samples of a round.

    Attributes:
        factors: For each part the product of its edges' factors, shape (samples,).
        signals: For each subcircuit the reading at each port, shape (samples, ports).
    """

    factors: tuple[Reals, ...]
    signals: tuple[Indices, ...]


@dataclass(frozen=True, eq=False)
class JointRound:
    """What a round measured.

    Attributes:
        weight: Its weight in the average over rounds.
        drawn: The joint samples.
        rows: For each source the variants that were run, as batches have them.
        counts: Their counts.
    """

    weight: float
    drawn: JointDraws
    rows: tuple[NDArray[np.int16], ...]
    counts: tuple[Counts, ...]

    @property
    def shots(self) -> int:
        """Number of shots of all variants together."""
        return int(sum(int(own.shots.sum()) for own in self.counts))


class JointEstimator:
    """Draws joint samples, and says what follows from them.

    Args:
        cut: The cut circuit, in which no port has a twin.
        parts: The terms, taken apart.
        sources: One for each subcircuit that some term sees.
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
        self._estimates = [PartEstimate(len(choices)) for choices in parts.choices]
        for own in rounds:
            self.add(own)

    @cached_property
    def pairs(self) -> tuple[WeightedPairs, ...]:
        """The pairs of signals of every edge."""
        return tuple(WeightedPairs.of(edge, self.cut) for edge in self.cut.edges)

    @property
    def shots(self) -> int:
        """Number of shots of all rounds together."""
        return sum(own.shots for own in self.rounds)

    @property
    def bases(self) -> int:
        """Number of variants of one joint sample."""
        return sum(len(tensor.bases) for tensor in self.sources.tensors)

    def draw(self, samples: int, rng: np.random.Generator) -> JointDraws:
        """Draw joint samples of every part."""
        signals = [
            np.zeros((samples, len(piece.ports)), dtype=np.intp) for piece in self.cut.subcircuits
        ]
        part_of = {k: number for number, own in enumerate(self.parts.groups) for k in own}
        factors = [np.ones(samples) for _ in self.parts.groups]
        for edge, pairs in zip(self.cut.edges, self.pairs, strict=True):
            (a, p), (b, q) = edge.ends
            if a in part_of:
                signals[a][:, p], signals[b][:, q], factor = pairs.draw(samples, rng)
                factors[part_of[a]] *= factor
        return JointDraws(tuple(factors), tuple(signals))

    def batches(self, drawn: JointDraws, shots: int) -> list[VariantBatch]:
        """Return the distinct variants of joint samples, with shots in proportion to how often.

        Args:
            drawn: The samples.
            shots: Shots of all of them together; at least one for each variant of each sample.
        """
        found = []
        for number, use in enumerate(self.sources.uses):
            if use is not None:
                found.append(distinct_variants(self.sources.tensors[use], drawn.signals[number]))
        total = sum(int(times.sum()) for _, times in found)
        batches = []
        spent = seen = 0
        for rows, times in found:
            # Rounded so that all of them add up to the shots.
            ends = seen + np.cumsum(times)
            seen = int(ends[-1]) if len(ends) else seen
            upto = [shots * end // total for end in ends.tolist()] if total else []
            own = np.diff([spent, *upto])
            spent = upto[-1] if upto else spent
            batches.append(VariantBatch(rows, own.astype(np.int64)))
        return batches

    def add(self, measured: JointRound) -> None:
        """Take a round in."""
        read = {
            number: SignMeans(
                self.sources.tensors[use],
                measured.rows[use],
                measured.counts[use],
                measured.drawn.signals[number],
            )
            for number, use in enumerate(self.sources.uses)
            if use is not None
        }
        found = {number: means.values() for number, means in read.items()}
        for estimate, group, choices, factors in zip(
            self._estimates,
            self.parts.groups,
            self.parts.choices,
            measured.drawn.factors,
            strict=True,
        ):
            samples = PartSamples(
                factors, [read[k] for k in group], [found[k] for k in group], choices
            )
            estimate.add(measured.weight, samples)
        self.rounds.append(measured)

    def values(self) -> Reals:
        """Return the estimate of every observable."""
        return self.parts.combine([estimate.values for estimate in self._estimates])

    def errors(self, *, quick: bool = False, cautious: bool = False) -> Reals:
        """Return the standard error of every observable.

        Different parts are independent of each other, and the errors of their products are counted
        to all orders.

        Args:
            quick: As for :meth:`hpcq.reconstruction.estimation.estimator.Estimator.errors`.
            cautious: Likewise.
        """
        if not self.shots:
            return np.zeros(self.parts.num_observables)
        factors = [estimate.error_factor for estimate in self._estimates]

        def draw_errors(number: int, rng: np.random.Generator) -> list[Reals]:
            return [random_signs((number, len(own)), rng) @ own for own in factors]

        variances = variance_of_all_orders(
            self._first_order,
            draw_errors,
            [estimate.values for estimate in self._estimates],
            cautious=cautious,
            max_pairs=FEWEST_PAIRS if quick else MAX_PAIRS,
        )
        return np.sqrt(variances)

    def _first_order(self, values: Arrays) -> Reals:
        """Return every observable's variance by its gradients at some points.

        Args:
            values: For each part the value of every row at every point, shape (points, rows).
        """
        observables = np.arange(self.parts.num_observables)
        variances = np.zeros((len(values[0]), len(observables)))
        adjoints = self.parts.adjoints(values, observables)
        for estimate, (places, adjoint) in zip(self._estimates, adjoints, strict=True):
            # With one part in each term, the derivatives are the same at every point.
            distinct = adjoint if np.any(adjoint != adjoint[:1]) else adjoint[:1]
            if len(places):
                found = estimate.variances(distinct.reshape(-1, adjoint.shape[-1]))
                variances[:, places] += found.reshape(len(distinct), -1)
        return variances
