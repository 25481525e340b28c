"""Drawings that show where a circuit is cut, as PNG, SVG or text.

A circuit with its cuts, or a plan, and the path of a file enter; the file leaves, written
atomically, and no other file than an older drawing is overwritten. The same input always gives the
same bytes, whatever the user's settings of Matplotlib.
"""

from __future__ import annotations

from hpcq.reports.drawing.files import check_drawing, draw_cuts, draw_plan

__all__ = ["check_drawing", "draw_cuts", "draw_plan"]
