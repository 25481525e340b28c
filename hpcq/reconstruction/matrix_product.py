"""Large matrix products on several threads, bit for bit the same on any number of them.

The last bits of a BLAS product depend on its number of threads. So BLAS runs on one thread, and a
large product is divided into blocks of rows, which follow from its shape alone. Arrays of other
modules, such as those on a GPU, are multiplied as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from hpcq.core.arrays import namespace_of

Matrix = NDArray[np.complex128]

_BLOCK_FLOPS = 2e8
"""Approximate floating-point operations of a block. Larger: work for fewer threads; smaller: more
time in Python between blocks."""

_MIN_BLOCK_ROWS = 32
"""Minimum rows of a block: products of thinner blocks run well below the full speed of BLAS."""

_FLOPS_PER_PRODUCT = 8.0
"""Real floating-point operations of one complex multiplication and addition."""

_pools: list[ThreadPoolExecutor] = []


@contextmanager
def product_threads(threads: int) -> Iterator[None]:
    """Run large products on this many threads within the context."""
    if threads == 1:
        yield
        return
    with ThreadPoolExecutor(threads, "hpcq-product") as pool:
        _pools.append(pool)
        try:
            yield
        finally:
            _pools.remove(pool)


def product(left: Matrix, right: Matrix) -> Matrix:
    """Multiply matrices (..., m, k) by (..., k, n), or stacks of them as NumPy does."""
    rows, inner = left.shape[-2:]
    flops_per_row = _FLOPS_PER_PRODUCT * inner * right.shape[-1]
    is_small = rows * flops_per_row < 2 * _BLOCK_FLOPS or rows < 2 * _MIN_BLOCK_ROWS
    if is_small or namespace_of(left) is not np:
        whole: Matrix = left @ right
        return whole
    stack = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    if stack:
        lefts = np.broadcast_to(left, (*stack, *left.shape[-2:]))
        rights = np.broadcast_to(right, (*stack, *right.shape[-2:]))
        return np.stack([product(*matrices) for matrices in zip(lefts, rights, strict=True)])
    block_rows = max(_MIN_BLOCK_ROWS, int(_BLOCK_FLOPS / flops_per_row))
    out = np.empty_like(left, shape=(rows, right.shape[1]), order="C")

    def block(start: int) -> None:
        np.matmul(left[start : start + block_rows], right, out=out[start : start + block_rows])

    run_all = _pools[-1].map if _pools else map
    list(run_all(block, range(0, rows, block_rows)))
    return out
