"""The cost of a contraction, predicted without tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcq.reconstruction.network import Network, as_float
from hpcq.reconstruction.sweep import Indices, SweepPlan
from hpcq.reconstruction.term_table import TermTable

_MAX_BATCH_TERMS = 4096
"""Terms of a batch, at most. Larger: fewer sweeps, but fewer parts for the ranks."""


@dataclass(frozen=True)
class ContractionWork:
    """The predicted cost of a contraction.

    Attributes:
        flops: Real floating-point operations.
        entries: Complex numbers that are computed or copied.
        steps: Contractions of two nodes, and tensors turned into bond tensors.
        products: Matrix products within the steps, however small.
    """

    flops: float
    entries: float
    steps: float
    products: float


def predicted_work(network: Network, terms: TermTable, memory_bytes: int) -> ContractionWork:
    """Predict the cost of a contraction within so much memory, from its first batch of terms."""
    return work_of(network, terms, batch_size(network, memory_bytes))


def work_of(network: Network, terms: TermTable, batch: int) -> ContractionWork:
    """Return the cost of a contraction with this many terms per batch, from its first batch."""
    if not network.linked:
        return ContractionWork(0.0, 0.0, len(network.legs), 0.0)
    total = len(terms.picks)
    batch_terms = min(total, batch)
    sweep_plan = SweepPlan(network, terms.choices(0, batch_terms))
    environment_nodes, num_leaves = sweep_plan.environment_nodes, len(network.linked)
    flops, entries, products = 0.0, 0.0, 0
    rows = [len(used) for used in sweep_plan.leaf_strings] + [
        len(row_pairs) for row_pairs in sweep_plan.row_pairs
    ]
    for leaf, number in enumerate(network.linked):
        entries += len(sweep_plan.local_terms[leaf].row_pairs) * as_float(
            network.size(network.legs[number])
        )
        products += leaf in environment_nodes
    for number, (step, step_flops) in enumerate(zip(network.steps, network.flops, strict=True)):
        legs = (step.left_only, step.shared, step.right_only)
        left, shared, right = (as_float(network.size(bonds)) for bonds in legs)
        pairs, local_pairs = (
            sweep_plan.row_pairs[number],
            sweep_plan.local_terms[num_leaves + number].row_pairs,
        )
        environment_entries = (step.left in environment_nodes) * left + (
            step.right in environment_nodes
        ) * right
        num_environments = (step.left in environment_nodes) + (step.right in environment_nodes)
        # Computed: rows (then stored), environments, halves of terms. Copied: layouts as matrices.
        flops += step_flops * (len(pairs) + num_environments + _num_products(local_pairs))
        entries += 2 * len(pairs) * left * right + shared * environment_entries
        layout_entries = shared * (rows[step.left] * left + rows[step.right] * right)
        entries += layout_entries * (1 + (num_leaves + number in environment_nodes))
        entries += len(local_pairs) * shared * min(left, right)
        products += _num_products(pairs) + num_environments + 2 * _num_products(local_pairs)
    batches = total / batch_terms
    sweeps = network.num_slices * batches
    return ContractionWork(
        flops * batches,
        entries * sweeps,
        len(network.steps) * sweeps + len(network.legs),
        products * sweeps,
    )


def batch_size(network: Network, memory_bytes: int) -> int:
    """Return the number of terms whose intermediate tensors fit into the memory."""
    return int(np.clip(memory_bytes // (4 * network.largest_bytes), 1, _MAX_BATCH_TERMS))


def _num_products(pairs: Indices) -> int:
    """Return the number of matrix products that contract the pairs of rows."""
    return min(len(np.unique(pairs[:, side])) for side in (0, 1))
