"""How large a job is: what was asked for, and the rest by the plan and the nodes there are."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from hpcq.core.errors import InputError
from hpcq.core.limits import check_threads, round_memory_down
from hpcq.core.system import parse_bytes, usable_cores, usable_memory
from hpcq.jobs import slurm_backend as slurm
from hpcq.jobs.resource_request import (
    ResourceRequest,
    read_nodes,
    read_option,
    read_time,
    read_word,
    shown_time,
)

if TYPE_CHECKING:
    from hpcq.planning.assembly import Plan

_RESTARTS = 20
_LIBRARIES = 640 << 20
"""Memory of a rank's processes before they compute anything."""

_SPARE = 1.25
_WORTH_A_RANK = 60.0
"""Predicted seconds of work that are worth a rank of their own."""

_SHARE_OF_NODE = 0.9
_MIN_SECONDS, _DEFAULT_SECONDS, _MAX_SECONDS = 600.0, 3600.0, 86400.0
_PATIENCE = {True: 3.0, False: 10.0}
"""How many times longer than predicted a job may take, where the machine is calibrated or not."""


def asked_for(options: argparse.Namespace) -> ResourceRequest:
    """Return what was asked for, as far as it was said.

    Args:
        options: The command line of ``submit``.

    Raises:
        InputError: If SLURM would not understand it.
    """
    words = [
        read_word(name, value)
        for name in ("account", "partition", "qos", "constraint", "reservation")
        if (value := getattr(options, "slurm_partition" if name == "partition" else name))
    ]
    words += [read_option(own) for own in options.sbatch]
    if options.restarts is not None and not options.until_done:
        raise InputError(f"restarts: {options.restarts}, expected --until-done with it")
    name = "" if options.job_name is None else read_word("job-name", options.job_name)[1]
    return ResourceRequest(
        cpus_per_rank=options.cpus_per_rank or options.threads or 1,
        gpus_per_node=options.gpus_per_node or 0,
        time=None if options.time is None else read_time(options.time),
        words=tuple(words),
        array=options.array,
        restarts=(options.restarts or _RESTARTS) if options.until_done else 0,
        job_name=name.replace("/", "-"),
    )


def sized(
    options: argparse.Namespace, request: ResourceRequest, plan: Callable[[bool], Plan | None]
) -> ResourceRequest:
    """Decide how large a job is, where that was not said.

    ``options.memory`` and ``options.threads`` become what the job's ranks plan with, so that the
    plan is the same here and there.

    Args:
        options: The command line of ``submit``; changed in place.
        request: What was asked for.
        plan: Checks the circuit and all else, and makes the plan if it is told to.

    Raises:
        InputError: If what was asked for is wrong.
        SlurmError: If SLURM does not answer.
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
        options.memory = str(round_memory_down(max(share - _LIBRARIES, 64 << 20)))
    limit = parse_bytes(options.memory)
    options.threads = options.threads or request.cpus_per_rank
    check_threads(options.threads, len(usable_cores()) if options.local else request.cpus_per_rank)
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
        most = min(_MAX_SECONDS, node.seconds or _MAX_SECONDS)
        needed = _DEFAULT_SECONDS if seconds is None else max(_MIN_SECONDS, seconds)
        time = shown_time(min(needed, most))
    return replace(
        request,
        nodes=nodes or (1, 1),
        ranks_per_node=ranks or full,
        rank_bytes=int(bytes_needed) + _LIBRARIES,
        time=time,
    )
