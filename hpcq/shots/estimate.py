"""Values and standard errors from rounds of shots.

Every round gives an estimate of every tensor by itself, and the tensors are averages of the rounds'
with weights that were fixed before the round. So a round may be planned from what earlier ones
found, and the estimate stays unbiased: the errors of a round have mean zero whatever happened
before it, and so has a product of errors of different subcircuits, by the last round among them.

The value is linear in each tensor, so its standard error follows from its gradients (the delta
method): each variant adds the variance of its scores over its number of shots. The gradients are
known with errors too. What k subcircuits' errors together add to the variance is then counted k
times: with errors whose squares are t times as large, it would be k t^(k - 1) times, whose integral
over t from 0 to 1 is the 1 that it should be. So errors as large again are drawn, which give t = 2,
and what grows between is taken off in that proportion.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.reconstruction.gradients import Reconstruction
from hpcq.reconstruction.leaves import Tensor
from hpcq.shots.counts import Counts, Outcomes
from hpcq.shots.reading import Reader, Reals, Recipes
from hpcq.shots.sources import Sources

_BATCH_BYTES = 256 << 20
_SWEEPS = 2
_DRAWS = 4
_SUPPOSED = 4.0
"""Supposed shots of a variant; where all its shots agree, its mean is off by about 2 over them."""

_LINEAR = 0.03
"""Change of the variance with noisier gradients below which it is taken as it is."""


@dataclass(frozen=True, eq=False)
class Round:
    """What one round measured.

    Attributes:
        weight: Its weight in the average over rounds, not normalised.
        recipes: For each source the recipe of each port.
        counts: For each source the counts of all its variants.
    """

    weight: float
    recipes: tuple[Recipes, ...]
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
    rounds: list[Round] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.readers = [Reader(tensor) for tensor in self.sources.tensors]
        self._found: list[list[Tensor]] = []
        self._tables: list[list[Reals]] = []
        rounds, self.rounds = self.rounds, []
        for own in rounds:
            self.add(own)

    def add(self, measured: Round) -> None:
        """Take a round in."""
        tables = [r.table(c) for r, c in zip(self.readers, measured.counts, strict=True)]
        self.rounds.append(measured)
        self._tables.append(tables)
        self._found.append(
            [
                reader.tensor_of(table, own)
                for reader, table, own in zip(self.readers, tables, measured.recipes, strict=True)
            ]
        )

    @property
    def shots(self) -> int:
        """Number of shots of all rounds together."""
        return sum(own.shots for own in self.rounds)

    def tensors(self) -> list[Tensor]:
        """Return the estimate of every source's tensor."""
        return [
            self._average([found[s] for found in self._found]) for s in range(len(self.readers))
        ]

    def values(self) -> Reals:
        """Return the estimate of every observable."""
        return self.reconstruction.values(self.sources.spread(self.tensors()))

    def errors(self, *, quick: bool = False) -> Reals:
        """Return the standard error of every observable.

        Args:
            quick: Whether products of errors may be counted too often, which is never too little.
        """
        here = self.tensors()
        variances = self._plugged_in(here)
        if quick or not self.shots:
            return np.sqrt(variances)
        twice = np.zeros_like(variances)
        rng = np.random.default_rng(0)
        for draw in range(_DRAWS):
            moved = [own + error for own, error in zip(here, self._noise(rng), strict=True)]
            twice += (self._plugged_in(moved) - twice) / (draw + 1)
            if draw == 0 and np.all(np.abs(twice - variances) <= _LINEAR * variances):
                break
        # Where the gradient happens to vanish here, it is taken from nearby.
        base = np.where(variances > 0, variances, twice)
        ratio = np.divide(twice, base, out=np.ones_like(base), where=base > 0)
        return np.sqrt(base * _share(np.maximum(ratio, 1.0)))

    def _plugged_in(self, tensors: Sequence[Tensor]) -> Reals:
        """Return every observable's variance by its gradients at some tensors."""
        variances = np.zeros(self.reconstruction.parts.num_observables)
        weights = self._weights()
        for some, source, gradient in self._gradients(tensors):
            reader = self.readers[source]
            ways = [
                (reader.weights(gradient, own.recipes[source]), shares)
                for own, shares in zip(self.rounds, self._shares(source), strict=True)
            ]
            shots = np.array([own.counts[source].shots for own in self.rounds], dtype=float)
            for variant in np.flatnonzero(reader.informative & (shots.sum(axis=0) > 0)).tolist():
                outcomes, times = self._pooled(source, variant)
                scores = reader.scores(variant, outcomes, ways)
                for number, (own, way) in enumerate(zip(scores, ways, strict=True)):
                    if shots[number, variant]:
                        square = reader.square(variant, *way)
                        part = _variance(own, times, square, _SUPPOSED) / shots[number, variant]
                        variances[some] += weights[number] ** 2 * part
        return variances

    def _noise(self, rng: np.random.Generator) -> list[Tensor]:
        """Draw errors of all tensors, as large as theirs are likely to be."""
        found: list[Tensor] = []
        for source, reader in enumerate(self.readers):
            total = np.zeros(1, dtype=complex)
            for weight, own in zip(self._weights(), self.rounds, strict=True):
                counts = own.counts[source]
                mean, drawn = [], []
                for variant, shots in enumerate(counts.shots.tolist()):
                    if shots:
                        outcomes, times = self._pooled(source, variant)
                        chances = times / times.sum()
                        mean.append((variant, outcomes, shots * chances))
                        drawn.append((variant, outcomes, rng.multinomial(shots, chances)))
                tables = [reader.table(Counts.gather(len(counts), rows)) for rows in (drawn, mean)]
                error = reader.tensor_of(tables[0] - tables[1], own.recipes[source])
                total = total + weight * error
            found.append(total)
        return found

    def spreads(self, recipes: Sequence[Recipes], importance: Reals) -> list[Reals]:
        """Estimate the variance that one shot of each variant would add.

        Args:
            recipes: For each source the recipe of each port.
            importance: Weight of each observable's variance.

        Returns:
            For each source, shape (variants,).
        """
        spreads = [np.zeros(reader.tensor.num_variants) for reader in self.readers]
        for some, source, gradient in self._gradients(self.tensors()):
            reader = self.readers[source]
            found = reader.weights(gradient, recipes[source])
            total = np.sum([own.counts[source].shots for own in self.rounds], axis=0)
            shares = reader.shares(total)
            used = reader.used(recipes[source]) & reader.informative
            for variant in np.flatnonzero(used).tolist():
                outcomes, times = self._pooled(source, variant)
                square = reader.square(variant, found, shares)
                (scores,) = reader.scores(variant, outcomes, [(found, shares)])
                own = _variance(scores, times, square, 1.0)
                spreads[source][variant] += float(own @ importance[some])
        return spreads

    def choose_recipes(self, importance: Reals) -> tuple[Recipes, ...]:
        """Choose the recipe of every port, one port after the other, by what is known so far.

        A choice is judged by the sum of the standard deviations of the source's variants, as if
        all entries were independent.

        Args:
            importance: Weight of each observable's variance.
        """
        chosen = [tuple(0 for _ in reader.tensor.menus) for reader in self.readers]
        if 16 * len(importance) * sum(own.size for own in self.tensors()) > _BATCH_BYTES:
            return tuple(chosen)
        for some, source, gradient in self._gradients(self.tensors()):
            reader = self.readers[source]
            noise = np.maximum(1 - self._table(source) ** 2, 0)
            for place in [*range(len(reader.tensor.menus))] * _SWEEPS:
                ways = [
                    (*chosen[source][:place], recipe, *chosen[source][place + 1 :])
                    for recipe in range(len(reader.tensor.menus[place].recipes))
                ]
                if len(ways) > 1:
                    chosen[source] = min(
                        ways,
                        key=lambda way: reader.cost(gradient, way, importance[some], noise),
                    )
        return tuple(chosen)

    def _table(self, source: int) -> Reals:
        """Return the readings of a source, as far as they are known."""
        return np.asarray(self._average([tables[source] for tables in self._tables]))

    def _average(self, found: Sequence[Any]) -> Any:
        """Average what the rounds gave."""
        total = self._weights()[0] * found[0]
        for weight, own in zip(self._weights()[1:], found[1:], strict=True):
            total = total + weight * own
        return total

    def _weights(self) -> list[float]:
        total = sum(own.weight for own in self.rounds)
        return [own.weight / total for own in self.rounds]

    def _shares(self, source: int) -> Iterator[Reals]:
        for own in self.rounds:
            yield self.readers[source].shares(own.counts[source].shots)

    def _pooled(self, source: int, variant: int) -> tuple[Outcomes, Reals]:
        """Return a variant's outcomes of all rounds."""
        parts = [own.counts[source].of(variant) for own in self.rounds]
        times = np.concatenate([own for _, own in parts])
        return np.concatenate([own for own, _ in parts]), times.astype(float)

    def _gradients(
        self, tensors: Sequence[Tensor]
    ) -> Iterator[tuple[NDArray[np.intp], int, Tensor]]:
        """Yield some observables, a source, and their gradients by the source's tensor."""
        spread = self.sources.spread(tensors)
        size = sum(16 * tensor.size for tensor in tensors)
        batch = max(1, _BATCH_BYTES // max(size, 1))
        observables = np.arange(self.reconstruction.parts.num_observables)
        for start in range(0, len(observables), batch):
            some = observables[start : start + batch]
            found: dict[int, Tensor] = {}
            for subcircuit, rows, gradient in self.reconstruction.gradients(spread, some):
                source = self.sources.uses[subcircuit]
                assert source is not None, "only what is sampled is contracted"
                own = found.setdefault(
                    source, np.zeros((len(some), *tensors[source].shape), dtype=complex)
                )
                own[np.ix_(rows, self.sources.places[subcircuit])] += gradient
            for source, gradient in sorted(found.items()):
                yield some, source, gradient


def _share(ratio: Reals) -> Reals:
    """Return the part of a variance that is not counted twice.

    Args:
        ratio: How many times it is as large with gradients whose errors' squares are doubled: 1
            if those don't matter, 2^(k - 1) where k subcircuits' errors always come together.
    """
    linear = 1 - (np.minimum(ratio, 2.0) - 1) / 2  # one and two together, in any proportion
    return np.where(ratio <= 2, linear, 1 / (1 + np.log2(ratio)))


def _variance(scores: Reals, times: Reals, square: Reals, supposed: float) -> Reals:
    """Estimate the variance of the score of one shot.

    A few more shots are supposed, of which nothing is known: outcomes that did not come may be
    rare, they are not impossible, and what is measured a few times is never certain.

    Args:
        scores: Score of each outcome, shape (outcomes, observables).
        times: How often each came.
        square: Mean square of the scores if all outcomes were as likely, shape (observables,).
        supposed: Number of supposed shots.
    """
    shots = float(times.sum())
    if not shots:
        return square
    mean = times @ scores / shots
    spread = np.maximum(times @ (scores - mean) ** 2, 0)
    return np.asarray((spread + supposed * square) / (shots - 1 + supposed))
