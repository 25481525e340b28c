"""Work of matrix-product-state simulations, counted from the sizes of matrices alone.

The unit is about a nanosecond of one thread.
"""

from __future__ import annotations

_STEP, _MULTIPLY, _SVD, _SVD_ENTRY, _QR, _QR_ENTRY = 6e4, 0.2, 1.5, 90.0, 0.5, 25.0
"""Work of a step of any size, of one complex multiplication in a matrix product, and, for a
decomposition of an m by n matrix, m >= n, of each of m n**2 and of each of its entries. Measured
for n of 16 to 256 with OpenBLAS."""


def svd_work(rows: float, columns: float) -> float:
    """Return the work of a singular value decomposition."""
    return rows * columns * (_SVD * min(rows, columns) + _SVD_ENTRY)


def qr_work(rows: float, columns: float) -> float:
    """Return the work of a QR decomposition."""
    return rows * columns * (_QR * min(rows, columns) + _QR_ENTRY)


def product_work(rows: float, inner: float, columns: float) -> float:
    """Return the work of a matrix product."""
    return _MULTIPLY * rows * inner * columns


def step_work(left: float, middle: float, right: float, terms: float) -> float:
    """Return the work of a step on two sites with these bond dimensions."""
    rows, columns = min(2 * left, terms * middle), min(2 * right, terms * middle)
    return (
        _STEP
        + product_work(2 * left, middle, 2 * right)
        + svd_work(rows, columns)
        + (qr_work(2 * left, rows) if 2 * left > rows else 0)
        + (qr_work(2 * right, columns) if 2 * right > columns else 0)
    )
