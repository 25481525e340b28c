r"""Probabilities of all outcomes of some qubits of a cut circuit from shots, and their covariance.

The probability of an outcome is multilinear in the subcircuits' tensors with outcomes
(:mod:`hpcq.reconstruction.estimation.outcome_tables`), whose estimates are independent of each
other and unbiased; so is the probability, then. To first order, its variance is a sum over the
subcircuits and their variants of the variance of a shot's *score*: the sum over the signals of the
derivative times the sign. A score is 0 unless the shot has the subcircuit's part of the outcome, so
the covariance of two outcomes is

.. math:: \delta_{o o'} E[s_b s_{b'}] - E[s_b] E[s_{b'}]

for parts o and o'. As in :mod:`hpcq.reconstruction.estimation.product_variance`, the first order
is averaged over points around the best known tensors, which counts products of errors of several
subcircuits to all orders: given what was measured, and not only on average over runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import MemoryLimitError
from hpcq.core.system import format_bytes
from hpcq.cutting.subcircuits import CutCircuit
from hpcq.cutting.subexperiments.device_circuits import SampledTensor
from hpcq.reconstruction.connected_parts import ConnectedParts
from hpcq.reconstruction.estimation.covariance import PSEUDO_SHOTS
from hpcq.reconstruction.estimation.estimator import ShotRound
from hpcq.reconstruction.estimation.outcome_tables import (
    OutcomeEstimate,
    OutcomeReader,
    RoundGroup,
    VariantGroup,
)
from hpcq.reconstruction.estimation.outcome_tree import OutcomeTree
from hpcq.reconstruction.sampled_values import Reconstruction
from hpcq.reconstruction.tensor_nodes import Tensor, TensorNode
from hpcq.reconstruction.term_table import TermTable

Reals = NDArray[np.float64]
Scalar = TypeVar("Scalar", bound=np.generic)

MAX_COVARIANCE_QUBITS = 10
"""Maximum number of qubits for the covariance of all outcomes, which then takes 8 MiB."""

_BLOCK_ENTRIES = 1 << 22
"""Maximum number of entries of a tensor of a block of outcomes: 64 MiB of complex numbers."""

_MAX_PAIRS = 16
"""Antithetic pairs of points over which the first order is averaged: 32 points, with which products
of up to four nearly vanishing factors are known to about a tenth."""

_MIN_PAIRS = 3
"""Minimum number of pairs, however long they take."""

_MAX_FLOPS = 3e10
"""Maximum number of floating-point operations of all points, about ten seconds on one core; fewer
pairs are drawn if they would take more."""

_COPIES = 6
"""Arrays of a table's size that a subcircuit takes: the tensors, an error, the counts."""


