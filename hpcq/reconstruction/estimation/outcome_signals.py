"""From counts to a subcircuit's tensor, and from its gradient back to the signals.

A variant's shot gives a sign for every entry that the variant feeds, or 0 where a projector of the
entry's string says no. The mean of the entries is the table of signals, and inversions turn it into
the tensor. Backwards, the gradient by the tensor becomes one by the table, and so the weights of
the signs in one number a shot, the *score* of its outcome; its variance (see
:mod:`hpcq.reconstruction.estimation.covariance`) is what the shots of that variant add to the
variance of the observable.
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
"""The number of each port's inversion."""


class SignalReader:
    """Reads the counts of one subcircuit's variants.

    Args:
        tensor: The subcircuit and its variants.
    """

    def __init__(self, tensor: SampledTensor) -> None:
        self.tensor = tensor
        self.sizes = tuple(len(port_basis.signals) for port_basis in tensor.port_bases)
        strides = np.cumprod([1, *self.sizes[::-1]])[-2::-1]
        self._strides: list[int] = strides.tolist() if self.sizes else []
        self._known: dict[int, tuple[list[int], NDArray[np.intp], NDArray[np.uint64]]] = {}

    @cached_property
    def informative(self) -> NDArray[np.bool_]:
        """Whether a variant measures anything; the others' signals are exactly 1."""
        tensor = self.tensor
        return np.array(
            [tensor.bit_mask(*tensor.decode(v)) != 0 for v in range(tensor.num_variants)]
        )

    def used(self, inversions: Inversions) -> NDArray[np.bool_]:
        """Say which variants inversions need, shape (variants,)."""
        used = np.ones(1, dtype=bool)
        for port_basis, inversion in zip(self.tensor.port_bases, inversions, strict=True):
            used = np.kron(used, port_basis.used(inversion))
        return np.repeat(used, len(self.tensor.bases))

    def shares(self, shots: NDArray[np.int64] | Reals) -> Reals:
        """Say with which weight a variant's mean enters an entry that several bases read.

        Args:
            shots: The variants' shots, shape (variants,).

        Returns:
            Shape (variants, strings); over the bases that read a string they sum to 1.
        """
        own = np.asarray(shots, dtype=float).reshape(-1, len(self.tensor.bases))
        own = np.where(own.sum(axis=1, keepdims=True) > 0, own, 1.0)
        reads = np.zeros((len(self.tensor.bases), len(self.tensor.strings)))
        for basis, strings in enumerate(self.tensor.measured_strings):
            reads[basis, list(strings)] = 1
        weighted = own[:, :, None] * reads
        total = weighted.sum(axis=1, keepdims=True)
        # A string none of whose bases has shots is read with equal weights.
        weighted = np.where(total > 0, weighted, reads)
        shares: Reals = weighted / weighted.sum(axis=1, keepdims=True)
        return shares.reshape(-1, len(self.tensor.strings))

    def table(self, counts: Counts) -> Reals:
        """Return the table of signals, shape (strings, signals of each port)."""
        table = np.zeros((len(self.tensor.strings), int(np.prod(self.sizes, dtype=np.int64))))
        shares = self.shares(counts.shots)
        for variant, sure in enumerate(~self.informative):
            strings, columns, masks = self.entries(variant)
            outcomes, times = counts.of(variant)
            if sure:
                means = np.ones((len(strings), len(columns)))
            elif len(outcomes):
                own, ports = self._signs(outcomes, strings, masks)
                means = (own * (times / times.sum())[:, None]).T @ ports
            else:
                continue
            table[np.ix_(np.array(strings), columns)] += shares[variant, strings][:, None] * means
        return table.reshape(len(table), *self.sizes)

    def tensor_of(self, table: Reals, inversions: Inversions) -> NDArray[np.complex128]:
        """Turn a table of signals into the tensor, shape (strings, index pairs of each port)."""
        found = table.astype(complex)
        for place, (port_basis, inversion) in enumerate(
            zip(self.tensor.port_bases, inversions, strict=True)
        ):
            found = _along(found, port_basis.inversions[inversion], 1 + place)
        return found

    def weights(self, gradient: NDArray[np.complex128], inversions: Inversions) -> Reals:
        """Turn gradients by the tensor into gradients by the table.

        Args:
            gradient: Shape (observables, strings, index pairs of each port).
            inversions: The inversions.

        Returns:
            Shape (observables, strings, signals), the signals of all ports as one index.
        """
        found = gradient
        for place, (port_basis, inversion) in enumerate(
            zip(self.tensor.port_bases, inversions, strict=True)
        ):
            found = _along(found, port_basis.inversions[inversion].T, 2 + place)
        return np.ascontiguousarray(found.real).reshape(*gradient.shape[:2], -1)

    def cost(
        self, gradient: Array, inversions: Inversions, importance: Reals, noise: Reals
    ) -> float:
        """Say how far shots go with some inversions, the less the better; see the estimator.

        Args:
            gradient: As for :meth:`weights`.
            inversions: The inversions.
            importance: Weight of each observable, shape (observables,).
            noise: Variance of every entry, shape (strings, signals of each port).
        """
        weights = self.weights(gradient, inversions)
        found = np.einsum("osr,o->sr", weights**2, importance) * noise.reshape(len(noise), -1)
        found = found.reshape(noise.shape)
        for place, port_basis in enumerate(self.tensor.port_bases):
            belongs = np.zeros((len(port_basis.settings), len(port_basis.signals)))
            for reading, (setting, _) in enumerate(port_basis.signals):
                belongs[setting, reading] = 1
            found = _along(found, belongs, 1 + place)
        shares = self.shares(np.ones(self.tensor.num_variants))
        shares = shares.reshape(-1, len(self.tensor.bases), len(noise))
        variances = np.einsum("vbs,sv->vb", shares**2, found.reshape(len(noise), -1))
        return float(np.sqrt(variances).sum())

    def entries(self, variant: int) -> tuple[list[int], NDArray[np.intp], NDArray[np.uint64]]:
        """Return the strings that a variant reads, and its signals' places and masks."""
        if variant in self._known:
            return self._known[variant]
        settings, basis = self.tensor.decode(variant)
        ways = list(self.tensor.signals(settings))
        columns = np.array([np.dot(own, self._strides) for _, own in ways], dtype=np.intp)
        masks = np.array([mask for mask, _ in ways], dtype=np.uint64)
        found = (list(self.tensor.measured_strings[basis]), columns, masks)
        self._known[variant] = found
        return found

    def signs(self, variant: int, outcomes: Outcomes) -> Reals:
        """Return what a shot with each outcome gives for each entry that a variant feeds.

        Args:
            variant: The variant.
            outcomes: The outcomes.

        Returns:
            Shape (outcomes, strings * signals), the strings and signals as :meth:`entries` has
            them.
        """
        strings, _, masks = self.entries(variant)
        own, ports = self._signs(outcomes, strings, masks)
        return np.asarray((own[:, :, None] * ports[:, None, :]).reshape(len(outcomes), -1))

    def coin_variances(self, variant: int) -> Reals:
        """Return the variance of each of :meth:`signs` if fair coins made it; 0 for those always 1.

        That of a sign is 1. What a projector lets through half of the time has a variance of 1/2 if
        it is a sign, and of 1/4 if it is 1.
        """
        strings, _, masks = self.entries(variant)
        signed = (self.tensor.string_masks[strings][:, None] | masks[None, :]) != 0
        projects = (self.tensor.projector_masks[strings] != 0)[:, None]
        found = np.where(projects, np.where(signed, 0.5, 0.25), np.where(signed, 1.0, 0.0))
        return np.asarray(found.reshape(-1))

    def _signs(
        self, outcomes: Outcomes, strings: list[int], masks: NDArray[np.uint64]
    ) -> tuple[Reals, Reals]:
        """Return the signs of the strings and of the ports; an entry's is their product."""
        return string_signs(self.tensor, outcomes, strings), parity(outcomes, masks)


