"""What all ranks do together: agree, or refuse with one error."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from hpcq.core import errors
from hpcq.core.errors import HpcqError, StoppedError, TasksFailedError
from hpcq.core.files import printable_path
from hpcq.core.limits import Device
from hpcq.engines.aer_statevector import choose_device
from hpcq.engines.gpu import (
    assign_gpu,
    gpu_memory,
    is_gpu_build,
    pick_gpu,
    ranks_sharing,
    visible_gpus,
)
from hpcq.parallel.worker import here
from hpcq.planning.search.search_tasks import MARK, take_part
from hpcq.results.result import Result
from hpcq.runs.checkpoint import shared_folder

if TYPE_CHECKING:
    from hpcq.parallel.serial import Farm
    from hpcq.parallel.tasks import Outcome
    from hpcq.runs.checkpoint import Checkpoint

_KINDS: dict[str, type[HpcqError]] = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, HpcqError)
}
"""The errors that ranks can tell each other of, by a name for each."""

_SEEN = "HPCQ_GPUS_SEEN"
"""Environment variable of this process and its children: number of GPUs before one was taken."""

_SHOWN = 3
"""Failures that a message names."""

Made = TypeVar("Made")


def from_rank_0(farm: Farm, make: Callable[[], Made]) -> Made | None:
    """Plan on rank 0, which may share out its search for cuts.

    Where that is refused, every rank raises the same error.
    """
    if farm.rank > 0:
        while (refusal := farm.share(b"")).startswith(MARK):
            take_part(farm)
        if refusal:
            raise _heard(json.loads(refusal))
        return None
    try:
        made = make()
    except HpcqError as error:
        error.on_all_ranks = True
        farm.share(json.dumps([_kind_of(error), str(error)]).encode())
        raise
    farm.share(b"")
    return made


def all_ranks_or_none(farm: Farm, make: Callable[[], Made]) -> Made:
    """Make something on every rank; where one rank cannot, all refuse, with every rank's reason.

    Args:
        farm: The ranks.
        make: Makes it.
    """
    error: HpcqError | None = None
    made: list[Made] = []
    try:
        made.append(make())
    except HpcqError as raised:
        error = raised
    if farm.smallest(len(made)):
        return made[0]
    if error is not None and farm.size == 1:
        raise error
    mine = "" if error is None else _kind_of(error)
    said = farm.gather(json.dumps([mine, here(), str(error or "")]))
    raise _heard(json.loads(farm.share(json.dumps(_joint_refusal(said)).encode()))) from error


def _joint_refusal(said: Sequence[str]) -> tuple[str, str]:
    """Join what the ranks said, the same reasons once; return the kind of error, and its text."""
    kinds: list[str] = []
    ranks: dict[str, list[int]] = {}
    hosts: dict[str, dict[str, None]] = {}
    for rank, (kind, host, reason) in enumerate(map(json.loads, said)):
        if kind:
            kinds.append(kind)
            ranks.setdefault(reason, []).append(rank)
            hosts.setdefault(reason, {})[host] = None
    if not kinds:
        return HpcqError.__name__, ""
    if len(ranks) == 1 and len(kinds) == len(said):
        return kinds[0], f"{next(iter(ranks))} (all {len(said)} ranks)"
    text = "; ".join(
        f"{_spans(own)} on {', '.join(hosts[reason])}: {reason}" for reason, own in ranks.items()
    )
    return kinds[0], text


def _spans(ranks: Sequence[int]) -> str:
    """Write ranks in a few letters, such as ``ranks 0, 3-17``."""
    spans: list[list[int]] = []
    for rank in ranks:
        if spans and rank == spans[-1][-1] + 1:
            spans[-1][1:] = [rank]
        else:
            spans.append([rank])
    return f"rank{'s' * (len(ranks) > 1)} {', '.join('-'.join(map(str, own)) for own in spans)}"


def _kind_of(error: HpcqError) -> str:
    """Name the error's class, or the nearest one above it that every rank knows."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _KINDS)


