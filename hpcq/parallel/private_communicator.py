"""hpcq's private duplicate of each communicator, made once and freed with the original.

MPI has room for some 2000 communicators, so a program that calls hpcq thousands of times must not
get a new one each time. Freeing is collective and so cannot be left to a run: if one rank failed,
the others would wait. The duplicate therefore is an attribute of the caller's communicator, which
MPI deletes when the caller frees that. The duplicate of ``MPI.COMM_WORLD`` lasts as long as MPI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from hpcq.parallel.calls import Calls, wait_for_all

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

_keyvals: list[int] = []

open_calls: list[Calls] = []
"""The calls of all private communicators that have not been freed."""


def private_calls(comm: Comm) -> Calls:
    """Return the duplicate of a communicator on which hpcq sends its messages; collective.

    With it are the calls that its ranks make together.

    Either all ranks have it already or none: its creation is collective, and no rank loses it
    before all free the communicator. The attribute is not copied by ``Dup``, so that duplicates of
    the communicator get a private communicator each.
    """
    if not _keyvals:
        _keyvals.append(type(comm).Create_keyval(delete_fn=_free))
    calls = comm.Get_attr(_keyvals[0])
    if calls is not None:
        return cast("Calls", calls)
    wait_for_all(comm)
    calls = Calls(comm.Dup())
    comm.Set_attr(_keyvals[0], calls)
    open_calls.append(calls)
    return calls


def is_used(comm: Comm) -> bool:
    """Return whether a communicator has a duplicate already."""
    return bool(_keyvals) and comm.Get_attr(_keyvals[0]) is not None


def _free(_comm: Comm, _keyval: int, calls: Calls) -> None:
    """Free the duplicate with the caller's communicator, unless MPI is ending anyway."""
    from mpi4py import MPI

    open_calls.remove(calls)
    if not MPI.Is_finalized():
        calls.comm.Free()
