"""Choose which cut gates share an edge: the fewest runs that cover all gates."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np

Gate = TypeVar("Gate", bound=Hashable)
Left = TypeVar("Left", bound=Hashable)
Right = TypeVar("Right", bound=Hashable)


def minimum_vertex_cover(gates: Mapping[Gate, tuple[Left, Right]]) -> dict[Gate, int]:
    """Assign each gate to one of its two runs, so that as few runs as possible are used.

    By König's theorem the minimum vertex cover of a bipartite graph follows from a maximum
    matching: walk from the unmatched left vertices along alternating paths; the cover consists of
    the left vertices that are not reached and the right vertices that are.

    Returns:
        For each gate the side of its run: 0 for left, 1 for right.
    """
    lefts = {left: row for row, left in enumerate(dict.fromkeys(a for a, _ in gates.values()))}
    rights = {right: row for row, right in enumerate(dict.fromkeys(b for _, b in gates.values()))}
    if len(lefts) == len(gates) or len(rights) == len(gates):
        # Each run on one side has a single gate, so the runs of the other side are fewest.
        side = int(len(lefts) == len(gates))
        return dict.fromkeys(gates, side)
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
    """Return a maximum matching, as column → row."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    rows = np.repeat(np.arange(len(neighbours)), [len(columns_of) for columns_of in neighbours])
    flat = np.concatenate([np.asarray(columns_of, dtype=int) for columns_of in neighbours])
    graph = csr_matrix((np.ones(len(flat)), (rows, flat)), shape=(len(neighbours), columns))
    matched_rows = maximum_bipartite_matching(graph, perm_type="row")
    return {column: int(row) for column, row in enumerate(matched_rows) if row >= 0}
