"""Joint samples: variants of all subcircuits drawn together, where there are too many to run all.

Every edge is a sum of pairs of readings, one at either end, with a weight. A joint sample picks a
pair at every edge, with a probability in proportion to the weight, and so one variant of every
subcircuit; its value is the product of their signs, times gamma, the sum of the weights' absolute
values, for every edge. The mean over samples is unbiased (Mitarai and Fujii, New J. Phys. 23,
023021 (2021)), and its variance at most gamma squared over their number. A variant that is drawn
more than once is run once, with shots for all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from hpcq.cutting.subcircuits import CutCircuit, Edge
from hpcq.reconstruction.parts import Parts
from hpcq.shots.all_orders import FEWEST_PAIRS, MAX_PAIRS, Arrays, variance_of_all_orders
from hpcq.shots.batches import Batch
from hpcq.shots.counts import Counts
from hpcq.shots.joint_means import Indices, Means, Reals, distinct_variants
from hpcq.shots.sources import Sources
from hpcq.variants.settings import menu_of

_FEW = 8
_MAX_REDUCED_ROWS = 32
"""Rows of a part up to which the scatter of its samples is brought to as many; see
:mod:`hpcq.shots.covariance`."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs of readings that an edge is a sum of.

    Attributes:
        weights: Their weights, shape (readings of the first end, readings of the second).
    """

    weights: Reals

    @classmethod
    def of(cls, edge: Edge, cut: CutCircuit) -> Pairs:
        """Find the pairs of an edge, by the recipes that make gamma smallest."""
        menus = [menu_of(cut.subcircuits[k].ports[port]) for k, port in edge.ends]
        ket = np.asarray(edge.weights, dtype=complex)
        both = np.outer(ket, ket.conj()).reshape(-1, 1)
        ways = [
            (first.T @ (both * second)).real
            for first, second in product(menus[0].recipes, menus[1].recipes)
        ]
        return cls(min(ways, key=lambda own: round(float(np.abs(own).sum()), 9)))

    @property
    def gamma(self) -> float:
        """Sum of the weights' absolute values."""
        return float(np.abs(self.weights).sum())

    def draw(self, samples: int, rng: np.random.Generator) -> tuple[Indices, Indices, Reals]:
        """Draw pairs.

        Returns:
            The readings at either end, and the factor gamma with the pair's sign, each of shape
            (samples,).
        """
        flat = self.weights.reshape(-1)
        drawn = rng.choice(flat.size, size=samples, p=np.abs(flat) / np.abs(flat).sum())
        first, second = np.unravel_index(drawn, self.weights.shape)
        return first, second, self.gamma * np.sign(flat[drawn])


