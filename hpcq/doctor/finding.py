"""One thing that the doctor looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What.
        text: What was found.
        ok: False if hpcq cannot do its main job because of it.
        advice: What to change, where hpcq does work, but not as it could.
    """

    name: str
    text: str
    ok: bool = True
    advice: str = ""

    def __str__(self) -> str:
        mark = "FAIL" if not self.ok else "warn" if self.advice else "ok  "
        return f"{mark}  {self.name:<8}  {self.text}{self.advice and f'; {self.advice}'}"
