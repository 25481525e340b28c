"""A job's status for people."""

from __future__ import annotations

from collections import Counter

from hpcq.core.files import printable, printable_path
from hpcq.jobs.job import Job, JobStatus
from hpcq.runs.status import status_text


def job_text(job: Job, status: JobStatus) -> str:
    """Write how a job stands."""
    where = sorted({own.nodes for own in status.tasks if own.runs and own.nodes})
    lines = [
        f"state       {status}",
        f"job         {job.id}{printable(' on ' + ', '.join(where)) if where else ''}",
        f"output      {printable_path(job.output)}",
    ]
    lines += [f"log         {printable_path(own)}" for own in job.log_files()[:4]]
    if len(status.tasks) > 1:
        counts = Counter(own.state for own in status.tasks)
        lines.append(f"array       {', '.join(f'{n} {state}' for state, n in counts.items())}")
    if "state" in status.file:
        lines += status_text(status.file).splitlines()[1:]
    return "\n".join(lines)
