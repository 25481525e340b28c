"""What all ranks do together: agree, or refuse with one error."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from hpcq.config import Device
from hpcq.engines.aer import choose_device
from hpcq.errors import HpcqError, InputError, MissingDependencyError
from hpcq.search.order import MARK, take_part

if TYPE_CHECKING:
    from hpcq.farm.serial import Farm

REFUSALS: dict[str, type[HpcqError]] = {
    "input": InputError,
    "dependency": MissingDependencyError,
}
"""The errors that all ranks raise together, by a name for each."""

Made = TypeVar("Made")


def from_rank_0(farm: Farm, make: Callable[[], Made]) -> Made | None:
    """Plan on rank 0, which may share out its search for cuts.

    Where that is refused, every rank raises the same error.
    """
    if farm.rank > 0:
        while (refusal := farm.share(b"")).startswith(MARK):
            take_part(farm, refusal)
        if refusal:
            kind, message = json.loads(refusal)
            raise REFUSALS[kind](message)
        return None
    try:
        made = make()
    except tuple(REFUSALS.values()) as error:
        kind = next(name for name, known in REFUSALS.items() if isinstance(error, known))
        farm.share(json.dumps([kind, str(error)]).encode())
        raise
    farm.share(b"")
    return made


def on_every_rank(farm: Farm, make: Callable[[], Made], refusal: str) -> Made:
    """Make something on every rank; where one rank cannot, all refuse.

    Args:
        farm: The ranks.
        make: Makes it.
        refusal: What ranks that can do say.
    """
    error: HpcqError | None = None
    made: list[Made] = []
    try:
        made.append(make())
    except tuple(REFUSALS.values()) as raised:
        error = raised
    if not farm.smallest(len(made)):
        raise error or InputError(refusal)
    return made[0]


def device_of(farm: Farm, device: str) -> Device:
    """Choose this rank's device; where one rank cannot, all refuse."""
    refusal = f"device: {device!r} is not usable on another rank"
    return on_every_rank(farm, lambda: choose_device(device), refusal)
