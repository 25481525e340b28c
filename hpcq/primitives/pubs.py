"""Pubs as blocks of rows and observables that are evaluated together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import SparseObservable

from hpcq.primitives.observables import flat_observables, observable_key
from hpcq.primitives.structure import Structure

_MAX_WASTE = 4
"""Maximum number of combinations of rows and observables that are evaluated for each that is asked
for. Smaller: more programs, each of which has to be planned; larger: more values that nobody
needs."""

Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Block:
    """Rows and observables of a pub; every observable is evaluated at every row.

    Attributes:
        rows: Values of the circuit, shape (rows, values).
        observables: Distinct observables.
        at_rows: For each value that the pub needs of the block, its row.
        at_observables: For each of these, its observable.
        places: For each of these, its place in the flattened result of the pub.
    """

    rows: NDArray[np.float64]
    observables: tuple[SparseObservable, ...]
    at_rows: Indices
    at_observables: Indices
    places: Indices


@dataclass(frozen=True, eq=False)
class ReadPub:
    """A pub, divided into blocks.

    Attributes:
        structure: Its circuit.
        blocks: What to evaluate.
    """

    structure: Structure
    blocks: tuple[Block, ...]


def read_pub(pub: EstimatorPub, structure: Structure) -> ReadPub:
    """Return the blocks of a pub's broadcast.

    Args:
        pub: The pub.
        structure: The structure of its circuit.
    """
    observables, observable_of = _distinct(flat_observables(pub.observables))
    bindings = pub.parameter_values
    if structure.angles is None:
        rows = parameter_rows(pub)
        row_of = np.arange(bindings.size)
    else:
        rows = structure.angles[np.newaxis]
        row_of = np.zeros(bindings.size, dtype=np.intp)
    wanted_rows, wanted = np.broadcast_arrays(
        row_of.reshape(bindings.shape), observable_of.reshape(pub.observables.shape)
    )
    blocks = _blocks(rows, observables, wanted_rows.ravel(), wanted.ravel())
    return ReadPub(structure, tuple(blocks))


def parameter_rows(pub: EstimatorPub | SamplerPub) -> NDArray[np.float64]:
    """Return the values of parameters in rows, with columns in the order of the parameters."""
    bindings = pub.parameter_values
    names = tuple(parameter.name for parameter in pub.circuit.parameters)
    if list(bindings.data) == [names]:  # as usual; Qiskit would sort its columns one by one
        values: NDArray[np.float64] = bindings.data[names]
    else:
        values = bindings.as_array(pub.circuit.parameters)
    return values.reshape(bindings.size, len(names))


def _distinct(
    observables: Sequence[SparseObservable],
) -> tuple[list[SparseObservable], Indices]:
    """Return the distinct observables, and for each given one its number among them."""
    numbers: dict[object, int] = {}
    distinct: list[SparseObservable] = []
    number_of = []
    for observable in observables:
        key = observable_key(observable)
        if key not in numbers:
            numbers[key] = len(distinct)
            distinct.append(observable)
        number_of.append(numbers[key])
    return distinct, np.array(number_of, dtype=np.intp)


def _blocks(
    rows: NDArray[np.float64],
    observables: Sequence[SparseObservable],
    wanted_rows: Indices,
    wanted: Indices,
) -> list[Block]:
    """Return blocks that contain all wanted pairs of a row and an observable."""
    if len(rows) == len(observables) == 1 and len(wanted):  # as in most loops
        at = np.zeros(len(wanted), dtype=np.intp)
        return [Block(rows, tuple(observables), at, at, np.arange(len(wanted)))]
    pairs = np.unique(wanted_rows * len(observables) + wanted)
    if len(rows) * len(observables) <= _MAX_WASTE * len(pairs):
        groups = [list(range(len(rows)))] if len(pairs) else []
    else:
        groups = _groups(*np.divmod(pairs, len(observables)))
    blocks = []
    for group in groups:
        places = np.flatnonzero(np.isin(wanted_rows, group))
        used, at_observables = np.unique(wanted[places], return_inverse=True)
        at_rows = np.searchsorted(np.sort(group), wanted_rows[places])
        chosen = tuple(observables[number] for number in used)
        blocks.append(Block(rows[np.sort(group)], chosen, at_rows, at_observables, places))
    return blocks


def _groups(wanted_rows: Indices, wanted: Indices) -> list[list[int]]:
    """Return groups of rows, each with few combinations that nobody asked for."""
    of_row: dict[int, set[int]] = {}
    for row, observable in zip(wanted_rows.tolist(), wanted.tolist(), strict=True):
        of_row.setdefault(row, set()).add(observable)
    groups: list[list[int]] = []
    together: set[int] = set()
    num_wanted = 0
    for row in sorted(of_row, key=lambda row: (sorted(of_row[row]), row)):
        union = together | of_row[row]
        num_wanted += len(of_row[row])
        if groups and (len(groups[-1]) + 1) * len(union) <= _MAX_WASTE * num_wanted:
            groups[-1].append(row)
            together = union
        else:
            groups.append([row])
            together, num_wanted = set(of_row[row]), len(of_row[row])
    return groups
