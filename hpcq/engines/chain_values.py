"""Expectation values of product operators in a matrix product state.

All operators are contracted together, site by site from the left: what they have in common up to a
site is computed once. An operator costs nothing on the sites before its first and after its last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.pauli_text import AXES, PROJECTED_BITS, PauliString
from hpcq.cutting.gate_decompositions import PAULI_MATRICES
from hpcq.engines.chain_work import product_work

Tensor = NDArray[np.complex128]
"""A site's tensor, shape (left bond, 2, right bond)."""

_BATCH_BYTES = 32 << 20
"""Bytes of the environments that are computed together. Larger: more operators share the sites to
their left; smaller: less memory. From 100 matrices of a size on, time no longer depends on it."""

_SITE_WORK = 2e4
"""Work of a site of any size, as measured, in units of :mod:`hpcq.engines.chain_work`."""

_EYE = PAULI_MATRICES["I"]
_OPERATORS = {
    **PAULI_MATRICES,
    **{
        letter: (_EYE + (-1) ** bit * PAULI_MATRICES[AXES[letter]]) / 2
        for letter, bit in PROJECTED_BITS.items()
    },
}


def expectation_values(
    tensors: Sequence[Tensor],
    centre: int,
    strings: Sequence[PauliString],
    spend: Callable[[float], None],
) -> NDArray[np.float64]:
    """Return the expectation values of product operators.

    Args:
        tensors: The tensors of a normalised state: isometries from the left bond and the bit to the
            right bond before the centre, from the right bond and the bit to the left one behind it.
        centre: Site of the tensor that is no isometry.
        strings: Letters on sites, in any order.
        spend: Called with the work of each part before it is done, and may raise an exception.
    """
    values = np.ones(len(strings))
    sorted_strings = [tuple(sorted(string)) for string in strings]
    order = sorted(
        (number for number, string in enumerate(sorted_strings) if string),
        key=lambda number: sorted_strings[number],
    )
    if not order:
        return values
    largest = max(tensor.shape[2] for tensor in tensors)
    batch = max(1, _BATCH_BYTES // (32 * largest**2))
    identity = _IdentityEnvironments(tensors, centre, spend)
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        _sweep(tensors, identity, {n: sorted_strings[n] for n in part}, values, spend)
    return values


def values_work(site_of: Sequence[int], strings: Sequence[PauliString], bond: float) -> float:
    """Return a bound on the work of strings, as if they shared nothing and all bonds were equal."""
    spans = 0
    for string in strings:
        sites = [site_of[qubit] for qubit, _ in string]
        spans += max(sites) - min(sites) + 1 if sites else 0
    each = 2 * product_work(bond, bond, 2 * bond)
    return len(site_of) * (2 * _SITE_WORK + each) + spans * each


class _IdentityEnvironments:
    """Environments of the identity, to the left and to the right of each site.

    Where the sites between it and the edge are isometries, an environment is the identity matrix,
    which is stored as None.
    """

    def __init__(
        self, tensors: Sequence[Tensor], centre: int, spend: Callable[[float], None]
    ) -> None:
        self.left: list[Tensor | None] = [None] * len(tensors)
        self.right: list[Tensor | None] = [None] * len(tensors)
        for site in range(centre, len(tensors) - 1):
            spend(_site_work(tensors[site], 1))
            self.left[site + 1] = _extended(self.left[site], tensors[site], tensors[site])
        for site in range(centre, 0, -1):
            spend(_site_work(tensors[site], 1))
            mirrored = tensors[site].transpose(2, 1, 0)
            self.right[site - 1] = _extended(self.right[site], mirrored, mirrored)


def _extended(environment: Tensor | None, bra: Tensor, ket: Tensor) -> Tensor:
    """Return environments, shape (..., bra, ket), with one more site to their right."""
    left, _, right = ket.shape
    if environment is None:
        product = ket.reshape(2 * left, right)
    else:
        product = environment @ ket.reshape(left, 2 * right)
        product = product.reshape(*environment.shape[:-2], 2 * left, right)
    extended: Tensor = bra.reshape(2 * left, right).conj().T @ product
    return extended


def _site_work(tensor: Tensor, count: int) -> float:
    left, _, right = tensor.shape
    return _SITE_WORK + count * (
        product_work(left, left, 2 * right) + product_work(right, 2 * left, right)
    )


def _sweep(
    tensors: Sequence[Tensor],
    identity: _IdentityEnvironments,
    strings: dict[int, PauliString],
    values: NDArray[np.float64],
    spend: Callable[[float], None],
) -> None:
    """Compute the values of some strings, by their numbers."""
    starting: dict[int, list[int]] = {}
    for number, string in strings.items():
        starting.setdefault(string[0][0], []).append(number)
    letters = {number: dict(string) for number, string in strings.items()}
    environments: Tensor | None = None
    row_of: dict[int, int] = {}
    for site, tensor in enumerate(tensors):
        if site in starting:
            # The new strings have the environment of the identity in common.
            row = 0 if environments is None else len(environments)
            environments = _with_identity(environments, identity.left[site], len(tensor))
            row_of.update(dict.fromkeys(starting[site], row))
        if environments is None:
            continue
        here = {number: letters[number].get(site, "I") for number in row_of}
        environments, row_of = _with_site(environments, tensor, row_of, here, spend)
        finished = [number for number in row_of if strings[number][-1][0] == site]
        if finished:
            rows_done = environments[[row_of.pop(number) for number in finished]]
            values[finished] = _closed(rows_done, identity.right[site])
        if not row_of:
            environments = None


def _with_site(
    environments: Tensor,
    tensor: Tensor,
    row_of: dict[int, int],
    letters: dict[int, str],
    spend: Callable[[float], None],
) -> tuple[Tensor, dict[int, int]]:
    """Return environments with one more site, and the row of each string in them.

    Strings in one row that have the same letter on the site stay together.

    Args:
        environments: The environments to the left of the site.
        tensor: The tensor of the site.
        row_of: The row of each string in the environments.
        letters: The letter of each string on the site.
        spend: See :func:`expectation_values`.
    """
    rows_by_letter: dict[str, dict[int, list[int]]] = {}
    for number, row in row_of.items():
        rows = rows_by_letter.setdefault(letters[number], {})
        rows.setdefault(row, []).append(number)
    spend(_site_work(tensor, sum(map(len, rows_by_letter.values()))))
    parts: list[Tensor] = []
    new_row_of: dict[int, int] = {}
    count = 0
    for letter, rows in rows_by_letter.items():
        ket = tensor if letter == "I" else _OPERATORS[letter] @ tensor
        parts.append(_extended(environments[list(rows)], tensor, ket))
        for numbers in rows.values():
            new_row_of.update(dict.fromkeys(numbers, count))
            count += 1
    return np.concatenate(parts) if len(parts) > 1 else parts[0], new_row_of


def _with_identity(environments: Tensor | None, left: Tensor | None, size: int) -> Tensor:
    new = np.eye(size, dtype=complex) if left is None else left
    return new[np.newaxis] if environments is None else np.concatenate([environments, [new]])


def _closed(environments: Tensor, right: Tensor | None) -> NDArray[np.float64]:
    """Return the values of environments, joined with that of the identity to their right."""
    if right is None:
        traces: NDArray[np.float64] = np.trace(environments, axis1=1, axis2=2).real
        return traces
    values: NDArray[np.float64] = np.einsum("nij,ij->n", environments, right).real
    return values
