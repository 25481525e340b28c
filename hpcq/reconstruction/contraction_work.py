"""The cost of a contraction, predicted without tensors."""

from __future__ import annotations

from dataclasses import dataclass

from hpcq.reconstruction.network import as_float
from hpcq.reconstruction.sweep_plan import SweepPlan


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


def work_of(sweep_plan: SweepPlan, num_terms: int) -> ContractionWork:
    """Return the cost of a contraction of this many terms, from the plan of its first batch."""
    network = sweep_plan.network
    if not network.linked:
        return ContractionWork(0.0, 0.0, len(network.legs), 0.0)
    environment_nodes, num_leaves = sweep_plan.environment_nodes, len(network.linked)
    flops, entries, products = 0.0, 0.0, 0
    rows = list(map(len, sweep_plan.pairs))
    for leaf, number in enumerate(network.linked):
        size = as_float(network.size(network.legs[number]))
        entries += len(sweep_plan.local_terms[leaf].pairs) * size
        products += leaf in environment_nodes
    for number, (step, step_flops) in enumerate(zip(network.steps, network.flops, strict=True)):
        legs = (step.left_only, step.shared, step.right_only)
        left, shared, right = (as_float(network.size(bonds)) for bonds in legs)
        pairs = sweep_plan.pairs[num_leaves + number]
        local_pairs = sweep_plan.local_terms[num_leaves + number].pairs
        of_left, of_right = step.left in environment_nodes, step.right in environment_nodes
        # Computed: rows (then stored), environments, halves of terms. Copied: layouts as matrices,
        # which environments read once more.
        flops += step_flops * (len(pairs) + of_left + of_right + len(local_pairs.groups))
        entries += 2 * len(pairs) * left * right + shared * (of_left * left + of_right * right)
        layout_entries = shared * (rows[step.left] * left + rows[step.right] * right)
        entries += layout_entries * (1 + (num_leaves + number in environment_nodes))
        entries += len(local_pairs) * shared * min(left, right)
        products += len(pairs.groups) + of_left + of_right + 2 * len(local_pairs.groups)
    batches = num_terms / sweep_plan.num_terms
    sweeps = network.num_slices * batches
    return ContractionWork(
        flops * batches,
        entries * sweeps,
        len(network.steps) * sweeps + len(network.legs),
        products * sweeps,
    )
