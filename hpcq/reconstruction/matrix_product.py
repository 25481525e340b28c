"""Large matrix products on several threads, the same bit for bit on any number of them.

BLAS gives other last bits on other numbers of threads. So it stays at one, and a large product is
done in blocks of rows, which follow from its shape alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.complex128]

_BLOCK_FLOPS = 2e8
_MIN_ROWS = 32
_FLOPS = 8.0

_pools: list[ThreadPoolExecutor] = []


@contextmanager
def product_threads(threads: int) -> Iterator[None]:
    """Do large products on so many threads, as long as the context lasts."""
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
    """Multiply matrices, or a matrix with a stack of them.

    Args:
        left: Shape (m, k).
        right: Shape (k, n) or (stack, k, n).
    """
    rows, inner = left.shape
    each = _FLOPS * inner * right.shape[-1]
    if rows * each < 2 * _BLOCK_FLOPS or rows < 2 * _MIN_ROWS:
        return np.asarray(left @ right)
    if right.ndim == 3:
        return np.stack([product(left, own) for own in right])
    size = max(_MIN_ROWS, int(_BLOCK_FLOPS / each))
    out = np.empty((rows, right.shape[1]), dtype=complex)

    def block(start: int) -> None:
        np.matmul(left[start : start + size], right, out=out[start : start + size])

    starts = range(0, rows, size)
    if _pools:
        list(_pools[-1].map(block, starts))
    else:
        for start in starts:
            block(start)
    return out
