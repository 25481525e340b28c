"""From the command line of ``hpcq submit`` to a job, its script and its record."""

from __future__ import annotations

import argparse
import os
import shlex
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.core.errors import HpcqError, InputError
from hpcq.core.files import printable_path
from hpcq.jobs import local_backend as local
from hpcq.jobs import slurm_backend as slurm
from hpcq.jobs.checks import check_free, check_local, check_packages, check_resumable, free_output
from hpcq.jobs.job import Job
from hpcq.jobs.job_command import JobCommand
from hpcq.jobs.resource_request import ResourceRequest, job_name, parse_word, seconds_of
from hpcq.jobs.script import for_command, read_template, render
from hpcq.jobs.sizing import complete_request, request_of
from hpcq.jobs.submissions import Submission, locked, save_submission

if TYPE_CHECKING:
    from hpcq.planning.plan import Plan

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./%@:,=+-")
"""Characters of a path that an ``#SBATCH`` line holds without quotes."""


@dataclass(frozen=True)
class PreparedJob:
    """A job that is ready to be submitted.

    Attributes:
        command: What the job runs.
        output: The file that the job writes.
        arguments: The arguments of the command, completed.
        request: The resources to ask SLURM for.
        script: The job script.
        log: Path of the log, with SLURM's patterns.
        sbatch: Options of sbatch that a script cannot hold.
    """

    command: JobCommand
    output: Path
    arguments: tuple[str, ...]
    request: ResourceRequest
    script: str
    log: str
    sbatch: tuple[str, ...]

    @property
    def is_shared(self) -> bool:
        """Whether several jobs work on the output."""
        return "--shared" in self.arguments


def prepare(
    options: argparse.Namespace,
    command: JobCommand,
    plan: Callable[[bool], Plan | None],
) -> PreparedJob:
    """Check a submission, complete its resources, and write its script.

    Args:
        options: The parsed command line of ``submit``.
        command: What the job is to run.
        plan: Checks the input of the command; if its argument is True, also returns the plan, if
            there is one.

    Raises:
        InputError: If any check fails.
    """
    if options.local:
        check_local(options)
    check_packages(options)
    request = request_of(options)
    modules = [f"module load {parse_word('module', name)[1]}" for name in options.module]
    output = free_output(options, command)
    request = replace(request, job_name=request.job_name or job_name(output))

    def checked_plan(wants_plan: bool) -> Plan | None:
        made_plan = plan(wants_plan)
        if made_plan is not None:
            check_resumable(made_plan, output)
        return made_plan

    request = complete_request(options, request, checked_plan)
    arguments = command.completed(request.cpus_per_rank, options.memory, request.array)
    log = str(output.parent).replace("%", "%%") + f"/{request.job_name}"
    log += "-%A_%a.log" if request.array > 1 else "-%j.log"
    if "\\" in log and not options.local:
        raise InputError(
            f"output: {printable_path(output.parent)!r} has a backslash, and SLURM would write the "
            "log elsewhere; expected another folder"
        )
    subject = command.subject if not command.subject.startswith("-") else f"./{command.subject}"
    directives = request.directives(log)
    sbatch: tuple[str, ...] = ()
    if not set(log) <= _PLAIN:  # an #SBATCH line cannot quote it
        directives["output"], sbatch = None, (f"--output={log}",)
    template = "gpus" if request.gpus_per_node else "many-nodes"
    variables = {"circuit": subject, "output": str(output), "restarts": str(request.restarts)}
    if options.container is not None:
        template, variables["image"] = "apptainer", options.container
    setup = [
        "export HPCQ_SITE=none # the arguments below include the site file and HPCQ_* variables"
    ]
    if variables_set := sorted(command.variables & {*os.environ}):
        setup.append(f"unset {' '.join(variables_set)}")
    setup += [*modules, *request.setup()]
    if options.mpi is not None:
        setup.append(f"export HPCQ_SRUN_MPI={parse_word('mpi', options.mpi)[1]}")
    setup += options.setup
    if options.local:
        ranks = request.nodes[0] * request.ranks_per_node
        if options.time is not None and "--time-limit" in command.options:
            # The last one counts: a limit that is given to the command.
            arguments = (f"--time-limit={seconds_of(options.time):g}", *arguments)
        words = command.words(subject, str(output), arguments)
        script = f"{shlex.join(local.command_of(words, ranks))}\n"
    else:
        text = for_command(read_template(template), command)
        script = render(text, directives, variables, arguments, setup)
    return PreparedJob(command, output, arguments, request, script, log, sbatch)


def submit_to_slurm(job: PreparedJob) -> Job:
    """Submit a job to SLURM, and record it.

    Raises:
        InputError: If the job could never start.
        SlurmError: If SLURM refuses the job.
        HpcqError: If the record cannot be written; the job is canceled again.
    """
    if refusal := slurm.refusal(job.script, job.sbatch):
        raise InputError(f"submit: {job.request} cannot begin: {refusal}")
    with locked(job.output):
        check_free(job.output, is_shared=job.is_shared)
        number = slurm.submit(job.script, job.sbatch)
        # The variable, which sbatch prefers to the script.
        name = os.environ.get("SBATCH_JOB_NAME") or job.request.job_name
        return _recorded(job, number, name=name)


def _recorded(job: PreparedJob, number: str, **details: Any) -> Job:
    """Save the record of a new job; if that fails, cancel the job, which nobody could find."""
    output = str(job.output)
    record = Submission(number, output, job.log, job.arguments, job.script, **details)
    record = replace(record, writes_output=job.command.writes_output)
    try:
        save_submission(record)
    except HpcqError as error:
        Job(record).end()
        raise HpcqError(f"job {number} was canceled again: {error}") from None
    return Job(record)


def start_locally(job: PreparedJob) -> Job:
    """Start a job in the background of this machine, and record it."""
    log = job.output.with_name(f"{job.request.job_name}-%j.log")
    with locked(job.output):
        check_free(job.output, is_shared=job.is_shared)
        name, born = local.start(shlex.split(job.script), log, job.output, job.command.variables)
        return _recorded(job, name, born=born, host=socket.gethostname())