def string_signs(
    tensor: SampledTensor, outcomes: Outcomes, strings: Sequence[int] | NDArray[np.intp]
) -> Reals:
    """Return the sign that each outcome gives to each string, shape (outcomes, strings).

    It is that of the string's Paulis, and 0 where a bit is not the one that a projector asks for.
    """
    signs = parity(outcomes, tensor.string_masks[strings])
    masks = tensor.projector_masks[strings]
    if masks.any():
        signs *= (outcomes[:, None] & masks) == tensor.projector_values[strings]
    return signs


def parity(outcomes: Outcomes, masks: NDArray[np.uint64]) -> Reals:
    """Return -1 to the number of common bits, shape (outcomes, masks)."""
    return np.asarray(1.0 - 2.0 * (np.bitwise_count(outcomes[:, None] & masks) & 1))


def _along(array: Array, matrix: Array, axis: int) -> Array:
    """Multiply one axis of an array by a matrix."""
    return np.moveaxis(np.tensordot(matrix, array, axes=(1, axis)), 0, axis)


def first_inversions(tensor: SampledTensor) -> Inversions:
    """Return the inversions of a round before which nothing is known."""
    return tuple(0 for _ in tensor.port_bases)


def fewest_shots(tensors: Sequence[SampledTensor]) -> int:
    """Return the shots of a round with one shot for each variant that measures anything."""
    return sum(
        int((reader.used(first_inversions(reader.tensor)) & reader.informative).sum())
        for reader in map(SignalReader, tensors)
    )
