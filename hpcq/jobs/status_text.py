"""Text of a job's status, as `hpcq status` prints it."""

from __future__ import annotations

from collections import Counter

from hpcq.core.files import printable, printable_path
from hpcq.jobs.job import Job
from hpcq.jobs.job_state import JobStatus
from hpcq.runs.status import status_text


def job_text(job: Job, status: JobStatus) -> str:
    """Return the text of a job's status."""
    nodes = sorted({task.nodes for task in status.tasks if task.is_running and task.nodes})
    lines = [
        f"state       {status}",
        f"job         {job.id}{printable(' on ' + ', '.join(nodes)) if nodes else ''}",
        f"output      {printable_path(job.output)}",
    ]
    lines += [f"log         {printable_path(path)}" for path in job.log_files()[:4]]
    if len(status.tasks) > 1:
        counts = Counter(task.state for task in status.tasks)
        lines.append(f"array       {', '.join(f'{n} {state}' for state, n in counts.items())}")
    if "state" in status.file:
        lines += status_text(status.file).splitlines()[1:]
    return "\n".join(lines)
