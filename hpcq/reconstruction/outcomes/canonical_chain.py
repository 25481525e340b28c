"""A chain of sites in the gauge where norms of partial products are probabilities.

The amplitude of an outcome is a product of matrices, one for each site, in the order in which the
sites are visited; bonds that pass a site are part of the matrices. The gauge makes all sites but
the first isometric from the right (a right-canonical matrix product state; Schollwoeck, Annals of
Physics 326, 96 (2011), section 4.4): ``sum_b B_b B_b^H = 1``. With the first site normalised, the
squared norm of the row vector ``B_1[b_1] ... B_k[b_k]`` is the probability of these outcomes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.packed_bits import num_bytes, set_values
from hpcq.core.limits import COMPLEX_BYTES
from hpcq.reconstruction.outcomes.order import Step
from hpcq.reconstruction.outcomes.sites import SiteNetwork

Matrix = NDArray[np.complex128]

_NEGLIGIBLE = 1e-15
"""Singular values below this fraction of the largest are rounding errors, and dropped."""

_MAX_EXAMINED = 1 << 12
"""Maximum number of matrices of a site whose operator norm is computed: 0.05 s at 8 by 8."""

_EXAMINED_AT_ONCE = 256
"""Number of matrices whose operator norms are computed before the bound is checked again."""


@dataclass(frozen=True, eq=False)
class ChainSite:
    """A site of the chain.

    Attributes:
        qubits: The qubits of its outcome: bit i of the outcome is that of ``qubits[i]``.
        matrices: The matrix of each outcome, shape (2**qubits, left, right).
    """

    qubits: tuple[int, ...]
    matrices: Matrix


@dataclass(frozen=True, eq=False)
class CanonicalChain:
    """A network as a chain in right-canonical gauge, normalised.

    Attributes:
        num_qubits: Number of qubits of the circuit.
        sites: The sites; the first has a left dimension of 1, the last a right dimension of 1.
    """

    num_qubits: int
    sites: tuple[ChainSite, ...]

    @classmethod
    def of(cls, network: SiteNetwork, steps: Sequence[Step]) -> CanonicalChain:
        """Return the chain of a network, its sites in the order of the steps."""
        sites = []
        rest = np.ones((1, 1), dtype=complex)  # shape (next frontier, rank)
        for step in reversed(steps):
            site = network.sites[step.site]
            rank = rest.shape[1]
            axes = [site.bonds.index(bond) for bond in step.closed + step.opened]
            amplitudes = network.amplitudes(step.site).transpose(len(axes), *axes)
            amplitudes = amplitudes.reshape(-1, step.opened_size)
            # The next frontier has passed bonds first, then opened ones.
            turned = rest.reshape(step.passed_size, step.opened_size, rank).transpose(1, 0, 2)
            joined = amplitudes @ turned.reshape(step.opened_size, -1)
            sizes = [step.dimensions[bond] for bond in step.closed + step.passed]
            split = joined.reshape(site.num_outcomes, *sizes, rank)
            back = [1 + (step.closed + step.passed).index(bond) for bond in step.frontier]
            split = split.transpose(0, len(sizes) + 1, *back)
            rest, matrices = _factors(split.reshape(site.num_outcomes, rank, -1))
            sites.append(ChainSite(site.qubits, matrices))
        return cls(network.num_qubits, tuple(sites[::-1]))

    def pack(self, outcomes: Sequence[NDArray[np.integer]], first: int = 0) -> NDArray[np.uint8]:
        """Return outcomes packed, from those of each site from the ``first`` on."""
        packed = np.zeros((len(outcomes[0]), num_bytes(self.num_qubits)), dtype=np.uint8)
        for site, values in zip(self.sites[first:], outcomes, strict=False):
            set_values(packed, site.qubits, values)
        return packed


def _factors(amplitudes: Matrix) -> tuple[Matrix, Matrix]:
    """Divide a site into its part of the rest, and matrices that are isometric from the right.

    Args:
        amplitudes: Shape (outcomes, right rank, frontier).

    Returns:
        The rest, shape (frontier, rank), and the matrices, shape (outcomes, rank, right rank).
    """
    outcomes, right, frontier = amplitudes.shape
    q, r = np.linalg.qr(amplitudes.reshape(-1, frontier).conj())
    u, s, vh = np.linalg.svd(r, full_matrices=False)
    rank = max(1, int(np.count_nonzero(s > _NEGLIGIBLE * s[0])))
    rest = vh[:rank].conj().T * s[:rank]
    rest /= s[0]  # the norm is divided out, site by site
    matrices = (q @ u[:, :rank]).conj().reshape(outcomes, right, rank).swapaxes(1, 2)
    if frontier == 1:
        rest = np.ones((1, 1), dtype=complex)
    return rest, np.ascontiguousarray(matrices)


def chain_bytes(network: SiteNetwork, steps: Sequence[Step]) -> int:
    """Return a bound on the bytes of computing the chain, without computing any of it."""
    total = largest = 0
    for step in steps:
        left, right = step.closed_size * step.passed_size, step.passed_size * step.opened_size
        outcomes = network.sites[step.site].num_outcomes
        left, right = min(left, outcomes * right), min(right, left * outcomes)
        size = outcomes * left * right
        total += size
        largest = max(largest, 4 * outcomes * step.closed_size * step.passed_size * right)
    return COMPLEX_BYTES * (total + largest)


def chain_flops(network: SiteNetwork, steps: Sequence[Step]) -> float:
    """Return the predicted floating-point operations of computing the chain."""
    total = 0.0
    for step in steps:
        left, right = step.closed_size * step.passed_size, step.passed_size * step.opened_size
        rows = float(network.sites[step.site].num_outcomes) * right
        total += 8 * rows * (step.closed_size * step.opened_size + 3.0 * left**2)
    return total


def largest_factor(site: ChainSite) -> float:
    """Return a bound on the factor by which an outcome of a site keeps probability, at most 1.

    It bounds the squared operator norms of the site's matrices. Frobenius norms bound these, so
    that only matrices of large ones are examined, up to a number.
    """
    matrices = site.matrices
    squares = np.einsum("bij,bij->b", matrices, matrices.conj()).real
    if min(matrices.shape[1:]) == 1:
        return min(1.0, float(squares.max()))
    order = np.argsort(squares)[::-1]
    best = 0.0
    for first in range(0, min(len(order), _MAX_EXAMINED), _EXAMINED_AT_ONCE):
        chosen = order[first : first + _EXAMINED_AT_ONCE]
        if squares[chosen[0]] <= best:
            return best
        norms = np.linalg.norm(matrices[chosen], ord=2, axis=(1, 2))
        best = max(best, float(norms.max()) ** 2)
    left = float(squares[order[_MAX_EXAMINED]]) if len(order) > _MAX_EXAMINED else 0.0
    return min(1.0, max(best, left))


def suffix_bounds(chain: CanonicalChain) -> list[float]:
    """Return, for each site, a bound on the largest probability of all outcomes from there on.

    It holds whatever the outcomes of earlier sites are: the probability of an outcome is at most
    that of its part on the sites before k times number k of the list. The last number is 1.
    """
    bounds = [1.0]
    for site in reversed(chain.sites):
        bounds.append(bounds[-1] * largest_factor(site) * (1 + 1e-12))
    return [min(1.0, bound) for bound in reversed(bounds)]


def sides_of(chain: CanonicalChain, cut: int) -> tuple[Matrix, Matrix]:
    """Return the Schmidt decomposition between the sites before ``cut`` and the others.

    Returns:
        Rows u of all outcomes of the sites before, and rows v of those after, shapes (outcomes,
        rank); the first site is the slowest digit. The amplitude is ``sum u v``, nothing
        conjugated, and both sides have the same diagonal Gram matrix.
    """
    left = np.ones((1, 1), dtype=complex)
    for site in chain.sites[:cut]:
        left = np.tensordot(left, site.matrices, (1, 1)).reshape(-1, site.matrices.shape[2])
    right = np.ones((1, 1), dtype=complex)
    for site in reversed(chain.sites[cut:]):
        joined = np.tensordot(site.matrices, right, (2, 1)).swapaxes(1, 2)
        right = joined.reshape(-1, site.matrices.shape[1])
    q, r = np.linalg.qr(left)
    u, s, vh = np.linalg.svd(r, full_matrices=False)
    root = np.sqrt(s)
    return q @ (u * root), right @ (vh.T * root)


def sides_bytes(chain: CanonicalChain, cut: int) -> int:
    """Return the bytes of the Schmidt decomposition, and of computing it."""
    bits = [len(site.qubits) for site in chain.sites]
    outcomes = (1 << sum(bits[:cut])) + (1 << sum(bits[cut:]))
    rank: int = chain.sites[cut].matrices.shape[1]
    return 3 * COMPLEX_BYTES * outcomes * rank
