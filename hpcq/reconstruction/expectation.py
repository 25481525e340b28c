"""Expectation values from subcircuit tensors: one contraction for all terms together.

A term of an observable is the identity on most subcircuits. Its home is the smallest node of the
contraction that holds all the others; the rest of the network, its environment, is the same for
all terms of that home. So the network is contracted once upwards, for the identity and for terms
that are not at home yet, and once downwards for the environments, and every term is a product of
its home's tensors and environment: thousands of local terms cost about three times what one does.
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
_WORTH_SPREADING = 1e11
"""Floating-point operations from which a contraction is divided for several ranks."""

_ENOUGH_PARTS = 16
_MIN_BATCH = 8
_SPREADING_COSTS = 1.1


@dataclass(frozen=True, eq=False)
class Contraction:
    """A contraction for every term, in parts that can be done apart and in any order.

    A part is a batch of terms in some slices of the network. What the parts are follows from the
    plan alone, and their sums are taken in order, so that the values are the same bit for bit
    wherever the parts are done.

    Attributes:
        network: The order of contraction.
        terms: Which string of each tensor a term takes.
        batch: Number of terms that are taken at once.
    """

    network: Network
    terms: TermTable
    batch: int

    @classmethod
    def within(cls, network: Network, terms: TermTable, memory_bytes: int) -> Contraction:
        """Return a contraction whose batches' intermediates fit in about so many bytes."""
        return cls(network, terms, batch_size(network, memory_bytes))

    def spread(self, flops: float) -> Contraction:
        """Return the contraction in smaller batches, if it is long and that costs hardly more.

        Args:
            flops: What it takes as it is.
        """
        total = len(self.terms.picks)
        batch = -(-total // _ENOUGH_PARTS)
        if flops < _WORTH_SPREADING or self.num_parts >= _ENOUGH_PARTS or batch < _MIN_BATCH:
            return self
        smaller = replace(self, batch=batch)
        cost = work_of(self.network, self.terms, batch).flops
        return smaller if cost <= _SPREADING_COSTS * flops else self

    @property
    def num_parts(self) -> int:
        """Number of parts."""
        return self._num_batches * self._num_groups

    @cached_property
    def _num_batches(self) -> int:
        return -(-len(self.terms.picks) // self.batch)

    @cached_property
    def _num_groups(self) -> int:
        """Number of groups of slices; each group's slices are done one after the other."""
        if not self.network.linked:
            return 1
        return min(self.network.num_slices, max(1, _MAX_PARTS // self._num_batches))

    def part(self, number: int, tensors: Sequence[Tensor]) -> Tensor:
        """Do one part.

        Args:
            number: 0 to ``num_parts - 1``.
            tensors: For each subcircuit its bond tensor, shape (strings, bond sizes).

        Returns:
            What it adds to the values of its batch of terms.
        """
        batch, group = divmod(number, self._num_groups)
        choices = self._choices(batch)
        if not self.network.linked:
            return np.ones(len(choices), dtype=complex)
        itinerary = self._itinerary(batch, choices)
        total = self.network.num_slices
        first, last = (own * total // self._num_groups for own in (group, group + 1))
        values = np.zeros(len(choices), dtype=complex)
        for fixed in islice(self.network.slices(), first, last):
            values += Sweep(itinerary, self.network, tensors, fixed).values()
        return values

    def sum_up(self, parts: Iterable[Tensor], tensors: Sequence[Tensor]) -> Tensor:
        """Return the value of every term from all parts in order, shape (terms,).

        The imaginary parts are rounding errors.
        """
        values = []
        everything = iter(parts)
        for batch in range(self._num_batches):
            own = sum(islice(everything, self._num_groups))
            choices = self._choices(batch)
            for number, tensor in enumerate(tensors):
                if not self.network.legs[number]:
                    own = own * tensor[choices[:, number]]
            values.append(own)
        return np.concatenate(values)

    def _choices(self, batch: int) -> Indices:
        start = batch * self.batch
        return self.terms.choices(start, min(len(self.terms.picks), start + self.batch))

    def _itinerary(self, batch: int, choices: Indices) -> SweepPlan:
        """Return the itinerary of a batch; that of the last one is kept."""
        if batch not in self._known:
            self._known.clear()
            self._known[batch] = SweepPlan(self.network, choices)
        return self._known[batch]

    @cached_property
    def _known(self) -> dict[int, SweepPlan]:
        return {}


def contract(
    tensors: Sequence[Tensor], network: Network, terms: TermTable, memory_bytes: int
) -> Tensor:
    """Contract the network for every term, here and now.

    Args:
        tensors: For each subcircuit its bond tensor, shape (strings, bond sizes).
        network: The order of contraction.
        terms: Which string of each tensor a term takes.
        memory_bytes: Terms are taken in batches whose intermediates fit in about this.

    Returns:
        The expectation value of every term, shape (terms,); the imaginary parts are rounding
        errors.
    """
    contraction = Contraction.within(network, terms, memory_bytes)
    parts = (contraction.part(number, tensors) for number in range(contraction.num_parts))
    return contraction.sum_up(parts, tensors)
