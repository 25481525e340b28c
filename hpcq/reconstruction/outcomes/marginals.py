"""Joint weights of all outcomes of some qubits, in one contraction with an outcome index per site.

Where all qubits are chosen, the contraction is that of amplitudes. Otherwise it is that of Gram
matrices, whose indices are pairs. Where it does not fit into the memory, bits of the outcome are
fixed to one value at a time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.limits import COMPLEX_BYTES
from hpcq.reconstruction.outcomes.local_densities import deposit, local_densities
from hpcq.reconstruction.outcomes.open_contraction import OpenContraction
from hpcq.reconstruction.outcomes.sites import SiteNetwork

Tensor = NDArray[Any]

REAL_BYTES = 8
"""Bytes of a real number."""

_PART_BYTES = 56
"""Bytes for each weight that is computed at a time: the weight, its place, and copies."""


@dataclass(frozen=True, eq=False)
class MarginalPlan:
    """How the weights of all outcomes of some qubits are computed.

    Attributes:
        network: The network.
        qubits: The qubits.
        memory_bytes: Approximate bytes that may be taken, beyond the network and the result.
        measured: For each site, its bits that are among the qubits.
        num_fixed: For each site, how many of these bits are fixed, the first ones.
        contraction: The contraction for one value of the fixed bits.
    """

    network: SiteNetwork
    qubits: tuple[int, ...]
    memory_bytes: int
    measured: tuple[tuple[int, ...], ...]
    num_fixed: tuple[int, ...]
    contraction: OpenContraction

    @classmethod
    def within(cls, network: SiteNetwork, qubits: Sequence[int], memory_bytes: int) -> MarginalPlan:
        """Return a plan that fits into the memory.

        Raises:
            MemoryLimitError: If there is none.
        """
        chosen = set(qubits)
        measured = tuple(
            tuple(bit for bit, qubit in enumerate(site.qubits) if qubit in chosen)
            for site in network.sites
        )
        power = 1 if chosen >= set(network.qubits) else 2
        item_bytes = COMPLEX_BYTES if power == 1 else REAL_BYTES
        free = [len(bits) for bits in measured]
        while True:
            entries = [
                site.dimension**power << bits
                for site, bits in zip(network.sites, free, strict=True)
            ]
            tensor_bytes = 2 * item_bytes * sum(entries) + (_PART_BYTES << sum(free))
            if 2 * tensor_bytes <= memory_bytes or not any(free):
                break
            free[max(range(len(free)), key=lambda n: (free[n] > 0, entries[n]))] -= 1
        sizes = [bond.dimension**power for bond in network.bonds]
        legs = []
        for site, bits in zip(network.sites, free, strict=True):
            legs.append((len(sizes), *site.bonds) if bits else site.bonds)
            sizes += [1 << bits] if bits else []
        contraction = OpenContraction.within(
            legs,
            sizes,
            range(len(network.bonds), len(sizes)),
            memory_bytes - tensor_bytes,
            item_bytes,
        )
        num_fixed = tuple(len(bits) - left for bits, left in zip(measured, free, strict=True))
        return cls(network, tuple(qubits), memory_bytes, measured, num_fixed, contraction)

    @property
    def is_pure(self) -> bool:
        """Whether all qubits of the network are chosen, so that amplitudes are contracted."""
        return sum(map(len, self.measured)) == len(self.network.qubits)

    @property
    def num_parts(self) -> int:
        """Number of contractions: values of the fixed bits."""
        return 1 << sum(self.num_fixed)

    @property
    def num_bytes(self) -> int:
        """Predicted bytes besides the network and the result."""
        power, item_bytes = (1, COMPLEX_BYTES) if self.is_pure else (2, REAL_BYTES)
        tensors: int = sum(
            site.dimension**power << len(bits) - fixed
            for site, bits, fixed in zip(
                self.network.sites, self.measured, self.num_fixed, strict=True
            )
        )
        part = len(self.qubits) - sum(self.num_fixed)
        return item_bytes * (2 * tensors + self.contraction.entries) + (_PART_BYTES << part)

    @property
    def flops(self) -> float:
        """Predicted floating-point operations."""
        each = 8.0 if self.is_pure else 2.0
        total = each * self.contraction.products * self.num_parts
        for number, site in enumerate(self.network.sites):
            if not self.is_pure:
                others = sum(self.num_fixed) - self.num_fixed[number]
                repeats = 2.0**others if self.num_fixed[number] else 1.0
                total += repeats * 8.0 * site.num_states**2 * site.num_outcomes
        return total

    def weights(self) -> tuple[NDArray[np.float64], float]:
        """Return the weights, not normalised.

        Returns:
            The weights over a common factor, shape (2**qubits,), and the natural logarithm of this
            factor. Bit i of the index is the outcome of ``qubits[i]``.
        """
        position = {qubit: bit for bit, qubit in enumerate(self.qubits)}
        targets = [
            [position[site.qubits[bit]] for bit in bits]
            for site, bits in zip(self.network.sites, self.measured, strict=True)
        ]
        found = np.empty(1 << len(self.qubits))
        common: int | None = None
        one_row = [np.zeros(1, dtype=np.intp)] * len(targets)
        tensors: dict[int, tuple[int, Tensor]] = {}
        for fixed in itertools.product(*(range(1 << bits) for bits in self.num_fixed)):
            where = np.zeros(1, dtype=np.int64)
            for number, value in enumerate(fixed):
                values = self._values(number, value)
                where = np.add.outer(where, deposit(values, targets[number])).reshape(-1)
                if number not in tensors or tensors[number][0] != value:
                    tensors[number] = value, self._tensor(number, values)
            ordered = [tensors[number][1] for number in range(len(targets))]
            part = self.contraction.contract(ordered, one_row)
            values, exponent = part.values.reshape(-1), part.exponents.item()
            if self.is_pure:
                values, exponent = values.real**2 + values.imag**2, 2 * exponent
            common = exponent if common is None else common
            found[where] = np.ldexp(values, exponent - common)
        return found, (common or 0) * math.log(2)

    def _values(self, number: int, fixed: int) -> NDArray[np.int64]:
        """Return the outcomes of a site's measured bits whose fixed ones have a value."""
        bits = self.num_fixed[number]
        free = len(self.measured[number]) - bits
        return fixed | np.arange(1 << free) << bits

    def _tensor(self, number: int, values: NDArray[np.int64]) -> Tensor:
        """Return a site's tensor as one row, shape (1, values unless one, size of each bond)."""
        bits = self.measured[number]
        if self.is_pure:
            tensor: Tensor = self.network.columns(number, deposit(values, bits))
        else:
            quarter = self.memory_bytes // 4
            tensor = local_densities(self.network, number, bits, values, quarter)
        return tensor if len(values) == 1 else tensor[None]
