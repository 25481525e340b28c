"""The combined index of all ports: branches joined to the states of a piece, and split again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcq.cutting.subexperiments.exact_tensors import ExactTensor


class PortOrder:
    """Joins the states of branches to those of all ports, the first port the slowest digit.

    Attributes:
        dimension: D, the range of the combined index of the ports that share no ancilla with an
            earlier port.

    Args:
        tensor: The subcircuit and its sliced ports.
        xp: The module of arrays.
    """

    def __init__(self, tensor: ExactTensor, xp: Any) -> None:
        ports, self._xp = tensor.subcircuit.ports, xp
        order = tensor.sliced + tensor.open_ports
        self._dimensions = tuple(ports[number].dimension for number in order)
        self.dimension = math.prod(self._dimensions)
        self._branches = tensor.num_branches
        self._order = np.argsort(order).tolist()
        self._back = np.argsort(self._order).tolist()
        self._sliced_controls = [
            digit for digit, number in enumerate(tensor.sliced) if ports[number].kind == "control"
        ]

    def join(self, parts: Sequence[Any]) -> Any:
        """Return states psi[p, rest], shape (rows, D, 2**wires), from those of the branches."""
        rows, size = len(parts[0]), parts[0].shape[-1]
        if len(parts) > 1:
            states = self._xp.stack(parts, axis=1).reshape(rows, *self._dimensions, size)
            states = self._end_controls(states, 1)
            axes = (0, *(1 + place for place in self._order), 1 + len(self._order))
            return states.transpose(axes).reshape(rows, self.dimension, size)
        return parts[0]

    def split(self, mu: Any) -> list[Any]:
        """Return mu of each branch, shape (rows, sums, 2**n).

        Args:
            mu: mu over all ports, shape (rows, sums, D, 2**wires).
        """
        rows, sums, _, size = mu.shape
        if self._branches > 1:
            mu = mu.reshape(rows, sums, *(self._dimensions[place] for place in self._order), size)
            mu = mu.transpose((0, 1, *(2 + place for place in self._back), 2 + len(self._back)))
            mu = self._end_controls(mu, 2)
        mu = mu.reshape(rows, sums, self._branches, -1)
        return [mu[:, :, branch] for branch in range(self._branches)]

    def _end_controls(self, states: Any, leading: int) -> Any:
        """Apply the H gates that end sliced controls, to states that are not normalised there."""
        for digit in self._sliced_controls:
            axis = leading + digit
            zero, one = self._xp.moveaxis(states, axis, 0)
            states = self._xp.stack([(zero + one) / 2, (zero - one) / 2], axis=axis)
        return states
