"""Tables with outcomes: estimates for some wires from the counts of a subcircuit's variants.

Where the table of signals (:mod:`hpcq.reconstruction.estimation.outcome_signals`) has the mean of a
Pauli string, this one has, for every outcome of the chosen wires, the mean of the indicator of that
outcome, each with or without the signs of the ports. All other wires are summed over. Any basis
that measures Z on the chosen wires will do, so counts that were taken for other Z strings can be
read again.

The covariance of one shot is that of :mod:`hpcq.reconstruction.estimation.covariance`. Here all
entries of a shot but those of its outcome are 0, so it is never built as a matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import InputError
from hpcq.cutting.subexperiments.device_circuits import SampledTensor
from hpcq.reconstruction.estimation.counts import Counts, Outcomes
from hpcq.reconstruction.estimation.covariance import PSEUDO_SHOTS
from hpcq.reconstruction.estimation.outcome_signals import Inversions, SignalReader, parity
from hpcq.reconstruction.estimation.product_variance import random_signs
from hpcq.reconstruction.tensor_nodes import Tensor

Reals = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class VariantGroup:
    """Variants that measure the same ports, with the counts of all rounds.

    A shot has an outcome of the chosen wires and a *pattern*: the bits of the measured ports.

    Attributes:
        variants: Numbers of the variants.
        columns: Column of the table for each of their signals, shape (variants, signals).
        signs: Sign of each signal for each pattern, shape (patterns, signals).
        pseudo_variances: Variance of each signal in a pseudo-shot, shape (signals,).
        shots: Shots of each variant, shape (variants,).
        rows: For each combination that occurred, the position of its variant in ``variants``,
            ascending.
        patterns: Its pattern.
        outcomes: Its outcome.
        frequencies: How often it occurred.
    """

    variants: Indices
    columns: Indices
    signs: Reals
    pseudo_variances: Reals
    shots: Reals
    rows: Indices
    patterns: Indices
    outcomes: Indices
    frequencies: Reals

    @property
    def divisors(self) -> Reals:
        """Divisor of the covariance of one shot, for each variant."""
        return np.maximum(self.shots - 1, 0) + PSEUDO_SHOTS

    def counts(self, first: int, last: int) -> Reals:
        """Return the counts of outcomes first to last - 1, (variants, patterns, outcomes)."""
        counts = np.zeros((len(self.variants), len(self.signs), last - first))
        chosen = (self.outcomes >= first) & (self.outcomes < last)
        at = self.rows[chosen], self.patterns[chosen], self.outcomes[chosen] - first
        np.add.at(counts, at, self.frequencies[chosen])
        return counts

    def add_error(self, table: Reals, factors: Reals, rng: np.random.Generator) -> None:
        """Add a random error to a table, shape (outcomes, signals of all ports).

        Its covariance is that of one shot of each variant times the variant's factor. It is a sum
        of random signs; :meth:`CovarianceBlock.draw` says why it is not Gaussian.
        """
        scales = np.sqrt(factors / self.divisors)
        pseudo = np.sqrt(PSEUDO_SHOTS * self.pseudo_variances) * scales[:, None]
        for variant, columns in enumerate(self.columns):
            for signal in np.flatnonzero(pseudo[variant]).tolist():
                signs = random_signs((len(table),), rng)
                table[:, columns[signal]] += pseudo[variant, signal] * signs
        if not len(self.rows):
            return
        starts = np.flatnonzero(np.diff(self.rows, prepend=-1))
        owner = np.cumsum(np.diff(self.rows, prepend=-1) != 0) - 1
        # The reflection that takes sqrt(c / n) to the first axis takes signs on the other axes to
        # vectors v with sum(sqrt(c) v) = 0, so that the error of the mean is that of deviations.
        unit = np.sqrt(self.frequencies / self.shots[self.rows])
        normal = unit.copy()
        normal[starts] -= 1
        signs = random_signs((len(unit),), rng)
        signs[starts] = 0
        lengths = 2 - 2 * unit[starts]
        steps = np.divide(
            2 * np.add.reduceat(normal * signs, starts),
            lengths,
            out=np.zeros(len(starts)),
            where=lengths > 0,
        )
        vectors = signs - normal * steps[owner]
        errors = np.sqrt(self.frequencies) * vectors * scales[self.rows]
        at = self.outcomes[:, None], self.columns[self.rows]
        np.add.at(table, at, errors[:, None] * self.signs[self.patterns])


class OutcomeReader:
    """Reads the outcomes of some wires of a subcircuit from the counts of its variants.

    Args:
        tensor: The subcircuit and its variants.
        wires: The wires; bit i of an outcome is that of ``wires[i]``.

    Raises:
        InputError: If no basis measures Z on all of them.
    """

    def __init__(self, tensor: SampledTensor, wires: Sequence[int]) -> None:
        self.tensor = tensor
        self.wires = tuple(wires)
        self.signals = SignalReader(tensor)
        self._reads = np.array(
            [all(basis.get(wire) == "Z" for wire in wires) for basis in tensor.bases]
        )
        if not self._reads.any():
            qubits = sorted(tensor.subcircuit.qubits[wire] for wire in wires)
            raise InputError(
                f"qubits: {qubits} were never measured together in Z by this run, expected qubits "
                "that an observable with Z on all of them measured"
            )
        self._bits = [tensor.wires.index(wire) for wire in self.wires]

    @property
    def num_outcomes(self) -> int:
        """Number of outcomes of the wires."""
        return 1 << len(self.wires)

    @cached_property
    def size(self) -> int:
        """Number of signals of all ports together, the columns of the table."""
        return int(np.prod(self.signals.sizes, dtype=np.int64))

    def shares(self, shots: NDArray[np.int64] | Reals) -> Reals:
        """Return the weight of each variant's mean, from its shots, shape (variants,).

        Several bases may measure the wires. Their weights sum to 1, or are 0 for those that do not.
        """
        weights = np.asarray(shots, dtype=float).reshape(-1, len(self._reads)) * self._reads
        total = weights.sum(axis=1, keepdims=True)
        weights = np.where(total > 0, weights, self._reads)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True)).reshape(-1)

    def table(self, counts: Counts) -> Reals:
        """Return the table of a round, shape (outcomes, signals of all ports)."""
        table = np.zeros((self.num_outcomes, self.size))
        shares = self.shares(counts.shots)
        for variant in np.flatnonzero(shares).tolist():
            _, columns, masks = self.signals.entries(variant)
            outcomes, frequencies = counts.of_variant(variant)
            # Without wires, the mean of a signal that has no signs is 1 whatever was measured.
            certain = (masks == 0) & (not self.wires)
            table[:, columns[certain]] += shares[variant]
            if len(outcomes) and not certain.all():
                signs = parity(outcomes, masks[~certain])
                means = signs * (shares[variant] * frequencies / frequencies.sum())[:, None]
                at = self._local(outcomes)[:, None], columns[~certain]
                np.add.at(table, at, means)
        return table

    def tensor_of(self, table: Reals, inversions: Inversions) -> Tensor:
        """Return the tensor of a table, shape (outcomes, index pairs of each port)."""
        split = table.reshape(len(table), *self.signals.sizes)
        return self.signals.tensor_of(split, inversions)

    def weights(self, gradient: Tensor, inversions: Inversions) -> Reals:
        """Return gradients with respect to rows of the table, from those of the tensor.

        The latter have the shape (gradients, index pairs of each port).

        Returns:
            Shape (gradients, signals of all ports).
        """
        return self.signals.weights(gradient[:, None], inversions)[:, 0]

    def groups(self, counts: Sequence[Counts]) -> list[VariantGroup]:
        """Return the variants that are read and measure anything, with the counts of all rounds."""
        by_masks: dict[tuple[int, ...], list[int]] = {}
        readable = self.shares(np.zeros(self.tensor.num_variants)) > 0
        for variant in np.flatnonzero(readable).tolist():
            masks = self.signals.entries(variant)[2].tolist()
            if any(masks) or self.wires:
                by_masks.setdefault(tuple(masks), []).append(variant)
        return [self._group(masks, variants, counts) for masks, variants in by_masks.items()]

    def _group(
        self, masks: tuple[int, ...], variants: list[int], counts: Sequence[Counts]
    ) -> VariantGroup:
        bits = [1 << bit for bit in range(64) if any(mask >> bit & 1 for mask in masks)]
        patterns = np.zeros(1, dtype=np.uint64)
        for bit in bits:
            patterns = np.concatenate([patterns, patterns | np.uint64(bit)])
        signs = parity(patterns, np.array(masks, dtype=np.uint64))
        signed = np.array(masks) != 0
        pseudo_variances = np.where(signed, 0.5, 0.25) if self.wires else np.where(signed, 1.0, 0.0)
        cells, frequencies, shots = [], [], np.zeros(len(variants))
        size = len(patterns) * self.num_outcomes
        for row, variant in enumerate(variants):
            parts = [one_round.of_variant(variant) for one_round in counts]
            outcomes = np.concatenate([part for part, _ in parts])
            pattern = np.zeros(len(outcomes), dtype=np.intp)
            for index, bit in enumerate(bits):
                pattern |= ((outcomes & np.uint64(bit)) != 0).astype(np.intp) << index
            keys, inverse = np.unique(
                pattern * self.num_outcomes + self._local(outcomes), return_inverse=True
            )
            numbers = np.concatenate([number for _, number in parts]).astype(float)
            totals = np.bincount(inverse.reshape(-1), weights=numbers, minlength=len(keys))
            cells.append(row * size + keys)
            frequencies.append(totals)
            shots[row] = totals.sum()
        rows, rest = np.divmod(np.concatenate(cells).astype(np.intp), size)
        pattern, outcome = np.divmod(rest, self.num_outcomes)
        columns = np.stack([self.signals.entries(variant)[1] for variant in variants])
        return VariantGroup(
            np.array(variants, dtype=np.intp),
            columns,
            signs,
            pseudo_variances,
            shots,
            rows,
            pattern,
            outcome,
            np.concatenate(frequencies),
        )

    def _local(self, outcomes: Outcomes) -> Indices:
        """Return the outcome of the wires in outcomes of all bits."""
        local = np.zeros(len(outcomes), dtype=np.intp)
        for index, bit in enumerate(self._bits):
            local |= (outcomes >> np.uint64(bit) & np.uint64(1)).astype(np.intp) << index
        return local


@dataclass(eq=False)
class RoundGroup:
    """Rounds whose counts become the tensor by the same linear map.

    Attributes:
        inversions: The inversion of each port.
        shares: Weight of each variant's mean, shape (variants,).
        factors: Factor from the covariance of one shot of each variant to its part of the tensor's
            covariance, shape (variants,): the sum over rounds of (weight * share)^2 / shots.
    """

    inversions: Inversions
    shares: Reals
    factors: Reals


@dataclass(eq=False)
class OutcomeEstimate:
    """One subcircuit's tensor with outcomes, from all rounds.

    Attributes:
        reader: Reads the outcomes.
        weights: Weight of each round, normalised.
        inversions: For each round, the inversion of each port.
        counts: For each round, the counts of all variants.
        tensor: The estimate of the tensor, unbiased, because the weights were fixed before the
            rounds, shape (outcomes, index pairs of each port).
        centre: The best known tensor, each round weighted by its shots.
        groups: The variants with all their counts.
        round_groups: The rounds, grouped by their linear maps.
    """

    reader: OutcomeReader
    weights: Sequence[float]
    inversions: Sequence[Inversions]
    counts: Sequence[Counts]
    tensor: Tensor = field(init=False)
    centre: Tensor = field(init=False)
    groups: list[VariantGroup] = field(init=False)
    round_groups: list[RoundGroup] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        shots = [float(counts.shots.sum()) for counts in self.counts]
        pooled = [n / sum(shots) for n in shots] if sum(shots) else list(self.weights)
        for number, counts in enumerate(self.counts):
            table = self.reader.table(counts)
            of_round = self.reader.tensor_of(table, self.inversions[number])
            first = number == 0
            self.tensor = self.weights[number] * of_round + (0 if first else self.tensor)
            self.centre = pooled[number] * of_round + (0 if first else self.centre)
        self.groups = self.reader.groups(self.counts)
        for weight, inversions, counts in zip(
            self.weights, self.inversions, self.counts, strict=True
        ):
            self._add_to_round_groups(weight, inversions, counts)

    def _add_to_round_groups(self, weight: float, inversions: Inversions, counts: Counts) -> None:
        shares, numbers = self.reader.shares(counts.shots), np.asarray(counts.shots, dtype=float)
        squares = (weight * shares) ** 2
        factors = np.divide(squares, numbers, out=np.zeros(len(numbers)), where=numbers > 0)
        for group in self.round_groups:
            if group.inversions == inversions and np.array_equal(group.shares, shares):
                group.factors += factors
                return
        self.round_groups.append(RoundGroup(inversions, shares, factors))

    def draw_error(self, rng: np.random.Generator) -> Tensor:
        """Return a random error of the tensor, with the covariance of the estimate."""
        error: Tensor | None = None
        for rounds in self.round_groups:
            table = np.zeros((self.reader.num_outcomes, self.reader.size))
            for group in self.groups:
                group.add_error(table, rounds.factors[group.variants], rng)
            drawn = self.reader.tensor_of(table, rounds.inversions)
            error = drawn if error is None else error + drawn
        assert error is not None, "there is at least one round"
        return error
