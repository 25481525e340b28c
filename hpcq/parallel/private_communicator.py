"""hpcq's private duplicate of each communicator, made once and freed with the original.

MPI has room for some 2000 communicators, so a program that calls hpcq thousands of times must not
get a new one each time. Freeing is collective and so cannot be left to a run: if one rank failed,
the others would wait. The duplicate therefore is an attribute of the caller's communicator, which
MPI deletes when the caller frees that. The duplicate of ``MPI.COMM_WORLD`` lasts as long as MPI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

_keyvals: list[int] = []


def private_comm(comm: Comm) -> Comm:
    """Return the duplicate of a communicator on which hpcq sends its messages; collective.

    Either all ranks have it already or none: its creation is collective, and no rank loses it
    before all free the communicator. The attribute is not copied by ``Dup``, so that duplicates of
    the communicator get a private communicator each.
    """
    if not _keyvals:
        _keyvals.append(type(comm).Create_keyval(delete_fn=_free))
    duplicate = comm.Get_attr(_keyvals[0])
    if duplicate is not None:
        return cast("Comm", duplicate)
    duplicate = comm.Dup()
    comm.Set_attr(_keyvals[0], duplicate)
    return duplicate


def _free(_comm: Comm, _keyval: int, duplicate: Comm) -> None:
    """Free the duplicate with the caller's communicator, unless MPI is ending anyway."""
    from mpi4py import MPI

    if not MPI.Is_finalized():
        duplicate.Free()
