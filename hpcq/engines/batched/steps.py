"""Steps of a compiled circuit: each maps the states of all rows, and carries derivatives back.

States have the shape (rows, 2**n), where n is the number of *active* qubits, those that have joined
the simulation so far; bit b of the index is the b-th of them in ascending order. On the way back, a
step receives ``mu = conj(lambda)``, shape (rows, sums, 2**n); the derivative of a sum with respect
to an angle is ``2 Re sum mu dpsi`` (Jones and Gacon, arXiv:2009.02823, for unitary circuits).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from hpcq.engines.batched.phases import PhaseTable


@dataclass(frozen=True, eq=False)
class RowMatrices:
    """The matrices of all gates with angles, for a chunk of rows.

    Attributes:
        xp: The module of arrays.
        angles: Angles of all rotations, float64, shape (rows, rotations).
        phases: exp(-i angle / 2), shape (rows, rotations).
        unitaries: Matrices of local unitaries, shape (rows, unitaries, 2, 2).
        groups: Matrices of groups, by number of qubits g, shape (rows, groups, 2^g, 2^g).
    """

    xp: Any
    angles: Any
    phases: Any
    unitaries: Any
    groups: dict[int, Any]


@dataclass(frozen=True, eq=False)
class Collected:
    """What the steps collect on the way back.

    Attributes:
        rotations: Derivatives by rotation, float64, shape (rows, sums, rotations).
        products: The matrices C of groups, from which the other derivatives follow; see
            :mod:`hpcq.engines.batched.local_unitaries`.
    """

    rotations: Any
    products: dict[int, Any]


class Step(ABC):
    """A step of a compiled circuit.

    Attributes:
        qubits: Number of active qubits after it.
        has_angles: Whether it has derivatives, for which it needs the states after it.
    """

    qubits: int
    has_angles: bool = False

    @abstractmethod
    def forward(self, states: Any, of: RowMatrices) -> Any:
        """Return the states after the step."""

    @abstractmethod
    def backward(self, mu: Any, after: Any, of: RowMatrices, found: Collected) -> Any:
        """Add the derivatives, and return mu before the step.

        Args:
            mu: mu after the step, shape (rows, sums, 2**qubits).
            after: The states after the step, if it ``has_angles``.
            of: The matrices of the gates.
            found: Where the derivatives are added.
        """

    @property
    def nbytes(self) -> int:
        """Bytes of its constants."""
        return 0


@dataclass(frozen=True)
class Window:
    """Neighbouring bits of the index, for a matrix on them.

    Attributes:
        low: Number of bits below.
        size: Number of its bits.
    """

    low: int
    size: int

    def apply(self, states: Any, matrices: Any) -> Any:
        """Multiply states by matrices.

        Args:
            states: Shape (..., 2**n).
            matrices: Complex or real, shape (..., 2**size, 2**size), with leading axes that match
                those of the states.
        """
        width, below = 1 << self.size, 1 << self.low
        leading = states.shape[:-1]
        if not self.low:
            result = states.reshape(*leading, -1, width) @ matrices.swapaxes(-1, -2)
            return result.reshape(states.shape)
        shaped = states.reshape(*leading, -1, width, below)
        if matrices.dtype.kind == "f":  # half as many operations on real and imaginary parts
            result = (matrices[..., None, :, :] @ shaped.view(matrices.dtype)).view(states.dtype)
        else:
            result = matrices[..., None, :, :] @ shaped
        return result.reshape(states.shape)

    def product(self, after: Any, mu: Any) -> Any:
        """Return ``C[x, y] = sum psi[x] mu[y]``, shape (rows, sums, 2**size, 2**size)."""
        width, below = 1 << self.size, 1 << self.low
        if not self.low:
            left = after.reshape(len(after), 1, -1, width)
            return left.swapaxes(-1, -2) @ mu.reshape(*mu.shape[:2], -1, width)
        left = after.reshape(len(after), 1, -1, width, below)
        right = mu.reshape(*mu.shape[:2], -1, width, below)
        products = left @ right.swapaxes(-1, -2)
        return products[:, :, 0] if products.shape[2] == 1 else products.sum(2)


@dataclass(frozen=True, eq=False)
class ProductStep(Step):
    """The first gates of all wires, on a product state.

    Attributes:
        qubits: Number of active qubits.
        factors: For each wire, in the order of the index before ``source``: its local unitary,
            and whether it begins at a cut. If so, its state is |k> for each value k of its input
            port, whose bit follows.
        source: Index, in that order, of each amplitude; None if nothing changes.
        probes: The groups of wires, with their windows.
        has_angles: Whether some of the local unitaries contain rotations.
    """

    qubits: int
    factors: tuple[tuple[int, bool], ...]
    source: Any
    probes: tuple[tuple[tuple[int, int], Window], ...]
    has_angles: bool

    def forward(self, states: Any, of: RowMatrices) -> Any:
        """Return the product state; there are no states before it."""
        del states
        product = None
        for number, is_input in self.factors:
            matrices = of.unitaries[:, number]
            rows = len(matrices)
            factor = matrices.reshape(rows, 4) if is_input else matrices[:, :, 0]
            if product is not None:
                factor = (product[:, :, None] * factor[:, None, :]).reshape(rows, -1)
            product = factor
        return product if self.source is None else of.xp.take(product, self.source, axis=1)

    def backward(self, mu: Any, after: Any, of: RowMatrices, found: Collected) -> Any:
        """Add the derivatives; nothing is before the step."""
        del of
        for (size, number), window in self.probes:
            found.products[size][:, :, number] = window.product(after, mu)
        return None


@dataclass(frozen=True, eq=False)
class GroupStep(Step):
    """Local unitaries of neighbouring qubits, some of them with rotations.

    Attributes:
        qubits: Number of active qubits.
        window: Their bits.
        group: Number of qubits of the group, and its place among the groups of that many.
    """

    qubits: int
    window: Window
    group: tuple[int, int]
    has_angles = True

    def forward(self, states: Any, of: RowMatrices) -> Any:
        """Return the states after the step."""
        size, number = self.group
        return self.window.apply(states, of.groups[size][:, number])

    def backward(self, mu: Any, after: Any, of: RowMatrices, found: Collected) -> Any:
        """Add the derivatives, and return mu before the step."""
        size, number = self.group
        found.products[size][:, :, number] = self.window.product(after, mu)
        return self.window.apply(mu, of.groups[size][:, None, number].swapaxes(-1, -2))


@dataclass(frozen=True, eq=False)
class FixedStep(Step):
    """A fixed matrix on some qubits, which a permutation brings to neighbouring bits.

    Attributes:
        qubits: Number of active qubits.
        window: Their bits after the permutation.
        matrix: The matrix, shape (1, 2**size, 2**size).
        source: The lowest bits of the index before the permutation for each value of those after
            it; None if nothing changes.
        target: The inverse, applied after the matrix.
    """

    qubits: int
    window: Window
    matrix: Any
    source: Any = None
    target: Any = None

    def forward(self, states: Any, of: RowMatrices) -> Any:
        """Return the states after the step."""
        return self._apply(states, self.matrix, of.xp)

    def backward(self, mu: Any, after: Any, of: RowMatrices, found: Collected) -> Any:
        """Return mu before the step."""
        del after, found
        return self._apply(mu, self.matrix[:, None].swapaxes(-1, -2), of.xp)

    def _apply(self, states: Any, matrix: Any, xp: Any) -> Any:
        if self.source is None:
            return self.window.apply(states, matrix)
        shape, size = states.shape, len(self.source)
        states = xp.take(states.reshape(*shape[:-1], -1, size), self.source, axis=-1)
        states = self.window.apply(states.reshape(shape), matrix).reshape(*shape[:-1], -1, size)
        return xp.take(states, self.target, axis=-1).reshape(shape)

    @property
    def nbytes(self) -> int:
        """Bytes of its constants."""
        return _nbytes(self.matrix, self.source, self.target)


@dataclass(frozen=True, eq=False)
class MonomialStep(Step):
    """Gates that permute basis states and change phases; qubits in |0> + |1> may join.

    Only the lowest bits of the index change.

    Attributes:
        qubits: Number of active qubits after it.
        source: The lowest bits before the step for each value of those after it; None if the step
            permutes nothing.
        copies: For each value of the qubits that join, the lowest bits after the step for each
            value of those before it, shape (values, values before); None as above.
        phases: Fixed phases for each value of the lowest bits after it; None if all are 1.
        rotations: The rotations; None if there is none.
    """

    qubits: int
    source: Any = None
    copies: Any = None
    phases: Any = None
    rotations: PhaseTable | None = None
    has_angles: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "has_angles", self.rotations is not None)

    def forward(self, states: Any, of: RowMatrices) -> Any:
        """Return the states after the step."""
        if self.source is not None:
            moved = states.reshape(len(states), -1, self.copies.shape[1])
            states = of.xp.take(moved, self.source, axis=-1).reshape(len(states), -1)
        return self._turned(states, of)

    def _turned(self, states: Any, of: RowMatrices) -> Any:
        if self.phases is not None:
            turned = states.reshape(len(states), -1, len(self.phases)) * self.phases
            states = turned.reshape(states.shape)
        if self.rotations is not None:
            states = self.rotations.apply(states, of.angles)
        return states

    def backward(self, mu: Any, after: Any, of: RowMatrices, found: Collected) -> Any:
        """Add the derivatives, and return mu before the step."""
        if self.rotations is not None:
            self.rotations.derivatives(mu, after, found.rotations)
        mu = self._turned(mu, of)
        if self.copies is None:
            return mu
        values, before = self.copies.shape
        moved = mu.reshape(*mu.shape[:2], -1, values * before)
        moved = of.xp.take(moved, self.copies.reshape(-1), axis=-1)
        if values > 1:
            moved = moved.reshape(*moved.shape[:3], values, before).sum(-2)
        return moved.reshape(*mu.shape[:2], -1)

    @property
    def nbytes(self) -> int:
        """Bytes of its constants."""
        tables = 0 if self.rotations is None else self.rotations.nbytes
        return _nbytes(self.source, self.copies, self.phases) + tables


def as_real_if_real(matrix: Any, xp: Any, dtype: Any) -> Any:
    """Return a matrix in the precision of the states, of real numbers if all are."""
    matrix = xp.asarray(matrix, dtype=dtype)
    return matrix if matrix.imag.any() else xp.ascontiguousarray(matrix.real)


def _nbytes(*arrays: Any) -> int:
    return sum(int(array.nbytes) for array in arrays if array is not None)
