"""The predicted cost of samples, in bytes and seconds, and the depth of trees that it allows.

Only the shape of a network matters here, so that all of this is known before anything is simulated:
a network that keeps no states is enough.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hpcq.core.limits import COMPLEX_BYTES
from hpcq.reconstruction.network import as_float
from hpcq.reconstruction.outcomes.contraction_sampler import check_grams
from hpcq.reconstruction.outcomes.distribution import DENSITIES, Distribution
from hpcq.reconstruction.outcomes.environments import environment_bytes
from hpcq.reconstruction.outcomes.order import Step, sampling_order
from hpcq.reconstruction.outcomes.prefix_tree import tree_bytes
from hpcq.reconstruction.outcomes.sites import Site, SiteNetwork
from hpcq.reconstruction.outcomes.step_work import StepShape

CHUNK_SHOTS = 1 << 16
"""Shots of a chunk. More: prefixes are shared by larger products; fewer: less is drawn again after
a restart."""

_TREE_SHARE = 0.75
"""Fraction of the memory for trees."""

_AMPLITUDES_SHARE = 0.1
"""Fraction of the memory for amplitudes over bonds, which samples need not compute from states
then. Measured with 10 x 10 qubits and D = 8: 16 µs per shot with them, 18 without."""

_WORK_BYTES = 64 << 20
"""Bytes of temporary arrays, however small the network is."""

_FLOPS = 3e9
"""Floating-point operations per second of one thread, measured on these small products."""

_NODE_SECONDS = 8e-7
"""Seconds per shot and site besides products. With it, predicted and measured µs per shot, at
D = 8: 3.8 and 1.5 with 3 x 8 qubits, 16 and 14 with 10 x 10, 5.3 and 5.4 with 2 x 20."""


_NO_STATES = np.empty((0, 0), dtype=complex)
"""Stands for states that will be kept, when costs are predicted."""


@dataclass(frozen=True)
class SamplingCost:
    """Predicted cost of samples on one thread, without the simulation of subcircuits.

    Attributes:
        setup_seconds: Seconds to compute environments and trees.
        shot_seconds: Seconds of a shot; less where many shots have equal outcomes.
        memory_bytes: Bytes of tables and shots, besides the network's states.
    """

    setup_seconds: float
    shot_seconds: float
    memory_bytes: int


def sampling_cost(
    network: SiteNetwork, memory_bytes: int, kept: Collection[int] = ()
) -> SamplingCost:
    """Return the cost of samples of a network, whose states need not be known.

    Args:
        network: The network.
        memory_bytes: Bytes that tables and shots may take, besides states.
        kept: Numbers of the tensors whose states will be kept, besides those that the network has.

    Raises:
        MemoryLimitError: If samples do not fit.
    """
    network = replace(
        network,
        states=tuple(
            _NO_STATES if states is None and number in kept else states
            for number, states in enumerate(network.states)
        ),
    )
    steps = sampling_order(network)
    if environment_bytes(steps) > memory_bytes:
        return _contraction_cost(network, memory_bytes)
    bits = depths_of_trees(network, steps, memory_bytes)
    setup, shot, tables = 0.0, 0.0, 0
    for step, depth in zip(steps, bits, strict=True):
        shape = shape_of(network, step)
        gammas = shape.closed**2 * shape.opened**2 * shape.passed**2
        setup += (shape.table_work(depth) + 8 * gammas) / _FLOPS
        shot += shape.shot_work(depth) / _FLOPS + _NODE_SECONDS
        tables += tree_bytes(tree_dimension(step), depth)
    stored = stored_amplitudes(network, steps, memory_bytes)
    tables += sum(_amplitude_bytes(network.sites[steps[number].site]) for number in stored)
    total = environment_bytes(steps) + tables + _shots_bytes(network, steps, bits)
    return SamplingCost(setup, shot, total)


def _contraction_cost(network: SiteNetwork, memory_bytes: int) -> SamplingCost:
    """Return the cost of samples by contractions, a network for each shot and site."""
    check_grams(network, memory_bytes)
    closed = Distribution(network, memory_bytes).contraction_of(DENSITIES)
    # Without one of the sites the contraction takes about as long as with it.
    shot = len(network.sites) * (2 * closed.products / _FLOPS + _NODE_SECONDS)
    grams = sum(8.0 * site.num_states**2 * 2.0 ** len(site.qubits) for site in network.sites)
    return SamplingCost(grams / _FLOPS, shot, memory_bytes)


def tree_dimension(step: Step) -> int:
    """Return the dimension D of the Gram matrices in the tree of a step."""
    return step.closed_size * (step.opened_size if step.passed_size > 1 else 1)


def shape_of(network: SiteNetwork, step: Step) -> StepShape:
    """Return the dimensions that the work of a step depends on."""
    sizes = [as_float(size) for size in (step.closed_size, step.passed_size, step.opened_size)]
    return StepShape(sizes[0], sizes[1], sizes[2], len(network.sites[step.site].qubits))


def depths_of_trees(
    network: SiteNetwork, steps: Sequence[Step], memory_bytes: int
) -> tuple[int, ...]:
    """Return the number of bits of the tree of each step: those of the least work that fit.

    The environments must fit into the memory.
    """
    needed = environment_bytes(steps)
    available = int(_TREE_SHARE * (memory_bytes - needed))
    dimensions = [tree_dimension(step) for step in steps]
    bits = [shape_of(network, step).best_bits for step in steps]
    sizes = [tree_bytes(*each) for each in zip(dimensions, bits, strict=True)]
    while sum(sizes) > available:
        largest = max(range(len(sizes)), key=sizes.__getitem__)
        bits[largest] -= 1
        sizes[largest] = tree_bytes(dimensions[largest], bits[largest])
    return tuple(bits)


def stored_amplitudes(
    network: SiteNetwork, steps: Sequence[Step], memory_bytes: int
) -> frozenset[int]:
    """Return the numbers of the steps whose amplitudes over bonds are stored: the smallest."""
    left = _AMPLITUDES_SHARE * (memory_bytes - environment_bytes(steps))
    sites = [network.sites[step.site] for step in steps]
    found = []
    for number in sorted(range(len(steps)), key=lambda k: (_amplitude_bytes(sites[k]), k)):
        left -= _amplitude_bytes(sites[number])
        if left < 0:
            break
        if network.is_kept(steps[number].site):
            found.append(number)
    return frozenset(found)


def _amplitude_bytes(site: Site) -> int:
    return COMPLEX_BYTES * site.dimension * site.num_outcomes


def chunks_together(
    network: SiteNetwork, steps: Sequence[Step], bits: Sequence[int], memory_bytes: int
) -> int:
    """Return the number of chunks that are drawn together where states are not kept."""
    if all(network.is_kept(step.site) for step in steps):
        return 1
    share = 1 - _TREE_SHARE - _AMPLITUDES_SHARE
    available = share * (memory_bytes - environment_bytes(steps)) - _WORK_BYTES
    return max(1, int(available // _chunk_bytes(network, steps, bits)))


def _shots_bytes(network: SiteNetwork, steps: Sequence[Step], bits: Sequence[int]) -> int:
    return _WORK_BYTES + _chunk_bytes(network, steps, bits)


def _chunk_bytes(network: SiteNetwork, steps: Sequence[Step], bits: Sequence[int]) -> int:
    """Return the bytes of the vectors of a chunk, leaves included where states are not kept."""
    largest = 1
    for step, depth in zip(steps, bits, strict=True):
        leaf_bits = len(network.sites[step.site].qubits) - depth
        leaves = 1 if network.is_kept(step.site) else 1 << leaf_bits
        largest = max(largest, step.passed_size * step.opened_size * (leaves + 2))
    return COMPLEX_BYTES * largest * CHUNK_SHOTS
