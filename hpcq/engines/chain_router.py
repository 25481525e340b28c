"""Route gates along a chain: order them into sweeps, and swap wires where gates are distant."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from itertools import islice

import numpy as np

from hpcq.engines.merged_gates import SWAP, Matrix, MergedCircuit, turned

_LOOKAHEAD = 3
"""Number of later gates of a wire that decide to which site swaps bring it."""

_DECAY = 0.5
"""Weight of each later gate relative to the one before."""


class SwapRouter:
    """Turns gates into steps: sweeps along the chain in both directions, with swaps between them.

    Args:
        merged: The gates.
        order: The wire of each site before the first step.
        returns: Whether wires return to their sites after a gate on distant ones.

    Attributes:
        site: The current site of each wire.
    """

    def __init__(self, merged: MergedCircuit, order: Sequence[int], returns: bool) -> None:
        self._bonds: list[int] = []
        self._matrices: list[Matrix] = []
        self._gates = merged.gates
        self._returns = returns
        self._wire_at = list(order)
        self.site = [0] * len(order)
        for site, wire in enumerate(order):
            self.site[wire] = site
        self._queues: list[deque[int]] = [deque() for _ in order]
        for number, gate in enumerate(merged.gates):
            self._queues[gate.a].append(number)
            self._queues[gate.b].append(number)
        self._last = [-1] * len(order)
        self._ready = {queue[0] for queue in self._queues if queue and self._is_ready(queue[0])}

    def run(self) -> tuple[tuple[int, ...], Matrix]:
        """Return the bond that each step acts on, and its matrices, shape (steps, 4, 4)."""
        direction = 1
        while self._ready:
            if not self._sweep(direction):
                number = min(self._ready, key=lambda n: (abs(self._distance(n)), n))
                swaps = self._bring_together(number)
                if self._returns:
                    self._apply(number)
                    for bond in reversed(swaps):
                        self._swap(bond)
            direction = -direction
        # Swaps that undo each other leave nothing.
        matrices = np.array(self._matrices, dtype=complex).reshape(-1, 4, 4)
        kept = np.flatnonzero((matrices != np.eye(4)).any(axis=(1, 2)))
        return tuple([self._bonds[number] for number in kept.tolist()]), matrices[kept]

    def _sweep(self, direction: int) -> bool:
        """Add the steps of gates on neighbouring sites, as long as they follow each other."""
        heap = [(direction * self._bond(n), n) for n in self._ready if self._is_near(n)]
        found = bool(heap)
        heapq.heapify(heap)
        while heap:
            at, number = heapq.heappop(heap)
            for new in self._apply(number):
                ahead = direction * self._bond(new)
                if self._is_near(new) and ahead > at:
                    heapq.heappush(heap, (ahead, new))
        return found

    def _apply(self, number: int) -> list[int]:
        """Add the step of a gate on neighbouring sites; return the gates that are now ready."""
        gate = self._gates[number]
        ascends = self.site[gate.a] < self.site[gate.b]
        self._add(self._bond(number), gate.matrix if ascends else turned(gate.matrix))
        self._ready.remove(number)
        queues = self._queues[gate.a], self._queues[gate.b]
        for queue in queues:
            queue.popleft()
        new = {queue[0] for queue in queues if queue and self._is_ready(queue[0])}
        self._ready |= new
        return sorted(new)

    def _bring_together(self, number: int) -> list[int]:
        """Swap the wires of a gate to where their later gates are shortest; return the bonds."""
        gate = self._gates[number]
        low, high = sorted((gate.a, gate.b), key=self.site.__getitem__)
        first, last = self.site[low], self.site[high] - 1
        meeting = min(
            (first, last, (first + last) // 2),
            key=lambda bond: self._later(low, bond) + self._later(high, bond + 1),
        )
        swaps = [*range(first, meeting), *range(last, meeting, -1)]
        for bond in swaps:
            self._swap(bond)
        return swaps

    def _later(self, wire: int, site: int) -> float:
        """Return the distances of a wire's later gates, if it is at a site, weighted by order."""
        total, weight = 0.0, 1.0
        for number in islice(self._queues[wire], 1, 1 + _LOOKAHEAD):
            gate = self._gates[number]
            total += weight * abs(site - self.site[gate.b if gate.a == wire else gate.a])
            weight *= _DECAY
        return total

    def _swap(self, bond: int) -> None:
        self._add(bond, SWAP)
        left, right = self._wire_at[bond], self._wire_at[bond + 1]
        self._wire_at[bond : bond + 2] = right, left
        self.site[left], self.site[right] = bond + 1, bond

    def _add(self, bond: int, matrix: Matrix) -> None:
        """Add a step, or multiply it into the last step on both sites if it is on this bond."""
        number = self._last[bond]
        if number >= 0 and number == self._last[bond + 1]:
            self._matrices[number] = matrix @ self._matrices[number]
            return
        self._last[bond] = self._last[bond + 1] = len(self._bonds)
        self._bonds.append(bond)
        self._matrices.append(matrix)

    def _is_ready(self, number: int) -> bool:
        gate = self._gates[number]
        return self._queues[gate.a][0] == number == self._queues[gate.b][0]

    def _is_near(self, number: int) -> bool:
        return abs(self._distance(number)) == 1

    def _distance(self, number: int) -> int:
        gate = self._gates[number]
        return self.site[gate.b] - self.site[gate.a]

    def _bond(self, number: int) -> int:
        gate = self._gates[number]
        return min(self.site[gate.a], self.site[gate.b])
