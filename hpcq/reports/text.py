"""Results as text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpcq.core.files import printable

if TYPE_CHECKING:
    from hpcq.results.result import Result

_UNFINISHED = " (finished work is saved; the same command resumes it)"


def result_text(result: Result, stages: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return a result as text, with its status, ranks, times, shots and error.

    Stages are the progress of an unfinished run; see :func:`hpcq.results.load_progress`.
    """
    seconds = result.provenance.get("seconds", {})
    phases = ", ".join(f"{printable(name)} {value:.3g} s" for name, value in seconds.items())
    lines = [
        str(result),
        "",
        f"status      {printable(result.status)}{_UNFINISHED * (result.status != 'complete')}",
        *(
            f"  {printable(stage['name'])}: {stage['done']} of {stage['total']} tasks"
            for stage in stages
        ),
        f"method      {printable(result.method)}",
        f"ranks       {result.provenance.get('ranks', '?')} on "
        f"{printable(', '.join(result.provenance.get('hosts', ['?'])))}",
        f"seconds     {phases}",
    ]
    if "shots" in result.provenance:
        lines += [
            f"shots       {result.provenance['shots']} in {result.provenance['rounds']} rounds",
            f"measured by {printable(', '.join(sorted(set(result.provenance['devices']))))}",
        ]
    elif "norm_error" in result.provenance:
        lines.append(f"norm error  {result.provenance['norm_error']:.2g}")
    return "\n".join(lines)
