"""What a rank does at its end: it tells the others, which may wait for its next call."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

_process = os.getpid()


def leave() -> None:
    """Tell the other ranks that this process ends, unless it is alone or does not use MPI."""
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
    from hpcq.parallel.calls import leave_early
    from hpcq.parallel.private_communicator import is_used, open_calls

    with suppress(mpi.Exception):
        for calls in open_calls:
            calls.leave()
        if not is_used(world):
            leave_early(world)
