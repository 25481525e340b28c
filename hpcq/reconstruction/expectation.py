"""Expectation values from subcircuit tensors: one contraction for all terms together.

A term of an observable is the identity on most subcircuits. Its *home* is the lowest node of the
contraction tree that contains all subcircuits on which it acts. The rest of the network, the
environment of that node, is the same for all terms with this home. So the network is contracted
once upwards, for the identity and for terms below their homes, and once downwards for the
environments, and every term is a product of the tensors and the environment at its home. Thousands
of local terms cost about three times as much as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

import numpy as np

from hpcq.reconstruction.contraction_work import batch_size, work_of
from hpcq.reconstruction.network import Network
from hpcq.reconstruction.sweep import Indices, Sweep, SweepPlan, Tensor
from hpcq.reconstruction.term_table import TermTable

_MAX_PARTS = 4096
"""Parts of a contraction, about, at most: beyond, a part takes several slices."""

_MIN_SPREAD_FLOPS = 1e11
"""Floating-point operations from which a contraction is divided for several ranks."""

_TARGET_PARTS = 16
"""Parts that a long contraction is divided into, if it has fewer by itself."""

_MIN_BATCH_TERMS = 8
"""Terms of a batch below which a contraction is not divided: batches repeat the upward sweep."""

_MAX_SPREAD_COST = 1.1
"""Factor by which a division into smaller batches may increase the operations."""


@dataclass(frozen=True, eq=False)
class Contraction:
    """A contraction for every term, in parts that can be computed separately and in any order.

    A part is a batch of terms in some slices of the network. The parts follow from the plan alone
    and are summed in order, so that the values are the same bit for bit wherever the parts are
    computed.

    Attributes:
        network: The order of contraction.
        terms: The string of each tensor that a term takes.
        batch: Number of terms that are contracted together.
    """

    network: Network
    terms: TermTable
    batch: int

    @classmethod
    def within(cls, network: Network, terms: TermTable, memory_bytes: int) -> Contraction:
        """Return a contraction whose intermediate tensors fit into about this many bytes."""
        return cls(network, terms, batch_size(network, memory_bytes))

    def subdivided(self, flops: float) -> Contraction:
        """Return the contraction in smaller batches, if it is long and they cost hardly more.

        Args:
            flops: Floating-point operations of this contraction.
        """
        num_terms = len(self.terms.picks)
        batch = -(-num_terms // _TARGET_PARTS)
        if flops < _MIN_SPREAD_FLOPS or self.num_parts >= _TARGET_PARTS or batch < _MIN_BATCH_TERMS:
            return self
        smaller = replace(self, batch=batch)
        cost = work_of(self.network, self.terms, batch).flops
        return smaller if cost <= _MAX_SPREAD_COST * flops else self

    @property
    def num_parts(self) -> int:
        """Number of parts."""
        return self._num_batches * self._num_slice_groups

    @cached_property
    def _num_batches(self) -> int:
        return -(-len(self.terms.picks) // self.batch)

    @cached_property
    def _num_slice_groups(self) -> int:
        """Number of groups of slices; a part adds up the slices of its group."""
        if not self.network.linked:
            return 1
        return min(self.network.num_slices, max(1, _MAX_PARTS // self._num_batches))

    def part(self, number: int, tensors: Sequence[Tensor]) -> Tensor:
        """Return one part.

        Args:
            number: 0 to ``num_parts - 1``.
            tensors: For each subcircuit its bond tensor, shape (strings, bond sizes).

        Returns:
            Its contribution to the values of its batch of terms.
        """
        batch, slice_group = divmod(number, self._num_slice_groups)
        choices = self._choices(batch)
        if not self.network.linked:
            return np.ones(len(choices), dtype=complex)
        sweep_plan = self._sweep_plan(batch, choices)
        num_slices = self.network.num_slices
        first, last = (
            index * num_slices // self._num_slice_groups for index in (slice_group, slice_group + 1)
        )
        values = np.zeros(len(choices), dtype=complex)
        for fixed in islice(self.network.slices(), first, last):
            values += Sweep(sweep_plan, self.network, tensors, fixed).values()
        return values

    def sum_up(self, parts: Iterable[Tensor], tensors: Sequence[Tensor]) -> Tensor:
        """Return the value of every term from the results of all parts in order, shape (terms,).

        The imaginary parts are rounding errors.
        """
        values = []
        remaining = iter(parts)
        for batch in range(self._num_batches):
            batch_values = sum(islice(remaining, self._num_slice_groups))
            choices = self._choices(batch)
            for number, tensor in enumerate(tensors):
                if not self.network.legs[number]:
                    batch_values = batch_values * tensor[choices[:, number]]
            values.append(batch_values)
        return np.concatenate(values)

    def _choices(self, batch: int) -> Indices:
        start = batch * self.batch
        return self.terms.choices(start, min(len(self.terms.picks), start + self.batch))

    def _sweep_plan(self, batch: int, choices: Indices) -> SweepPlan:
        """Return the sweep plan of a batch; the last one is kept for the next part."""
        if batch not in self._cached_plan:
            self._cached_plan.clear()
            self._cached_plan[batch] = SweepPlan(self.network, choices)
        return self._cached_plan[batch]

    @cached_property
    def _cached_plan(self) -> dict[int, SweepPlan]:
        return {}


def contract(
    tensors: Sequence[Tensor], network: Network, terms: TermTable, memory_bytes: int
) -> Tensor:
    """Contract the network for every term, in this process.

    Args:
        tensors: For each subcircuit its bond tensor, shape (strings, bond sizes).
        network: The order of contraction.
        terms: The string of each tensor that a term takes.
        memory_bytes: Memory of the intermediate tensors, about; terms are contracted in batches.

    Returns:
        The expectation value of every term, shape (terms,); the imaginary parts are rounding
        errors.
    """
    contraction = Contraction.within(network, terms, memory_bytes)
    parts = (contraction.part(number, tensors) for number in range(contraction.num_parts))
    return contraction.sum_up(parts, tensors)
