"""Checks before a job is submitted: its output, its options, and what its ranks import."""

from __future__ import annotations

import argparse
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hpcq.core.errors import HpcqError, InputError, MissingDependencyError
from hpcq.core.files import printable_path
from hpcq.core.system import write_stderr
from hpcq.engines.aer import CURE, GPU_CURE, NO_GPU_SUPPORT, has_gpu_support
from hpcq.jobs.job import Job
from hpcq.jobs.job_command import JobCommand
from hpcq.jobs.submissions import submissions_of
from hpcq.parallel.world import CURE as MPI_CURE
from hpcq.planning.fingerprint import RequestSummary, check_same_run, fingerprint_of
from hpcq.planning.kind import kind_of
from hpcq.results import check_output, load_fingerprint, load_summary
from hpcq.runs.file_output import FileOutput
from hpcq.runs.output import request_summary
from hpcq.runs.status import shared_folder

if TYPE_CHECKING:
    from hpcq.planning.plan import Plan

_MAX_NAME_BYTES = 200
"""Maximum bytes of an output's name, which files beside it extend; file systems allow 255."""

_MAX_CHECKED_JOBS = 10
"""How many of the last jobs of an output are checked; each may take a call of squeue."""


def free_output(options: argparse.Namespace, command: JobCommand) -> Path:
    """Return the output of a job; an InputError if it cannot be written, or another job does.

    A command that writes no output has one by name, so that its job can be found.
    """
    stem = Path(command.subject.removeprefix("example:")).stem
    name = f"{stem}.h5" if command.writes_output else f"{stem}.{command.name}"
    output = writable_output(Path(getattr(options, "output", None) or name))
    is_shared = command.has_shared_output or options.array > 1
    if shared_folder(output).is_dir() and not is_shared:
        raise InputError(
            f"output: {printable_path(output)!r} is shared by several jobs, expected --array or "
            "--shared, or another file"
        )
    if not options.dry_run:
        check_free(output, is_shared=is_shared)
    return output


def writable_output(path: Path) -> Path:
    """Return an output's resolved path; raise an InputError if it cannot be written."""
    output = check_output(path)
    length = len(os.fsencode(output.name))
    if length > _MAX_NAME_BYTES:
        raise InputError(
            f"output: {printable_path(output.name)[:40]!r}... is a name of {length} bytes, "
            f"expected at most {_MAX_NAME_BYTES}"
        )
    return output


def check_free(output: Path, *, is_shared: bool) -> None:
    """Raise an InputError if another job writes an output or waits to, unless all share it."""
    for record in submissions_of(output)[-_MAX_CHECKED_JOBS:]:
        if (record.is_shared and is_shared) or record.is_on_another_host:
            continue
        status = Job(record).status()
        if not status.over:
            raise InputError(
                f"output: {printable_path(output)!r} is what job {record.job} writes, which is "
                f"{status.state}; expected another file, or `hpcq cancel {record.job}` first"
            )


def check_resumable(plan: Plan, output: Path) -> None:
    """Raise an InputError if an output holds anything that the plan's run cannot resume."""
    FileOutput(output).check_kind(kind_of(plan))
    held, wanted = load_fingerprint(output), fingerprint_of(plan)
    held_parts = {name: held[name] for name in wanted if name in held}
    if held_parts and held_parts != wanted:
        held_request = request_summary(load_summary(output))
        check_same_run(held_parts, wanted, "a result", held_request, RequestSummary.of(plan))


def check_local(options: argparse.Namespace) -> None:
    """Raise an InputError for options that ``--local`` cannot honour, but ignore ``--account``."""
    options_given = {
        "array": options.array > 1,
        "until-done": options.until_done,
        "gpus-per-node": options.gpus_per_node is not None,
        "container": options.container is not None,
    }
    for name in (name for name, given in options_given.items() if given):
        raise InputError(f"local: given with --{name}, expected only one of them")


def check_packages(options: argparse.Namespace) -> None:
    """Make sure that the packages of a job's ranks are installed in this environment.

    Where ``--module`` or ``--setup`` change the job's environment, a missing package is only a
    warning; a container has an environment of its own.

    Raises:
        MissingDependencyError: If mpi4py or Aer is missing.
        InputError: If the job is to run on GPUs, and Aer is built without support for them.
    """
    if options.container is not None:
        return
    missing: list[HpcqError] = []
    is_single_rank = options.local and (options.ranks_per_node or 1) == 1
    if not is_single_rank and find_spec("mpi4py") is None:
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
    """Whether the job's ranks run with ``--device gpu``; the script for GPUs passes it."""
    return options.device == "gpu" or bool(options.gpus_per_node and options.device != "cpu")
