"""From the command line to a job in the queue, with a script and a record."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcq.core.errors import HpcqError, InputError
from hpcq.core.files import printable_path
from hpcq.jobs import local_backend as local
from hpcq.jobs import slurm_backend as slurm
from hpcq.jobs.checks import check_free, check_held, check_local, check_packages, free_output
from hpcq.jobs.job import Job
from hpcq.jobs.resource_request import (
    ResourceRequest,
    job_name,
    read_word,
    seconds_of,
)
from hpcq.jobs.script import render, template
from hpcq.jobs.sizing import asked_for, sized
from hpcq.jobs.submissions import Submission, keep, locked
from hpcq.parallel.worker import here

if TYPE_CHECKING:
    from hpcq.planning.assembly import Plan

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./%@:,=+-")


@dataclass(frozen=True)
class PreparedJob:
    """A job that is ready to be submitted.

    Attributes:
        circuit: Its circuit, as named.
        output: The file that it writes.
        words: The options of ``hpcq run``.
        request: What it asks for.
        script: The job script.
        log: Pattern of its log's path.
        sbatch: Options of sbatch that no script can hold.
        settings: Names of the environment variables that are options of ``hpcq run``.
    """

    circuit: str
    output: Path
    words: tuple[str, ...]
    request: ResourceRequest
    script: str
    log: str
    sbatch: tuple[str, ...]
    settings: frozenset[str]


def prepare(
    options: argparse.Namespace,
    words: Sequence[str],
    settings: frozenset[str],
    plan: Callable[[bool], Plan | None],
) -> PreparedJob:
    """Check and complete what was asked for.

    Args:
        options: The command line of ``submit``.
        words: Those of it that are for ``run``.
        settings: Names of the environment variables that are options of ``run``; the job has
            them as words.
        plan: Checks the circuit and all else, and makes the plan if it is told to.

    Raises:
        InputError: If anything is wrong with it.
    """
    if options.local:
        check_local(options)
    check_packages(options)
    request, found = asked_for(options), [*words]
    modules = [f"module load {read_word('module', own)[1]}" for own in options.module]
    output = free_output(options)
    request = replace(request, job_name=request.job_name or job_name(output))

    def checked(whole: bool) -> Plan | None:
        made = plan(whole)
        if made is not None:
            check_held(made, output)
        return made

    request = sized(options, request, checked)
    given = {word.partition("=")[0] for word in words}
    if "--threads" not in given:
        found.append(f"--threads={request.cpus_per_rank}")
    if "--memory" not in given:
        found.append(f"--memory={options.memory}")
    if request.array > 1 and "--shared" not in given:
        found.append("--shared")
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
    if not set(log) <= _PLAIN:  # a line of a script cannot hold it
        directives["output"], sbatch = None, (f"--output={log}",)
    name = "gpus" if request.gpus_per_node else "many-nodes"
    variables = {"circuit": circuit, "output": str(output), "restarts": str(request.restarts)}
    if options.container is not None:
        name, variables["image"] = "apptainer", options.container
    setup = ["export HPCQ_SITE=none # what it says, and what variables say, is in here already"]
    if variables_set := sorted(settings & {*os.environ}):
        setup.append(f"unset {' '.join(variables_set)}")
    setup += [*modules, *request.setup()]
    if options.mpi is not None:
        setup.append(f"export HPCQ_SRUN_MPI={read_word('mpi', options.mpi)[1]}")
    setup += options.setup
    if options.local:
        ranks = request.nodes[0] * request.ranks_per_node
        limit = [] if options.time is None else [f"--time-limit={seconds_of(options.time):g}"]
        found[:0] = limit if "--time-limit" not in given else []
        script = shlex.join(local.command_of([circuit, f"--output={output}", *found], ranks)) + "\n"
    else:
        script = render(template(name), directives, variables, found, setup)
    return PreparedJob(circuit, output, tuple(found), request, script, log, sbatch, settings)


def put_into_the_queue(order: PreparedJob) -> Job:
    """Put a job into the queue.

    Raises:
        InputError: If it could never begin.
        SlurmError: If SLURM refuses it.
        HpcqError: If its record cannot be written; it is canceled then.
    """
    if refusal := slurm.refusal(order.script, order.sbatch):
        raise InputError(f"submit: {order.request} cannot begin: {refusal}")
    with locked(order.output):
        check_free(order.output, shares="--shared" in order.words)
        number = slurm.submit(order.script, order.sbatch)
        name = os.environ.get("SBATCH_JOB_NAME") or order.request.job_name  # sbatch prefers it
        made = Submission(
            number, str(order.output), order.log, order.words, order.script, name=name
        )
        return Job(_kept(made))


def _kept(record: Submission) -> Submission:
    """Keep the record of a job that was just submitted; without one the job is canceled again."""
    try:
        keep(record)
    except HpcqError as error:
        Job(record).end()
        raise HpcqError(f"job {record.job} was canceled again: {error}") from None
    return record


def start_here(order: PreparedJob) -> Job:
    """Start a job in the background of this machine.

    Raises:
        InputError: If it takes more ranks than can be launched.
    """
    log = order.output.with_name(f"{order.request.job_name}-%j.log")
    with locked(order.output):
        check_free(order.output, shares="--shared" in order.words)
        job, born = local.start(shlex.split(order.script), log, order.output, order.settings)
        kept = Submission(
            job, str(order.output), order.log, order.words, order.script, born=born, host=here()
        )
        return Job(_kept(kept))
