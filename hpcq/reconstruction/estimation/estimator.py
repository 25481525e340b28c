"""Values and standard errors from rounds of shots.

Every round gives an estimate of every tensor by itself, and the tensors are averages of the rounds'
with weights that were fixed before the round. So a round may be planned from what earlier ones
found, and the estimate stays unbiased: the errors of a round have mean zero whatever happened
before it, and so has a product of errors of different subcircuits, by the last round among them.

Standard errors count products of errors of several subcircuits
(:mod:`hpcq.reconstruction.estimation.product_variance`). They are taken where the tensors are best
known, each round weighted by the shots that a subcircuit got in it: with the fixed weights, a
subcircuit that got few shots in a heavy round is known badly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.reconstruction.estimation.counts import Counts
from hpcq.reconstruction.estimation.covariance import CovarianceBlock, blocks_of
from hpcq.reconstruction.estimation.outcome_signals import Inversions, Reals, SignalReader
from hpcq.reconstruction.estimation.product_variance import (
    FEWEST_PAIRS,
    MAX_PAIRS,
    variance_of_all_orders,
)
from hpcq.reconstruction.estimation.sources import Sources
from hpcq.reconstruction.gradients import Reconstruction
from hpcq.reconstruction.tensor_nodes import Tensor

_BATCH_BYTES = 64 << 20
"""Bytes of tensors or gradients that are worked on together; tables of signals and their scores
take up to six times as much beside them."""

_MAX_CHOICE_BYTES = 512 << 20
"""Bytes of gradients up to which inversions are chosen by what is known."""

_KEPT_BLOCK_BYTES = 64 << 20
"""Bytes of a subcircuit's blocks up to which they are kept; larger ones are made again each time,
from all its counts."""

_MAX_DRAW_FLOPS = 2e11
"""Operations of the contractions behind one set of standard errors, about half a minute of a core.
Where that allows fewer points than usual, standard errors are noisier."""

_SWEEPS = 2
_PLANNING_PAIRS = 4

_Gradients = tuple[NDArray[np.intp], NDArray[np.intp], int, Tensor]
"""Some points, some observables, a source, and their gradients by its tensor."""


@dataclass(frozen=True, eq=False)
class ShotRound:
    """What one round measured.

    Attributes:
        weight: Its weight in the average over rounds, not normalised.
        inversions: For each source the inversion of each port.
        counts: For each source the counts of all its variants.
    """

    weight: float
    inversions: tuple[Inversions, ...]
    counts: tuple[Counts, ...]

    @property
    def shots(self) -> int:
        """Number of shots of all variants together."""
        return int(sum(int(own.shots.sum()) for own in self.counts))


@dataclass(eq=False)
class Estimator:
    """Rounds as they come in, and what follows from them.

    Attributes:
        sources: What is sampled.
        reconstruction: How the observables follow from it.
        rounds: The rounds so far.
    """

    sources: Sources
    reconstruction: Reconstruction
    rounds: list[ShotRound] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.readers = [SignalReader(tensor) for tensor in self.sources.tensors]
        self._found: list[list[Tensor]] = []
        self._tables: list[list[Reals]] = []
        self._known_kinds: dict[int, list[_Kind]] = {}
        self._known_blocks: dict[int, list[CovarianceBlock]] = {}
        self._known_gradients: list[_Gradients] | None = None
        rounds, self.rounds = self.rounds, []
        for own in rounds:
            self.add(own)

    def add(self, measured: ShotRound) -> None:
        """Take a round in."""
        tables = [r.table(c) for r, c in zip(self.readers, measured.counts, strict=True)]
        self.rounds.append(measured)
        self._known_kinds.clear()
        self._known_blocks.clear()
        self._known_gradients = None
        self._tables.append(tables)
        self._found.append(
            [
                reader.tensor_of(table, own)
                for reader, table, own in zip(
                    self.readers, tables, measured.inversions, strict=True
                )
            ]
        )

    @property
    def shots(self) -> int:
        """Number of shots of all rounds together."""
        return sum(own.shots for own in self.rounds)

    def tensors(self) -> list[Tensor]:
        """Return the estimate of every source's tensor."""
        return [
            self._average([found[s] for found in self._found], self._weights())
            for s in range(len(self.readers))
        ]

    def values(self) -> Reals:
        """Return the estimate of every observable."""
        return self.reconstruction.values(self.sources.spread(self.tensors()))

    def errors(self, *, quick: bool = False, cautious: bool = False) -> Reals:
        """Return the standard error of every observable.

        Args:
            quick: Whether few points are enough; the errors are then noisier.
            cautious: Whether the error of a repetition is meant, averaged over what may be true,
                rather than that of the value, given what was measured. It is not smaller, and
                better to decide by.
        """
        if not self.shots:
            return np.zeros(self.reconstruction.parts.num_observables)
        variances = variance_of_all_orders(
            self._first_order,
            self._draw_errors,
            self._best_tensors(),
            cautious=cautious,
            max_pairs=self._affordable(FEWEST_PAIRS if quick else MAX_PAIRS),
            pairs_at_once=self._pairs_at_once,
        )
        return np.sqrt(variances)

    def _affordable(self, pairs: int) -> int:
        """Return as many pairs of points as there is time for: 3 contractions a point."""
        most = _MAX_DRAW_FLOPS / (6 * max(1.0, self.reconstruction.flops))
        return max(2, min(pairs, int(most)))

    @property
    def _pairs_at_once(self) -> int:
        """Pairs of points whose tensors and errors fit into some memory."""
        return max(1, _BATCH_BYTES // max(1, 4 * self._tensor_bytes))

    def _best_tensors(self) -> list[Tensor]:
        """Return every source's tensor with each round weighted by the source's shots in it."""
        best = []
        for source in range(len(self.readers)):
            shots = [float(own.counts[source].shots.sum()) for own in self.rounds]
            total = sum(shots)
            weights = [own / total for own in shots] if total else self._weights()
            best.append(self._average([found[source] for found in self._found], weights))
        return best

    def _first_order(self, tensors: Sequence[Tensor]) -> Reals:
        """Return every observable's variance by its gradients at some points.

        Args:
            tensors: Every source's tensor at every point, shape (points, strings, index pairs).
        """
        variances = np.zeros((len(tensors[0]), self.reconstruction.parts.num_observables))
        for points, some, source, gradient in self._gradients(tensors):
            reader = self.readers[source]
            found = np.zeros(gradient.shape[:2])
            flat = gradient.reshape(-1, *gradient.shape[2:])
            for kind in self._kinds(source):
                weights = reader.weights(flat, kind.inversions)
                for block in self._blocks(source):
                    each = block.variances(weights, kind.shares)
                    found += (kind.variance_factors[block.variants] @ each).reshape(found.shape)
            variances[np.ix_(points, some)] += found
        return variances

    def _draw_errors(self, number: int, rng: np.random.Generator) -> list[Tensor]:
        """Draw errors of all sources' tensors, shape (errors, strings, index pairs)."""
        drawn: list[Tensor] = []
        for source, reader in enumerate(self.readers):
            shape = (number, len(reader.tensor.strings), int(np.prod(reader.sizes, dtype=int)))
            total = np.zeros(1, dtype=complex)
            for kind in self._kinds(source):
                table = np.zeros(shape)
                for block in self._blocks(source):
                    errors = block.draw(number, rng)
                    errors *= block.of(kind.shares)[None, :, :, None]
                    errors *= np.sqrt(kind.variance_factors[block.variants])[:, None, None]
                    table[:, block.strings[:, None, None], block.columns] += errors.swapaxes(1, 2)
                flat = table.reshape(-1, *reader.sizes)
                error = reader.tensor_of(flat, kind.inversions)
                total = total + error.reshape(number, -1, *error.shape[1:])
            drawn.append(total)
        return drawn

    def spreads(self, inversions: Sequence[Inversions], importance: Reals) -> list[Reals]:
        """Estimate the variance that one shot of each variant would add.

        It is an average over what may be true: where several factors are nearly zero as measured,
        all gradients at the estimate vanish, and shots would be spread by chance.

        Args:
            inversions: For each source the inversion of each port.
            importance: Weight of each observable's variance.

        Returns:
            For each source, shape (variants,).
        """
        spreads = [np.zeros(reader.tensor.num_variants) for reader in self.readers]
        for source, gradient, each in self._possible_gradients(importance, _PLANNING_PAIRS):
            reader = self.readers[source]
            weights = reader.weights(gradient, inversions[source])
            total = np.sum([own.counts[source].shots for own in self.rounds], axis=0)
            shares = reader.shares(total)
            used = reader.used(inversions[source])
            for block in self._blocks(source):
                variances = block.variances(weights, shares)
                spreads[source][block.variants] += used[block.variants] * (variances @ each)
        return spreads

    def choose_inversions(self, importance: Reals) -> tuple[Inversions, ...]:
        """Choose the inversion of every port, one port after the other, by what is known so far.

        A choice is judged by the sum of the standard deviations of the source's variants, as if
        all entries were independent.

        Args:
            importance: Weight of each observable's variance.
        """
        chosen = [tuple(0 for _ in reader.tensor.port_bases) for reader in self.readers]
        pair_bytes = 2 * len(importance) * self._tensor_bytes
        pairs = min(_PLANNING_PAIRS, _MAX_CHOICE_BYTES // max(1, pair_bytes))
        if pairs == 0:
            return tuple(chosen)
        noises = [np.maximum(1 - self._table(k) ** 2, 0) for k in range(len(self.readers))]
        for source, gradient, each in self._possible_gradients(
            importance, pairs, _MAX_CHOICE_BYTES
        ):
            reader = self.readers[source]
            for place in [*range(len(reader.tensor.port_bases))] * _SWEEPS:
                ways = [
                    (*chosen[source][:place], inversion, *chosen[source][place + 1 :])
                    for inversion in range(len(reader.tensor.port_bases[place].inversions))
                ]
                if len(ways) > 1:
                    chosen[source] = min(
                        ways, key=lambda way: reader.cost(gradient, way, each, noises[source])
                    )
        return tuple(chosen)

    def _possible_gradients(
        self, importance: Reals, pairs: int, batch_bytes: int = _BATCH_BYTES
    ) -> Iterator[tuple[int, Tensor, Reals]]:
        """Yield gradients at tensors that may be the true ones.

        Recipes and shots of a round are chosen by the same gradients, which are worked out once
        where they are small.

        Args:
            importance: Weight of each observable's variance.
            pairs: Pairs of points, of which there are fewer where time or memory are short.
            batch_bytes: Bytes of all gradients that are yielded together.

        Yields:
            A source, gradients by its tensor, shape (rows, strings, index pairs), each row of some
            observable at some point, and the weights of the rows.
        """
        pairs = min(self._affordable(pairs), self._pairs_at_once)
        found: Iterable[_Gradients]
        if 2 * pairs * len(importance) * self._tensor_bytes > _BATCH_BYTES:
            found = self._gradients(self._possible_tensors(pairs), batch_bytes)
        else:
            if self._known_gradients is None:
                self._known_gradients = list(self._gradients(self._possible_tensors(pairs)))
            found = self._known_gradients
        for _, some, source, gradient in found:
            each = np.tile(importance[some], len(gradient)) / (2 * pairs)
            yield source, gradient.reshape(-1, *gradient.shape[2:]), each

    def _possible_tensors(self, pairs: int) -> list[Tensor]:
        """Return tensors that may be the true ones, shape (points, strings, index pairs)."""
        errors = self._draw_errors(pairs, np.random.default_rng(0))
        return [
            middle[None] + np.concatenate([error, -error])
            for middle, error in zip(self._best_tensors(), errors, strict=True)
        ]

    @property
    def _tensor_bytes(self) -> int:
        """Bytes of all sources' tensors."""
        return 16 * sum(tensor.size for tensor in self._found[0])

    def _kinds(self, source: int) -> list[_Kind]:
        """Return the kinds of rounds that a source's shots came in."""
        if source not in self._known_kinds:
            reader = self.readers[source]
            found: list[_Kind] = []
            for weight, own in zip(self._weights(), self.rounds, strict=True):
                shots = own.counts[source].shots
                shares = reader.shares(shots)
                factors = np.divide(
                    weight**2, shots, out=np.zeros(len(shots)), where=np.asarray(shots) > 0
                )
                for kind in found:
                    same = kind.inversions == own.inversions[source]
                    if same and np.array_equal(kind.shares, shares):
                        kind.variance_factors += factors
                        break
                else:
                    found.append(_Kind(own.inversions[source], shares, factors))
            self._known_kinds[source] = found
        return self._known_kinds[source]

    def _blocks(self, source: int) -> Iterator[CovarianceBlock]:
        """Yield the scatter of a source's variants."""
        if source in self._known_blocks:
            yield from self._known_blocks[source]
            return
        kept: list[CovarianceBlock] | None = []
        for block in blocks_of(self.readers[source], [own.counts[source] for own in self.rounds]):
            if kept is not None:
                kept.append(block)
                if sum(own.nbytes for own in kept) > _KEPT_BLOCK_BYTES:
                    kept = None
            yield block
        if kept is not None:
            self._known_blocks[source] = kept

    def _table(self, source: int) -> Reals:
        """Return the signals of a source, as far as they are known."""
        tables = [tables[source] for tables in self._tables]
        return np.asarray(self._average(tables, self._weights()))

    @staticmethod
    def _average(found: Sequence[Any], weights: Sequence[float]) -> Any:
        """Average what the rounds gave."""
        total = weights[0] * found[0]
        for weight, own in zip(weights[1:], found[1:], strict=True):
            total = total + weight * own
        return total

    def _weights(self) -> list[float]:
        total = sum(own.weight for own in self.rounds)
        return [own.weight / total for own in self.rounds]

    def _gradients(
        self, tensors: Sequence[Tensor], batch_bytes: int = _BATCH_BYTES
    ) -> Iterator[_Gradients]:
        """Yield some points, some observables, a source, and their gradients by its tensor.

        Args:
            tensors: Every source's tensor at every point.
            batch_bytes: Bytes of all gradients that are yielded together.

        Yields:
            The gradients have the shape (points, observables, strings, index pairs).
        """
        number = len(tensors[0])
        each = max(1, 16 * sum(tensor[0].size for tensor in tensors))
        together = max(1, min(number, batch_bytes // each))
        batch = max(1, batch_bytes // (each * together))
        observables = np.arange(self.reconstruction.parts.num_observables)
        for first in range(0, number, together):
            points = np.arange(first, min(first + together, number))
            spread = self.sources.spread([tensor[points] for tensor in tensors], axis=1)
            for start in range(0, len(observables), batch):
                some = observables[start : start + batch]
                for source, gradient in self._by_source(spread, some, tensors):
                    yield points, some, source, gradient

    def _by_source(
        self, spread: Sequence[Tensor], some: NDArray[np.intp], tensors: Sequence[Tensor]
    ) -> list[tuple[int, Tensor]]:
        """Add up the gradients by the subcircuits that share a source."""
        found: dict[int, Tensor] = {}
        for subcircuit, rows, gradient in self.reconstruction.gradients(spread, some):
            source = self.sources.uses[subcircuit]
            assert source is not None, "only what is sampled is contracted"
            shape = (len(gradient), len(some), *tensors[source].shape[1:])
            if source not in found:
                found[source] = np.zeros(shape, dtype=complex)
            everywhere = np.arange(len(gradient))
            places = self.sources.places[subcircuit]
            found[source][np.ix_(everywhere, rows, places)] += gradient
        return sorted(found.items())


@dataclass(eq=False)
class _Kind:
    """Rounds in which a source's shots were turned into its tensor in the same way.

    Attributes:
        inversions: The inversion of each port.
        shares: Weight of each variant's mean in each string, shape (variants, strings).
        variance_factors: By how much the variance of one shot of each variant is multiplied in
            the average over these rounds, shape (variants,): the sum of w^2 / n for rounds of
            weight w in which it had n shots.
    """

    inversions: Inversions
    shares: Reals
    variance_factors: Reals
