"""From the command line to a job in the queue: how large it is, its script, and its record."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcq.batch import local, slurm
from hpcq.batch.job import Job
from hpcq.batch.record import Record, keep, locked, records_of
from hpcq.batch.request import (
    Request,
    job_name,
    read_nodes,
    read_option,
    read_time,
    read_word,
    shown_time,
)
from hpcq.batch.script import render, template
from hpcq.command.arguments import run_variables
from hpcq.config import rounded_memory
from hpcq.errors import HpcqError, InputError
from hpcq.farm.worker import here
from hpcq.files import printable_path
from hpcq.identity import check_same, identity_of
from hpcq.job.keeping import Keeper, shared_folder
from hpcq.machine import parse_bytes, usable_cores, usable_memory
from hpcq.store import check_output, identity_in

if TYPE_CHECKING:
    from hpcq.assembly import Plan

_RESTARTS = 20
_LIBRARIES = 640 << 20
"""Memory of a rank's processes before they compute anything."""

_SPARE = 1.25
_WORTH_A_RANK = 60.0
"""Predicted seconds of work that are worth a rank of their own."""

_SHARE_OF_NODE = 0.9
_LEAST_SECONDS, _USUAL_SECONDS, _MOST_SECONDS = 600.0, 3600.0, 86400.0
_PATIENCE = {True: 3.0, False: 10.0}
"""How many times longer than predicted a job may take, where the machine is calibrated or not."""

_LOOKED_AT = 10
"""How many of the last jobs of an output are asked whether they are over."""

_SURE = ("circuit", "observables")
"""What is the same in every plan of a run, whatever is measured of the machine meanwhile."""

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./%@:,=+-")


@dataclass(frozen=True)
class Order:
    """A job that is ready to be submitted.

    Attributes:
        circuit: Its circuit, as named.
        output: The file that it writes.
        words: The options of ``hpcq run``.
        request: What it asks for.
        script: The job script.
        log: Pattern of its log's path.
        sbatch: Options of sbatch that no script can hold.
    """

    circuit: str
    output: Path
    words: tuple[str, ...]
    request: Request
    script: str
    log: str
    sbatch: tuple[str, ...]


def prepare(
    options: argparse.Namespace, words: Sequence[str], plan: Callable[[bool], Plan | None]
) -> Order:
    """Check and complete what was asked for.

    Args:
        options: The command line of ``submit``.
        words: Those of it that are for ``run``.
        plan: Checks the circuit and all else, and makes the plan if it is told to.

    Raises:
        InputError: If anything is wrong with it.
    """
    request, found = _asked(options), [*words]
    modules = [f"module load {read_word('module', own)[1]}" for own in options.module]
    output = _output(options)
    request = replace(request, job_name=request.job_name or job_name(output))

    def checked(whole: bool) -> Plan | None:
        made = plan(whole)
        if made is not None:
            _check_held(made, output)
        return made

    request = _sized(options, request, checked)
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
    if variables_set := sorted(run_variables() & {*os.environ}):
        setup.append(f"unset {' '.join(variables_set)}")
    setup += [*modules, *request.setup()]
    if options.mpi is not None:
        setup.append(f"export HPCQ_SRUN_MPI={read_word('mpi', options.mpi)[1]}")
    setup += options.setup
    script = ""
    if not options.local:
        script = render(template(name), directives, variables, found, setup)
    return Order(circuit, output, tuple(found), request, script, log, sbatch)


def put_into_the_queue(order: Order) -> Job:
    """Put a job into the queue.

    Raises:
        InputError: If it could never begin.
        SlurmError: If SLURM refuses it.
        HpcqError: If its record cannot be written; it is canceled then.
    """
    if refusal := slurm.refusal(order.script, order.sbatch):
        raise InputError(f"submit: {order.request} cannot begin: {refusal}")
    with locked(order.output):
        _check_free(order.output, shares="--shared" in order.words)
        number = slurm.submit(order.script, order.sbatch)
        return Job(_kept(Record(number, str(order.output), order.log, order.words, order.script)))


def _kept(record: Record) -> Record:
    """Keep the record of a job that was just submitted; without one the job is canceled again."""
    try:
        keep(record)
    except HpcqError as error:
        Job(record).end()
        raise HpcqError(f"job {record.job} was canceled again: {error}") from None
    return record


def start_here(order: Order) -> Job:
    """Start a job in the background of this machine.

    Raises:
        InputError: If it takes more ranks than can be launched.
    """
    ranks = order.request.nodes[0] * order.request.ranks_per_node
    log = order.output.with_name(f"{order.request.job_name}-local.log")
    words = [order.circuit, f"--output={order.output}", *order.words]
    shown = str(log).replace("%", "%%")
    with locked(order.output):
        _check_free(order.output, shares="--shared" in order.words)
        job, born = local.start(words, ranks, log, order.output)
        kept = Record(job, str(order.output), shown, order.words, born=born, host=here())
        return Job(_kept(kept))


