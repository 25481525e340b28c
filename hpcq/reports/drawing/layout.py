"""Where the nodes of a graph go in a picture: the same places at every call.

Distances in the picture follow the numbers of steps in the graph (Gansner, Koren and North,
Graph Drawing 2004: stress majorisation from classical scaling). A long strip, such as a chain of
subcircuits, is folded into rows.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_ROUNDS = 80
_LONGEST_SHAPE = 3.0
_NEIGHBOURS = 1.1
_NEAREST = 1.0


def layout(num_nodes: int, pairs: Iterable[tuple[int, int]]) -> Array:
    """Place nodes so that neighbours are about 1 apart and others further, if there is room.

    Args:
        num_nodes: How many nodes; at least 1.
        pairs: The edges.

    Returns:
        Shape (num_nodes, 2): x and y of each node.
    """
    pairs = list(pairs)
    if not pairs:
        columns = math.ceil(math.sqrt(1.5 * num_nodes))
        row, column = np.divmod(np.arange(num_nodes, dtype=float), columns)
        return np.stack([column, -row], axis=1)
    distances = _NEIGHBOURS * _distances(num_nodes, pairs)
    points = _folded(_turned(_stress(distances, _scaling(distances))))
    return _apart(points)


def _distances(num_nodes: int, pairs: Iterable[tuple[int, int]]) -> Array:
    """Return the steps between all nodes, and a moderate distance where no path leads."""
    neighbours: list[list[int]] = [[] for _ in range(num_nodes)]
    for first, second in pairs:
        neighbours[first].append(second)
        neighbours[second].append(first)
    steps = np.full((num_nodes, num_nodes), np.inf)
    for start in range(num_nodes):
        steps[start, start] = 0
        queue = deque([start])
        while queue:
            node = queue.popleft()
            for neighbour in neighbours[node]:
                if np.isinf(steps[start, neighbour]):
                    steps[start, neighbour] = steps[start, node] + 1
                    queue.append(neighbour)
    far = max(1.5, steps[np.isfinite(steps)].max() / 2 + 1)
    steps[np.isinf(steps)] = far
    return steps


def _scaling(distances: Array) -> Array:
    """Return the plane that fits the distances best in the sense of classical scaling."""
    squares = distances**2
    centred = squares - squares.mean(0) - squares.mean(1)[:, None] + squares.mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    points = np.zeros((len(distances), 2))
    kept = vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 0))
    points[:, : kept.shape[1]] = kept
    # Nodes with the same neighbours would coincide: a spiral keeps them apart.
    angles = np.arange(len(distances)) * math.pi * (3 - math.sqrt(5))
    return points + 0.01 * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _stress(distances: Array, points: Array) -> Array:
    count = len(points)
    weights = 1 / np.maximum(distances, _NEIGHBOURS) ** 2
    np.fill_diagonal(weights, 0)
    inverse = np.linalg.pinv(np.diag(weights.sum(0)) - weights)
    for _ in range(_ROUNDS):
        gaps = points[:, None] - points[None]
        away = np.hypot(gaps[:, :, 0], gaps[:, :, 1])
        pull = -weights * distances / np.maximum(away, 1e-9)
        pull[range(count), range(count)] = 0
        pull[range(count), range(count)] = -pull.sum(1)
        points = inverse @ (pull @ points)
    return points


def _turned(points: Array) -> Array:
    """Turn the picture so that it is wide, and starts with the first nodes at its left."""
    points = points - points.mean(0)
    points = points @ np.linalg.eigh(points.T @ points)[1][:, ::-1]
    order = np.arange(len(points)) - (len(points) - 1) / 2
    signs = np.where(order @ points < 0, -1.0, 1.0)
    return points * signs * [1, -1]


def _folded(points: Array) -> Array:
    """Fold a long strip into rows, every second one from right to left."""
    low = points.min(0)
    width, height = points.max(0) - low
    height += 1.2
    if width < _LONGEST_SHAPE * height:
        return points
    rows = max(2, round(math.sqrt(width / (1.5 * height))))
    row_width = width / rows * (1 + 1e-9)
    row, along = np.divmod(points[:, 0] - low[0], row_width)
    x = np.where(row % 2 == 0, along, row_width - along)
    return np.stack([x, points[:, 1] - row * height], axis=1)


def _apart(points: Array) -> Array:
    """Push nodes apart that are nearer than any two should be."""
    points = points.copy()
    for _ in range(_ROUNDS):
        gaps = points[:, None] - points[None]
        away = np.hypot(gaps[:, :, 0], gaps[:, :, 1])
        np.fill_diagonal(away, np.inf)
        short = np.maximum(_NEAREST - away, 0)
        if not short.any():
            break
        points += np.sum(gaps / np.maximum(away, 1e-9)[:, :, None] * (short / 2)[:, :, None], 1)
    return points
