"""Calls that all ranks make together: all continue, or all raise the same error."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from typing import TypeVar

from hpcq.core import errors
from hpcq.core.errors import HpcqError
from hpcq.core.text import number_ranges
from hpcq.parallel.serial import Farm
from hpcq.planning.search.search_tasks import SEARCH_COMMAND, join_search
from hpcq.results.result import Result

_ERROR_CLASSES: dict[str, type[HpcqError]] = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, HpcqError)
}
"""Errors that one rank can send to another, by class name."""

T = TypeVar("T")


def from_rank_0(farm: Farm, make: Callable[[], T]) -> T | None:
    """Return what a function returns on rank 0, and None on the other ranks; collective.

    The other ranks take part in a search for cuts if the function starts one. If it raises an
    HpcqError, every rank raises the same error.
    """
    if farm.rank > 0:
        while (refusal := farm.broadcast(b"")).startswith(SEARCH_COMMAND):
            join_search(farm)
        if refusal:
            raise decode_error(json.loads(refusal))
        return None
    try:
        value = make()
    except HpcqError as error:
        error.on_all_ranks = True
        farm.broadcast(json.dumps([_class_name(error), str(error)]).encode())
        raise
    farm.broadcast(b"")
    return value


def all_ranks_or_none(farm: Farm, make: Callable[[], T]) -> T:
    """Call a function on every rank and return its value there; collective.

    If it raises an HpcqError on any rank, every rank raises one error with all ranks' reasons.
    """
    error: HpcqError | None = None
    values: list[T] = []
    try:
        values.append(make())
    except HpcqError as raised:
        error = raised
    if farm.allreduce_min(len(values)):
        return values[0]
    if error is not None and farm.size == 1:
        raise error
    name = "" if error is None else _class_name(error)
    reports = farm.gather(json.dumps([name, socket.gethostname(), str(error or "")]))
    joined = json.dumps(_join_errors(reports)).encode()
    raise decode_error(json.loads(farm.broadcast(joined))) from error


def _join_errors(reports: Sequence[str]) -> tuple[str, str]:
    """Return the class name and the message of one error that stands for those of all ranks.

    A rank reports a JSON list of class name (empty without an error), host and message. Ranks with
    the same message are named together.
    """
    names: list[str] = []
    ranks: dict[str, list[int]] = {}
    hosts: dict[str, dict[str, None]] = {}
    for rank, (name, host, reason) in enumerate(map(json.loads, reports)):
        if name:
            names.append(name)
            ranks.setdefault(reason, []).append(rank)
            hosts.setdefault(reason, {})[host] = None
    if not names:
        return HpcqError.__name__, ""
    if len(ranks) == 1 and len(names) == len(reports):
        return names[0], f"{next(iter(ranks))} (all {len(reports)} ranks)"
    text = "; ".join(
        f"rank{'s' * (len(failed) > 1)} {number_ranges(failed)} on {', '.join(hosts[reason])}: "
        f"{reason}"
        for reason, failed in ranks.items()
    )
    return names[0], text


def _class_name(error: HpcqError) -> str:
    """Return the name of the error's class, or of its nearest base class that can be sent."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _ERROR_CLASSES)


def decode_error(message: Sequence[str]) -> HpcqError:
    """Return the error that another rank sent as its class name and its message."""
    name, text = message
    error = _ERROR_CLASSES[name](text)
    error.on_all_ranks = True
    return error


def encode_error(error: HpcqError) -> bytes:
    """Return the closing message with which rank 0 ends all ranks with an error."""
    return json.dumps([_class_name(error), str(error)]).encode()


def decode_result(closing: bytes) -> Result:
    """Return the result in rank 0's closing message, or raise the error in it.

    Raises:
        HpcqError: If rank 0 ended with one.
    """
    if closing.startswith(b"["):
        raise decode_error(json.loads(closing))
    return Result.from_json(closing)
