"""The most probable outcomes, with what is certain about them.

Four methods, in this order, until one can show that its list is the right one:

* all probabilities, where the measured qubits are few enough;
* inner products, where the sites can be divided into two parts whose outcomes can be listed;
* best first, which is quick where the distribution is peaked;
* samples, whose exact probabilities show that the list is right if the probability of everything
  else is below that of the last outcome. Otherwise they bound the probability of a missed outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.packed_bits import num_bytes, set_values
from hpcq.core.errors import MemoryLimitError
from hpcq.core.limits import as_integer
from hpcq.reconstruction.outcomes.best_first import MAX_NODES, BestFirst, best_first_bytes
from hpcq.reconstruction.outcomes.candidates import Candidates, joined
from hpcq.reconstruction.outcomes.canonical_chain import (
    CanonicalChain,
    chain_bytes,
    sides_bytes,
    sides_of,
)
from hpcq.reconstruction.outcomes.distribution import MAX_MARGINAL_QUBITS, Distribution
from hpcq.reconstruction.outcomes.inner_products import MAX_PAIRS, largest_products
from hpcq.reconstruction.outcomes.order import sampling_order

Packed = NDArray[np.uint8]

_MAX_LISTED_QUBITS = 20
"""Qubits of several sites up to which all probabilities are computed before anything else is tried.
"""

_ROUNDING = 1e-9
"""Relative difference below which two probabilities are taken to be equal."""

_SUM_ROUNDING = 1e-12
"""Absolute rounding error of a sum of probabilities."""

_IMPOSSIBLE = 1e-28, 1e-14
"""Fraction of the largest probability below which one is a rounding error: of squared amplitudes,
and of sums of numbers of either sign."""


@dataclass(frozen=True, eq=False)
class TopOutcomes:
    """The most probable outcomes that were found.

    Attributes:
        outcomes: Packed outcomes in descending order of probability, uint8, shape (n, bytes). There
            are fewer than asked for if all others are impossible within rounding errors, or if
            fewer were found.
        probabilities: Their exact probabilities, shape (n,).
        method: ``all probabilities``, ``inner products``, ``best first`` or ``samples``.
        others: No other outcome is more probable than this.
        samples: Number of samples from which outcomes were taken; 0 if none were needed.
    """

    outcomes: Packed
    probabilities: NDArray[np.float64]
    method: str
    others: float
    samples: int = 0

    @property
    def is_exact(self) -> bool:
        """Whether no other outcome is more probable than one of these; equal ones may exist."""
        if not len(self.probabilities):
            return False
        return self.others <= float(self.probabilities[-1]) * (1 + _ROUNDING)

    @property
    def missed_probability(self) -> float:
        """Bound on the probability that one outcome, as probable as the last, was missed.

        It holds for each outcome separately: N samples miss one of probability p with probability
        ``(1 - p)**N``. 0 if the list is exact.
        """
        if self.is_exact:
            return 0.0
        if not len(self.probabilities):
            return 1.0
        return float((1 - min(1.0, self.probabilities[-1])) ** self.samples)


def top_outcomes(
    distribution: Distribution,
    number: int,
    qubits: Sequence[int] | None = None,
    draw: Callable[[], Packed] | None = None,
    *,
    max_pairs: int = MAX_PAIRS,
    max_nodes: int = MAX_NODES,
) -> TopOutcomes:
    """Return the most probable outcomes.

    Args:
        distribution: The distribution.
        number: How many, at least 1.
        qubits: The qubits that are measured; None for all. Bits of others are 0 in the outcomes.
        draw: Returns packed outcomes of all qubits, or of those that are measured, drawn from the
            distribution, with repetitions. It is called if nothing else succeeds. Without it, the
            best of what was found is returned.
        max_pairs: Number of inner products after which these are given up.
        max_nodes: Number of nodes after which the search by best first is given up.
    """
    as_integer(number, "number", 1)
    measured = distribution.network.qubits if qubits is None else tuple(qubits)
    is_partial = not set(measured) >= set(distribution.network.qubits)
    attempts: list[tuple[str, Candidates]] = []
    is_divided = not is_partial and len(distribution.network.sites) > 1
    limit = _MAX_LISTED_QUBITS if is_divided else MAX_MARGINAL_QUBITS
    listed = None
    if len(measured) <= limit:
        listed = _all_probabilities(distribution, measured, _IMPOSSIBLE[is_partial])
    if listed is not None:
        attempts.append(("all probabilities", listed))
    elif not is_partial:
        for method, found in _searches(distribution, number, max_pairs, max_nodes):
            attempts.append((method, found))
            if _answer(attempts, number).is_exact:
                break
    answer = _answer(attempts, number) if attempts else None
    if answer is not None and (answer.is_exact or draw is None):
        return answer
    if draw is None:
        empty = np.empty((0, num_bytes(distribution.network.num_qubits)), dtype=np.uint8)
        return TopOutcomes(empty, np.empty(0), "samples", 1.0)
    samples = draw()
    attempts.append(("samples", _seen(distribution, samples, measured, is_partial)))
    return replace(_answer(attempts, number), samples=len(samples))


def _answer(attempts: Sequence[tuple[str, Candidates]], number: int) -> TopOutcomes:
    """Return what several methods have found together; the last one gives its name."""
    best = joined([found for _, found in attempts]).best(number)
    return TopOutcomes(best.outcomes, best.probabilities, attempts[-1][0], best.others)


def _all_probabilities(
    distribution: Distribution, qubits: Sequence[int], impossible: float
) -> Candidates | None:
    """Return all outcomes that are possible; None if they do not fit into the memory.

    Those far less probable than the most probable one are rounding errors, and left out.
    """
    try:
        probabilities = distribution.marginal(qubits)
    except MemoryLimitError:
        return None
    others = impossible * float(probabilities.max())
    possible = np.flatnonzero(probabilities > others)
    shape = len(possible), num_bytes(distribution.network.num_qubits)
    outcomes = np.zeros(shape, dtype=np.uint8)
    set_values(outcomes, qubits, possible)
    return Candidates(outcomes, probabilities[possible], others)


def _searches(
    distribution: Distribution, number: int, max_pairs: int, max_nodes: int
) -> Iterator[tuple[str, Candidates]]:
    """Yield what the two searches find that need the network as a chain, if it fits."""
    network, memory = distribution.network, distribution.memory_bytes
    steps = sampling_order(network)
    needed = chain_bytes(network, steps)
    if needed > memory:
        return
    chain = CanonicalChain.of(network, steps)
    cuts = range(1, len(chain.sites))
    cut = min(cuts, key=lambda cut: sides_bytes(chain, cut), default=0)
    if cut and needed + sides_bytes(chain, cut) <= memory:
        yield "inner products", _by_products(chain, cut, number, max_pairs)
    if needed + best_first_bytes(chain) <= memory:
        yield "best first", BestFirst(chain, number, max_nodes).search()


def _by_products(chain: CanonicalChain, cut: int, number: int, max_pairs: int) -> Candidates:
    left, right = sides_of(chain, cut)
    found = largest_products(left, right, number, max_pairs)
    columns: list[NDArray[np.intp]] = []
    for indices, sites in ((found.left, chain.sites[:cut]), (found.right, chain.sites[cut:])):
        sizes = [1 << len(site.qubits) for site in sites]
        columns += np.unravel_index(indices, sizes)
    return Candidates(chain.pack(columns), found.squares, found.others)


def _seen(
    distribution: Distribution, samples: Packed, qubits: Sequence[int], is_partial: bool
) -> Candidates:
    """Return the distinct outcomes of samples; others have at most the probability that is left."""
    if is_partial:
        mask = np.zeros((1, samples.shape[1]), dtype=np.uint8)
        set_values(mask, qubits, np.full(1, -1, dtype=np.int64))
        samples = samples & mask
    rows = np.ascontiguousarray(samples).view(f"V{samples.shape[1]}").reshape(-1)
    distinct = np.unique(rows).view(np.uint8).reshape(-1, samples.shape[1])
    probabilities = distribution.probabilities(distinct, qubits if is_partial else None)
    others = max(0.0, 1 - float(probabilities.sum())) + _SUM_ROUNDING
    return Candidates(distinct, probabilities, others)
