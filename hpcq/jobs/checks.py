"""What an output must be for a job to be submitted for it."""

from __future__ import annotations

import argparse
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hpcq.core.errors import HpcqError, InputError, MissingDependencyError
from hpcq.core.files import printable_path
from hpcq.core.system import write_stderr
from hpcq.engines.aer_statevector import CURE, GPU_CURE, NO_GPU_SUPPORT, has_gpu_support
from hpcq.jobs.job import Job
from hpcq.jobs.submissions import records_of
from hpcq.parallel.world import CURE as MPI_CURE
from hpcq.planning.fingerprint import RequestSummary, check_same_run, fingerprint_of
from hpcq.results import check_output, load_fingerprint, load_summary
from hpcq.runs.checkpoint import Checkpoint, request_summary, shared_folder

if TYPE_CHECKING:
    from hpcq.planning.assembly import Plan

_MAX_BYTES = 200
"""Of an output's name: there are files beside it whose names are longer."""

_LOOKED_AT = 10
"""How many of the last jobs of an output are asked whether they are over."""

_SURE = ("circuit", "observables")
"""What is the same in every plan of a run, whatever is measured of the machine meanwhile."""


def free_output(options: argparse.Namespace) -> Path:
    """Return the file to write, which no other job is about to write.

    Args:
        options: The command line of ``submit``.

    Raises:
        InputError: If there is none such.
    """
    stem = Path(options.circuit.removeprefix("example:")).stem
    output = writable_output(Path(options.output or f"{stem}.h5"))
    shares = options.shared or options.array > 1
    if shared_folder(output).is_dir() and not shares:
        raise InputError(
            f"output: {printable_path(output)!r} is shared by several jobs, expected --array or "
            "--shared, or another file"
        )
    if not options.dry_run:
        check_free(output, shares=shares)
    return output


def writable_output(path: Path) -> Path:
    """Make sure that an output, and what is kept beside it, can be written; return it resolved.

    Raises:
        InputError: If it cannot.
    """
    output = check_output(path)
    length = len(os.fsencode(output.name))
    if length > _MAX_BYTES:
        raise InputError(
            f"output: {printable_path(output.name)[:40]!r}... is a name of {length} bytes, "
            f"expected at most {_MAX_BYTES}"
        )
    return output


def check_free(output: Path, *, shares: bool) -> None:
    """Make sure that no other job writes an output, or is about to, unless all share it.

    Args:
        output: The output.
        shares: Whether the job to be submitted shares it.

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


def check_held(plan: Plan, output: Path) -> None:
    """Make sure that an output holds nothing yet, or what the same run may go on from.

    Raises:
        InputError: If a job would find something else there.
    """
    Checkpoint(output).check_mode("exact" if plan.sampling is None else "shots")
    held, wanted = load_fingerprint(output), fingerprint_of(plan, plan.cut)
    sure = [key for key in _SURE if key in held]
    known, new = ({key: own[key] for key in sure} for own in (held, wanted))
    if known != new:
        check_same_run(
            known,
            new,
            "a result",
            request_summary(load_summary(output)),
            RequestSummary.by(plan),
        )


def check_local(options: argparse.Namespace) -> None:
    """Refuse what only SLURM does; what only it has to know, such as an account, is left out.

    Raises:
        InputError: If anything of it is asked for.
    """
    asked = {
        "array": options.array > 1,
        "until-done": options.until_done,
        "gpus-per-node": options.gpus_per_node is not None,
        "container": options.container is not None,
    }
    for name in (name for name, given in asked.items() if given):
        raise InputError(f"local: given with --{name}, expected that for a job of SLURM alone")


def check_packages(options: argparse.Namespace) -> None:
    """Make sure that what a job's ranks import is installed here, where they are started from.

    Where the job has another environment than this one, by ``--module`` or ``--setup``, that is
    only said; a container has its own.

    Args:
        options: The command line of ``submit``.

    Raises:
        MissingDependencyError: If mpi4py or Aer is not.
        InputError: If the job is to run on GPUs, and Aer is not built for them.
    """
    if options.container is not None:
        return
    missing: list[HpcqError] = []
    alone = options.local and (options.ranks_per_node or 1) == 1
    if not alone and find_spec("mpi4py") is None:
        why = "submit: mpi4py is not installed here, and every rank needs it"
        missing.append(MissingDependencyError(f"{why}; {MPI_CURE}"))
    if not options.backend and find_spec("qiskit_aer") is None:
        why = "submit: qiskit-aer is not installed here, and every rank needs it"
        missing.append(MissingDependencyError(f"{why}; {CURE}"))
    elif not options.backend and _asks_for_gpus(options) and not has_gpu_support():
        missing.append(InputError(f"device: 'gpu', but {NO_GPU_SUPPORT}; {GPU_CURE}"))
    for error in missing:
        if not (options.module or options.setup):
            raise error
        write_stderr(f"hpcq: warning: {error}, unless --module or --setup bring it")


def _asks_for_gpus(options: argparse.Namespace) -> bool:
    """Whether the job's ranks run with ``--device gpu``, which is what the script for GPUs says."""
    return options.device == "gpu" or bool(options.gpus_per_node and options.device != "cpu")
