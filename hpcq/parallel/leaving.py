"""Telling the other ranks that this one ends, because they may wait for its next call."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

_process = os.getpid()


def leave() -> None:
    """Tell the other ranks that this process ends, unless it is alone or does not use MPI.

    Wait until all do, as MPI would, but without occupying a core.
    """
    mpi = sys.modules.get("mpi4py.MPI")
    is_forked = os.getpid() != _process
    if is_forked or mpi is None or not mpi.Is_initialized() or mpi.Is_finalized():
        return
    world = mpi.COMM_WORLD
    if world.Get_size() == 1:
        return
    for stream in (sys.stdout, sys.stderr):  # first, as the others may end the job
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    from hpcq.parallel.calls import Calls
    from hpcq.parallel.private_communicator import is_used, open_calls

    early = [] if is_used(world) else [Calls(world, is_private=False)]
    with suppress(mpi.Exception):  # of a rank that is lost
        for calls in (*open_calls, *early):
            calls.leave()
        for calls in (*open_calls, *early):
            calls.wait_for_others()