def _output(options: argparse.Namespace) -> Path:
    """Return the file to write, which no other job is about to write."""
    stem = Path(options.circuit.removeprefix("example:")).stem
    output = check_output(Path(options.output or f"{stem}.h5"))
    shares = options.shared or options.array > 1
    if shared_folder(output).is_dir() and not shares:
        raise InputError(
            f"output: {printable_path(output)!r} is shared by several jobs, expected --array or "
            "--shared, or another file"
        )
    if not options.dry_run:
        _check_free(output, shares=shares)
    return output


def _check_free(output: Path, *, shares: bool) -> None:
    """Make sure that no other job writes an output, or is about to, unless all share it.

    Raises:
        InputError: If one does.
    """
    for record in records_of(output)[-_LOOKED_AT:]:
        if (record.shares and shares) or record.elsewhere:
            continue
        status = Job(record).status()
        if not status.over:
            raise InputError(
                f"output: {printable_path(output)!r} is what job {record.job} writes, which is "
                f"{status.state}; expected another file, or `hpcq cancel {record.job}` first"
            )


def _check_held(plan: Plan, output: Path) -> None:
    """Make sure that an output holds nothing yet, or what the same run may go on from.

    Raises:
        InputError: If a job would find something else there.
    """
    Keeper(output).check("exact" if plan.sampling is None else "shots")
    held, wanted = identity_in(output), identity_of(plan, plan.cut)
    sure = [key for key in _SURE if key in held]
    known, new = ({key: own[key] for key in sure} for own in (held, wanted))
    check_same(known, new, "a result")


def _asked(options: argparse.Namespace) -> Request:
    """Return what was asked for, as far as it was said."""
    words = [
        read_word(name, value)
        for name in ("account", "partition", "qos", "constraint", "reservation")
        if (value := getattr(options, "slurm_partition" if name == "partition" else name))
    ]
    words += [read_option(own) for own in options.sbatch]
    if options.restarts is not None and not options.until_done:
        raise InputError(f"restarts: {options.restarts}, expected --until-done with it")
    name = "" if options.job_name is None else read_word("job-name", options.job_name)[1]
    return Request(
        cpus_per_rank=options.cpus_per_rank or options.threads or 1,
        gpus_per_node=options.gpus_per_node or 0,
        time=None if options.time is None else read_time(options.time),
        words=tuple(words),
        array=options.array,
        restarts=(options.restarts or _RESTARTS) if options.until_done else 0,
        job_name=name.replace("/", "-"),
    )


def _sized(
    options: argparse.Namespace, request: Request, plan: Callable[[bool], Plan | None]
) -> Request:
    """Decide how large a job is, where that was not said.

    ``options.memory`` and ``options.threads`` become what the job's ranks plan with, so that the
    plan is the same here and there.
    """
    nodes = None if options.nodes is None else read_nodes(options.nodes)
    ranks: int | None = options.ranks_per_node or options.gpus_per_node
    partition = dict(request.words).get("partition")
    node = None if options.local else slurm.nodes_of(partition)
    if node is None:
        node = slurm.Node("", len(usable_cores()), usable_memory(), None, 1)
    full = max(1, node.cores // request.cpus_per_rank)
    given = options.memory
    if given is None:
        share = int(_SHARE_OF_NODE * node.memory) // (ranks or full)
        options.memory = str(rounded_memory(max(share - _LIBRARIES, 64 << 20)))
    limit = parse_bytes(options.memory)
    options.threads = options.threads or request.cpus_per_rank
    timed = request.time is not None or options.local
    known = None not in (nodes, ranks) and given is not None and timed
    made = plan(not known)
    bytes_needed, seconds = float(limit), None
    if made is not None and made.sampling is None:
        cost = made.cost
        bytes_needed = min(limit, _SPARE * cost.memory_bytes) if given is None else limit
        wanted = min(made.num_tasks, math.ceil(cost.simulation_seconds / _WORTH_A_RANK))
        if ranks is None:
            per_node = math.ceil(wanted / nodes[0]) if nodes else wanted
            ranks = max(1, min(full, per_node))
        if nodes is None:
            count = max(1, min(node.count, math.ceil(wanted / ranks)))
            nodes = count, count
        at_work = nodes[0] * ranks * request.array
        seconds = _PATIENCE[cost.calibrated] * cost.predicted_seconds(at_work)
    time = request.time
    if time is None:
        most = min(_MOST_SECONDS, node.seconds or _MOST_SECONDS)
        wish = _USUAL_SECONDS if seconds is None else max(_LEAST_SECONDS, seconds)
        time = shown_time(min(wish, most))
    return replace(
        request,
        nodes=nodes or (1, 1),
        ranks_per_node=ranks or full,
        rank_bytes=int(bytes_needed) + _LIBRARIES,
        time=time,
    )
