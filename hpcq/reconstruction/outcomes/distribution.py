"""Exact amplitudes, probabilities and marginals of the outcomes of a network of sites."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.packed_bits import (
    num_bytes,
    packed_mask,
    set_values,
    values_of,
)
from hpcq.core.errors import InputError
from hpcq.core.limits import COMPLEX_BYTES
from hpcq.reconstruction.outcomes.local_densities import local_densities
from hpcq.reconstruction.outcomes.marginals import REAL_BYTES, MarginalPlan
from hpcq.reconstruction.outcomes.open_contraction import OpenContraction, Scaled
from hpcq.reconstruction.outcomes.sites import SiteNetwork

MAX_MARGINAL_QUBITS = 24
"""Maximum number of qubits of a marginal; its 2**24 probabilities take 128 MiB."""

AMPLITUDES, DENSITIES = 1, 2
"""What is contracted, by the power of bond dimensions that its bonds have: amplitudes, or Gram
matrices where some qubits are summed over."""

_MAX_SUMMED_QUBITS = 10
"""Maximum number of qubits over whose outcomes probabilities are summed, one call for each outcome.
More: many calls, even where an amplitude takes next to no time."""

MAX_BATCH = 1 << 13
"""Number of outcomes that are contracted together. Measured for 20,000 amplitudes of ten sites with
bonds of dimension 8: 0.21 s of CPU time at 2**10, 0.13 s at 2**12, 0.11 s at 2**13 and at 2**15."""


@dataclass(frozen=True, eq=False)
class Distribution:
    """The distribution of the outcomes of all qubits of a network.

    Outcomes are packed as in :mod:`~hpcq.circuits.packed_bits`, uint8, shape
    (n, bytes). Bits of qubits that are in no site are ignored.

    Attributes:
        network: The sites.
        memory_bytes: Approximate bytes that a call may take, beyond the network and the answer.
    """

    network: SiteNetwork
    memory_bytes: int = 1 << 30

    @cached_property
    def log_norm(self) -> float:
        """Natural logarithm of the sum of the squares of all amplitudes; 0 within rounding errors.

        Probabilities are divided by the norm, and amplitudes by its square root.
        """
        weights, log_scale = MarginalPlan.within(self.network, (), self.memory_bytes).weights()
        return math.log(weights.item()) + log_scale

    def amplitudes(self, outcomes: NDArray[np.uint8]) -> NDArray[np.complex128]:
        """Return the amplitudes of outcomes of all qubits, up to one global phase.

        Amplitudes below the range of floats, 1e-308, are 0.

        Returns:
            Shape (n,).
        """
        parts = [np.empty(0, dtype=complex)]
        for scaled in self._amplitudes(outcomes):
            logarithms = scaled.exponents * math.log(2) - self.log_norm / 2
            parts.append(scaled.values * np.exp(logarithms))
        return np.concatenate(parts)

    def log_probabilities(
        self, outcomes: NDArray[np.uint8], qubits: Sequence[int] | None = None
    ) -> NDArray[np.float64]:
        """Return natural logarithms of probabilities; minus infinity for impossible outcomes.

        Args:
            outcomes: The outcomes.
            qubits: The qubits that are measured, whose bits count; None for all.

        Returns:
            Shape (n,).
        """
        measured = self.network.qubits if qubits is None else tuple(qubits)
        summed = [qubit for qubit in self.network.qubits if qubit not in measured]
        if not summed:
            return 2 * _logarithms(self._amplitudes(outcomes)) - self.log_norm
        if not self.sums_amplitudes(summed):
            return _logarithms(self._densities(outcomes, measured)) - self.log_norm
        outcomes = outcomes & packed_mask(self.network.num_qubits, measured)
        logs = np.full(len(outcomes), -np.inf)
        for value in range(1 << len(summed)):
            completed = outcomes.copy()
            set_values(completed, summed, np.full(len(outcomes), value))
            logs = np.logaddexp(logs, 2 * _logarithms(self._amplitudes(completed)))
        return logs - self.log_norm

    def sums_amplitudes(self, summed: Sequence[int]) -> bool:
        """Return whether probabilities are sums over all outcomes of the qubits not measured.

        If few are not, this takes fewer operations than a contraction of Gram matrices.
        """
        if len(summed) > _MAX_SUMMED_QUBITS:
            return False
        products = [self.contraction_of(power).products for power in (AMPLITUDES, DENSITIES)]
        return 4 * products[0] * (1 << len(summed)) <= products[1]

    def probabilities(
        self, outcomes: NDArray[np.uint8], qubits: Sequence[int] | None = None
    ) -> NDArray[np.float64]:
        """Return probabilities; arguments as for :meth:`log_probabilities`."""
        found: NDArray[np.float64] = np.exp(self.log_probabilities(outcomes, qubits))
        return found

    def marginal(self, qubits: Sequence[int]) -> NDArray[np.float64]:
        """Return the joint probabilities of all outcomes of some qubits.

        Args:
            qubits: At most 24 qubits.

        Returns:
            Shape (2**qubits,); bit i of the index is the outcome of ``qubits[i]``.

        Raises:
            InputError: If a qubit occurs twice or is in no site, or if there are too many.
            MemoryLimitError: If the contraction does not fit into the memory.
        """
        chosen = tuple(qubits)
        strange = [qubit for qubit in chosen if qubit not in self.network.qubits]
        if strange or len(set(chosen)) < len(chosen):
            raise InputError(f"qubits: {list(chosen)}, expected different qubits of the circuit")
        if len(chosen) > MAX_MARGINAL_QUBITS:
            raise InputError(
                f"qubits: {len(chosen)} of them, expected at most {MAX_MARGINAL_QUBITS}: there are "
                "2**n probabilities"
            )
        plan = MarginalPlan.within(self.network, chosen, self.memory_bytes)
        weights, log_scale = plan.weights()
        np.maximum(weights, 0, out=weights)  # a difference that is 0 may be rounded to below 0
        weights *= math.exp(log_scale - self.log_norm)
        return weights

    def contraction_of(self, power: int) -> OpenContraction:
        """Return the contraction of one outcome, for ``AMPLITUDES`` or ``DENSITIES``."""
        if power not in self._contractions:
            self._contractions[power] = OpenContraction.within(
                [site.bonds for site in self.network.sites],
                [bond.dimension**power for bond in self.network.bonds],
                (),
                self.memory_bytes,
                COMPLEX_BYTES if power == AMPLITUDES else REAL_BYTES,
            )
        return self._contractions[power]

    @cached_property
    def _contractions(self) -> dict[int, OpenContraction]:
        return {}

    def _amplitudes(self, outcomes: NDArray[np.uint8]) -> Iterator[Scaled]:
        """Yield amplitudes, not normalised, batch by batch."""
        contraction = self.contraction_of(AMPLITUDES)
        each = COMPLEX_BYTES * contraction.row_entries
        for batch in self._batches(outcomes, each):
            tensors, rows = [], []
            for number, site in enumerate(self.network.sites):
                distinct, where = np.unique(values_of(batch, site.qubits), return_inverse=True)
                tensors.append(self.network.columns(number, distinct))
                rows.append(where)
            yield contraction.contract(tensors, rows)

    def _densities(self, outcomes: NDArray[np.uint8], measured: Sequence[int]) -> Iterator[Scaled]:
        """Yield probabilities of the measured qubits, not normalised, batch by batch."""
        contraction = self.contraction_of(DENSITIES)
        each = REAL_BYTES * contraction.row_entries
        for batch in self._batches(outcomes, each):
            tensors, rows = [], []
            for number, site in enumerate(self.network.sites):
                bits = [bit for bit, qubit in enumerate(site.qubits) if qubit in measured]
                values = values_of(batch, [site.qubits[bit] for bit in bits])
                distinct, where = np.unique(values, return_inverse=True)
                tensors.append(
                    local_densities(self.network, number, bits, distinct, self.memory_bytes // 4)
                )
                rows.append(where)
            yield contraction.contract(tensors, rows)

    def _batches(self, outcomes: NDArray[np.uint8], each: int) -> Iterator[NDArray[np.uint8]]:
        """Yield outcomes in batches that fit into the memory, at ``each`` bytes per outcome."""
        bytes_needed = num_bytes(self.network.num_qubits)
        if outcomes.ndim != 2 or outcomes.shape[1] != bytes_needed or outcomes.dtype != np.uint8:
            raise InputError(
                f"outcomes: {outcomes.dtype} of shape {outcomes.shape}, expected uint8 of shape "
                f"(n, {bytes_needed})"
            )
        size = max(1, min(MAX_BATCH, self.memory_bytes // each))
        for first in range(0, len(outcomes), size):
            yield outcomes[first : first + size]


def _logarithms(parts: Iterable[Scaled]) -> NDArray[np.float64]:
    """Return natural logarithms of absolute values; rounding errors below 0 of real ones are 0."""
    logs = [np.empty(0)]
    with np.errstate(divide="ignore"):
        for scaled in parts:
            values = scaled.values
            sizes = np.abs(values) if np.iscomplexobj(values) else np.maximum(values, 0)
            logs.append(np.log(sizes) + scaled.exponents * math.log(2))
    return np.concatenate(logs)
