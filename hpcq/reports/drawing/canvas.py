"""Colours, figures and files of all images.

Figures are made without pyplot, which would choose a backend, and with Matplotlib's default
settings, so that the same input gives the same bytes for every user.
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
"""Pixels per inch: small letters are readable, and a page has a few megapixels."""

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
"""Fill colours, each with the colour of letters on it. Colour-blind people can tell them apart
(Okabe and Ito 2002; the last two by Tol). None is red, the colour of cuts."""

_METADATA = {"png": {"Software": "hpcq"}, "svg": {"Creator": "hpcq", "Date": None}}


def colour(subcircuit: int) -> str:
    """Return the fill colour of a subcircuit; after the last colour they start again."""
    return _PALETTE[subcircuit % len(_PALETTE)][0]


def letter_colour(subcircuit: int) -> str:
    """Return the colour of letters on the fill colour of a subcircuit."""
    return _PALETTE[subcircuit % len(_PALETTE)][1]


@contextmanager
def default_settings() -> Iterator[None]:
    """Use Matplotlib's default settings, and restore the user's settings afterwards."""
    with matplotlib.style.context(["default", {"svg.hashsalt": "hpcq"}]):
        yield


def new_axes(width: float, height: float) -> Axes:
    """Return axes that fill a new figure of the given size in inches."""
    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    axes: Axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    axes.set_aspect("equal")
    return axes


def image(axes: Axes, kind: str) -> bytes:
    """Return the figure of the axes as the bytes of a ``png`` or ``svg`` file."""
    file = io.BytesIO()
    axes.figure.savefig(
        file, format=kind, dpi=DPI, metadata=_METADATA[kind], bbox_inches="tight", pad_inches=0.15
    )
    return file.getvalue()
