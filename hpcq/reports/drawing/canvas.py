"""What all images share: colours, a figure without a display, and bytes that repeat.

Figures are made without pyplot, so no backend is chosen, and under Matplotlib's default settings,
so no user's settings change an image.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 130
INK = "#222222"
FAINT = "#9A9A9A"
CUT = "#D0021B"

_PALETTE = (
    ("#0072B2", "#FFFFFF"),
    ("#E69F00", "#000000"),
    ("#009E73", "#FFFFFF"),
    ("#CC79A7", "#000000"),
    ("#56B4E9", "#000000"),
    ("#332288", "#FFFFFF"),
    ("#999933", "#000000"),
)
"""Colours that colour-blind people can tell apart (Okabe and Ito 2002; the last two by Tol), none
of them red, which is for cuts; with each, the colour of letters on it."""

_METADATA = {
    "png": {"Software": "hpcq"},
    "svg": {"Creator": "hpcq", "Date": None},
}


def colour(subcircuit: int) -> str:
    """Return a subcircuit's colour; after the last one they start again."""
    return _PALETTE[subcircuit % len(_PALETTE)][0]


def letter_colour(subcircuit: int) -> str:
    """Return the colour of letters that stand on the subcircuit's colour."""
    return _PALETTE[subcircuit % len(_PALETTE)][1]


@contextmanager
def default_settings() -> Iterator[None]:
    """Draw with Matplotlib's own settings, and put the user's back afterwards."""
    with matplotlib.style.context(["default", {"svg.hashsalt": "hpcq"}]):
        yield


def new_axes(width: float, height: float) -> Axes:
    """Return axes that fill a new figure of so many inches."""
    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    axes: Axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    axes.set_aspect("equal")
    return axes


def image(axes: Axes, kind: str) -> bytes:
    """Return the figure that holds the axes as the bytes of a file of that kind."""
    file = io.BytesIO()
    axes.figure.savefig(
        file, format=kind, dpi=DPI, metadata=_METADATA[kind], bbox_inches="tight", pad_inches=0.15
    )
    return file.getvalue()
