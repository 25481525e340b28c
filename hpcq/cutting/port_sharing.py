"""Which cut gates share an edge: the fewest runs that take part in every gate."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np

Gate = TypeVar("Gate", bound=Hashable)
Left = TypeVar("Left", bound=Hashable)
Right = TypeVar("Right", bound=Hashable)


def minimum_vertex_cover(gates: Mapping[Gate, tuple[Left, Right]]) -> dict[Gate, int]:
    """Say for each gate which of its two runs owns it, so that the fewest runs own all.

    By König's theorem the smallest vertex cover of a bipartite graph follows from its largest
    matching: walk from the unmatched left vertices along alternating paths; the cover is what is
    not reached on the left and what is reached on the right.

    Args:
        gates: For each gate its run on the left and its run on the right.

    Returns:
        For each gate 0 or 1: the left or the right run owns it.
    """
    lefts = {left: row for row, left in enumerate(dict.fromkeys(a for a, _ in gates.values()))}
    rights = {right: row for row, right in enumerate(dict.fromkeys(b for _, b in gates.values()))}
    if len(lefts) == len(gates) or len(rights) == len(gates):
        # Every run on one side has one gate: the other side's are as few as can be.
        owner = int(len(lefts) == len(gates))
        return dict.fromkeys(gates, owner)
    neighbours: list[list[int]] = [[] for _ in lefts]
    for left, right in gates.values():
        neighbours[lefts[left]].append(rights[right])
    match = _matching(neighbours, len(rights))
    matched = set(match.values())
    todo = [row for row in range(len(lefts)) if row not in matched]
    reached_left, reached_right = set(todo), set()
    while todo:
        for column in neighbours[todo.pop()]:
            if column not in reached_right:
                reached_right.add(column)
                row = match[column]
                if row not in reached_left:
                    reached_left.add(row)
                    todo.append(row)
    return {gate: int(lefts[left] in reached_left) for gate, (left, _) in gates.items()}


def _matching(neighbours: list[list[int]], columns: int) -> dict[int, int]:
    """Return a largest matching, as column → row."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    rows = np.repeat(np.arange(len(neighbours)), [len(own) for own in neighbours])
    flat = np.concatenate([np.asarray(own, dtype=int) for own in neighbours])
    graph = csr_matrix((np.ones(len(flat)), (rows, flat)), shape=(len(neighbours), columns))
    found = maximum_bipartite_matching(graph, perm_type="row")
    return {column: int(row) for column, row in enumerate(found) if row >= 0}
