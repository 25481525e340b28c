"""The cost of contracting the parts, along a path that stays fixed while the parts change.

Each node of the tree stands for the parts below it; its legs are the bits of the bonds between
these and all other parts. Contracting two nodes takes ``8 * 4^b`` floating-point operations, where
b is the bits of all bonds of the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hpcq.core.limits import COMPLEX_BYTES
from hpcq.planning.cost import power_of_two
from hpcq.reconstruction.network import contraction_path


class ContractionTree:
    """A contraction tree over parts, kept up to date bond by bond.

    Bonds are the bits between two parts. Empty parts have no ends yet; they are contracted last.
    """

    def __init__(
        self, labels: Sequence[int], bonds: Mapping[tuple[int, int], int], empty: Sequence[int] = ()
    ) -> None:
        self._leaf = {label: leaf for leaf, label in enumerate((*labels, *empty))}
        sizes = {(self._leaf[a], self._leaf[b]): 4**bits for (a, b), bits in bonds.items() if bits}
        num_leaves, num_nonempty = len(self._leaf), len(labels)
        shift = num_leaves - num_nonempty
        path = [
            (a + shift * (a >= num_nonempty), b + shift * (b >= num_nonempty))
            for a, b in contraction_path(num_nonempty, sizes)
        ]
        for leaf in range(num_nonempty, num_leaves):
            path.append((leaf, num_leaves + len(path) - 1 if path else leaf - 1))
        num_nodes = num_leaves + len(path)
        self._parent = [-1] * num_nodes
        self._children: list[tuple[int, int]] = [(-1, -1)] * num_nodes
        self._legs = [0] * num_nodes
        self._flops = [0.0] * num_nodes
        self._entries = [0.0] * num_nodes
        for node, (left, right) in enumerate(path, num_leaves):
            self._parent[left] = self._parent[right] = node
            self._children[node] = (left, right)
        self._depth = [0] * num_nodes
        for node in reversed(range(num_nodes)):
            if self._parent[node] >= 0:
                self._depth[node] = self._depth[self._parent[node]] + 1
        self._dirty: set[int] = set()
        for (a, b), bits in bonds.items():
            self.add_bits(a, b, bits)
        self.update()

    @property
    def flops(self) -> float:
        """Real floating-point operations of one contraction."""
        return 8.0 * sum(self._flops)

    @property
    def bytes(self) -> float:
        """Bytes of the tensors at all nodes, once on the way up and once on the way down."""
        return COMPLEX_BYTES * 2 * sum(self._entries)

    def add_bits(self, a: int, b: int, bits: int) -> None:
        """Add bits to the bond between two parts; takes effect at the next :meth:`update`."""
        left, right = self._leaf[a], self._leaf[b]
        depth, parent, legs, dirty = self._depth, self._parent, self._legs, self._dirty
        while left != right:
            if depth[left] < depth[right]:
                left, right = right, left
            legs[left] += bits
            dirty.add(left)
            left = parent[left]

    def update(self) -> None:
        """Recompute the cost of the nodes whose legs have changed."""
        legs = self._legs
        for node in self._dirty:
            self._entries[node] = power_of_two(2 * legs[node]) if legs[node] else 0.0
        # A node with legs is not the root, so it has a parent.
        for node in self._dirty | {self._parent[node] for node in self._dirty}:
            left, right = self._children[node]
            if left >= 0:
                # Every bond of these three nodes is a leg of two of them, so the sum counts each
                # bond twice: it is the exponent of 2 in 4^b.
                bits = legs[left] + legs[right] + legs[node]
                self._flops[node] = power_of_two(bits) if bits else 0.0
        self._dirty.clear()
