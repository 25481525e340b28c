"""What samples take: bytes, seconds, and the depth of trees that follows from them.

Only the shape of a network matters here, so that all of this is known before anything is simulated:
a network that keeps no states is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpcq.core.errors import MemoryLimitError
from hpcq.core.limits import COMPLEX_BYTES
from hpcq.core.system import format_bytes
from hpcq.reconstruction.outcomes.environments import environment_bytes
from hpcq.reconstruction.outcomes.order import Step, sampling_order, step_work
from hpcq.reconstruction.outcomes.prefix_tree import tree_bytes
from hpcq.reconstruction.outcomes.sites import SiteNetwork

CHUNK_SHOTS = 1 << 16
"""Shots of a chunk. More share prefixes in larger products, fewer are quicker to do again."""

_LEAF_BITS = 5
"""Bits that amplitudes decide where a tree of all bits does not fit. Measured with 2 x 18 qubits
and D = 8, at 0, 2, 4, 5 and 7 bits: 9, 29, 15, 11 and 15 µs a shot."""

_TREE_SHARE = 0.75
"""Share of the memory for trees; the rest is for shots."""

_WORK_BYTES = 64 << 20
"""Bytes of temporary arrays, however small the network is."""

_FLOPS = 3e9
"""Floating-point operations a second of one thread on these small products, measured."""

_NODE_SECONDS = 2e-7
"""Seconds of a shot and a site besides products, measured with 10 sites of 10 qubits."""


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


def sampling_cost(network: SiteNetwork, memory_bytes: int) -> SamplingCost:
    """Return the cost of samples of a network, whose states need not be known.

    Args:
        network: The network.
        memory_bytes: Bytes that tables and shots may take, besides states.

    Raises:
        MemoryLimitError: If the smallest tables do not fit.
    """
    steps = sampling_order(network)
    bits = depths_of_trees(network, steps, memory_bytes)
    setup, shot, trees = 0.0, 0.0, 0
    for step, depth in zip(steps, bits, strict=True):
        qubits = len(network.sites[step.site].qubits)
        sizes = step.closed_size, step.passed_size, step.opened_size
        dimension = tree_dimension(step)
        absorbed = step.opened_size if step.passed_size == 1 else 1
        setup += 8 * dimension**2 * absorbed * 2.0**qubits / _FLOPS
        setup += 8 * (sizes[0] * sizes[1] * sizes[2]) ** 2 / _FLOPS
        leaves = 8 * sizes[0] * sizes[1] * sizes[2] * (1 << (qubits - depth))
        shot += (
            step_work(sizes[0], sizes[1], sizes[2], 0) + 2 * depth * dimension**2 + leaves
        ) / _FLOPS
        shot += _NODE_SECONDS
        trees += tree_bytes(dimension, depth)
    total = environment_bytes(steps) + trees + _shots_bytes(network, steps, bits)
    return SamplingCost(setup, shot, total)


def tree_dimension(step: Step) -> int:
    """Return the dimension D of the Gram matrices in the tree of a step."""
    return step.closed_size * (step.opened_size if step.passed_size > 1 else 1)


def depths_of_trees(
    network: SiteNetwork, steps: Sequence[Step], memory_bytes: int
) -> tuple[int, ...]:
    """Return the number of bits of the tree of each step.

    All bits, smallest trees first, where memory allows; else all but 5; else as many as fit.

    Raises:
        MemoryLimitError: If trees without any bits do not fit.
    """
    available = int(_TREE_SHARE * (memory_bytes - environment_bytes(steps)))
    qubits = [len(network.sites[step.site].qubits) for step in steps]
    dimensions = [tree_dimension(step) for step in steps]
    bits = [max(0, number - _LEAF_BITS) for number in qubits]
    sizes = [tree_bytes(*each) for each in zip(dimensions, bits, strict=True)]
    while sum(sizes) > available:
        largest = max(range(len(sizes)), key=lambda k: sizes[k] if bits[k] else 0)
        if not bits[largest]:
            raise MemoryLimitError(
                f"memory: tables of samples need {format_bytes(sum(sizes))}, a rank has "
                f"{format_bytes(max(0, available))} for them; expected fewer cuts between "
                "subcircuits, or more memory"
            )
        bits[largest] -= 1
        sizes[largest] = tree_bytes(dimensions[largest], bits[largest])
    left = available - sum(sizes)
    for step in sorted(range(len(steps)), key=lambda k: (sizes[k], k)):
        full = tree_bytes(dimensions[step], qubits[step])
        if full - sizes[step] <= left:
            left -= full - sizes[step]
            bits[step] = qubits[step]
    return tuple(bits)


def chunks_together(
    network: SiteNetwork, steps: Sequence[Step], bits: Sequence[int], memory_bytes: int
) -> int:
    """Return the number of chunks that are drawn together where states are not kept."""
    if all(network.is_kept(step.site) for step in steps):
        return 1
    available = (1 - _TREE_SHARE) * (memory_bytes - environment_bytes(steps)) - _WORK_BYTES
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
