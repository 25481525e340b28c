"""From counts to a subcircuit's tensor, and from its gradient back to the signals.

A shot of a variant gives a sign for every entry of the table that the variant feeds, or 0 where a
projector of the entry's string rejects the outcome. The table of signals holds the means of these
signs, and inversions turn it into the tensor. Backwards, inversions turn the gradient with respect
to the tensor into one with respect to the table. Its entries are the weights of the signs in the
*score* of a shot, whose variance (see :mod:`hpcq.reconstruction.estimation.covariance`) is what one
shot of the variant contributes to the variance of the observable.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.cutting.subexperiments.device_circuits import SampledTensor
from hpcq.reconstruction.estimation.counts import Counts, Outcomes

Reals = NDArray[np.float64]
Array = NDArray[Any]
Inversions = tuple[int, ...]
"""For each port, the number of its inversion."""


class SignalReader:
    """Turns the counts of one subcircuit's variants into signals and its tensor."""

    def __init__(self, tensor: SampledTensor) -> None:
        self.tensor = tensor
        self.sizes = tuple(len(port_basis.signals) for port_basis in tensor.port_bases)
        strides = np.cumprod([1, *self.sizes[::-1]])[-2::-1]
        self._strides: list[int] = strides.tolist() if self.sizes else []
        self._cached_entries: dict[int, tuple[list[int], NDArray[np.intp], NDArray[np.uint64]]] = {}

    @cached_property
    def informative(self) -> NDArray[np.bool_]:
        """Whether each variant measures anything; the signals of the others are exactly 1."""
        tensor = self.tensor
        return np.array(
            [tensor.bit_mask(*tensor.decode(v)) != 0 for v in range(tensor.num_variants)]
        )

    def used(self, inversions: Inversions) -> NDArray[np.bool_]:
        """Return whether the inversions need each variant, shape (variants,)."""
        used = np.ones(1, dtype=bool)
        for port_basis, inversion in zip(self.tensor.port_bases, inversions, strict=True):
            used = np.kron(used, port_basis.used(inversion))
        return np.repeat(used, len(self.tensor.bases))

    def shares(self, shots: NDArray[np.int64] | Reals) -> Reals:
        """Return the weight of each variant's mean in entries that several bases read.

        Shape (variants, strings), from the shots of each variant, shape (variants,). Over the bases
        that read a string the weights sum to 1.
        """
        basis_shots = np.asarray(shots, dtype=float).reshape(-1, len(self.tensor.bases))
        basis_shots = np.where(basis_shots.sum(axis=1, keepdims=True) > 0, basis_shots, 1.0)
        weighted = basis_shots[:, :, None] * self.tensor.reads
        total = weighted.sum(axis=1, keepdims=True)
        # Where no basis of a string has shots, its bases get equal weights.
        weighted = np.where(total > 0, weighted, self.tensor.reads)
        shares: Reals = weighted / weighted.sum(axis=1, keepdims=True)
        return shares.reshape(-1, len(self.tensor.strings))

    def table(self, counts: Counts) -> Reals:
        """Return the table of signals, shape (strings, signals of each port)."""
        table = np.zeros((len(self.tensor.strings), int(np.prod(self.sizes, dtype=np.int64))))
        shares = self.shares(counts.shots)
        for variant, is_certain in enumerate(~self.informative):
            strings, columns, masks = self.entries(variant)
            outcomes, frequencies = counts.of_variant(variant)
            if is_certain:
                means = np.ones((len(strings), len(columns)))
            elif len(outcomes):
                signs, ports = string_signs(self.tensor, outcomes, strings), parity(outcomes, masks)
                means = (signs * (frequencies / frequencies.sum())[:, None]).T @ ports
            else:
                continue
            table[np.ix_(np.array(strings), columns)] += shares[variant, strings][:, None] * means
        return table.reshape(len(table), *self.sizes)

    def tensor_of(self, table: Reals, inversions: Inversions) -> NDArray[np.complex128]:
        """Return the tensor of a table of signals, shape (strings, index pairs of each port)."""
        tensor = table.astype(complex)
        for port, (port_basis, inversion) in enumerate(
            zip(self.tensor.port_bases, inversions, strict=True)
        ):
            tensor = _apply_along(tensor, port_basis.inversions[inversion], 1 + port)
        return tensor

    def weights(self, gradient: NDArray[np.complex128], inversions: Inversions) -> Reals:
        """Return gradients with respect to the table, from those with respect to the tensor.

        The latter have the shape (observables, strings, index pairs of each port).

        Returns:
            Shape (observables, strings, signals), the signals of all ports as one index.
        """
        weights = gradient
        for port, (port_basis, inversion) in enumerate(
            zip(self.tensor.port_bases, inversions, strict=True)
        ):
            weights = _apply_along(weights, port_basis.inversions[inversion].T, 2 + port)
        return np.ascontiguousarray(weights.real).reshape(*gradient.shape[:2], -1)

    def cost(
        self, gradient: Array, inversions: Inversions, importance: Reals, noise: Reals
    ) -> float:
        """Return how costly some inversions are: the sum of the variants' standard deviations.

        Entries are taken as independent. By Neyman's allocation, the variance for a given number
        of shots is proportional to the square of this sum.

        Args:
            gradient: As for :meth:`weights`.
            inversions: The inversion of each port.
            importance: Weight of each observable's variance, shape (observables,).
            noise: Variance of every entry, shape (strings, signals of each port).
        """
        weights = self.weights(gradient, inversions)
        variances = np.einsum("osr,o->sr", weights**2, importance) * noise.reshape(len(noise), -1)
        variances = variances.reshape(noise.shape)
        for port, port_basis in enumerate(self.tensor.port_bases):
            membership = np.zeros((len(port_basis.settings), len(port_basis.signals)))
            for signal, (setting, _) in enumerate(port_basis.signals):
                membership[setting, signal] = 1
            variances = _apply_along(variances, membership, 1 + port)
        shares = self.shares(np.ones(self.tensor.num_variants))
        shares = shares.reshape(-1, len(self.tensor.bases), len(noise))
        variances = np.einsum("vbs,sv->vb", shares**2, variances.reshape(len(noise), -1))
        return float(np.sqrt(variances).sum())

    def entries(self, variant: int) -> tuple[list[int], NDArray[np.intp], NDArray[np.uint64]]:
        """Return the strings that a variant reads, and the columns and masks of its signals."""
        if variant in self._cached_entries:
            return self._cached_entries[variant]
        settings, basis = self.tensor.decode(variant)
        signals = list(self.tensor.signals(settings))
        columns = np.array([np.dot(digits, self._strides) for _, digits in signals], dtype=np.intp)
        masks = np.array([mask for mask, _ in signals], dtype=np.uint64)
        entries = (list(self.tensor.measured_strings[basis]), columns, masks)
        self._cached_entries[variant] = entries
        return entries

    def signs(self, variant: int, outcomes: Outcomes) -> Reals:
        """Return the sign that each outcome gives for each entry that a variant feeds.

        Shape (outcomes, strings * signals), in the order of :meth:`entries`: each is the product of
        a string's and the ports' sign.
        """
        strings, _, masks = self.entries(variant)
        signs, ports = string_signs(self.tensor, outcomes, strings), parity(outcomes, masks)
        return np.asarray((signs[:, :, None] * ports[:, None, :]).reshape(len(outcomes), -1))

    def fair_coin_variances(self, variant: int) -> Reals:
        """Return the variance of each of :meth:`signs` if fair coins gave the outcomes.

        It is 1 for a sign and 0 for an entry that is always 1. Where a projector passes half of the
        shots, it is 1/2 for a sign and 1/4 for an entry that is otherwise 1.
        """
        strings, _, masks = self.entries(variant)
        is_signed = (self.tensor.string_masks[strings][:, None] | masks[None, :]) != 0
        is_projected = (self.tensor.projector_masks[strings] != 0)[:, None]
        variances = np.where(
            is_projected, np.where(is_signed, 0.5, 0.25), np.where(is_signed, 1.0, 0.0)
        )
        return np.asarray(variances.reshape(-1))


