"""The network of sites: each subcircuit as a tensor of amplitudes over its bonds and outcomes.

The amplitude of an outcome of all qubits is ``sum over bonds of prod_f A_f[legs, b_f]``. Here b_f
is the outcome of the wires of site f that have no output port, and the legs are the values of its
bonds. All edges between two subcircuits form one bond. Its index is a ket index only, so that its
dimension is the product of those of the edges, without a square. Each edge's weights are part of
the bond's first site.

An engine computes *states*: amplitudes ``S[r, b]`` of all branches of a subcircuit, r the combined
index of branch and open ports. Those over bonds follow by one small matrix, ``A = M S``. M has the
edges' weights, sums over edges of a subcircuit to itself, adds the indices of ports that share an
ancilla, and applies the H gates that end sliced control ports.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import InputError, MemoryLimitError
from hpcq.core.limits import COMPLEX_BYTES
from hpcq.cutting.subcircuits import CutCircuit
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.reconstruction.network import ket_weights

Matrix = NDArray[np.complex128]

_MAX_ENTRIES = 1 << 24
"""Maximum number of entries of the matrix M of a site. Above it, its amplitudes exceed any memory:
a quarter of a gigabyte for each outcome."""

BranchStates = Callable[[int, int], NDArray[np.complexfloating]]
"""Returns the amplitudes of a tensor's branch: the one row of the answer to ``Amplitudes(branch)``,
shape (D, 2**bits), D the combined index of the open ports. Arguments: tensor, branch."""


@dataclass(frozen=True)
class SiteBond:
    """All edges between two subcircuits.

    Attributes:
        sites: The pair of sites, ascending.
        dimension: Range of the bond's index: the product of the edges' dimensions.
    """

    sites: tuple[int, int]
    dimension: int


@dataclass(frozen=True, eq=False)
class Site:
    """A subcircuit, seen as a tensor over its bonds and its outcomes.

    Attributes:
        qubits: The qubits of its outcome: bit i of the outcome is that of ``qubits[i]``.
        bonds: Numbers of its bonds, in the order of the tensor's axes.
        dimensions: Dimensions of these bonds.
        tensor: Number of its states; equal subcircuits share theirs.
        branches: Number of branches of the states.
        mixing: The sparse matrix M in ``A = M S``, shape (product of the dimensions, branches
            times D); the first bond is the slowest digit of the rows, the branch that of the
            columns.
    """

    qubits: tuple[int, ...]
    bonds: tuple[int, ...]
    dimensions: tuple[int, ...]
    tensor: int
    branches: int
    mixing: Any

    @property
    def num_outcomes(self) -> int:
        """Number of outcomes of its qubits."""
        return 1 << len(self.qubits)

    @property
    def dimension(self) -> int:
        """Range of the combined index of its bonds."""
        return math.prod(self.dimensions)

    @property
    def num_states(self) -> int:
        """Range of the combined index of branch and open ports."""
        rows: int = self.mixing.shape[1]
        return rows

    def mix(self, states: Matrix, branch: int | None = None) -> Matrix:
        """Return ``M S`` for all states, or the part of one branch for the states of that branch.

        Args:
            states: Shape (rows, n), for any n.
            branch: The branch; None if ``states`` has all branches.

        Returns:
            Shape (dimension, n).
        """
        mixing = self.mixing
        if branch is not None and self.branches > 1:
            rows = self.num_states // self.branches
            mixing = mixing[:, branch * rows : (branch + 1) * rows]
        mixed: Matrix = mixing @ states
        return mixed


@dataclass(frozen=True, eq=False)
class SiteNetwork:
    """The sites of a cut circuit, and the states of those that fit into memory.

    A network can be pickled, if ``source`` can: with protocol 5 its arrays travel without a copy.

    Attributes:
        num_qubits: Number of qubits of the circuit.
        sites: The sites, in the order of the subcircuits.
        bonds: The bonds.
        states: States S of each tensor, shape (branches times D, 2**bits), complex128; None where
            they are not kept, and for tensors that no site has. In memory the states of one
            outcome are side by side.
        source: Computes a branch of those that are not kept, each time anew; None if all are kept.
    """

    num_qubits: int
    sites: tuple[Site, ...]
    bonds: tuple[SiteBond, ...]
    states: tuple[Matrix | None, ...]
    source: BranchStates | None = None

    @property
    def qubits(self) -> tuple[int, ...]:
        """All qubits of the sites, ascending."""
        return tuple(sorted(qubit for site in self.sites for qubit in site.qubits))

    @property
    def state_bytes(self) -> int:
        """Bytes of the states that are kept."""
        return sum(states.nbytes for states in self.states if states is not None)

    def is_kept(self, site: int) -> bool:
        """Return whether the states of a site are kept in memory."""
        return self.states[self.sites[site].tensor] is not None

    def branch_states(self, site: int) -> Iterator[tuple[int | None, Matrix]]:
        """Yield a site's states branch by branch; all at once, as branch None, if they are kept.

        Args:
            site: Number of the site.
        """
        number = self.sites[site].tensor
        kept = self.states[number]
        if kept is not None:
            yield None, kept
            return
        assert self.source is not None, "states that are not kept have a source"
        for branch in range(self.sites[site].branches):
            yield branch, np.asarray(self.source(number, branch), dtype=complex)

    def amplitudes(self, site: int) -> Matrix:
        """Return all amplitudes A of a site, shape (*dimensions, 2**bits)."""
        found = self.sites[site]
        total = np.zeros((found.dimension, found.num_outcomes), dtype=complex)
        for branch, states in self.branch_states(site):
            total += found.mix(states, branch)
        return total.reshape(*found.dimensions, -1)

    def columns(self, site: int, outcomes: NDArray[np.integer]) -> Matrix:
        """Return the amplitudes of given outcomes of a site, in one pass over its branches.

        Args:
            site: Number of the site.
            outcomes: Outcomes of its qubits, shape (n,).

        Returns:
            Shape (n, *dimensions).
        """
        found = self.sites[site]
        total = np.zeros((found.dimension, len(outcomes)), dtype=complex)
        for branch, states in self.branch_states(site):
            total += found.mix(states[:, outcomes], branch)
        return np.ascontiguousarray(total.T).reshape(-1, *found.dimensions)

    def gram(self, site: int) -> Matrix:
        """Return the Gram matrix of a site, ``sum_b A[p, b] conj(A[p', b])``, shape (D, D)."""
        return self._grams[site]

    @cached_property
    def _grams(self) -> tuple[Matrix, ...]:
        of_states: dict[int, Matrix] = {}
        grams = []
        for number, site in enumerate(self.sites):
            if site.tensor not in of_states:
                of_states[site.tensor] = self.states_gram(number)
            half = site.mix(of_states[site.tensor])
            grams.append(site.mix(half.conj().T))
        return tuple(grams)

    def states_gram(self, site: int) -> Matrix:
        """Return the Gram matrix of a site's states, over branch and open ports.

        Pairs of branches that are not kept are computed pair by pair, two in memory at a time.
        """
        found = self.sites[site]
        kept = self.states[found.tensor]
        if kept is not None:
            return kept @ kept.conj().T
        rows = found.num_states // found.branches
        gram = np.empty((found.branches, rows, found.branches, rows), dtype=complex)
        for i in range(found.branches):
            ket = self._branch(site, i)
            for j in range(i + 1):
                bra = ket if i == j else self._branch(site, j)
                block = ket @ bra.conj().T
                gram[i, :, j], gram[j, :, i] = block, block.conj().T
        return gram.reshape(found.num_states, found.num_states)

    def _branch(self, site: int, branch: int) -> Matrix:
        assert self.source is not None, "states that are not kept have a source"
        return np.asarray(self.source(self.sites[site].tensor, branch), dtype=complex)


def site_network(
    cut: CutCircuit,
    tensors: Sequence[ExactTensor],
    uses: Sequence[int],
    amplitudes: BranchStates,
    kept_bytes: int,
) -> SiteNetwork:
    """Return the network of a cut circuit's sites.

    Subcircuits that are not simulated as statevectors have no site: they have no ports, so that
    their outcomes are independent of all others.

    Args:
        cut: The cut circuit.
        tensors: The distinct tensors; their sliced ports are respected, their strings are not used.
        uses: For each subcircuit, the index of its tensor.
        amplitudes: Returns the amplitudes of a branch of a tensor. It is called once for each
            branch of the tensors whose states are kept. If others remain, it becomes the network's
            source and must be picklable for the network to be.
        kept_bytes: Bytes that states may take. The smallest are kept.

    Raises:
        InputError: If a qubit occurs in several sites, as in plans with a light cone for each
            term.
        MemoryLimitError: If a subcircuit has too many ports.
    """
    ordered = [number for number, use in enumerate(uses) if tensors[use].simulation is None]
    number_of = {subcircuit: number for number, subcircuit in enumerate(ordered)}
    pairs: dict[tuple[int, int], list[int]] = {}
    loops: list[list[int]] = [[] for _ in ordered]
    for number, edge in enumerate(cut.edges):
        first, second = sorted(number_of[end[0]] for end in edge.ends)
        if first == second:
            loops[first].append(number)
        else:
            pairs.setdefault((first, second), []).append(number)
    bond_edges = sorted(pairs.items())
    bonds = tuple(
        SiteBond(pair, math.prod([cut.edges[edge].dimension for edge in edges]))
        for pair, edges in bond_edges
    )
    sites = []
    for number, subcircuit in enumerate(ordered):
        legs = [b for b, bond in enumerate(bonds) if number in bond.sites]
        weighted = [e for b in legs if bonds[b].sites[0] == number for e in bond_edges[b][1]]
        edges = [edge for b in legs for edge in bond_edges[b][1]]
        tensor = tensors[uses[subcircuit]]
        wires = cut.subcircuits[subcircuit].open_wires
        sites.append(
            Site(
                tuple(sorted(wires, key=wires.__getitem__)),
                tuple(legs),
                tuple(bonds[b].dimension for b in legs),
                uses[subcircuit],
                tensor.num_branches,
                _mixing(cut, subcircuit, tensor, loops[number], edges, weighted),
            )
        )
    qubits = [qubit for site in sites for qubit in site.qubits]
    if len(set(qubits)) < len(qubits):
        raise InputError(
            f"cut: {len(qubits)} wires with outcomes of {len(set(qubits))} qubits, expected a "
            "circuit that is simplified without light cones for each term"
        )
    states = _kept_states(tensors, {site.tensor for site in sites}, amplitudes, kept_bytes)
    all_kept = all(states[site.tensor] is not None for site in sites)
    return SiteNetwork(
        cut.num_qubits, tuple(sites), bonds, states, None if all_kept else amplitudes
    )


def _kept_states(
    tensors: Sequence[ExactTensor],
    used: set[int],
    amplitudes: BranchStates,
    kept_bytes: int,
) -> tuple[Matrix | None, ...]:
    """Compute the states of the smallest tensors, as many as fit."""
    states: list[Matrix | None] = [None] * len(tensors)
    sizes = {number: states_bytes(tensors[number]) for number in used}
    for number in sorted(used, key=lambda number: (sizes[number], number)):
        kept_bytes -= sizes[number]
        if kept_bytes < 0:
            break
        tensor = tensors[number]
        branches, rows = tensor.num_branches, tensor.block_shape[1]
        columns = np.empty((1 << len(tensor.subcircuit.open_wires), branches * rows), dtype=complex)
        for branch in range(branches):
            columns[:, branch * rows : (branch + 1) * rows] = amplitudes(number, branch).T
        states[number] = columns.T
    return tuple(states)


def states_bytes(tensor: ExactTensor) -> int:
    """Return the bytes of all states of a tensor."""
    rows = tensor.num_branches * tensor.block_shape[1]
    return COMPLEX_BYTES * rows << len(tensor.subcircuit.open_wires)


def _mixing(
    cut: CutCircuit,
    subcircuit: int,
    tensor: ExactTensor,
    loops: Sequence[int],
    edges: Sequence[int],
    weighted: Sequence[int],
) -> Any:
    """Return the matrix M of a subcircuit, as a compressed sparse one.

    Args:
        cut: The cut circuit.
        subcircuit: Number of the subcircuit.
        tensor: Its tensor.
        loops: Its edges to itself.
        edges: The edges of its bonds, in the order of their digits in the rows of M.
        weighted: Those whose weights are part of this subcircuit.
    """
    from scipy.sparse import csr_array

    ports = cut.subcircuits[subcircuit].ports
    ends = cut.ends[subcircuit]
    # An axis for each edge, and one for each sliced control, whose two branches are added.
    controls = [p for p in tensor.sliced if ports[p].kind == "control"]
    shape = [cut.edges[edge].dimension for edge in (*loops, *edges)] + [2] * len(controls)
    if math.prod(shape) > _MAX_ENTRIES:
        raise MemoryLimitError(
            f"cuts: subcircuit {subcircuit} has bonds of dimension {math.prod(shape):,}, expected "
            f"at most {_MAX_ENTRIES:,} for outcomes: fewer cuts of each subcircuit"
        )
    digits = np.indices(shape, sparse=True)
    digit_of = dict(zip((*loops, *edges), digits, strict=False))
    values: list[Any] = [np.zeros(shape, dtype=np.intp) for _ in ports]
    entries = np.ones(shape, dtype=complex)
    for (edge, _), number in ends.items():
        shared_with = ports[number].shared_with
        values[number if shared_with is None else shared_with] ^= digit_of[edge]
    for edge in (*loops, *weighted):
        entries *= ket_weights(cut, edge)[digit_of[edge]]
    for number, branch in zip(controls, digits[len(shape) - len(controls) :], strict=True):
        entries *= np.where(values[number] & branch, -0.5, 0.5)
        values[number] = branch
    columns = np.zeros(shape, dtype=np.intp)
    for number in (*tensor.sliced, *tensor.open_ports):
        columns = columns * ports[number].dimension + values[number]
    rows = np.zeros(shape, dtype=np.intp)
    for edge in edges:
        rows = rows * cut.edges[edge].dimension + digit_of[edge]
    dimension = math.prod([cut.edges[edge].dimension for edge in edges])
    size = dimension, tensor.num_branches * tensor.block_shape[1]
    return csr_array((entries.ravel(), (rows.ravel(), columns.ravel())), shape=size)
