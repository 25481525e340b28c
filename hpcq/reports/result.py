"""Results as commands print them: as a table, as JSON, and as CSV, whatever the kind of run."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from hpcq.core.strict_json import without_nan
from hpcq.reports.outcome_tables import OutcomeTables

if TYPE_CHECKING:
    from hpcq.results.result import Result

_OF_OBSERVABLES = ("observables", "expectation_values", "standard_errors", "error_bounds")


def outcome_tables(result: Result) -> OutcomeTables | None:
    """Return the outcomes that a result holds; None if it was not asked for any."""
    return None if result.outcomes is None else OutcomeTables.of(result.outcomes)


def result_table(result: Result, outcomes: OutcomeTables | None = None) -> str:
    """Return the values of a result as text.

    Args:
        result: The result.
        outcomes: What to show instead; by default the outcomes that it holds, or its values.
    """
    shown = outcomes or outcome_tables(result)
    return str(result) if shown is None else shown.text()


def result_json(result: Result, outcomes: OutcomeTables | None = None) -> str:
    """Return a result as a JSON object on one line; see :func:`result_table`."""
    shown = outcomes or outcome_tables(result)
    if shown is None and result.config.get("mode") != "outcomes":
        return result.to_json()
    content: dict[str, Any] = json.loads(result.to_json())
    others = {name: value for name, value in content.items() if name not in _OF_OBSERVABLES}
    found = {} if shown is None else shown.to_json()  # an unfinished run has found none
    return json.dumps(without_nan({**found, **others}), allow_nan=False)


def result_csv(result: Result) -> str:
    """Return a result as CSV: a line for each observable, or for each outcome."""
    shown = outcome_tables(result)
    if shown is None:
        return result.to_csv()
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(shown.csv_rows())
    return text.getvalue()
