"""The values of a result as tables: of text for people, and of CSV for programs."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.files import printable
from hpcq.results.parameter_rows import ParameterRows

Arrays = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Values, standard errors and error bounds, shape (observables,) or (rows, observables)."""

_ROUNDING = 1e-13
"""Values below this are shown as 0: rounding errors of exact runs with coefficients of about 1."""

_SHOWN_BOUND = 1e-12
"""Error bounds up to this are not shown: it is one unit of the last decimal that is shown."""

_MAX_SHOWN_ROWS = 10
"""Maximum number of rows of parameters whose values are shown; files, JSON and CSV have all."""

_MAX_SHOWN_PARAMETERS = 4
"""Maximum number of parameters in the heading of a row, so that it fits on a line."""


def text_table(names: Sequence[str], arrays: Arrays, rows: ParameterRows | None) -> str:
    """Return the values of observables as text, with a heading for each row of parameters."""
    if rows is None:
        return values_text(names, *arrays)
    parts = []
    for number, assigned in enumerate(rows.values[:_MAX_SHOWN_ROWS].tolist()):
        shown = zip(rows.names[:_MAX_SHOWN_PARAMETERS], assigned, strict=False)
        texts = [f"{printable(name)} = {value:.6g}" for name, value in shown]
        more = ["..."] if len(assigned) > _MAX_SHOWN_PARAMETERS else []
        values = values_text(names, *(array[number] for array in arrays))
        indented = "".join(f"\n  {line}" for line in values.splitlines())
        parts.append(f"row {number}: {', '.join([*texts, *more])}{indented}")
    if len(rows) > _MAX_SHOWN_ROWS:
        left = len(rows) - _MAX_SHOWN_ROWS
        parts.append(f"... and {left} more row{'s' * (left > 1)}")
    return "\n".join(parts)


def values_text(
    names: Sequence[str],
    values: Sequence[float] | NDArray[Any],
    errors: Sequence[float] | NDArray[Any],
    bounds: Sequence[float] | NDArray[Any],
) -> str:
    """Return a table of values, one line per observable; exact values have no error.

    Bounds as small as rounding errors are left out. NaN is a value that a partial run has not
    computed yet.
    """
    shown = [printable(name) for name in _shortened(names)]
    width = max(map(len, shown), default=0)
    lines = []
    for name, value, error, bound in zip(shown, values, errors, bounds, strict=True):
        if math.isnan(value):
            lines.append(f"{name:<{width}}  not yet available")
            continue
        known = f" ± {error:.2g}" if error else ""
        uncertainty = known if math.isfinite(error) else " ± unknown"
        at_most = f" (error at most {bound:.1g})" if _SHOWN_BOUND < bound < math.inf else ""
        lines.append(f"{name:<{width}}  {_number_text(value)}{uncertainty}{at_most}")
    return "\n".join(lines)


def csv_table(names: Sequence[str], arrays: Arrays, rows: ParameterRows | None) -> str:
    """Return a CSV table with one row per observable; empty for NaN and infinite numbers.

    With rows of parameters there is one row for each of them and each observable. The first column
    is then the number of the row, and the last ones are the values of the parameters.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heading = ["observable", "expectation_value", "standard_error", "error_bound"]
    if rows is not None:
        heading = ["row", *heading, *map(printable, rows.names)]
    writer.writerow(heading)
    tables = [np.atleast_2d(array).tolist() for array in arrays]
    for number, columns in enumerate(zip(*tables, strict=True)):
        before = [] if rows is None else [number]
        after = [] if rows is None else [repr(value) for value in rows.values[number].tolist()]
        for name, *values in zip(names, *columns, strict=True):
            cells = [repr(value) if math.isfinite(value) else "" for value in values]
            writer.writerow([*before, printable(name), *cells, *after])
    return text.getvalue()


def _number_text(value: float) -> str:
    """Return a value with 12 decimals, or with 12 digits if it is very large or small.

    A value as small as a rounding error is shown as 0; files and JSON have all digits.
    """
    in_decimals = abs(value) < _ROUNDING or 1e-6 <= abs(value) < 1e6
    return f"{value:+.12f}" if in_decimals else f"{value:+.12g}"


def _shortened(names: Sequence[str]) -> list[str]:
    """Shorten long names, except those that would become equal, such as outcomes of many qubits."""
    short = [name if len(name) <= 40 else name[:37] + "..." for name in names]
    uses = Counter(dict(zip(names, short, strict=True)).values())
    return [text if uses[text] == 1 else name for name, text in zip(names, short, strict=True)]
