"""The size of a job: as requested, or else from the plan and the nodes of the partition."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from hpcq.core.errors import InputError
from hpcq.core.limits import check_threads, round_memory_down
from hpcq.core.system import parse_bytes, usable_cores, usable_memory
from hpcq.jobs import resource_request as resources
from hpcq.jobs import slurm_backend as slurm
from hpcq.jobs.resource_request import ResourceRequest, parse_word

if TYPE_CHECKING:
    from hpcq.planning.plan import Plan

_DEFAULT_RESTARTS = 20
"""How often a job with ``--until-done`` may requeue itself; bounds what a failing job can use."""

_LIBRARY_BYTES = 640 << 20
"""Bytes of memory of a rank's processes before they compute anything."""

_MEMORY_MARGIN = 1.25
"""Memory to ask for per byte that the plan predicts. Larger: fewer jobs are killed for a prediction
that was too low; smaller: jobs start sooner."""

_SECONDS_PER_RANK = 60.0
"""Predicted seconds of simulation for which one rank is asked for. Larger: fewer ranks and longer
runs; smaller: more ranks, whose start takes a larger share."""

_SHARE_OF_NODE = 0.9
"""Share of a node's memory that its ranks may use together; the rest is the system's."""

_MIN_SECONDS, _DEFAULT_SECONDS, _MAX_SECONDS = 600.0, 3600.0, 86400.0
"""Seconds of time limit: minimum, without a prediction, and maximum, where ``--time`` is not given.
Larger: fewer runs need a second start; smaller: SLURM starts the job sooner."""

_TIME_MARGIN = {True: 3.0, False: 10.0}
"""Time limit per predicted second, on a machine that is calibrated (True) or not (False)."""


def request_of(options: argparse.Namespace) -> ResourceRequest:
    """Return the resources that the command line asks for, with defaults for the others.

    Raises:
        InputError: If a value is not one that sbatch takes.
    """
    sbatch = [
        parse_word(name, value)
        for name in ("account", "partition", "qos", "constraint", "reservation")
        if (value := getattr(options, "slurm_partition" if name == "partition" else name))
    ]
    sbatch += [resources.parse_sbatch_option(text) for text in options.sbatch]
    if options.restarts is not None and not options.until_done:
        raise InputError(f"restarts: {options.restarts}, expected --until-done too")
    name = "" if options.job_name is None else parse_word("job-name", options.job_name)[1]
    return ResourceRequest(
        cpus_per_rank=options.cpus_per_rank or options.threads or 1,
        gpus_per_node=options.gpus_per_node or 0,
        time=None if options.time is None else resources.parse_time(options.time),
        sbatch=tuple(sbatch),
        array=options.array,
        restarts=(options.restarts or _DEFAULT_RESTARTS) if options.until_done else 0,
        job_name=name.replace("/", "-"),
    )


def complete_request(
    options: argparse.Namespace, request: ResourceRequest, plan: Callable[[bool], Plan | None]
) -> ResourceRequest:
    """Return a request with the size of the job decided where it was left open.

    ``options.memory`` and ``options.threads`` are set to the limits of the job's ranks, so that
    they make the same plan as this process. ``plan`` checks the circuit and the options; if its
    argument is True, it also returns the plan.

    Raises:
        InputError: If the options are wrong.
        SlurmError: If SLURM does not answer.
    """
    nodes = None if options.nodes is None else resources.parse_nodes(options.nodes)
    ranks: int | None = options.ranks_per_node or options.gpus_per_node
    partition = dict(request.sbatch).get("partition")
    node = None if options.local else slurm.nodes_of(partition)
    if node is None:
        node = slurm.Node("", len(usable_cores()), usable_memory(), None, 1)
    ranks_that_fit = max(1, node.cores // request.cpus_per_rank)
    memory_option = options.memory
    if memory_option is None:
        share = int(_SHARE_OF_NODE * node.memory) // (ranks or ranks_that_fit)
        options.memory = str(round_memory_down(max(share - _LIBRARY_BYTES, 64 << 20)))
    memory_limit = parse_bytes(options.memory)
    options.threads = options.threads or request.cpus_per_rank
    check_threads(options.threads, len(usable_cores()) if options.local else request.cpus_per_rank)
    has_time = request.time is not None or options.local
    is_complete = None not in (nodes, ranks) and memory_option is not None and has_time
    computed_plan = plan(not is_complete)
    bytes_needed, seconds = float(memory_limit), None
    cost = None if computed_plan is None else computed_plan.cost
    if cost is not None:
        if memory_option is None:
            bytes_needed = min(bytes_needed, _MEMORY_MARGIN * cost.memory_bytes)
        wanted_ranks = min(cost.num_tasks, math.ceil(cost.simulation_seconds / _SECONDS_PER_RANK))
        if ranks is None:
            per_node = math.ceil(wanted_ranks / nodes[0]) if nodes else wanted_ranks
            ranks = max(1, min(ranks_that_fit, per_node))
        if nodes is None:
            num_nodes = max(1, min(node.count, math.ceil(wanted_ranks / ranks)))
            nodes = num_nodes, num_nodes
        num_ranks = nodes[0] * ranks * request.array
        seconds = _TIME_MARGIN[cost.calibrated] * cost.predicted_seconds(num_ranks)
    time = request.time
    if time is None:
        max_seconds = min(_MAX_SECONDS, node.seconds or _MAX_SECONDS)
        needed = _DEFAULT_SECONDS if seconds is None else max(_MIN_SECONDS, seconds)
        time = resources.format_time(min(needed, max_seconds))
    return replace(
        request,
        nodes=nodes or (1, 1),
        ranks_per_node=ranks or ranks_that_fit,
        rank_bytes=int(bytes_needed) + _LIBRARY_BYTES,
        time=time,
    )
