"""The device on which each rank simulates, and the minimum of the ranks' cores and memory."""

from __future__ import annotations

import os
from functools import cache

from hpcq.core.limits import Device
from hpcq.engines.aer import choose_device
from hpcq.engines.gpu import (
    assign_gpu,
    gpu_memory,
    is_gpu_build,
    pick_gpu,
    ranks_sharing,
    visible_gpus,
)
from hpcq.parallel.serial import Farm
from hpcq.runs.collective import all_ranks_or_none

_SEEN = "HPCQ_GPUS_SEEN"
"""Environment variable of this process and its children: number of GPUs before one was taken."""


def choose_rank_device(farm: Farm, device: str) -> Device:
    """Choose this rank's device; collective, and refused on all ranks if one rank has none.

    Each rank of a node takes the next of its GPUs, before Aer is loaded; a rank that only
    schedules takes none.
    """
    node = _take_gpu(farm, device)
    if node is None and device in ("auto", "gpu"):
        device = "cpu"
    return all_ranks_or_none(farm, lambda: choose_device(device))


def min_rank_resources(farm: Farm, device: str) -> tuple[int, int]:
    """Return the cores and the bytes of memory that every rank has at least; collective.

    The memory is that of a rank's share of its GPU, if that is less.
    """
    cores, memory = farm.local_resources()
    node = _take_gpu(farm, device)
    if node is not None and device != "cpu" and is_gpu_build():
        gpu = pick_gpu(0, visible_gpus())
        size = None if gpu is None else gpu_memory(gpu)
        if size is not None:
            _, local_ranks, gpus = node
            memory = min(memory, size // ranks_sharing(local_ranks, gpus))
    return farm.allreduce_min(cores), farm.allreduce_min(memory)


def _take_gpu(farm: Farm, device: str) -> tuple[int, int, int] | None:
    """Take this rank's GPU unless it has one already; a rank that only schedules hides all.

    Returns:
        Rank within the node, ranks of the node that compute, and their GPUs; None for a rank that
        only schedules. A rank to which SLURM bound GPUs counts as the only one.
    """
    local_rank, local_ranks = farm.local_rank_and_size()
    if not farm.computes:
        if device != "cpu":
            assign_gpu(None)
        return None
    gpus = _num_gpus()
    if device != "cpu" and gpus and _SEEN not in os.environ:
        os.environ[_SEEN] = str(gpus)
        os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        assign_gpu(local_rank)
    bound = "SLURM_GPUS_PER_TASK" in os.environ
    return local_rank, (1 if bound else local_ranks), int(os.environ.get(_SEEN, "1"))


@cache
def _num_gpus() -> int:
    """Return how many GPUs this process could use before all but one were hidden."""
    return len(visible_gpus())
