"""A circuit too large for a page, as the graph of its subcircuits and the bonds between them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from hpcq.core.errors import InputError
from hpcq.cutting.subcircuits import CutCircuit
from hpcq.reports.drawing.canvas import (
    CUT,
    INK,
    colour,
    default_settings,
    image,
    letter_colour,
    new_axes,
)
from hpcq.reports.drawing.layout import Array, layout
from hpcq.reports.drawing.places import DrawnBond, DrawnStep, bonds, count

_MAX_SUBCIRCUITS = 500
_MAX_LABELS = 3
"""Bonds for each subcircuit beyond which their labels would hide the picture."""

_INCHES = 1.45
_RADII = (0.22, 0.34)


def summary_image(steps: Sequence[DrawnStep], cut: CutCircuit, kind: str) -> bytes:
    """Draw a node for each subcircuit and a line for each bond.

    Args:
        steps: The circuit's gates and cut wires.
        cut: What it was cut into.
        kind: ``png`` or ``svg``.

    Raises:
        InputError: There are more subcircuits than anybody could look at.
    """
    number = len(cut.subcircuits)
    if number > _MAX_SUBCIRCUITS:
        raise InputError(
            f"draw: the circuit is cut into {number} subcircuits, expected at most "
            f"{_MAX_SUBCIRCUITS} for an image; a name that ends in .txt takes any number"
        )
    joined = bonds(steps, cut)
    places = layout(number, [bond.ends for bond in joined])
    places -= places.min(0) - 0.6
    width, height = places.max(0) + 0.6
    with default_settings():
        axes = new_axes(_INCHES * width, _INCHES * height)
        axes.set_xlim(0, width)
        axes.set_ylim(0, height)
        for bond in joined:
            _add_bond(axes, bond, places)
        if len(joined) <= _MAX_LABELS * number:
            _add_labels(axes, joined, places)
        _add_subcircuits(axes, cut, places)
        axes.set_title(
            f"{count(cut.num_qubits, 'qubit')}, {count(len(cut.cuts.gates), 'gate cut')}, "
            f"{count(len(cut.cuts.wires), 'wire cut')}, {count(number, 'subcircuit')}\n"
            "circle: a subcircuit's number, qubits, ports\n"
            "line: what was cut between two, thicker for a larger dimension",
            fontsize=max(8.0, 0.8 * _INCHES * width),
            color=INK,
            loc="left",
        )
        return image(axes, kind)


def _add_bond(axes: Axes, bond: DrawnBond, places: Array) -> None:
    """Draw a line, the thicker the larger the dimension of what passes through it."""
    ends = places[list(bond.ends)]
    thickness = min(1.0 + 0.4 * math.log2(bond.dimension), 8.0)
    axes.plot(ends[:, 0], ends[:, 1], color=CUT, lw=thickness, alpha=0.35, zorder=1)


def _add_labels(axes: Axes, joined: Sequence[DrawnBond], places: Array) -> None:
    """Write on each line what it stands for, where circles and other labels leave most room."""
    taken = places
    radii = np.full(len(places), 0.45)
    shares = np.array([0.5, 0.45, 0.55, 0.4, 0.6, 0.35, 0.65, 0.3, 0.7])[:, None]
    for bond in joined:
        first, second = places[list(bond.ends)]
        choices = first + shares * (second - first)
        room = (np.linalg.norm(choices[:, None] - taken[None], axis=2) - radii).min(1)
        best = choices[np.argmax(np.round(room, 6))]
        taken, radii = np.vstack([taken, best]), np.append(radii, 0.25)
        axes.text(
            *best,
            f"{count(bond.cuts, 'cut')}\ndim {bond.dimension_text()}",
            color=CUT,
            fontsize=6.5,
            ha="center",
            va="center",
            zorder=5,
            bbox={"boxstyle": "round,pad=0.1", "fc": "#FFFFFF", "ec": "none", "alpha": 0.75},
        )


def _add_subcircuits(axes: Axes, cut: CutCircuit, places: Array) -> None:
    """Draw circles, the larger the wider the subcircuit."""
    widest = max(subcircuit.num_qubits for subcircuit in cut.subcircuits)
    small, large = _RADII
    for number, (subcircuit, (x, y)) in enumerate(zip(cut.subcircuits, places, strict=True)):
        radius = small + (large - small) * math.sqrt(subcircuit.num_qubits / widest)
        fill, ink = colour(number), letter_colour(number)
        axes.add_patch(Circle((x, y), radius, fc=fill, ec="#FFFFFF", lw=1, zorder=3))
        detail = f"{subcircuit.num_qubits} q\n{len(subcircuit.ports)} p"
        middle = {"color": ink, "ha": "center", "zorder": 4}
        axes.text(x, y + 0.01, str(number), fontsize=12, weight="bold", va="bottom", **middle)
        axes.text(x, y, detail, fontsize=7.5, va="top", linespacing=1.1, **middle)
