"""Values of terms from subcircuit tensors, and their derivatives, all terms in one contraction.

A term of an observable is the identity on most subcircuits, so that terms share most of their
contraction (:mod:`hpcq.reconstruction.sweep`): thousands of local terms cost about three times as
much as one, and the derivatives of weighted sums of them a few times that.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.arrays import namespace_of
from hpcq.reconstruction.connected_parts import products_of_others
from hpcq.reconstruction.contraction_work import ContractionWork, work_of
from hpcq.reconstruction.network import Network
from hpcq.reconstruction.sweep import Sweep
from hpcq.reconstruction.sweep_plan import Indices, SweepPlan, Tensor
from hpcq.reconstruction.term_table import Pick, choice_table

_MAX_BATCH_TERMS = 4096
"""Maximum number of terms in a batch. Larger: fewer sweeps, but fewer parts for the ranks."""

_MAX_PARTS = 4096
"""Approximate maximum number of parts; with more slices than that, a part takes several."""

_MIN_SPREAD_FLOPS = 1e11
"""Floating-point operations from which a contraction is divided for several ranks."""

_TARGET_PARTS = 16
"""Number of parts into which a long contraction is divided, if it has fewer already."""

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

    The tensors are one bond tensor for each subcircuit, shape (strings, *points, bond sizes). The
    axis of points may be missing. It counts sets of tensors that are contracted together. They may
    be arrays of another module with NumPy's functions, such as CuPy; results are of that module.

    Attributes:
        network: The order of contraction.
        picks: For each term, the (subcircuit, string) pairs where it is not the identity, which is
            string 0.
        batch: Number of terms that are contracted together.
    """

    network: Network
    picks: Sequence[Pick]
    batch: int

    @classmethod
    def within(cls, network: Network, picks: Sequence[Pick], memory_bytes: int) -> Contraction:
        """Return a contraction whose intermediate tensors fit into about this many bytes."""
        batch = np.clip(memory_bytes // (4 * network.largest_bytes), 1, _MAX_BATCH_TERMS)
        return cls(network, picks, int(batch))

    def subdivided(self, flops: float) -> Contraction:
        """Return the contraction in smaller batches, if it is long and they cost hardly more.

        It takes ``flops`` floating-point operations.
        """
        batch = -(-len(self.picks) // _TARGET_PARTS)
        if flops < _MIN_SPREAD_FLOPS or self.num_parts >= _TARGET_PARTS or batch < _MIN_BATCH_TERMS:
            return self
        smaller = replace(self, batch=batch)
        return smaller if smaller.work.flops <= _MAX_SPREAD_COST * flops else self

    @cached_property
    def work(self) -> ContractionWork:
        """The predicted cost of all values, from the first batch of terms."""
        return work_of(self._sweep_plan(0), len(self.picks))

    @property
    def num_parts(self) -> int:
        """Number of parts."""
        return self._num_batches * self._num_slice_groups

    @cached_property
    def _num_batches(self) -> int:
        return -(-len(self.picks) // self.batch)

    @cached_property
    def _num_slice_groups(self) -> int:
        """Number of groups of slices; a part adds up the slices of its group."""
        if not self.network.linked:
            return 1
        return min(self.network.num_slices, max(1, _MAX_PARTS // self._num_batches))

    def part(self, number: int, tensors: Sequence[Tensor]) -> Tensor:
        """Return one part, of 0 to ``num_parts - 1``, from the bond tensors of the subcircuits.

        Returns:
            Its contribution to the values of its batch of terms, shape (terms, *points).
        """
        batch, slice_group = divmod(number, self._num_slice_groups)
        sweep_plan, num_slices = self._sweep_plan(batch), self.network.num_slices
        if not self.network.linked:
            shape = (sweep_plan.num_terms, *tensors[0].shape[1:])
            ones: Tensor = namespace_of(tensors[0]).ones(shape, dtype=tensors[0].dtype)
            return ones
        first, last = (
            index * num_slices // self._num_slice_groups for index in (slice_group, slice_group + 1)
        )
        slices = islice(self.network.slices(), first, last)
        values = (Sweep(sweep_plan, tensors, fixed).values() for fixed in slices)
        return reduce(operator.add, values)

    def sum_up(self, parts: Iterable[Tensor], tensors: Sequence[Tensor]) -> Tensor:
        """Return the value of every term from the results of all parts in order.

        Returns:
            Shape (terms, *points); the imaginary parts are rounding errors.
        """
        values = []
        remaining = iter(parts)
        for batch in range(self._num_batches):
            batch_values = sum(islice(remaining, self._num_slice_groups))
            for factor in self._factors(batch, tensors).values():
                batch_values = batch_values * factor
            values.append(batch_values)
        joined: Tensor = namespace_of(tensors[0]).concat(values)
        return joined

    def values(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the value of every term, shape (terms, *points), computed in this process."""
        parts = (self.part(number, tensors) for number in range(self.num_parts))
        return self.sum_up(parts, tensors)

    def vjp(self, tensors: Sequence[Tensor], cotangents: NDArray[Any]) -> list[Tensor]:
        """Return vector-Jacobian products: the derivatives of weighted sums of the values.

        Args:
            tensors: For each subcircuit, its bond tensor.
            cotangents: Weight of each value in each sum, shape (terms, *points, sums).

        Returns:
            The derivatives with respect to each subcircuit's bond tensor, shape (strings, *points,
            sums, bond sizes). Nothing is conjugated: if a tensor changes by dT, a sum changes by
            the sum over all entries of dT times the derivative.
        """
        xp = namespace_of(tensors[0])
        derivatives: list[Tensor] = []
        for tensor in tensors:
            shape = (len(tensor), *cotangents.shape[1:], *tensor.shape[cotangents.ndim - 1 :])
            derivatives.append(xp.zeros(shape, dtype=tensor.dtype))
        linked = [derivatives[number] for number in self.network.linked]
        for batch in range(self._num_batches):
            weights = cotangents[batch * self.batch : (batch + 1) * self.batch].astype(complex)
            weights = self._pass_factors(batch, tensors, weights, derivatives)
            for fixed in self.network.slices() if linked else ():
                sweep = Sweep(self._sweep_plan(batch), tensors, fixed)
                sweep.add_derivatives(weights, linked)
        return derivatives

    def _pass_factors(
        self, batch: int, tensors: Sequence[Tensor], weights: Tensor, derivatives: Sequence[Tensor]
    ) -> Tensor:
        """Add the derivatives with respect to scalar factors; return the weights times these."""
        factors = self._factors(batch, tensors)
        if not factors:
            return weights
        xp, groups = namespace_of(tensors[0]), range(self._num_slice_groups)
        parts = [self.part(batch * len(groups) + group, tensors) for group in groups]
        all_factors, *others = products_of_others([reduce(operator.add, parts), *factors.values()])
        for number, other in zip(factors, others, strict=True):
            strings = self._choices(batch)[:, number]
            xp.add.at(derivatives[number], strings, weights * other[..., None])
        passed: Tensor = weights * all_factors[..., None]
        return passed

    def _factors(self, batch: int, tensors: Sequence[Tensor]) -> dict[int, Tensor]:
        """Return the scalar factors of a batch of terms: entries of tensors without bonds."""
        unlinked = [number for number, legs in enumerate(self.network.legs) if not legs]
        choices = self._choices(batch) if unlinked else np.empty((0, 0), dtype=np.intp)
        return {number: tensors[number][choices[:, number]] for number in unlinked}

    def _choices(self, batch: int) -> Indices:
        picks = self.picks[batch * self.batch : (batch + 1) * self.batch]
        return choice_table(picks, len(self.network.legs))

    def _sweep_plan(self, batch: int) -> SweepPlan:
        """Return the sweep plan of a batch; the last one is kept for the next part."""
        if batch not in self._cached_plan:
            self._cached_plan.clear()
            self._cached_plan[batch] = SweepPlan(self.network, self._choices(batch))
        return self._cached_plan[batch]

    @cached_property
    def _cached_plan(self) -> dict[int, SweepPlan]:
        return {}
