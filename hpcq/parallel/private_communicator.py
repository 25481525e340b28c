"""A communicator of hpcq's own beside each of the caller's, made once and freed with it.

MPI has room for some 2000 communicators, so a program that calls hpcq thousands of times must not
get a new one each time. Freeing takes all ranks, and so cannot be left to a run: where one rank
fails, the others would wait. It is left to the caller, who frees the communicator that it has made:
ours hangs on it as an attribute. That of ``MPI.COMM_WORLD`` lasts as long as MPI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

_keyvals: list[int] = []


def private_comm(comm: Comm) -> Comm:
    """Return the duplicate of a communicator that hpcq talks on; all its ranks together.

    Ranks have it or have it not together: it is made where all ranks are, and no rank loses it
    before all free the communicator. Duplicates of the communicator get one of their own.
    """
    if not _keyvals:
        _keyvals.append(type(comm).Create_keyval(delete_fn=_free))
    found = comm.Get_attr(_keyvals[0])
    if found is not None:
        return cast("Comm", found)
    own = comm.Dup()
    comm.Set_attr(_keyvals[0], own)
    return own


def _free(_comm: Comm, _keyval: int, own: Comm) -> None:
    """Free ours with the caller's, unless MPI is ending anyway."""
    from mpi4py import MPI

    if not MPI.Is_finalized():
        own.Free()
