"""The contraction of the parts, in an order that stays while the parts change.

Each node of the tree stands for the parts below it; its legs are the bits between these and all
others. Contracting two nodes takes ``8 * 4^b`` operations, b the bits of all bonds of the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hpcq.planning.cost import power
from hpcq.reconstruction.network import contraction_path

_BYTES = 16


class ContractionTree:
    """A contraction tree over parts, kept up to date bond by bond.

    Args:
        labels: The parts.
        bonds: The bits between each pair of parts.
        empty: Parts without ends as yet; they come last.
    """

    def __init__(
        self,
        labels: Sequence[int],
        bonds: Mapping[tuple[int, int], int],
        empty: Sequence[int] = (),
    ) -> None:
        self._leaf = {label: leaf for leaf, label in enumerate((*labels, *empty))}
        sizes = {(self._leaf[a], self._leaf[b]): 4**bits for (a, b), bits in bonds.items() if bits}
        leaves, full = len(self._leaf), len(labels)
        shift = leaves - full
        path = [
            (a + shift * (a >= full), b + shift * (b >= full))
            for a, b in contraction_path(full, sizes)
        ]
        for leaf in range(full, leaves):
            path.append((leaf, leaves + len(path) - 1 if path else leaf - 1))
        count = leaves + len(path)
        self._parent = [-1] * count
        self._children: list[tuple[int, int]] = [(-1, -1)] * count
        self._legs = [0] * count
        self._flops = [0.0] * count
        self._entries = [0.0] * count
        for node, (left, right) in enumerate(path, leaves):
            self._parent[left] = self._parent[right] = node
            self._children[node] = (left, right)
        self._depth = [0] * count
        for node in reversed(range(count)):
            if self._parent[node] >= 0:
                self._depth[node] = self._depth[self._parent[node]] + 1
        self._dirty: set[int] = set()
        for (a, b), bits in bonds.items():
            self.change(a, b, bits)
        self.settle()

    @property
    def flops(self) -> float:
        """Real floating-point operations of one contraction."""
        return 8.0 * sum(self._flops)

    @property
    def bytes(self) -> float:
        """Bytes of all tensors of one contraction, up and down."""
        return _BYTES * 2 * sum(self._entries)

    def change(self, a: int, b: int, bits: int) -> None:
        """Add bits to the bond of two parts."""
        left, right = self._leaf[a], self._leaf[b]
        depth, parent, legs, dirty = self._depth, self._parent, self._legs, self._dirty
        while left != right:
            if depth[left] < depth[right]:
                left, right = right, left
            legs[left] += bits
            dirty.add(left)
            left = parent[left]

    def settle(self) -> None:
        """Work out the operations of the nodes whose legs have changed."""
        legs = self._legs
        for node in self._dirty:
            self._entries[node] = power(2 * legs[node]) if legs[node] else 0.0
        # Whatever has legs has a parent.
        for node in self._dirty | {self._parent[node] for node in self._dirty}:
            left, right = self._children[node]
            if left >= 0:
                # Every bond of the three is a leg of two of them.
                bits = legs[left] + legs[right] + legs[node]
                self._flops[node] = power(bits) if bits else 0.0
        self._dirty.clear()