def _heard(told: Sequence[str]) -> HpcqError:
    """Make the error that another rank tells of, by its kind and its message."""
    kind, message = told
    error = _KINDS[kind](message)
    error.on_all_ranks = True
    return error


def device_of(farm: Farm, device: str) -> Device:
    """Choose this rank's device; where one rank cannot, all refuse.

    Each rank of a node takes the next of its GPUs, before Aer is loaded; a rank that only
    schedules takes none.
    """
    place = _take_gpu(farm, device)
    if place is None and device in ("auto", "gpu"):
        device = "cpu"
    return all_ranks_or_none(farm, lambda: choose_device(device))


def min_rank_resources(farm: Farm, device: str) -> tuple[int, int]:
    """Return the cores and the bytes of memory that every rank has, on its GPU too."""
    cores, memory = farm.local_share()
    place = _take_gpu(farm, device)
    if place is not None and device != "cpu" and is_gpu_build():
        gpu = pick_gpu(0, visible_gpus())
        size = None if gpu is None else gpu_memory(gpu)
        if size is not None:
            memory = min(memory, size // ranks_sharing(place[1], place[2]))
    return farm.smallest(cores), farm.smallest(memory)


def _take_gpu(farm: Farm, device: str) -> tuple[int, int, int] | None:
    """Take a GPU; return this rank's place, the ranks that compute here, and their GPUs."""
    place, ranks = farm.local_place()
    if not farm.computes:
        if device != "cpu":
            assign_gpu(None)
        return None
    gpus = len(visible_gpus())
    if device != "cpu" and gpus and _SEEN not in os.environ:
        os.environ[_SEEN] = str(gpus)  # before all but one are hidden
        os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        assign_gpu(place)
    bound = "SLURM_GPUS_PER_TASK" in os.environ
    return place, (1 if bound else ranks), int(os.environ.get(_SEEN, "1"))


def check_outcome(
    outcome: Outcome, checkpoint: Checkpoint | None, partial: Callable[[], Result]
) -> None:
    """Make sure that all tasks are done; otherwise save what is.

    Args:
        outcome: How the tasks ended.
        checkpoint: Keeps the output, if there is one.
        partial: Makes the result to save.

    Raises:
        StoppedError: If the run was stopped, and all that is done is saved.
        TasksFailedError: If tasks failed.
        HpcqError: If the run was stopped and nothing is saved.
    """
    if outcome.complete:
        return
    done = f"{outcome.finished.num_done} of {len(outcome.finished)} tasks"
    if checkpoint is not None:
        saved = checkpoint.save(partial())
        checkpoint.forget_status()
        again = "" if saved == checkpoint.begun else f" with --output {printable_path(saved)}"
        where = shared_folder(saved) if checkpoint.shared else saved
        rest = f"{done} are saved in {printable_path(where)}; run the same command again"
        rest += f"{again} to go on"
    else:
        rest = f"{done} were done and are lost, because there is no --output"
    if outcome.failures:
        shown = "; ".join(map(str, outcome.failures[:_SHOWN]))
        more = len(outcome.failures) - _SHOWN
        shown += f"; and {more} more" if more > 0 else ""
        raise TasksFailedError(f"{shown}. {rest}")
    kind = HpcqError if checkpoint is None else StoppedError
    raise kind(f"stopped, because {outcome.stopped}: {rest}")


def closing_of(error: HpcqError) -> bytes:
    """Return what the other ranks are told where rank 0 ends with an error."""
    return json.dumps([_kind_of(error), str(error)]).encode()


def result_of(closing: bytes) -> Result:
    """Return the result that rank 0 told at the end, or raise its error.

    Raises:
        HpcqError: If rank 0 did.
    """
    if closing.startswith(b"["):
        raise _heard(json.loads(closing))
    return Result.from_json(closing)
