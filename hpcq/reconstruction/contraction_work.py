"""How much work a contraction is, predicted without a tensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcq.reconstruction.network import Network, as_float
from hpcq.reconstruction.sweep import Indices, SweepPlan
from hpcq.reconstruction.term_table import TermTable

_TERMS_AT_ONCE = 4096


@dataclass(frozen=True)
class ContractionWork:
    """What a contraction amounts to.

    Attributes:
        flops: Real floating-point operations.
        entries: Numbers that are computed or copied.
        steps: Contractions of two nodes, and tensors brought into shape.
        products: Matrix products within these, however small.
    """

    flops: float
    entries: float
    steps: float
    products: float


def predicted_work(network: Network, terms: TermTable, memory_bytes: int) -> ContractionWork:
    """Predict what the contraction does within so much memory, from its first batch of terms."""
    return work_of(network, terms, batch_size(network, memory_bytes))


def work_of(network: Network, terms: TermTable, batch: int) -> ContractionWork:
    """Predict what the contraction does with so many terms at once, from its first batch."""
    if not network.linked:
        return ContractionWork(0.0, 0.0, len(network.legs), 0.0)
    total = len(terms.picks)
    sample = min(total, batch)
    itinerary = SweepPlan(network, terms.choices(0, sample))
    needed, first = itinerary.needed, len(network.linked)
    flops, entries, products = 0.0, 0.0, 0
    rows = [len(used) for used in itinerary.used] + [len(own) for own in itinerary.pairs]
    for leaf, number in enumerate(network.linked):
        entries += len(itinerary.at_home[leaf].pairs) * as_float(network.size(network.legs[number]))
        products += leaf in needed
    for number, (step, each) in enumerate(zip(network.steps, network.flops, strict=True)):
        legs = (step.left_only, step.shared, step.right_only)
        left, shared, right = (as_float(network.size(own)) for own in legs)
        pairs, at_home = itinerary.pairs[number], itinerary.at_home[first + number].pairs
        ways_down = (step.left in needed) * left + (step.right in needed) * right
        down = (step.left in needed) + (step.right in needed)
        # Computed: rows (then put in place), environments, halves of terms. Copied: the layout.
        flops += each * (len(pairs) + down + _groups(at_home))
        entries += 2 * len(pairs) * left * right + shared * ways_down
        laid_out = shared * (rows[step.left] * left + rows[step.right] * right)
        entries += laid_out * (1 + (first + number in needed))
        entries += len(at_home) * shared * min(left, right)
        products += _groups(pairs) + down + 2 * _groups(at_home)
    batches = total / sample
    sweeps = network.num_slices * batches
    return ContractionWork(
        flops * batches,
        entries * sweeps,
        len(network.steps) * sweeps + len(network.legs),
        products * sweeps,
    )


def batch_size(network: Network, memory_bytes: int) -> int:
    """Return the number of terms whose intermediates fit into the memory."""
    return int(np.clip(memory_bytes // (4 * network.largest_bytes), 1, _TERMS_AT_ONCE))


def _groups(pairs: Indices) -> int:
    """Number of products in which the pairs of rows can be taken."""
    return min(len(np.unique(pairs[:, side])) for side in (0, 1))
