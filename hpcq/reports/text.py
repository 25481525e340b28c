"""Results as text for people."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpcq.core.files import printable
from hpcq.reports.result import result_table
from hpcq.results.tables import values_text

if TYPE_CHECKING:
    from hpcq.results.result import Result

_UNFINISHED = " (finished work is saved; the same command resumes it)"


def result_text(result: Result, stages: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return a result as text, with its status, method, ranks, times, shots and error.

    Stages are the progress of an unfinished run; see :func:`hpcq.results.load_progress`.
    """
    seconds = result.provenance.get("seconds", {})
    phases = ", ".join(f"{printable(name)} {value:.3g} s" for name, value in seconds.items())
    table = minimum_text(result) if "loop" in result.provenance else result_table(result)
    lines = [
        *([table, ""] if table else []),  # an unfinished run for outcomes has found none
        f"status      {printable(result.status)}{_UNFINISHED * (result.status != 'complete')}",
        *(
            f"  {printable(stage['name'])}: {stage['done']} of {stage['total']} tasks"
            for stage in stages
        ),
        *_method_lines(result),
        f"ranks       {result.provenance.get('ranks', '?')} on "
        f"{printable(', '.join(result.provenance.get('hosts', ['?'])))}",
        f"seconds     {phases}",
    ]
    if not math.isnan(result.predicted_seconds):
        lines.append(
            f"predicted   {result.predicted_seconds:.3g} s, taken {result.taken_seconds:.3g} s"
        )
    if "shots" in result.provenance:
        lines += [
            f"shots       {result.provenance['shots']} in {result.provenance['rounds']} rounds",
            f"measured by {printable(', '.join(sorted(set(result.provenance['devices']))))}",
        ]
    elif "norm_error" in result.provenance:
        lines.append(f"norm error  {result.provenance['norm_error']:.2g}")
    return "\n".join(lines)


def minimum_text(result: Result) -> str:
    """Return the result of a loop as text: the value at the best parameters, and these."""
    loop, rows = result.provenance["loop"], result.parameters
    arrays = result.expectation_values, result.standard_errors, result.error_bounds
    lines = [values_text(result.names, *(array[0] for array in arrays))]
    if rows is not None:
        width = max(map(len, rows.names))
        named = zip(rows.names, rows.values[0].tolist(), strict=True)
        lines += [f"  {printable(name):<{width}}  {value:+.12g}" for name, value in named]
    if "gradient_norm" in loop:
        lines.append(f"gradient norm {loop['gradient_norm']:.3g}")
    starts = f" of {loop['starts']} starts" if loop["starts"] > 1 else ""
    lines.append(f"{loop['evaluations']} evaluations{starts} by {printable(loop['optimizer'])}")
    if loop["message"]:
        lines[-1] += f": {printable(loop['message'])}"
    return "\n".join(lines)


def _method_lines(result: Result) -> list[str]:
    """Return lines on the method, its engines, and the engine of each subcircuit."""
    reason = f" ({printable(result.reason)})" if result.reason else ""
    lines = [f"method      {printable(result.method)}{reason}"]
    if result.engine:
        lines.append(f"engine      {printable(result.engine)}")
    counts = Counter(filter(None, result.engines)).most_common()
    if counts:
        by_engine = ", ".join(f"{count} by {printable(name)}" for name, count in counts)
        lines.append(f"subcircuits {by_engine}")
    return lines
