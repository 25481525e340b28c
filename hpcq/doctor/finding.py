"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: What was checked.
        text: The result.
        ok: False if hpcq cannot run because of it.
        advice: What to change for hpcq to run better; empty if nothing.
    """

    name: str
    text: str
    ok: bool = True
    advice: str = ""

    def __str__(self) -> str:
        mark = "FAIL" if not self.ok else "warn" if self.advice else "ok  "
        return f"{mark}  {self.name:<8}  {self.text}{self.advice and f'; {self.advice}'}"