@dataclass(frozen=True, eq=False)
class _Outcomes:
    """A block of outcomes: for each subcircuit, the first of its outcomes, and the end."""

    spans: tuple[tuple[int, int], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(last - first for first, last in self.spans)

    @property
    def slices(self) -> tuple[slice, ...]:
        return tuple(slice(*span) for span in self.spans)


class MarginalEstimator:
    """Estimates the probabilities of all outcomes of some qubits.

    Bit i of an outcome is that of the i-th qubit.

    Args:
        cut: The cut circuit.
        tensors: The distinct subcircuits that were measured.
        uses: For each subcircuit, the number of its tensor; None where none was measured.
        rounds: The measured rounds.
        wires: For each qubit, its subcircuit and the wire there.
        memory_bytes: Bytes that may be used.

    Raises:
        InputError: If the rounds never measured a subcircuit's wires together in Z.
        MemoryLimitError: If it does not fit into the memory.
    """

    def __init__(
        self,
        cut: CutCircuit,
        tensors: Sequence[SampledTensor],
        uses: Sequence[int | None],
        rounds: Sequence[ShotRound],
        wires: Sequence[tuple[int, int]],
        memory_bytes: int,
    ) -> None:
        on_subcircuit: dict[int, list[int]] = {}
        for position, (subcircuit, _) in enumerate(wires):
            on_subcircuit.setdefault(subcircuit, []).append(position)
        parts = ConnectedParts.of(cut, _term_on(cut, on_subcircuit))
        reconstruction = Reconstruction.of(cut, parts, memory_bytes // 2)
        self.num_qubits = len(wires)
        self._subcircuits = [k for group in parts.groups for k in group]
        self._nodes: list[TensorNode] = [n for nodes in reconstruction.nodes for n in nodes]
        self._tree = OutcomeTree(tuple(c.network for c in reconstruction.contractions))
        self._positions = [on_subcircuit.get(k, []) for k in self._subcircuits]
        self._readers = []
        sources = []
        for subcircuit, positions in zip(self._subcircuits, self._positions, strict=True):
            source = uses[subcircuit]
            assert source is not None, "some observable saw every subcircuit of its connected part"
            reader = OutcomeReader(tensors[source], [wires[i][1] for i in positions])
            self._readers.append(reader)
            sources.append(source)
        assert len(set(sources)) == len(sources), "estimates of the subcircuits are independent"
        self._check_memory(memory_bytes)
        total = math.fsum(measured.weight for measured in rounds)
        weights = [measured.weight / total for measured in rounds]
        self._estimates = [
            OutcomeEstimate(
                reader,
                weights,
                [measured.inversions[source] for measured in rounds],
                [measured.counts[source] for measured in rounds],
            )
            for reader, source in zip(self._readers, sources, strict=True)
        ]

    def _check_memory(self, memory_bytes: int) -> None:
        needed = 16 * _COPIES * sum(reader.num_outcomes * reader.size for reader in self._readers)
        needed += 16 * self._tree.max_entries + (8 * _COPIES << self.num_qubits)
        if needed > memory_bytes:
            raise MemoryLimitError(
                f"qubits: {self.num_qubits} of them need {format_bytes(needed)}, and the memory is "
                f"{format_bytes(memory_bytes)}; expected fewer qubits, or more memory"
            )

    def values(self) -> Reals:
        """Return the unbiased estimates of all probabilities, shape (outcomes,).

        Some may be negative.
        """
        values = np.zeros(self._shape)
        tensors = [estimate.tensor for estimate in self._estimates]
        for block in self._blocks():
            values[block.slices] = self._tree.values(self._bond_tensors(tensors, block))
        return self._by_bits(values)

    @cached_property
    def variances(self) -> Reals:
        """The variances of all estimates, shape (outcomes,)."""
        total = np.zeros(self._shape)
        points = 0
        for tensors in self._points(self._num_pairs):
            points += 1
            for block in self._blocks():
                for number, weights, rounds, group in self._score_weights(tensors, block):
                    part = _variances(weights, rounds.factors, group, block.spans[number])
                    total[block.slices] += self._restored(part, number, block)
        return np.asarray(self._by_bits(np.maximum(total, 0.0)) / points)

    @cached_property
    def covariance(self) -> Reals:
        """The covariances of all estimates, shape (outcomes, outcomes): for few qubits only.

        Its diagonal is :attr:`variances`.
        """
        size = 1 << self.num_qubits
        total = np.zeros((size, size))
        whole = _Outcomes(tuple((0, reader.num_outcomes) for reader in self._readers))
        numbers = np.arange(size).reshape(self._shape)
        points = 0
        for tensors in self._points(self._num_pairs):
            points += 1
            for number, weights, rounds, group in self._score_weights(tensors, whole):
                order = np.moveaxis(numbers, number, 0).reshape(self._shape[number], -1)
                _add_covariance(total, weights, rounds.factors, group, order)
        by_bits = self._by_bits(numbers)
        return np.asarray(total[np.ix_(by_bits, by_bits)] / points)

    @cached_property
    def _num_pairs(self) -> int:
        """Number of pairs of points that ``_MAX_FLOPS`` allows, also for the covariance."""
        size = float(1 << self.num_qubits)
        outcomes = 1 << self.num_qubits if self.num_qubits <= MAX_COVARIANCE_QUBITS else 1
        flops = 3 * self._tree.flops * size
        for reader in self._readers:
            flops += 4 * size * reader.size * max(1, outcomes // reader.num_outcomes)
            flops += 2 * size * outcomes * reader.tensor.num_variants if outcomes > 1 else 0
        return int(np.clip(_MAX_FLOPS / (2 * flops), _MIN_PAIRS, _MAX_PAIRS))

    def _points(self, pairs: int) -> Iterator[list[Tensor]]:
        """Yield points around the best known tensors: one error with both signs, pair after pair.

        The same counts always give the same points.
        """
        rng = np.random.default_rng(0)
        scales = np.sqrt((rng.permutation(pairs) + rng.random(pairs)) / pairs)
        for scale in scales.tolist():
            errors = [scale * estimate.draw_error(rng) for estimate in self._estimates]
            for sign in (1, -1):
                yield [
                    estimate.centre + sign * error
                    for estimate, error in zip(self._estimates, errors, strict=True)
                ]

    def _score_weights(
        self, tensors: Sequence[Tensor], block: _Outcomes
    ) -> Iterator[tuple[int, Reals, RoundGroup, VariantGroup]]:
        """Yield the weights of the signals in the scores of a block of outcomes.

        Yields:
            The number of a subcircuit; the weights for each combination of the other subcircuits'
            outcomes, shape (combinations, signals of all ports); rounds, and variants.
        """
        environments = self._tree.environments(self._bond_tensors(tensors, block))
        for number, (estimate, node) in enumerate(zip(self._estimates, self._nodes, strict=True)):
            environment = environments[number]
            bonds = environment.shape[environment.ndim - len(self._legs(node)) :]
            gradient = node.gradient(environment.reshape(-1, *bonds))
            for rounds in estimate.round_groups:
                weights = estimate.reader.weights(gradient, rounds.inversions)
                for group in estimate.groups:
                    yield number, weights, rounds, group

    @staticmethod
    def _legs(node: TensorNode) -> tuple[int, ...]:
        return node.network.legs[node.subcircuit]

    def _bond_tensors(self, tensors: Sequence[Tensor], block: _Outcomes) -> list[Tensor]:
        return [
            node.bond_tensor(tensor[chosen])
            for node, tensor, chosen in zip(self._nodes, tensors, block.slices, strict=True)
        ]

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(reader.num_outcomes for reader in self._readers)

    def _blocks(self) -> Iterator[_Outcomes]:
        """Yield blocks of outcomes whose tensors fit into ``_BLOCK_ENTRIES``."""
        shape = list(self._shape)
        max_outcomes = max(1, _BLOCK_ENTRIES // self._tree.max_entries)
        while math.prod(shape) > max_outcomes:
            largest = int(np.argmax(shape))
            shape[largest] //= 2
        ranges = [range(0, n, step) for n, step in zip(self._shape, shape, strict=True)]
        for starts in product(*ranges):
            yield _Outcomes(tuple((s, s + step) for s, step in zip(starts, shape, strict=True)))

    def _restored(self, part: Reals, number: int, block: _Outcomes) -> Reals:
        """Return an array (others, outcomes of a subcircuit) with an axis for each subcircuit."""
        shape = [size for k, size in enumerate(block.shape) if k != number]
        return np.moveaxis(part.reshape(*shape, block.shape[number]), -1, number)

    def _by_bits(self, values: NDArray[Scalar]) -> NDArray[Scalar]:
        """Return values by subcircuit as one axis, in the order of the qubits' bits."""
        # The qubit of each binary axis: the first qubit of a subcircuit is its lowest bit.
        qubit_of = [position for positions in self._positions for position in positions[::-1]]
        split = values.reshape((2,) * self.num_qubits)
        order = [qubit_of.index(position) for position in reversed(range(self.num_qubits))]
        return split.transpose(order).reshape(-1)


def _term_on(cut: CutCircuit, subcircuits: Mapping[int, Sequence[int]]) -> TermTable:
    """Return a table with one term, which is string 1 on these subcircuits."""
    pick = tuple((k, 1) for k in sorted(subcircuits))
    strings = tuple(((), ((0, "Z"),)) for _ in cut.subcircuits)
    return TermTable((((1, 1.0),),), ((), pick), strings)


@dataclass(frozen=True, eq=False)
class _Scores:
    """What the variants of a group add to variances, for combinations of others' outcomes.

    Variants that add nothing are left out: later rounds measure few of them.

    Attributes:
        signals: Weight of each signal, shape (combinations, variants, signals).
        patterns: Score of a shot with each pattern, shape (combinations, variants, patterns).
        counts: Counts of the outcomes, shape (variants, patterns, outcomes).
        shots: Shots of each variant.
        scale: Factor from the sum of squared deviations to its part of the variance.
    """

    signals: Reals
    patterns: Reals
    counts: Reals
    shots: Reals
    scale: Reals

    @classmethod
    def of(
        cls, weights: Reals, factors: Reals, group: VariantGroup, span: tuple[int, int]
    ) -> _Scores:
        """Return the scores of some variants.

        Args:
            weights: Weight of each signal, shape (combinations, signals of all ports).
            factors: Factor of each variant's covariance of one shot, shape (all variants,); not 0
                only for variants with shots.
            group: The variants.
            span: First outcome, and the end.
        """
        scale = factors[group.variants] / group.divisors
        used = np.flatnonzero(scale)
        signals = weights[:, group.columns[used]]
        patterns = signals @ group.signs.T
        counts = group.counts(*span)[used]
        return cls(signals, patterns, counts, group.shots[used], scale[used])


def _variances(weights: Reals, factors: Reals, group: VariantGroup, span: tuple[int, int]) -> Reals:
    """Return the variances that some variants add, shape (combinations, outcomes).

    The arguments are those of :meth:`_Scores.of`.
    """
    scores = _Scores.of(weights, factors, group, span)
    by_cell = (scores.counts * scores.scale[:, None, None]).reshape(-1, scores.counts.shape[-1])
    total = (scores.patterns**2).reshape(len(weights), -1) @ by_cell
    for variant, (scale, shots) in enumerate(zip(scores.scale, scores.shots, strict=True)):
        total -= (scale / shots) * (scores.patterns[:, variant] @ scores.counts[variant]) ** 2
    squares = scores.signals**2 @ group.pseudo_variances
    return np.asarray(total + PSEUDO_SHOTS * (squares @ scores.scale)[:, None])


def _add_covariance(
    total: Reals, weights: Reals, factors: Reals, group: VariantGroup, order: NDArray[np.intp]
) -> None:
    """Add the covariances that some variants add.

    The arguments are those of :meth:`_Scores.of`; ``order`` has the number of each outcome in
    ``total``, shape (outcomes of the subcircuit, combinations).
    """
    scores = _Scores.of(weights, factors, group, (0, len(order)))
    pseudo = np.sqrt(PSEUDO_SHOTS * scores.scale[:, None] * group.pseudo_variances)
    constant = (scores.signals * pseudo).reshape(len(weights), -1)
    of_pseudo = constant @ constant.T
    for outcome, numbers in enumerate(order):
        roots = np.sqrt(scores.counts[:, :, outcome] * scores.scale[:, None])
        factor = (scores.patterns * roots).reshape(len(weights), -1)
        total[np.ix_(numbers, numbers)] += factor @ factor.T + of_pseudo
    means = np.einsum("cvx,vxo->ocv", scores.patterns, scores.counts)
    means *= np.sqrt(scores.scale / scores.shots)
    flat = np.empty((len(total), len(scores.scale)))
    flat[order.reshape(-1)] = means.reshape(-1, len(scores.scale))
    total -= flat @ flat.T
