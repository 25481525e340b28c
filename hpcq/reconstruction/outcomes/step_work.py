"""The work of one step of sampling, from the dimensions of its bonds."""

from __future__ import annotations

from dataclasses import dataclass

_TYPICAL_SHOTS = 2.0**16
"""Number of shots among which the work of building tables is divided when orders are compared."""

_ENTRY_WORK = 150.0
"""Work of computing and storing one number of a tree, in operations. Measured with 2 x 20
qubits and D = 8: 3.3 s for a tree of 20 bits, which has 7e7 numbers at the last level."""

_LEAF_WORK = 60.0
"""Work of comparing a random number with one leaf's probability, in operations: 20 ns, of which
drawing takes 16, measured with 32 leaves."""

_LEAVES_WORK = 4000.0
"""Overhead of a shot's products with its leaves' amplitudes, in operations: about a microsecond. A
few leaves are therefore worse than none: measured with 10 x 10 qubits and D = 8, 18 µs per shot
without leaves, 51 with 3 bits of them, 82 with 4."""

_LEAF_BITS = (0, 3, 4, 5, 6, 7)
"""Numbers of bits that may be left to the leaves of a tree; all bits are tried too."""


@dataclass(frozen=True)
class StepShape:
    """The dimensions that the work of a step depends on, as floats, because they may be huge.

    Attributes:
        closed: Combined dimension of the bonds that end at the site.
        passed: Combined dimension of the bonds that pass by.
        opened: Combined dimension of the bonds to later sites.
        qubits: Number of qubits of the site's outcome.
    """

    closed: float
    passed: float
    opened: float
    qubits: int

    @property
    def dimension(self) -> float:
        """Dimension D of the Gram matrices in the site's tree."""
        return self.closed if self.passed == 1 else self.closed * self.opened

    @property
    def environment_work(self) -> float:
        """Operations of a group's environment over the tree's index."""
        if self.passed == 1:
            return 4 * self.closed**2
        later = self.passed * self.opened
        return 8 * self.closed * later**2 + 8 * self.dimension**2 * self.passed

    def shot_work(self, bits: int) -> float:
        """Return the operations of a shot, with a tree of some bits."""
        later = self.passed * self.opened
        leaves = 2.0 ** (self.qubits - bits)
        amplitudes = 8 * leaves * later * (self.closed + later)
        if bits < self.qubits:
            amplitudes += _LEAVES_WORK + _LEAF_WORK * leaves
        walk = self.environment_work + 2 * bits * self.dimension**2 if bits else 0.0
        return walk + amplitudes

    def table_work(self, bits: int) -> float:
        """Return the operations of building a tree of some bits, once for all shots."""
        if not bits:
            return 0.0
        rank = self.opened if self.passed == 1 else 1.0
        products = 8 * self.dimension**2 * rank * 2.0**self.qubits
        return products + _ENTRY_WORK * self.dimension**2 * 2.0**bits

    @property
    def best_bits(self) -> int:
        """The bits of the tree with the least work, if memory does not matter."""
        options = {max(0, self.qubits - leaf_bits) for leaf_bits in _LEAF_BITS} | {0}
        return min(sorted(options, reverse=True), key=self._work)

    @property
    def work(self) -> float:
        """The operations per shot with the best tree, including a share of building it."""
        return self._work(self.best_bits)

    def _work(self, bits: int) -> float:
        return self.shot_work(bits) + self.table_work(bits) / _TYPICAL_SHOTS
