"""The commands for jobs: submit, status, logs, cancel, result; who prints what."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hpcq.cli.arguments import run_variables, run_words
from hpcq.cli.requests import how_to_plan, limits_for, measuring, planned, read_ahead
from hpcq.core.errors import InputError
from hpcq.core.files import printable_lines, printable_path, resolve_path
from hpcq.core.system import write_stderr
from hpcq.jobs.job import Job
from hpcq.jobs.status_text import job_text
from hpcq.jobs.submissions import find_submission, submissions_of
from hpcq.jobs.submit import prepare, start_locally, submit_to_slurm
from hpcq.parallel.serial import SerialFarm
from hpcq.reports.text import result_text
from hpcq.runs.status import read_run_status, status_text
from hpcq.runs.stop_conditions import read_signal

if TYPE_CHECKING:
    from hpcq.planning.assembly import Plan


_THIS_JOB = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID")


def submit(options: argparse.Namespace) -> int:
    """Submit a job, or show its script."""
    job, script = submitted(options)
    if job is None:
        print(script, end="")
    elif options.json:
        print(json.dumps({"job": job.id, "output": str(job.output), "script": script}))
    else:
        print(f"job {job.id} writes {printable_path(job.output)}; `hpcq status {job.id}`")
    return 0


def submitted(options: argparse.Namespace) -> tuple[Job | None, str]:
    """Submit what a command line of ``submit`` says.

    Returns:
        The job, None for a dry run, and its script.

    Raises:
        HpcqError: If anything is wrong with it, or SLURM refuses it.
    """
    reader = read_ahead(options)

    def plan(whole: bool) -> Plan | None:
        measuring(options)
        read_signal(options.stop_signal)
        if whole:
            return planned(options, reader, SerialFarm(), lambda: None)[0]
        if reader is None or isinstance(reader, InputError):
            raise reader or InputError("launcher: `hpcq submit` is for one process")
        how_to_plan(reader.result(), options, limits_for(options, 1, 1 << 30))
        return None

    order = prepare(options, run_words(options), run_variables(), plan)
    if options.dry_run:
        return None, order.script
    job = (start_locally if options.local else submit_to_slurm)(order)
    return job, order.script


def status(options: argparse.Namespace) -> int:
    """Say how a job, or a run, stands."""
    place = resolve_path(Path(options.job))
    try:
        is_job = bool(submissions_of(place)) or not (place.exists() or place.suffix)
    except OSError as error:
        raise InputError(f"job: {printable_path(place)!r}: {error.strerror}") from None
    job = Job(find_submission(options.job)) if is_job else None
    if job is not None and job.id not in map(os.environ.get, _THIS_JOB):
        stands = job.status()
        hidden = ("old", "later", "damage")  # the reason says so
        told = {key: own for key, own in stands.file.items() if key not in hidden}
        shown = {**told, "state": stands.state, "reason": stands.reason, "job": job.id}
        print(json.dumps(shown) if options.json else job_text(job, stands))
        return 0
    # From within the job, which is running of course, what counts is what the run itself says.
    status = read_run_status(place if job is None else job.output)
    print(json.dumps(status) if options.json else status_text(status))
    return 0


def logs(options: argparse.Namespace) -> int:
    """Print a job's log; on a terminal, control characters are shown as ``?``."""
    job = Job.of(options.job)
    said = job.logs()
    if sys.stdout is not None and sys.stdout.isatty():
        said = printable_lines(said)
    if said:
        print(said, end="" if said.endswith("\n") else "\n")
    else:
        write_stderr(f"hpcq: job {job.id} has said nothing yet")
    return 0


def cancel(options: argparse.Namespace) -> int:
    """End a job."""
    job = Job.of(options.job)
    before = job.cancel()
    if before.over:
        print(f"job {job.id} was over already: {before}")
    else:
        print(f"job {job.id} is canceled; `hpcq status {job.id}`")
    return 0


def result(options: argparse.Namespace) -> int:
    """Print a job's result."""
    result = Job.of(options.job).result(wait=options.wait)
    print(result.to_json() if options.json else result_text(result))
    return 0
