"""Output of the benchmarks: rows of a table, and a description of the machine."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        workload: Name of the workload.
        hpcq: hpcq's own number.
        compared: What it is compared with.
        other: The other's number.
        ratio: Text of the ratio that the target limits.
        target: Text of the target; empty for none.
        met: Whether the target is met; None if there is none, or the other number is missing.
    """

    workload: str
    hpcq: str = ""
    compared: str = ""
    other: str = ""
    ratio: str = ""
    target: str = ""
    met: bool | None = None

    def cells(self) -> list[str]:
        """Return the row as text."""
        verdict = {True: "yes", False: "**NO**", None: "?" if self.target else ""}[self.met]
        texts = list(asdict(self).values())[:-1]
        return [*texts, verdict]


def seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 0.1 else f"{1000 * value:.3g} ms"


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    head = ["workload", "hpcq", "compared with", "its number", "ratio", "target", "met"]
    return grid([head, *(row.cells() for row in rows)])


def grid(lines: Sequence[Sequence[str]]) -> str:
    """Return lines as a Markdown table, the first one as its head."""
    head, *body = lines
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    ruled = [head, ["-" * width for width in widths], *body]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
        for line in ruled
    )


def note(text: str) -> None:
    """Print a line about what is being measured."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def conclude(
    about: dict[str, Any], rows: Sequence[Row], times: Any, notes: Sequence[str], path: Path | None
) -> int:
    """Print the table of a benchmark that has ended, and return its exit code.

    Args:
        about: What was measured with; the load at the end is added.
        rows: The table.
        times: All times, for the file.
        notes: Lines before the table.
        path: The JSON file to write; None for none.

    Returns:
        1 if a target is missed.
    """
    about = about | {"load at the end": machine()["load"]}
    print("\n".join([*(f"{name}: {value}" for name, value in about.items()), *notes]))
    print(f"\n{table(rows)}\n")
    missed = [row for row in rows if row.met is False]
    print(f"{sum(row.met is True for row in rows)} targets met, {len(missed)} missed")
    if path:
        report = about | {"rows": [asdict(row) for row in rows], "seconds": times}
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 1 if missed else 0


def machine() -> dict[str, Any]:
    """Return a description of the machine, without its name."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        model = found[0].split(":", 1)[1].strip() if found else model
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.system(),
        "load": os.getloadavg()[0],
    }
