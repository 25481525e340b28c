"""From the command line of ``hpcq submit`` to a job, its script and its record."""

from __future__ import annotations

import argparse
import os
import shlex
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.core.errors import HpcqError, InputError
from hpcq.core.files import printable_path
from hpcq.jobs import local_backend as local
from hpcq.jobs import slurm_backend as slurm
from hpcq.jobs.checks import check_free, check_local, check_packages, check_resumable, free_output
from hpcq.jobs.job import Job
from hpcq.jobs.resource_request import ResourceRequest, job_name, parse_word, seconds_of
from hpcq.jobs.script import read_template, render
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
        circuit: The circuit, as it was named.
        output: The file that the job writes.
        arguments: The options of ``hpcq run``.
        request: The resources to ask SLURM for.
        script: The job script.
        log: Path of the log, with SLURM's patterns.
        sbatch: Options of sbatch that a script cannot hold.
        settings: Names of the environment variables that are options of ``hpcq run``.
    """

    circuit: str
    output: Path
    arguments: tuple[str, ...]
    request: ResourceRequest
    script: str
    log: str
    sbatch: tuple[str, ...]
    settings: frozenset[str]


def prepare(
    options: argparse.Namespace,
    run_options: Sequence[str],
    settings: frozenset[str],
    plan: Callable[[bool], Plan | None],
) -> PreparedJob:
    """Check a submission, complete its resources, and write its script.

    Args:
        options: The parsed command line of ``submit``.
        run_options: Those of its options that ``run`` takes, as text.
        settings: Names of the environment variables that are options of ``run``; the job has
            their values as flags.
        plan: Checks the circuit and the options; if its argument is True, also returns the plan.

    Raises:
        InputError: If any check fails.
    """
    if options.local:
        check_local(options)
    check_packages(options)
    request, arguments = request_of(options), [*run_options]
    modules = [f"module load {parse_word('module', name)[1]}" for name in options.module]
    output = free_output(options)
    request = replace(request, job_name=request.job_name or job_name(output))

    def checked_plan(wants_plan: bool) -> Plan | None:
        made_plan = plan(wants_plan)
        if made_plan is not None:
            check_resumable(made_plan, output)
        return made_plan

    request = complete_request(options, request, checked_plan)
    given = {option.partition("=")[0] for option in run_options}
    if "--threads" not in given:
        arguments.append(f"--threads={request.cpus_per_rank}")
    if "--memory" not in given:
        arguments.append(f"--memory={options.memory}")
    if request.array > 1 and "--shared" not in given:
        arguments.append("--shared")
    log = str(output.parent).replace("%", "%%") + f"/{request.job_name}"
    log += "-%A_%a.log" if request.array > 1 else "-%j.log"
    if "\\" in log and not options.local:
        raise InputError(
            f"output: {printable_path(output.parent)!r} has a backslash, and SLURM would write the "
            "log elsewhere; expected another folder"
        )
    circuit = options.circuit if not options.circuit.startswith("-") else f"./{options.circuit}"
    directives = request.directives(log)
    sbatch: tuple[str, ...] = ()
    if not set(log) <= _PLAIN:  # an #SBATCH line cannot quote it
        directives["output"], sbatch = None, (f"--output={log}",)
    template = "gpus" if request.gpus_per_node else "many-nodes"
    variables = {"circuit": circuit, "output": str(output), "restarts": str(request.restarts)}
    if options.container is not None:
        template, variables["image"] = "apptainer", options.container
    setup = [
        "export HPCQ_SITE=none # the arguments below include the site file and HPCQ_* variables"
    ]
    if variables_set := sorted(settings & {*os.environ}):
        setup.append(f"unset {' '.join(variables_set)}")
    setup += [*modules, *request.setup()]
    if options.mpi is not None:
        setup.append(f"export HPCQ_SRUN_MPI={parse_word('mpi', options.mpi)[1]}")
    setup += options.setup
    if options.local:
        ranks = request.nodes[0] * request.ranks_per_node
        limit = [] if options.time is None else [f"--time-limit={seconds_of(options.time):g}"]
        arguments[:0] = limit if "--time-limit" not in given else []
        command = local.command_of([circuit, f"--output={output}", *arguments], ranks)
        script = f"{shlex.join(command)}\n"
    else:
        script = render(read_template(template), directives, variables, arguments, setup)
    return PreparedJob(circuit, output, tuple(arguments), request, script, log, sbatch, settings)


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
        check_free(job.output, is_shared="--shared" in job.arguments)
        number = slurm.submit(job.script, job.sbatch)
        # The variable, which sbatch prefers to the script.
        name = os.environ.get("SBATCH_JOB_NAME") or job.request.job_name
        return _recorded(job, number, name=name)


def _recorded(job: PreparedJob, number: str, **details: Any) -> Job:
    """Save the record of a new job; if that fails, cancel the job, which nobody could find."""
    output = str(job.output)
    record = Submission(number, output, job.log, job.arguments, job.script, **details)
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
        check_free(job.output, is_shared="--shared" in job.arguments)
        name, born = local.start(shlex.split(job.script), log, job.output, job.settings)
        return _recorded(job, name, born=born, host=socket.gethostname())
