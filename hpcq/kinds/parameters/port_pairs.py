"""Tensors of operators in two forms: matrices over all ports, and index pairs port by port.

Engines return the first form, ket and bra index of all ports that share no ancilla with an earlier
one. :class:`~hpcq.reconstruction.tensor_nodes.TensorNode` takes the second, an axis of the pairs
(k, l) as k * d + l for each of these ports.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpcq.cutting.subcircuits import Port

Tensor = NDArray[np.complex128]


def as_pairs(matrices: Tensor, ports: Sequence[Port]) -> Tensor:
    """Return matrices, shape (..., D, D), as tensors, shape (..., index pairs of each port)."""
    dimensions = _dimensions(ports)
    count, lead = len(dimensions), matrices.ndim - 2
    split = matrices.reshape(*matrices.shape[:lead], *dimensions, *dimensions)
    pairs = (lead + side * count + port for port in range(count) for side in (0, 1))
    turned = split.transpose(*range(lead), *pairs)
    return turned.reshape(*matrices.shape[:lead], *(size**2 for size in dimensions))


def as_matrices(tensors: Tensor, ports: Sequence[Port]) -> Tensor:
    """Return tensors as matrices; the inverse of :func:`as_pairs`."""
    dimensions = _dimensions(ports)
    count = len(dimensions)
    lead = tensors.ndim - count
    sizes = (size for size in dimensions for _ in (0, 1))
    split = tensors.reshape(*tensors.shape[:lead], *sizes)
    sides = (lead + 2 * port + side for side in (0, 1) for port in range(count))
    size = int(np.prod(dimensions, dtype=int))
    return split.transpose(*range(lead), *sides).reshape(*tensors.shape[:lead], size, size)


def _dimensions(ports: Sequence[Port]) -> list[int]:
    return [port.dimension for port in ports if port.shared_with is None]
