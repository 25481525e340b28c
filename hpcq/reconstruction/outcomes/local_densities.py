"""Sites whose outcome is measured in part: Gram matrices for each outcome of the measured qubits.

Such a matrix, ``G[b_M][p, p'] = sum A[p, b] conj(A[p', b])`` over the outcomes b of the site whose
measured part is b_M, is Hermitian, and so is every contraction of them. In a Hermitian basis of the
pairs (p, p') of every bond they have real coordinates: a quarter of the operations, and half the
memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpcq.core.limits import COMPLEX_BYTES
from hpcq.reconstruction.outcomes.sites import SiteNetwork

Real = NDArray[np.float64]
Integers = NDArray[np.integer]


def deposit(values: Integers, positions: Sequence[int]) -> NDArray[np.int64]:
    """Return numbers whose bit ``positions[i]`` is bit i of a value, and whose others are 0.

    Example:
        >>> import numpy as np
        >>> deposit(np.arange(4), (1, 3))
        array([ 0,  2,  8, 10])
    """
    found = np.zeros(len(values), dtype=np.int64)
    for bit, position in enumerate(positions):
        found |= (values.astype(np.int64) >> bit & 1) << position
    return found


def local_densities(
    network: SiteNetwork, number: int, measured: Sequence[int], values: Integers, memory_bytes: int
) -> Real:
    """Return the Gram matrices of a site for given outcomes of its measured qubits.

    Args:
        network: The network.
        number: Number of the site.
        measured: The site's bits that are measured; the others are summed over.
        values: Outcomes, of which bit i is that of the site's bit ``measured[i]``.
        memory_bytes: Approximate bytes for intermediate arrays.

    Returns:
        Real coordinates, shape (values, square of the dimension of each bond). The contraction of
        two sites is the sum of products of their coordinates.
    """
    site = network.sites[number]
    sizes = [dimension**2 for dimension in site.dimensions]
    found = np.empty((len(values), math.prod(sizes)))
    if network.is_kept(number):
        rest = site.num_outcomes >> len(measured)
        each = COMPLEX_BYTES * (2 * rest * site.num_states + 6 * max(1, math.prod(sizes)))
        chunk = max(1, memory_bytes // each)
    else:
        chunk = max(1, len(values))  # each pass over the branches is a simulation of all of them
    for first in range(0, len(values), chunk):
        part = values[first : first + chunk]
        grams = _mixed(network, number, _state_grams(network, number, measured, part))
        found[first : first + chunk] = _real_coordinates(network, number, grams)
    return found.reshape(len(values), *sizes)


def _state_grams(
    network: SiteNetwork, number: int, measured: Sequence[int], values: Integers
) -> NDArray[np.complex128]:
    """Return the Gram matrices of the site's states, shape (values, states, states)."""
    site = network.sites[number]
    others = [bit for bit in range(len(site.qubits)) if bit not in measured]
    rest = deposit(np.arange(1 << len(others)), others)
    columns = deposit(values, measured)[:, None] | rest
    size = site.num_states // site.branches
    grams = np.empty((len(values), site.num_states, site.num_states), dtype=complex)
    for i, states in network.branch_states(number):
        ket = states.T[columns]
        if i is None:
            np.matmul(ket.swapaxes(1, 2), ket.conj(), out=grams)
            return grams
        rows = slice(i * size, (i + 1) * size)
        for j, others_states in network.branch_states(number):
            assert j is not None, "all branches are yielded in one way"
            if j > i:
                break
            bra = ket if i == j else others_states.T[columns]
            block = ket.swapaxes(1, 2) @ bra.conj()
            grams[:, rows, j * size : (j + 1) * size] = block
            grams[:, j * size : (j + 1) * size, rows] = block.conj().swapaxes(1, 2)
    return grams


def _mixed(
    network: SiteNetwork, number: int, grams: NDArray[np.complex128]
) -> NDArray[np.complex128]:
    """Return Gram matrices over bonds, shape (values, D, D), from those of states."""
    site, count = network.sites[number], len(grams)
    half = site.mix(grams.transpose(1, 0, 2).reshape(site.num_states, -1))
    half = half.reshape(site.dimension, count, site.num_states)
    # M G M^H: the second factor M^H acts on the bra index.
    turned = np.ascontiguousarray(half.transpose(2, 1, 0)).reshape(site.num_states, -1)
    mixed = site.mix(turned.conj()).conj().reshape(site.dimension, count, site.dimension)
    return mixed.transpose(1, 2, 0)


def _real_coordinates(network: SiteNetwork, number: int, grams: NDArray[np.complex128]) -> Real:
    """Return real coordinates of Hermitian matrices, shape (matrices, square of D).

    For a bond of indices (k, l) they are the diagonal, for k < l the sum of the entries (k, l) and
    (l, k) over sqrt(2), and at (l, k) their difference over i sqrt(2), with the other sign at the
    bond's second site.
    """
    site, bonds = network.sites[number], len(network.sites[number].dimensions)
    split = grams.reshape(len(grams), *site.dimensions, *site.dimensions)
    order = [axis for bond in range(bonds) for axis in (1 + bond, 1 + bonds + bond)]
    coordinates = split.transpose(0, *order).reshape(len(grams), *(d**2 for d in site.dimensions))
    for axis, (bond, dimension) in enumerate(zip(site.bonds, site.dimensions, strict=True), 1):
        rows, columns = np.divmod(np.arange(dimension**2), dimension)
        sign = 1 if network.bonds[bond].sites[0] == number else -1
        itself = np.where(rows < columns, 1, sign * 1j) / math.sqrt(2)
        mirrored = np.where(rows < columns, 1, -sign * 1j) / math.sqrt(2)
        itself[rows == columns], mirrored[rows == columns] = 1, 0
        shape = [-1 if a == axis else 1 for a in range(coordinates.ndim)]
        other = coordinates.take(columns * dimension + rows, axis=axis)
        other *= mirrored.reshape(shape)
        coordinates = coordinates * itself.reshape(shape)
        coordinates += other
    return np.ascontiguousarray(coordinates.real).reshape(len(grams), -1)
