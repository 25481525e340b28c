"""Pictures and texts that show where a circuit is cut."""

from __future__ import annotations

from hpcq.reports.drawing.files import check_drawing, draw_cuts, draw_plan

__all__ = ["check_drawing", "draw_cuts", "draw_plan"]
