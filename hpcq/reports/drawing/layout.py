"""Positions for the nodes of a graph in a picture, the same at every call.

Distances in the picture follow the numbers of steps in the graph (Gansner, Koren and North,
Graph Drawing 2004: stress majorisation from classical scaling). Connected components are drawn
apart, the largest first. A long strip, such as a chain of subcircuits, is folded into rows.

The layouts of rustworkx 0.18 are worse here: its spring layout crosses the edges of chains and
grids; its Kamada-Kawai layout bends chains, so that they cannot be folded, and leaves a grid of 400
nodes crumpled after 8,000 iterations (19 s, where the code below takes 10 s).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import rustworkx

Array = npt.NDArray[np.float64]

_ROUNDS = 80
"""Steps of stress majorisation, and of pushing nodes apart; more steps change little."""

_ASPECT = 1.5
"""Width over height that folded strips and rows of components aim at."""

_MAX_ASPECT = 3.0
"""Width over height beyond which a strip is folded."""

_EDGE_LENGTH = 1.1
"""Wanted length of an edge: a little more than `_MIN_DISTANCE`, so that few nodes are pushed."""

_MIN_DISTANCE = 1.0
"""Smallest distance of two nodes: three radii of the largest circle, so that a label fits between.
"""

_ROW_HEIGHT = 1.2
"""Distance between the rows of a folded strip and between components: nodes of different ones are
further apart than neighbours."""


def layout(num_nodes: int, pairs: Iterable[tuple[int, int]]) -> Array:
    """Place nodes so that neighbours are about 1 apart and others further, if there is room.

    Returns:
        Shape (num_nodes, 2): x and y of each node.
    """
    graph = rustworkx.PyGraph()
    graph.add_nodes_from(range(num_nodes))
    graph.add_edges_from_no_data(list(pairs))
    steps = rustworkx.distance_matrix(graph)
    components = sorted(map(sorted, rustworkx.connected_components(graph)))
    components.sort(key=len, reverse=True)
    pictures = [_component(steps[np.ix_(nodes, nodes)]) for nodes in components]
    points = np.empty((num_nodes, 2))
    for nodes, picture, corner in zip(components, pictures, _corners(pictures), strict=True):
        points[nodes] = picture + corner
    return points


def _component(steps: Array) -> Array:
    """Place the nodes of a connected graph, given the numbers of steps between them."""
    distances = _EDGE_LENGTH * steps
    points = _apart(_folded(_turned(_stress(distances, _scaling(distances)))))
    upper_left: Array = np.array([points[:, 0].min(), points[:, 1].max()])
    return points - upper_left


def _corners(pictures: list[Array]) -> list[tuple[float, float]]:
    """Return where the upper left corner of each picture goes, row by row."""
    sizes = [np.ptp(picture, axis=0) + _ROW_HEIGHT for picture in pictures]
    row_width = max(
        max(width for width, _ in sizes),
        math.sqrt(_ASPECT * sum(width * height for width, height in sizes)),
    )
    corners = []
    x = y = row_height = 0.0
    for width, height in sizes:
        if x + width > row_width * (1 + 1e-9):
            x, y, row_height = 0.0, y - row_height, 0.0
        corners.append((x, y))
        x += width
        row_height = max(row_height, height)
    return corners


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
    """Move points so that their distances come closer to the given ones."""
    num_points = len(points)
    weights = 1 / np.maximum(distances, _EDGE_LENGTH) ** 2
    np.fill_diagonal(weights, 0)
    inverse = np.linalg.pinv(np.diag(weights.sum(0)) - weights)
    for _ in range(_ROUNDS):
        differences = points[:, None] - points[None]
        lengths = np.hypot(differences[:, :, 0], differences[:, :, 1])
        pull = -weights * distances / np.maximum(lengths, 1e-9)
        pull[range(num_points), range(num_points)] = 0
        pull[range(num_points), range(num_points)] = -pull.sum(1)
        points = inverse @ (pull @ points)
    return points


def _turned(points: Array) -> Array:
    """Turn the picture so that it is wide and starts with the first nodes at its left."""
    points = points - points.mean(0)
    points = points @ np.linalg.eigh(points.T @ points)[1][:, ::-1]
    ranks = np.arange(len(points)) - (len(points) - 1) / 2
    signs = np.where(ranks @ points < 0, -1.0, 1.0)
    return points * signs * [1, -1]


def _folded(points: Array) -> Array:
    """Fold a long strip into rows, every second one from right to left."""
    low = points.min(0)
    width, height = points.max(0) - low
    height += _ROW_HEIGHT
    if width < _MAX_ASPECT * height:
        return points
    rows = max(2, round(math.sqrt(width / (_ASPECT * height))))
    row_width = width / rows * (1 + 1e-9)
    row, along = np.divmod(points[:, 0] - low[0], row_width)
    x = np.where(row % 2 == 0, along, row_width - along)
    return np.stack([x, points[:, 1] - row * height], axis=1)


def _apart(points: Array) -> Array:
    """Push nodes apart that are nearer than any two should be."""
    points = points.copy()
    for _ in range(_ROUNDS):
        differences = points[:, None] - points[None]
        lengths = np.hypot(differences[:, :, 0], differences[:, :, 1])
        np.fill_diagonal(lengths, np.inf)
        short = np.maximum(_MIN_DISTANCE - lengths, 0)
        if not short.any():
            break
        pushes = differences / np.maximum(lengths, 1e-9)[:, :, None] * (short / 2)[:, :, None]
        points += np.sum(pushes, 1)
    return points
