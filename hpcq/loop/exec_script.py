"""Run a script on rank 0 of a job, while the other ranks serve it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from hpcq.core.system import slurm_seconds_left
from hpcq.loop.script import Script
from hpcq.parallel.mpi import MpiFarm
from hpcq.parallel.serial import Farm
from hpcq.parallel.world import abort_on_error
from hpcq.runs.collective import from_rank_0
from hpcq.runs.session import Session
from hpcq.runs.stop_signals import stopping_script

_IGNORED_ON_RANK_0 = (signal.SIGUSR1, signal.SIGTERM)
"""Signals that rank 0 ignores after the script, so that the job gets the script's exit code."""

_IGNORED_ELSEWHERE = (*_IGNORED_ON_RANK_0, signal.SIGINT, signal.SIGHUP)
"""Signals that only rank 0 acts on, although launchers send them to all ranks."""


def exec_script(name: str, arguments: Sequence[str] = (), copy: str | None = None) -> int:
    """Run a script on rank 0 while the other ranks serve it; all ranks call this together.

    Args:
        name: Path of the script.
        arguments: Its arguments.
        copy: Path of a copy, whose text is run in place of the script; None for the script itself.

    Returns:
        The exit code of the script, on all ranks, because launchers may report that of any rank.

    Raises:
        InputError: On all ranks, if there is no such script.
    """
    session = Session()
    farm = session.farm
    if farm.size > 1:
        for number in _IGNORED_ELSEWHERE if farm.rank > 0 else _IGNORED_ON_RANK_0:
            signal.signal(number, signal.SIG_IGN)
    script = from_rank_0(farm, lambda: Script.read(name, arguments, copy))
    code = 1
    with abort_on_error(farm):  # such as Ctrl-C at the end of the script
        with session:
            if script is not None:
                with stopping_script(slurm_seconds_left()), _ending_with_all_ranks(farm):
                    code = script.run()
                if farm.size > 1:  # a second Ctrl-C would end this rank by a crash within MPI
                    signal.signal(signal.SIGINT, signal.SIG_IGN)
        return code if farm.has_lost_ranks else int(farm.broadcast(str(code).encode()))


@contextmanager
def _ending_with_all_ranks(farm: Farm) -> Iterator[None]:
    """Within the context, have ``os._exit`` end all ranks, and ``MPI.Finalize`` do nothing.

    Under srun, the other ranks would wait forever for a process that calls ``os._exit(0)``, and
    ``MPI.Finalize`` would wait for them. MPI is finalized after the script.
    """
    if not isinstance(farm, MpiFarm):
        yield
        return
    from mpi4py import MPI

    finalize: Callable[[], None] = MPI.Finalize
    exit_process, process = os._exit, os.getpid()

    def exit_job(status: int) -> NoReturn:
        if os.getpid() == process:  # and not one that the script has forked
            farm.abort(status)
        exit_process(status)

    os._exit = exit_job
    MPI.Finalize = lambda: None
    try:
        yield
    finally:
        os._exit = exit_process
        MPI.Finalize = finalize
