"""Calls that all ranks make together: each is compared before it begins.

A script that runs on every rank may go wrong on one of them: it calls hpcq with other arguments, or
ends without the call that the others make. Rank 0 therefore receives a description of each call
from every rank, and a note from each rank that ends, and answers when it has heard from all.
Otherwise, a rank would get the result of another circuit, or the job would hang until its time
limit.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpcq.core.errors import InputError
from hpcq.core.system import write_stderr
from hpcq.core.text import number_ranges
from hpcq.parallel.backoff import Backoff

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

Arguments = Mapping[str, "Mapping[str, str] | None"]
"""Groups of arguments, each with digests by name; None if the rank leaves them to rank 0."""

_CALL, _ANSWER, _LEFT = range(11, 14)
"""Tags of messages on a private communicator, other than those of ``parallel/mpi.py``."""

_LEFT_EARLY = 31999
"""Tag of the note on ``MPI.COMM_WORLD`` of a rank that ends before its first call; high, so that
scripts are unlikely to use it, and below the 32767 that every MPI allows."""


class Calls:
    """The calls that the ranks of a communicator make together.

    Args:
        comm: A private communicator; or another, on which ranks only leave.
        is_private: Whether it is a private one.

    Attributes:
        comm: The communicator.
    """

    def __init__(self, comm: Comm, *, is_private: bool = True) -> None:
        self.comm = comm
        self._left_tag = _LEFT if is_private else _LEFT_EARLY
        self._other_tags = (_CALL, _ANSWER) if is_private else ()
        self._left: dict[int, str] = {}
        self._outbox: list[tuple[Any, Any]] = []

    def agree(self, name: str, arguments: Arguments) -> None:
        """Make sure that all ranks make the same call; collective.

        Args:
            name: The call, such as ``hpcq.run``.
            arguments: Its arguments on this rank.

        Raises:
            InputError: On all ranks that make a call, if one makes another or none.
        """
        if self.comm.Get_rank() == 0:
            refusal = self._compare(name, arguments)
        else:
            self._send(0, _CALL, json.dumps([name, arguments]))
            refusal = self._answer(name)
        self._outbox = [(request, text) for request, text in self._outbox if not request.Test()]
        if refusal:
            raise InputError(refusal)

    def leave(self) -> None:
        """Tell the others that this rank makes no more calls."""
        for rank in self._partners:
            self._send(rank, self._left_tag, socket.gethostname())

    def wait_for_others(self) -> None:
        """Wait until all ranks have left, so that no message is on its way when MPI ends."""
        backoff = Backoff()
        while not self._left.keys() >= set(self._partners):
            left = self._receive(self._left_tag)
            if left is not None:
                self._left[left[0]] = left[2]
            elif not any(self._receive(tag) for tag in self._other_tags):
                backoff()

    @property
    def _partners(self) -> Sequence[int]:
        """The ranks that this one exchanges messages with."""
        return range(1, self.comm.Get_size()) if self.comm.Get_rank() == 0 else (0,)

    def _compare(self, name: str, arguments: Arguments) -> str:
        """Return how the calls of the ranks differ, which rank 0 tells those that make one."""
        calls: dict[int, tuple[str, Arguments]] = {}
        backoff = Backoff()
        while len(calls) + len(self._left) < self.comm.Get_size() - 1:
            received = self._receive(_CALL) or self._receive(_LEFT)
            if received is None:
                backoff()
                continue
            backoff.reset()
            rank, tag, text = received
            if tag == _LEFT:
                self._left[rank] = text
            else:
                calls[rank] = json.loads(text)
        refusal = self._missing(name) if self._left else _difference(name, arguments, calls)
        for rank in calls:
            self._send(rank, _ANSWER, refusal)
        return refusal

    def _missing(self, name: str) -> str:
        ranks = number_ranges(sorted(self._left))
        hosts = ", ".join(dict.fromkeys(self._left.values()))
        plural = "s" * (len(self._left) > 1)
        return (
            f"ranks: rank{plural} {ranks} on {hosts} ended without the {name} that the others "
            "call, expected the same calls on all ranks"
        )

    def _answer(self, name: str) -> str:
        """Return the answer of rank 0; if that has ended, that it has."""
        backoff = Backoff()
        while True:
            left = self._receive(_LEFT)
            if left is not None:
                self._left[left[0]] = left[2]
            answer = self._receive(_ANSWER)  # second, as rank 0 may answer and then end
            if answer is not None:
                return answer[2]
            if self._left:
                return self._missing(name)
            backoff()

    def _send(self, rank: int, tag: int, text: str) -> None:
        """Begin to send a text, which is kept until MPI has sent it."""
        message = text.encode()
        self._outbox.append((self.comm.Isend(message, dest=rank, tag=tag), message))

    def _receive(self, tag: int) -> tuple[int, int, str] | None:
        """Return source, tag and text of the next message with a tag; None if there is none."""
        from mpi4py import MPI

        status = MPI.Status()
        if not self.comm.Iprobe(MPI.ANY_SOURCE, tag, status):
            return None
        message = bytearray(status.Get_count(MPI.BYTE))
        self.comm.Recv(message, source=status.Get_source(), tag=tag)
        return status.Get_source(), tag, message.decode()


def _difference(name: str, arguments: Arguments, calls: Mapping[int, tuple[str, Arguments]]) -> str:
    """Return how the calls of other ranks differ from that of rank 0; "" if they do not."""
    ranks_by_reason: dict[str, list[int]] = {}
    for rank, (their_name, theirs) in sorted(calls.items()):
        if their_name != name:
            reason = f"{their_name}, and rank 0 {name}"
        else:
            names = [
                key
                for group, mine in arguments.items()
                if mine is not None and (their_group := theirs.get(group)) is not None
                for key in {**mine, **their_group}
                if mine.get(key) != their_group.get(key)
            ]
            reason = f"{name} with other {' and '.join(names)} than rank 0" if names else ""
        if reason:
            ranks_by_reason.setdefault(reason, []).append(rank)
    if not ranks_by_reason:
        return ""
    told = "; ".join(
        f"rank{'s' * (len(ranks) > 1)} {number_ranges(ranks)} call{'s' * (len(ranks) == 1)} {what}"
        for what, ranks in ranks_by_reason.items()
    )
    return (
        f"ranks: {told}, expected the same on all ranks; is it random, without a seed? (None on "
        "other ranks stands for what rank 0 gives)"
    )


def wait_for_all(comm: Comm) -> None:
    """Wait until all ranks make their first call, or end the job if one has left before it."""
    from mpi4py import MPI

    status, backoff = MPI.Status(), Backoff()
    arrived = comm.Ibarrier()
    while not arrived.Test():
        if MPI.COMM_WORLD.Iprobe(MPI.ANY_SOURCE, _LEFT_EARLY, status):
            write_stderr(
                f"hpcq: error: ranks: rank {status.Get_source()} ended without the call of hpcq "
                "that others make, expected the same calls on all ranks"
            )
            MPI.COMM_WORLD.Abort(1)
        backoff()