@dataclass(frozen=True, eq=False)
class Drawn:
    """The joint samples of a round.

    Attributes:
        factors: For each part the product of its edges' factors, shape (samples,).
        readings: For each subcircuit the reading at each port, shape (samples, ports).
    """

    factors: tuple[Reals, ...]
    readings: tuple[Indices, ...]


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
    drawn: Drawn
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
        parts: Parts,
        sources: Sources,
        rounds: Sequence[JointRound] = (),
    ) -> None:
        self.cut = cut
        self.parts = parts
        self.sources = sources
        self.rounds: list[JointRound] = []
        self._found: list[tuple[list[Reals], dict[int, Reals]]] = []
        self._read: list[dict[int, Means]] = []
        for own in rounds:
            self.add(own)

    @cached_property
    def pairs(self) -> tuple[Pairs, ...]:
        """The pairs of readings of every edge."""
        return tuple(Pairs.of(edge, self.cut) for edge in self.cut.edges)

    @property
    def shots(self) -> int:
        """Number of shots of all rounds together."""
        return sum(own.shots for own in self.rounds)

    @property
    def bases(self) -> int:
        """Number of variants of one joint sample."""
        return sum(len(tensor.bases) for tensor in self.sources.tensors)

    def draw(self, samples: int, rng: np.random.Generator) -> Drawn:
        """Draw joint samples of every part."""
        readings = [
            np.zeros((samples, len(piece.ports)), dtype=np.intp) for piece in self.cut.subcircuits
        ]
        part_of = {k: number for number, own in enumerate(self.parts.groups) for k in own}
        factors = [np.ones(samples) for _ in self.parts.groups]
        for edge, pairs in zip(self.cut.edges, self.pairs, strict=True):
            (a, p), (b, q) = edge.ends
            if a in part_of:
                readings[a][:, p], readings[b][:, q], factor = pairs.draw(samples, rng)
                factors[part_of[a]] *= factor
        return Drawn(tuple(factors), tuple(readings))

    def batches(self, drawn: Drawn, shots: int) -> list[Batch]:
        """Return the distinct variants of joint samples, with shots in proportion to how often.

        Args:
            drawn: The samples.
            shots: Shots of all of them together; at least one for each variant of each sample.
        """
        found = []
        for number, use in enumerate(self.sources.uses):
            if use is not None:
                found.append(distinct_variants(self.sources.tensors[use], drawn.readings[number]))
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
            batches.append(Batch(rows, own.astype(np.int64)))
        return batches

    def add(self, measured: JointRound) -> None:
        """Take a round in."""
        read = {
            number: Means(
                self.sources.tensors[use],
                measured.rows[use],
                measured.counts[use],
                measured.drawn.readings[number],
            )
            for number, use in enumerate(self.sources.uses)
            if use is not None
        }
        means = {number: own.values() for number, own in read.items()}
        values = [
            factors[:, None] * math.prod(_columns(means, group, choices))
            for group, choices, factors in zip(
                self.parts.groups, self.parts.choices, measured.drawn.factors, strict=True
            )
        ]
        self.rounds.append(measured)
        self._read.append(read)
        self._found.append((values, means))

    def values(self) -> Reals:
        """Return the estimate of every observable."""
        return self.parts.combine(self._part_values())

    def errors(self, *, quick: bool = False, cautious: bool = False) -> Reals:
        """Return the standard error of every observable.

        The spread of the samples counts what each one's own shots add; to that comes what samples
        have in common because they share shots. Different parts are independent of each other, and
        the errors of their products are counted to all orders.

        Args:
            quick: As for :meth:`hpcq.shots.estimate.Estimator.errors`.
            cautious: Likewise.
        """
        if not self.shots:
            return np.zeros(self.parts.num_observables)
        factors = [self._error_factor(number) for number in range(len(self.parts.groups))]

        def draw_errors(number: int, rng: np.random.Generator) -> list[Reals]:
            return [(rng.integers(0, 2, (number, len(own))) * 2.0 - 1.0) @ own for own in factors]

        variances = variance_of_all_orders(
            self._first_order,
            draw_errors,
            self._part_values(),
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
        points = len(values[0])
        variances = np.zeros((points, len(observables)))
        adjoints = self.parts.adjoints(values, observables)
        for number, (places, adjoint) in enumerate(adjoints):
            if len(places):
                flat = adjoint.reshape(-1, adjoint.shape[-1])
                found = np.sum(
                    [
                        weight**2 * self._round_variance(place, number, flat)
                        for place, weight in enumerate(self._weights())
                    ],
                    axis=0,
                )
                variances[:, places] += found.reshape(points, -1)
        return variances

    def _error_factor(self, number: int) -> Reals:
        """Return a matrix F with the covariance F^T F of a part's values, shape (rank, rows).

        Covariances are those of the samples, and variances then made what they are with what
        samples share.
        """
        scattered, variances = [], np.zeros(len(self.parts.choices[number]))
        for place, weight in enumerate(self._weights()):
            values = self._found[place][0][number]
            scattered.append(weight * (values - values.mean(axis=0)) / len(values))
            variances += weight**2 * self._round_variance(place, number, None)
        factor = np.concatenate(scattered)
        if factor.shape[1] <= _MAX_REDUCED_ROWS:
            factor = np.asarray(np.linalg.qr(factor, mode="r"))
        alone = np.sum(factor**2, axis=0)
        certain = np.diag(np.where(alone > 0, 0.0, np.sqrt(variances)))
        scale = np.sqrt(np.divide(variances, alone, out=np.zeros_like(alone), where=alone > 0))
        return np.concatenate([factor * scale, certain[np.any(certain, axis=1)]])

    def _round_variance(self, place: int, number: int, adjoint: Reals | None) -> Reals:
        """Return the variances of a round's estimates in one part.

        Args:
            place: The round.
            number: The part.
            adjoint: Weight of each row of the part in each estimate, shape (estimates, rows); None
                for the rows themselves.
        """
        measured, (values, means) = self.rounds[place], self._found[place]
        group, choices = self.parts.groups[number], self.parts.choices[number]
        factors = measured.drawn.factors[number]
        each = values[number] if adjoint is None else values[number] @ adjoint.T
        samples = len(each)
        # Of a few samples, or some that agree, one more is supposed, as large as any can be.
        spread = np.sum((each - each.mean(axis=0)) ** 2, axis=0)
        sizes = np.ones(len(spread)) if adjoint is None else np.sum(adjoint**2, axis=1)
        largest = factors[0] ** 2 * sizes
        alone = np.where((samples < _FEW) | (spread == 0), spread + largest, spread) / samples**2
        found = alone
        columns = _columns(means, group, choices)
        for index, subcircuit in enumerate(group):
            read = self._read[place][subcircuit]
            others = _others(columns, index) * factors[:, None]
            shared = read.shared(choices[:, index], others, adjoint)
            found = found + shared / samples**2
        return np.asarray(np.maximum(found, alone / _FEW))

    def _weights(self) -> list[float]:
        total = sum(own.weight for own in self.rounds)
        return [own.weight / total for own in self.rounds]

    def _part_values(self) -> list[Reals]:
        return [
            np.sum(
                [
                    weight * values[number].mean(axis=0)
                    for weight, (values, _) in zip(self._weights(), self._found, strict=True)
                ],
                axis=0,
            )
            for number in range(len(self.parts.groups))
        ]


def _columns(means: Mapping[int, Reals], group: Sequence[int], choices: Indices) -> list[Reals]:
    """Return each subcircuit's mean for every sample and row of a part."""
    return [means[k][:, choices[:, place]] for place, k in enumerate(group)]


def _others(columns: Sequence[Reals], place: int) -> Reals:
    """Multiply all but one."""
    found = np.ones_like(columns[0])
    for number, own in enumerate(columns):
        if number != place:
            found = found * own
    return found
