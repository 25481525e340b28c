"""The predicted cost of exact answers about outcomes: bytes and seconds.

Only the shape of a network matters here, so that all of this is known before anything is simulated:
a network that keeps no states is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpcq.core.limits import COMPLEX_BYTES
from hpcq.reconstruction.outcomes.best_first import MAX_NODES
from hpcq.reconstruction.outcomes.canonical_chain import chain_bytes, chain_flops
from hpcq.reconstruction.outcomes.distribution import (
    AMPLITUDES,
    DENSITIES,
    MAX_BATCH,
    Distribution,
)
from hpcq.reconstruction.outcomes.marginals import REAL_BYTES, MarginalPlan
from hpcq.reconstruction.outcomes.order import sampling_order
from hpcq.reconstruction.outcomes.sites import SiteNetwork

_FLOPS = 3e9
"""Floating-point operations per second of one thread. Measured with ten sites of ten qubits: 2e9
for amplitudes, 3e9 for marginals, 8e9 for chains."""

_SITE_SECONDS = 2e-7
"""Seconds of an outcome and a site besides products: finding the distinct outcomes."""

_CALL_SECONDS = 2e-4
"""Seconds of a site in each call: copies, and the search for an order."""

_TYPICAL_PAIRS = 1 << 22
"""Inner products until no other can be larger. Measured with random states of 24 to 40 qubits and
bonds of dimension 8 and 16: 1.3e5 to 3.2e6."""

_NODE_SECONDS = 4e-5
"""Seconds of a node of the search by best first, with bonds of dimension 8."""


@dataclass(frozen=True)
class AnswerCost:
    """Predicted cost of an answer on one thread, without the simulation of subcircuits.

    Attributes:
        seconds: Seconds; of a search by inner products those of random states, and of one by best
            first those until it gives up.
        memory_bytes: Bytes besides the network's states and the answer.
    """

    seconds: float
    memory_bytes: int


def amplitudes_cost(
    network: SiteNetwork, outcomes: int, memory_bytes: int, qubits: Sequence[int] | None = None
) -> AnswerCost:
    """Return the cost of amplitudes or probabilities of given outcomes.

    Args:
        network: The network, whose states need not be known.
        outcomes: Number of outcomes.
        memory_bytes: Bytes that may be taken.
        qubits: The qubits that are measured; None for all.

    Raises:
        MemoryLimitError: If a single outcome does not fit.
    """
    distribution = Distribution(network, memory_bytes)
    chosen = set(network.qubits if qubits is None else qubits)
    summed = [qubit for qubit in network.qubits if qubit not in chosen]
    is_partial = bool(summed) and not distribution.sums_amplitudes(summed)
    contraction = distribution.contraction_of(DENSITIES if is_partial else AMPLITUDES)
    amplitudes = outcomes if is_partial else outcomes << len(summed)
    flops = (2.0 if is_partial else 8.0) * contraction.products * amplitudes
    if is_partial:
        for site in network.sites:
            inside = sum(qubit not in chosen for qubit in site.qubits)
            distinct = min(outcomes, site.num_outcomes >> inside)
            flops += 8.0 * site.num_states**2 * distinct * 2.0**inside
    seconds = flops / _FLOPS + len(network.sites) * (_CALL_SECONDS + _SITE_SECONDS * amplitudes)
    batch = min(outcomes, MAX_BATCH, 1 << len(chosen))
    needed = (REAL_BYTES if is_partial else COMPLEX_BYTES) * contraction.row_entries * batch
    return AnswerCost(seconds, min(memory_bytes, needed))


def marginal_cost(network: SiteNetwork, qubits: Sequence[int], memory_bytes: int) -> AnswerCost:
    """Return the cost of a marginal.

    Raises:
        MemoryLimitError: If it does not fit.
    """
    plan = MarginalPlan.within(network, qubits, memory_bytes)
    seconds = plan.flops / _FLOPS + len(network.sites) * _CALL_SECONDS * plan.num_parts
    return AnswerCost(seconds, plan.num_bytes)


def top_cost(network: SiteNetwork, memory_bytes: int) -> AnswerCost:
    """Return the cost of the most probable outcomes of all qubits, samples not counted."""
    steps = sampling_order(network)
    needed = chain_bytes(network, steps)
    if needed > memory_bytes:
        return AnswerCost(0.0, 0)
    seconds = chain_flops(network, steps) / _FLOPS
    widest = max((step.size(step.frontier) for step in steps), default=1)
    bits = [len(network.sites[step.site].qubits) for step in steps]
    splits = [(1 << sum(bits[:cut])) + (1 << sum(bits[cut:])) for cut in range(1, len(bits))]
    sides = 3 * COMPLEX_BYTES * min(splits, default=0) * widest
    if splits and needed + sides <= memory_bytes:
        pairs = min(_TYPICAL_PAIRS, 1 << sum(bits))
        rows = min(splits) * widest
        return AnswerCost(seconds + 8.0 * widest * (pairs + 3 * rows) / _FLOPS, needed + sides)
    return AnswerCost(seconds + MAX_NODES * _NODE_SECONDS, needed)
