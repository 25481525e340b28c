"""Draw a circuit that is too large for a page as the graph of its subcircuits and bonds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from hpcq.core.errors import InputError
from hpcq.cutting.subcircuits import CutCircuit
from hpcq.planning.description import count_text, size_texts
from hpcq.reports.drawing import canvas
from hpcq.reports.drawing.layout import Array, layout
from hpcq.reports.drawing.steps import DrawnBond, DrawnStep, bonds

_MAX_SUBCIRCUITS = 500
"""Most subcircuits of an image; more cannot be read, and layout time grows with their cube."""

_MAX_LABELS = 3
"""Bonds per subcircuit beyond which labels are left out, as they would hide the picture."""

_INCHES = 1.45
"""Distance of neighbours in inches."""

_RADII = (0.22, 0.34)
"""Radii of the smallest and the largest circle, in units of the distance of neighbours."""


def summary_image(steps: Sequence[DrawnStep], cut: CutCircuit, kind: str) -> bytes:
    """Return a ``png`` or ``svg`` image of a node for each subcircuit and a line for each bond.

    Raises:
        InputError: There are too many subcircuits for an image.
    """
    num_subcircuits = len(cut.subcircuits)
    if num_subcircuits > _MAX_SUBCIRCUITS:
        raise InputError(
            f"draw: the circuit is cut into {num_subcircuits} subcircuits, expected at most "
            f"{_MAX_SUBCIRCUITS} for an image; a name that ends in .txt takes any number"
        )
    all_bonds = bonds(steps, cut)
    positions = layout(num_subcircuits, [bond.ends for bond in all_bonds])
    positions -= positions.min(0) - 0.6
    width, height = positions.max(0) + 0.6
    with canvas.default_settings():
        axes = canvas.new_axes(_INCHES * width, _INCHES * height)
        axes.set_xlim(0, width)
        axes.set_ylim(0, height)
        for bond in all_bonds:  # a line, thicker for a larger dimension
            ends = positions[list(bond.ends)]
            thickness = min(1.0 + 0.4 * math.log2(bond.dimension), 8.0)
            axes.plot(ends[:, 0], ends[:, 1], color=canvas.CUT, lw=thickness, alpha=0.35, zorder=1)
        if len(all_bonds) <= _MAX_LABELS * num_subcircuits:
            _add_labels(axes, all_bonds, positions)
        _add_subcircuits(axes, cut, positions)
        axes.set_title(
            f"{', '.join(size_texts(cut.num_qubits, cut))}\n"
            "circle: a subcircuit's number, qubits, ports\n"
            "line: what was cut between two, thicker for a larger dimension",
            fontsize=max(8.0, 0.8 * _INCHES * width),
            color=canvas.INK,
            loc="left",
        )
        return canvas.image(axes, kind)


def _add_labels(axes: Axes, all_bonds: Sequence[DrawnBond], positions: Array) -> None:
    """Label each bond where circles and other labels leave most room."""
    taken = positions
    radii = np.full(len(positions), 0.45)
    shares = np.array([0.5, 0.45, 0.55, 0.4, 0.6, 0.35, 0.65, 0.3, 0.7])[:, None]
    for bond in all_bonds:
        first, second = positions[list(bond.ends)]
        choices = first + shares * (second - first)
        room = (np.linalg.norm(choices[:, None] - taken[None], axis=2) - radii).min(1)
        best = choices[np.argmax(np.round(room, 6))]
        taken, radii = np.vstack([taken, best]), np.append(radii, 0.25)
        axes.text(
            *best,
            f"{count_text(bond.cuts, 'cut')}\ndim {bond.dimension_text()}",
            color=canvas.CUT,
            fontsize=6.5,
            ha="center",
            va="center",
            zorder=5,
            bbox={"boxstyle": "round,pad=0.1", "fc": "#FFFFFF", "ec": "none", "alpha": 0.75},
        )


def _add_subcircuits(axes: Axes, cut: CutCircuit, positions: Array) -> None:
    """Draw a circle for each subcircuit, larger for more qubits."""
    widest = max(subcircuit.num_qubits for subcircuit in cut.subcircuits)
    small, large = _RADII
    for number, (subcircuit, (x, y)) in enumerate(zip(cut.subcircuits, positions, strict=True)):
        radius = small + (large - small) * math.sqrt(subcircuit.num_qubits / widest)
        fill, ink = canvas.colour(number), canvas.letter_colour(number)
        axes.add_patch(Circle((x, y), radius, fc=fill, ec="#FFFFFF", lw=1, zorder=3))
        detail = f"{subcircuit.num_qubits} q\n{len(subcircuit.ports)} p"
        middle = {"color": ink, "ha": "center", "zorder": 4}
        axes.text(x, y + 0.01, str(number), fontsize=12, weight="bold", va="bottom", **middle)
        axes.text(x, y, detail, fontsize=7.5, va="top", linespacing=1.1, **middle)
