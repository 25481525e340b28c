"""The states and results of many circuits, as one table."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, astuple, fields

from hpcq.core.files import printable, printable_path
from hpcq.planning.description import count_text
from hpcq.runs.many.manifest import STATES, Entry

_HEADINGS = ("circuit", "state", "method", "error bound", "predicted s", "taken s", "result")
_NUMBER_COLUMNS = range(3, 6)


def circuits_text(entries: Sequence[Entry]) -> str:
    """Return a table with a line for each circuit, counts of states, and reasons of failures."""
    rows = [_HEADINGS, *map(_cells, entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            f"{cell:>{width}}" if column in _NUMBER_COLUMNS else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    counts = Counter(entry.state for entry in entries)
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    lines += ["", f"{count_text(len(entries), 'circuit')}: {states}"]
    reasons = (
        f"{printable_path(entry.circuit)}: {printable(entry.reason)}"
        for entry in entries
        if entry.reason
    )
    return "\n".join([*lines, *reasons])


def circuits_json(entries: Sequence[Entry]) -> str:
    """Return the entries as one JSON object on one line."""
    return json.dumps({"circuits": [asdict(entry) for entry in entries]})


def circuits_csv(entries: Sequence[Entry]) -> str:
    """Return a CSV table with one row per circuit; empty for what is not known."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([member.name for member in fields(Entry)])
    for entry in entries:
        values = ("" if value is None else value for value in astuple(entry))
        writer.writerow(printable(v) if isinstance(v, str) else repr(v) for v in values)
    return text.getvalue()


def _cells(entry: Entry) -> tuple[str, ...]:
    numbers = (entry.max_error_bound, entry.predicted_seconds, entry.taken_seconds)
    shown = ("" if number is None else f"{number:.3g}" for number in numbers)
    words = (printable_path(entry.circuit), entry.state, printable(entry.method))
    return *words, *shown, printable_path(entry.file or "")
