"""Values and standard errors from rounds of shots.

Every round gives its own estimate of every tensor, and the tensors are averages over rounds with
weights that are fixed before each round. A round may therefore be planned from the results of
earlier ones and the estimate stays unbiased: the errors of a round have mean zero whatever was
measured before it. So does a product of errors of different subcircuits, because the factor from
the latest round has mean zero whatever the others are.

Standard errors count products of errors of several subcircuits
(:mod:`hpcq.reconstruction.estimation.product_variance`). Their gradients are taken at the best
known tensors, in which each round is weighted by the shots that a subcircuit got in it: with the
fixed weights, a subcircuit that got few shots in a heavy round would be known badly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.reconstruction.estimation.counts import Counts
from hpcq.reconstruction.estimation.covariance import CovarianceBlock, covariance_blocks
from hpcq.reconstruction.estimation.outcome_signals import Inversions, Reals, SignalReader
from hpcq.reconstruction.estimation.product_variance import (
    MAX_PAIRS,
    MIN_PAIRS,
    variance_of_all_orders,
)
from hpcq.reconstruction.estimation.sources import Sources
from hpcq.reconstruction.sampled_values import Reconstruction
from hpcq.reconstruction.tensor_nodes import Tensor

_BATCH_BYTES = 64 << 20
"""Bytes of tensors or gradients that are processed together; in addition, tables of signals and
their scores take up to six times as much."""

_MAX_CHOICE_BYTES = 512 << 20
"""Bytes of gradients up to which inversions are chosen from the counts; with more, each port
takes its first."""

_KEPT_BLOCK_BYTES = 64 << 20
"""Bytes of a subcircuit's covariance blocks up to which they are kept; larger ones are computed
each time from all its counts."""

_MAX_DRAW_FLOPS = 2e11
"""Floating-point operations of the contractions for one set of standard errors, about half a minute
on one core. Where this allows fewer points than usual, standard errors are noisier."""

_INVERSION_SWEEPS = 2
"""Number of sweeps over all ports, each choosing the inversions one port after the other."""

_PLANNING_PAIRS = 4
"""Antithetic pairs of points for planning a round. Larger: less noisy allocations, slower."""

_Gradients = tuple[NDArray[np.intp], NDArray[np.intp], int, Tensor]
"""Points, observables, a source, and the gradients of these observables with respect to its
tensor."""


@dataclass(frozen=True, eq=False)
class ShotRound:
    """A measured round.

    Attributes:
        weight: Weight of the round in the average over rounds, not normalised.
        inversions: For each source, the inversion of each port.
        counts: For each source, the counts of all its variants.
    """

    weight: float
    inversions: tuple[Inversions, ...]
    counts: tuple[Counts, ...]

    @property
    def shots(self) -> int:
        """Number of shots of all variants together."""
        return int(sum(int(counts.shots.sum()) for counts in self.counts))


@dataclass(eq=False)
class Estimator:
    """Collects rounds and estimates tensors, observables and standard errors from them.

    Attributes:
        sources: The sources that are sampled.
        reconstruction: The contraction from tensors to observables.
        rounds: The rounds so far.
    """

    sources: Sources
    reconstruction: Reconstruction
    rounds: list[ShotRound] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.readers = [SignalReader(tensor) for tensor in self.sources.tensors]
        self._round_tensors: list[list[Tensor]] = []
        self._round_tables: list[list[Reals]] = []
        self._cached_groups: dict[int, list[_RoundGroup]] = {}
        self._cached_blocks: dict[int, list[CovarianceBlock]] = {}
        self._cached_gradients: list[_Gradients] | None = None
        rounds, self.rounds = self.rounds, []
        for measured in rounds:
            self.add(measured)

    def add(self, measured: ShotRound) -> None:
        """Add a measured round."""
        tables = [
            reader.table(counts)
            for reader, counts in zip(self.readers, measured.counts, strict=True)
        ]
        self.rounds.append(measured)
        self._cached_groups.clear()
        self._cached_blocks.clear()
        self._cached_gradients = None
        self._round_tables.append(tables)
        self._round_tensors.append(
            [
                reader.tensor_of(table, inversions)
                for reader, table, inversions in zip(
                    self.readers, tables, measured.inversions, strict=True
                )
            ]
        )

    @property
    def shots(self) -> int:
        """Number of shots of all rounds together."""
        return sum(measured.shots for measured in self.rounds)

    def tensors(self) -> list[Tensor]:
        """Return the estimate of every source's tensor."""
        return [
            self._average(tensors, self._weights())
            for tensors in zip(*self._round_tensors, strict=True)
        ]

    def values(self) -> Reals:
        """Return the estimate of every observable."""
        return self.reconstruction.values(self.sources.expand(self.tensors()))

    def errors(self, *, quick: bool = False, cautious: bool = False) -> Reals:
        """Return the standard error of every observable.

        Args:
            quick: Whether to use few points, which is faster and noisier.
            cautious: Whether to return the sampling error of a repeated run, averaged over the
                posterior, rather than the posterior standard deviation of the value. It is not
                smaller, and safer for decisions such as when to stop.
        """
        if not self.shots:
            return np.zeros(self.reconstruction.parts.num_observables)
        variances = variance_of_all_orders(
            self._first_order,
            self._draw_errors,
            self._pooled_tensors(),
            cautious=cautious,
            max_pairs=self._affordable_pairs(MIN_PAIRS if quick else MAX_PAIRS),
            pairs_at_once=self._pairs_at_once,
        )
        return np.sqrt(variances)

    def _affordable_pairs(self, pairs: int) -> int:
        """Return how many of the pairs ``_MAX_DRAW_FLOPS`` allows; a point takes 3 contractions."""
        max_pairs = _MAX_DRAW_FLOPS / (6 * max(1.0, self.reconstruction.flops))
        return max(2, min(pairs, int(max_pairs)))

    @property
    def _pairs_at_once(self) -> int:
        """Pairs of points whose tensors and errors fit into ``_BATCH_BYTES``."""
        return max(1, _BATCH_BYTES // max(1, 4 * self._tensor_bytes))

    def _pooled_tensors(self) -> list[Tensor]:
        """Return the tensor of every source, each round weighted by the source's shots in it."""
        pooled = []
        for source, tensors in enumerate(zip(*self._round_tensors, strict=True)):
            shots = [float(measured.counts[source].shots.sum()) for measured in self.rounds]
            total = sum(shots)
            weights = [n / total for n in shots] if total else self._weights()
            pooled.append(self._average(tensors, weights))
        return pooled

    def _first_order(self, tensors: Sequence[Tensor]) -> Reals:
        """Return the first-order variance of every observable, shape (points, observables).

        The tensors of the sources have the shape (points, strings, index pairs).
        """
        variances = np.zeros((len(tensors[0]), self.reconstruction.parts.num_observables))
        for points, observables, source, gradient in self._gradients(tensors):
            reader = self.readers[source]
            contribution = np.zeros(gradient.shape[:2])
            rows = gradient.reshape(-1, *gradient.shape[2:])
            for group in self._round_groups(source):
                weights = reader.weights(rows, group.inversions)
                for block in self._blocks(source):
                    block_variances = block.variances(weights, group.shares)
                    contribution += (
                        group.variance_factors[block.variants] @ block_variances
                    ).reshape(contribution.shape)
            variances[np.ix_(points, observables)] += contribution
        return variances

    def _draw_errors(self, num_errors: int, rng: np.random.Generator) -> list[Tensor]:
        """Return random errors of every source's tensor, shape (errors, strings, index pairs)."""
        drawn: list[Tensor] = []
        for source, reader in enumerate(self.readers):
            shape = (num_errors, len(reader.tensor.strings), int(np.prod(reader.sizes, dtype=int)))
            total = np.zeros(1, dtype=complex)
            for group in self._round_groups(source):
                table = np.zeros(shape)
                for block in self._blocks(source):
                    errors = block.draw(num_errors, rng)
                    errors *= block.select(group.shares)[None, :, :, None]
                    errors *= np.sqrt(group.variance_factors[block.variants])[:, None, None]
                    table[:, block.strings[:, None, None], block.columns] += errors.swapaxes(1, 2)
                flat = table.reshape(-1, *reader.sizes)
                error = reader.tensor_of(flat, group.inversions)
                total = total + error.reshape(num_errors, -1, *error.shape[1:])
            drawn.append(total)
        return drawn

    def variances_per_shot(
        self, inversions: Sequence[Inversions], importance: Reals
    ) -> list[Reals]:
        """Return an estimate of the variance that one shot of each variant would add.

        It is an average over the posterior: where several factors come out near zero, all gradients
        at the estimate itself vanish, and shots would be spread by chance.

        Args:
            inversions: For each source, the inversion of each port.
            importance: Weight of each observable's variance.

        Returns:
            For each source, shape (variants,).
        """
        per_shot = [np.zeros(reader.tensor.num_variants) for reader in self.readers]
        for source, gradient, row_weights in self._posterior_gradients(importance, _PLANNING_PAIRS):
            reader = self.readers[source]
            weights = reader.weights(gradient, inversions[source])
            total = np.sum([measured.counts[source].shots for measured in self.rounds], axis=0)
            shares = reader.shares(total)
            used = reader.used(inversions[source])
            for block in self._blocks(source):
                variances = block.variances(weights, shares)
                per_shot[source][block.variants] += used[block.variants] * (variances @ row_weights)
        return per_shot

    def choose_inversions(self, importance: Reals) -> tuple[Inversions, ...]:
        """Return the inversion of every port of every source, chosen from the rounds so far.

        Port after port, the choice with the smallest :meth:`SignalReader.cost` wins. Where
        gradients take too much memory, it is the first inversion of every port.

        Args:
            importance: Weight of each observable's variance.
        """
        chosen = [tuple(0 for _ in reader.tensor.port_bases) for reader in self.readers]
        pair_bytes = 2 * len(importance) * self._tensor_bytes
        pairs = min(_PLANNING_PAIRS, _MAX_CHOICE_BYTES // max(1, pair_bytes))
        if pairs == 0:
            return tuple(chosen)
        noise = [
            np.maximum(1 - self._average(tables, self._weights()) ** 2, 0)
            for tables in zip(*self._round_tables, strict=True)
        ]
        for source, gradient, row_weights in self._posterior_gradients(
            importance, pairs, _MAX_CHOICE_BYTES
        ):
            reader = self.readers[source]
            for port in [*range(len(reader.tensor.port_bases))] * _INVERSION_SWEEPS:
                candidates = [
                    (*chosen[source][:port], inversion, *chosen[source][port + 1 :])
                    for inversion in range(len(reader.tensor.port_bases[port].inversions))
                ]
                if len(candidates) > 1:
                    chosen[source] = min(
                        candidates,
                        key=lambda candidate: reader.cost(
                            gradient, candidate, row_weights, noise[source]
                        ),
                    )
        return tuple(chosen)

    def _posterior_gradients(
        self, importance: Reals, pairs: int, batch_bytes: int = _BATCH_BYTES
    ) -> Iterator[tuple[int, Tensor, Reals]]:
        """Yield gradients at tensors drawn from the posterior.

        The inversions and the shots of a round are chosen from the same gradients, which are kept
        in memory if they are small.

        Args:
            importance: Weight of each observable's variance.
            pairs: Antithetic pairs of points; fewer are drawn where time or memory is short.
            batch_bytes: Maximum bytes of the gradients that are yielded together.

        Yields:
            A source, gradients with respect to its tensor, shape (rows, strings, index pairs), each
            row for one observable at one point, and the weights of the rows.
        """
        pairs = min(self._affordable_pairs(pairs), self._pairs_at_once)
        batches: Iterable[_Gradients]
        if 2 * pairs * len(importance) * self._tensor_bytes > _BATCH_BYTES:
            batches = self._gradients(self._posterior_tensors(pairs), batch_bytes)
        else:
            if self._cached_gradients is None:
                self._cached_gradients = list(self._gradients(self._posterior_tensors(pairs)))
            batches = self._cached_gradients
        for _, observables, source, gradient in batches:
            row_weights = np.tile(importance[observables], len(gradient)) / (2 * pairs)
            yield source, gradient.reshape(-1, *gradient.shape[2:]), row_weights

    def _posterior_tensors(self, pairs: int) -> list[Tensor]:
        """Return tensors drawn from the posterior, shape (points, strings, index pairs)."""
        errors = self._draw_errors(pairs, np.random.default_rng(0))
        return [
            tensor[None] + np.concatenate([error, -error])
            for tensor, error in zip(self._pooled_tensors(), errors, strict=True)
        ]

    @property
    def _tensor_bytes(self) -> int:
        """Bytes of all sources' tensors."""
        return 16 * sum(tensor.size for tensor in self._round_tensors[0])

    def _round_groups(self, source: int) -> list[_RoundGroup]:
        """Return the rounds of a source, grouped by their inversions and shares."""
        if source not in self._cached_groups:
            reader = self.readers[source]
            groups: list[_RoundGroup] = []
            for weight, measured in zip(self._weights(), self.rounds, strict=True):
                shots = measured.counts[source].shots
                shares = reader.shares(shots)
                factors = np.divide(
                    weight**2, shots, out=np.zeros(len(shots)), where=np.asarray(shots) > 0
                )
                for group in groups:
                    same_inversions = group.inversions == measured.inversions[source]
                    if same_inversions and np.array_equal(group.shares, shares):
                        group.variance_factors += factors
                        break
                else:
                    groups.append(_RoundGroup(measured.inversions[source], shares, factors))
            self._cached_groups[source] = groups
        return self._cached_groups[source]

    def _blocks(self, source: int) -> Iterator[CovarianceBlock]:
        """Yield the covariance blocks of a source, which are kept if they are small."""
        if source in self._cached_blocks:
            yield from self._cached_blocks[source]
            return
        kept: list[CovarianceBlock] | None = []
        for block in covariance_blocks(
            self.readers[source], [measured.counts[source] for measured in self.rounds]
        ):
            if kept is not None:
                kept.append(block)
                if sum(kept_block.factors.nbytes for kept_block in kept) > _KEPT_BLOCK_BYTES:
                    kept = None
            yield block
        if kept is not None:
            self._cached_blocks[source] = kept

    @staticmethod
    def _average(arrays: Sequence[Any], weights: Sequence[float]) -> Any:
        """Return the weighted sum of one array per round, added in order."""
        total = weights[0] * arrays[0]
        for weight, array in zip(weights[1:], arrays[1:], strict=True):
            total = total + weight * array
        return total

    def _weights(self) -> list[float]:
        """Return the weight of every round, normalized."""
        total = sum(measured.weight for measured in self.rounds)
        return [measured.weight / total for measured in self.rounds]

    def _gradients(
        self, tensors: Sequence[Tensor], batch_bytes: int = _BATCH_BYTES
    ) -> Iterator[_Gradients]:
        """Yield gradients in batches of points and observables, of at most ``batch_bytes``.

        Yields:
            Points, observables, a source, and the gradients with respect to its tensor, shape
            (points, observables, strings, index pairs).
        """
        num_points = len(tensors[0])
        bytes_per_observable = max(1, 16 * sum(tensor[0].size for tensor in tensors))
        points_at_once = max(1, min(num_points, batch_bytes // bytes_per_observable))
        batch_size = max(1, batch_bytes // (bytes_per_observable * points_at_once))
        observables = np.arange(self.reconstruction.parts.num_observables)
        for first in range(0, num_points, points_at_once):
            points = np.arange(first, min(first + points_at_once, num_points))
            expanded = self.sources.expand([tensor[points] for tensor in tensors], axis=1)
            for start in range(0, len(observables), batch_size):
                batch = observables[start : start + batch_size]
                # Summed over the subcircuits that share a source.
                by_source: dict[int, Tensor] = {}
                for subcircuit, rows, gradient in self.reconstruction.gradients(expanded, batch):
                    source = self.sources.uses[subcircuit]
                    assert source is not None, "only sampled subcircuits are contracted"
                    shape = (len(points), len(batch), *tensors[source].shape[1:])
                    total = by_source.setdefault(source, np.zeros(shape, dtype=complex))
                    total[:, rows[:, None], self.sources.string_indices[subcircuit]] += gradient
                for source, total in sorted(by_source.items()):
                    yield points, batch, source, total


@dataclass(eq=False)
class _RoundGroup:
    """Rounds in which a source's counts are turned into its tensor by the same linear map.

    Attributes:
        inversions: The inversion of each port.
        shares: Weight of each variant's mean in each string, shape (variants, strings).
        variance_factors: Factor from the variance of one shot of each variant to that of its mean
            in the average over these rounds, shape (variants,): the sum of w^2 / n over rounds of
            weight w in which the variant had n shots.
    """

    inversions: Inversions
    shares: Reals
    variance_factors: Reals