def string_signs(
    tensor: SampledTensor, outcomes: Outcomes, strings: Sequence[int] | NDArray[np.intp]
) -> Reals:
    """Return the sign that each outcome gives to each string, shape (outcomes, strings).

    It is the sign of the string's Paulis, or 0 where a projector of the string rejects the outcome.
    """
    signs = parity(outcomes, tensor.string_masks[strings])
    masks = tensor.projector_masks[strings]
    if masks.any():
        signs *= (outcomes[:, None] & masks) == tensor.projector_values[strings]
    return signs


def parity(outcomes: Outcomes, masks: NDArray[np.uint64]) -> Reals:
    """Return (-1)^(number of common bits), shape (outcomes, masks)."""
    return np.asarray(1.0 - 2.0 * (np.bitwise_count(outcomes[:, None] & masks) & 1))


def _apply_along(array: Array, matrix: Array, axis: int) -> Array:
    """Multiply an array by a matrix along one axis."""
    return np.moveaxis(np.tensordot(matrix, array, axes=(1, axis)), 0, axis)


def first_inversions(tensor: SampledTensor) -> Inversions:
    """Return the inversions of a first round, before anything is known."""
    return tuple(0 for _ in tensor.port_bases)


def min_shots(tensors: Sequence[SampledTensor]) -> int:
    """Return the fewest shots of a round: one for each variant that is needed and measures."""
    return sum(
        int((reader.used(first_inversions(reader.tensor)) & reader.informative).sum())
        for reader in map(SignalReader, tensors)
    )
