"""The commands for jobs: submit, status, logs, cancel and result."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcq.cli.flags import CommandParser
from hpcq.cli.minimize_command import loop_request, values_of_loop
from hpcq.cli.parameter_values import ParameterValues
from hpcq.cli.requests import (
    check_asked,
    limits_for,
    make_plans,
    plan_arguments,
    start_reading_circuit,
)
from hpcq.cli.setting_sources import PREFIX
from hpcq.cli.submit_flags import SUBMITTED
from hpcq.core.errors import InputError
from hpcq.core.files import (
    printable,
    printable_lines,
    printable_path,
    resolve_path,
    write_atomic,
)
from hpcq.core.system import write_stderr
from hpcq.jobs.job import Job
from hpcq.jobs.job_command import JobCommand
from hpcq.jobs.job_state import JobStatus
from hpcq.jobs.submissions import find_submission, submissions_of
from hpcq.jobs.submit import prepare, start_locally, submit_to_slurm
from hpcq.parallel.serial import SerialFarm
from hpcq.reports.result import result_json
from hpcq.reports.text import result_text
from hpcq.runs.status import read_run_status, status_text
from hpcq.runs.stop_conditions import read_signal

if TYPE_CHECKING:
    from hpcq.planning.plan import Plan


_EVALUATIONS, _GRADIENT_FACTOR = 100, 4
"""What the time limit of a loop's job assumes: the number of evaluations, if no maximum is given,
and the time of an evaluation with its gradient in multiples of one without. Larger: longer time
limits; smaller: more restarts."""

_JOB_ID_VARIABLES = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID")


def submit(options: argparse.Namespace) -> int:
    """Submit a job, or print its script."""
    job, script = submitted(options)
    if job is None:
        print(script, end="")
    elif options.json:
        print(json.dumps({"job": job.id, "output": str(job.output), "script": script}))
    else:
        subject = printable_path(job.output) if job.writes_output else options.script
        verb = "writes" if job.writes_output else "runs"
        print(f"job {job.id} {verb} {printable(subject)}; `hpcq status {job.id}`")
    return 0


def submitted(options: argparse.Namespace) -> tuple[Job | None, str]:
    """Submit a job, and return it and its script; the job of a dry run is None.

    Raises:
        HpcqError: If a check fails, or SLURM refuses the job.
    """
    check, command = _SUBMISSIONS[options.submitted](options)
    try:
        prepared = prepare(options, command, check)
    except InputError as error:
        if not getattr(options, "may_mean_slurm_partition", False) or "labels" not in str(error):
            raise
        raise InputError(f"{error}; SLURM's partition is --slurm-partition or -p") from None
    if options.dry_run:
        return None, prepared.script
    job = (start_locally if options.local else submit_to_slurm)(prepared)
    return job, prepared.script


def _submission_of_circuit(options: argparse.Namespace) -> SubmittedCommand:
    """Return the submission of a command that has a circuit and a plan."""
    if more := getattr(options, "more_circuits", ()):
        raise InputError(
            f"circuit: {1 + len(more)} circuits, expected one for each job; "
            "`hpcq run` in a job script of your own runs several, see the README"
        )
    reader = start_reading_circuit(options)

    def check(wants_plan: bool) -> Plan | None:
        is_loop = options.submitted == "minimize"
        options.values = values_of_loop(options) if is_loop else ParameterValues.of(options)
        check_asked(options)
        if is_loop:
            loop_request(options)
        read_signal(options.stop_signal)
        if wants_plan:
            made = make_plans(options, reader, SerialFarm(), lambda: None)[0]
            rows = 1 if options.values.rows is None else len(options.values.rows)
            if is_loop:
                rows = options.starts * (options.max_evaluations or _EVALUATIONS)
                rows *= _GRADIENT_FACTOR
            return made if made.cost is None else replace(made, cost=made.cost.for_rows(rows))
        if reader is None or isinstance(reader, InputError):
            raise reader or InputError("launcher: `hpcq submit` is for one process")
        circuit = options.values.assign(reader.result())
        plan_arguments(circuit, options, limits_for(options, 1, 1 << 30))
        return None

    return check, submitted_command(options, options.circuit)


def _submission_of_script(options: argparse.Namespace) -> SubmittedCommand:
    """Return the submission of a script, of which the job runs a copy as it is now."""
    from hpcq.loop.script import Script

    script = Script.read(options.script)
    script.check()
    copy = script.path_of_copy(Path.cwd())
    if options.local and options.time is not None:
        raise InputError(
            f"time: {options.time}, expected none with --local and a script, which it cannot stop"
        )

    def check(_wants_plan: bool) -> None:
        if not options.dry_run:
            write_atomic(copy, script.source, "script")

    command = submitted_command(options, options.script, options.script_arguments)
    return check, replace(command, before=(f"--source={copy}",))


def submitted_command(
    options: argparse.Namespace, subject: str, more: Sequence[str] = ()
) -> JobCommand:
    """Return the command that options of ``submit`` are about.

    Args:
        options: The options.
        subject: The first argument of the command.
        more: Arguments of the command that are no options of hpcq.
    """
    parser = CommandParser(add_help=False, allow_abbrev=False)
    SUBMITTED[options.submitted](parser)
    names = {
        name for action in parser._actions for name in action.option_strings if name[:2] == "--"
    }
    known = names - {"--output", "--json"}
    given = [text for text in options.arguments[1:] if text.partition("=")[0] in known]
    variables = (PREFIX + name.removeprefix("--").upper().replace("-", "_") for name in names)
    return JobCommand(
        options.submitted, subject, (*given, *more), frozenset(names), frozenset(variables)
    )


SubmittedCommand = tuple[Callable[[bool], "Plan | None"], JobCommand]
"""A check of a command's input, which also returns the plan if it is asked for one and there is
one, and the command."""

_SUBMISSIONS: dict[str, Callable[[argparse.Namespace], SubmittedCommand]] = {
    "run": _submission_of_circuit,
    "sample": _submission_of_circuit,
    "minimize": _submission_of_circuit,
    "exec": _submission_of_script,
}
"""How each command of ``SUBMITTED`` is checked and called."""


def status(options: argparse.Namespace) -> int:
    """Print the status of a job, or of a run without one."""
    path = resolve_path(Path(options.job))
    try:
        is_job = bool(submissions_of(path)) or not (path.exists() or path.suffix)
    except OSError as error:
        raise InputError(f"job: {printable_path(path)!r}: {error.strerror}") from None
    job = Job(find_submission(options.job)) if is_job else None
    if job is not None and job.id not in map(os.environ.get, _JOB_ID_VARIABLES):
        job_status = job.status()
        hidden = ("old", "later", "damage", "is_script")  # internal; the reason contains them
        run_status = {key: value for key, value in job_status.file.items() if key not in hidden}
        shown = {
            **run_status,
            "state": job_status.state,
            "reason": job_status.reason,
            "job": job.id,
        }
        print(json.dumps(shown) if options.json else _job_text(job, job_status))
        return 0
    # Within the job itself, SLURM could only tell that it is running; its files tell more.
    status = read_run_status(path if job is None else job.output)
    print(json.dumps(status) if options.json else status_text(status))
    return 0


def _job_text(job: Job, status: JobStatus) -> str:
    nodes = sorted({task.nodes for task in status.tasks if task.is_running and task.nodes})
    lines = [
        f"state       {status}",
        f"job         {job.id}{printable(' on ' + ', '.join(nodes)) if nodes else ''}",
    ]
    if job.writes_output:
        lines.append(f"output      {printable_path(job.output)}")
    lines += [f"log         {printable_path(path)}" for path in job.log_files()[:4]]
    if len(status.tasks) > 1:
        counts = Counter(task.state for task in status.tasks)
        lines.append(f"array       {', '.join(f'{n} {state}' for state, n in counts.items())}")
    if "state" in status.file:
        lines += status_text(status.file).splitlines()[1:]
    return "\n".join(lines)


def logs(options: argparse.Namespace) -> int:
    """Print a job's log; on a terminal, control characters are shown as ``?``."""
    job = Job.of(options.job)
    text = job.logs()
    if sys.stdout is not None and sys.stdout.isatty():
        text = printable_lines(text)
    if text:
        print(text, end="" if text.endswith("\n") else "\n")
    else:
        write_stderr(f"hpcq: job {job.id} has written no log yet")
    return 0


def cancel(options: argparse.Namespace) -> int:
    """Cancel a job."""
    job = Job.of(options.job)
    previous_status = job.cancel()
    if previous_status.over:
        print(f"job {job.id} was over already: {previous_status}")
    else:
        print(f"job {job.id} is canceled; `hpcq status {job.id}`")
    return 0


def result(options: argparse.Namespace) -> int:
    """Print a job's result."""
    result = Job.of(options.job).result(wait=options.wait)
    print(result_json(result) if options.json else result_text(result))
    return 0
