"""Outcomes of many qubits, packed into bytes as in Qiskit's ``BitArray``.

An outcome of n qubits takes ceil(n / 8) bytes, the highest qubits first; qubit 0 is the lowest bit
of the last byte. Unused bits of the first byte are 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def num_bytes(num_qubits: int) -> int:
    """Return the number of bytes of an outcome."""
    return -(-num_qubits // 8)


def pack_bits(bits: NDArray[np.uint8] | NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return outcomes given as bits, shape (n, bits), as packed ones, shape (n, bytes).

    Example:
        >>> import numpy as np
        >>> pack_bits(np.array([[1, 0, 0, 0, 0, 0, 0, 0, 1]], dtype=np.uint8))
        array([[1, 1]], dtype=uint8)
    """
    return np.ascontiguousarray(np.packbits(bits, axis=1, bitorder="little")[:, ::-1])


def unpack_bits(packed: NDArray[np.uint8], count: int | None = None) -> NDArray[np.uint8]:
    """Return the lowest bits of packed outcomes, shape (n, count); by default all of them."""
    return np.unpackbits(packed[:, ::-1], axis=1, bitorder="little", count=count)


def packed_mask(num_qubits: int, qubits: Sequence[int]) -> NDArray[np.uint8]:
    """Return the packed outcome in which the bits of some qubits are 1, shape (bytes,).

    Example:
        >>> packed_mask(9, (0, 8))
        array([1, 1], dtype=uint8)
    """
    bits = np.zeros((1, 8 * num_bytes(num_qubits)), dtype=np.uint8)
    bits[0, list(qubits)] = 1
    (packed,) = pack_bits(bits)
    return np.asarray(packed)


def values_of(packed: NDArray[np.uint8], qubits: Sequence[int]) -> NDArray[np.int64]:
    """Return the outcomes of some qubits as integers.

    Args:
        packed: Outcomes, shape (n, bytes).
        qubits: At most 63 qubits; bit i of an integer is the outcome of ``qubits[i]``.

    Returns:
        Shape (n,).

    Example:
        >>> import numpy as np
        >>> values_of(np.array([[0b1, 0b10000000]], dtype=np.uint8), (7, 8))
        array([3])
    """
    values = np.zeros(len(packed), dtype=np.int64)
    last = packed.shape[1] - 1
    for bit, qubit in enumerate(qubits):
        column = packed[:, last - qubit // 8]
        values |= ((column >> np.uint8(qubit % 8)) & np.uint8(1)).astype(np.int64) << bit
    return values


def set_values(
    packed: NDArray[np.uint8], qubits: Sequence[int], values: NDArray[np.integer]
) -> None:
    """Set the outcomes of some qubits, whose bits are 0 so far, in place.

    Args:
        packed: Outcomes, shape (n, bytes).
        qubits: The qubits; bit i of a value is the outcome of ``qubits[i]``.
        values: Shape (n,).
    """
    last = packed.shape[1] - 1
    for bit, qubit in enumerate(qubits):
        column = ((values >> bit) & 1).astype(np.uint8)
        packed[:, last - qubit // 8] |= column << np.uint8(qubit % 8)


def ascending(outcomes: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return the order that sorts packed outcomes, shape (n, bytes)."""
    rows, size = outcomes.shape
    words = -(-size // 8)
    padded = np.zeros((rows, 8 * words), dtype=np.uint8)
    padded[:, 8 * words - size :] = outcomes
    numbers = padded.view(">u8").astype(np.uint64)
    if words == 1:
        return np.argsort(numbers[:, 0], kind="stable")
    return np.lexsort(numbers.T[::-1])
