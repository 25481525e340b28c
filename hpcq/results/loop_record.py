"""The evaluations of a loop that minimises an expectation value, from which it is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.results import hdf5_codecs as codecs
from hpcq.results.hdf5_fields import Place, stored, stored_class


def _per_evaluation(at: Place) -> tuple[int]:
    return (len(at.starts),)


def _parameters_shape(at: Place) -> tuple[int, int]:
    return len(at.starts), at.initial.shape[1]


def _check_starts(starts: NDArray[np.intp], at: Place) -> str:
    fits = ((starts >= 0) & (starts < len(at.initial))).all()
    return "" if fits else f"{at.group.name} has evaluations of starts that are not there"


_ROWS = codecs.numbers("f", lambda _: (None, None))
_NUMBER_EACH = codecs.numbers("f", _per_evaluation)
_PARAMETERS_EACH = codecs.numbers("f", _parameters_shape)
_STARTS = codecs.numbers("iu", write_as=np.int64, read_as=np.intp)


@stored_class
class LoopRecord:
    """All evaluations of a loop, those of line searches included.

    An optimizer that is given the stored values asks for the stored parameters, and then goes on as
    if it had never been stopped.

    Attributes:
        optimizer: Name of the optimizer.
        options: Its options, as plain JSON values.
        scipy_version: The version of scipy.
        seed: Seed from which all random numbers follow.
        message: Why the optimizer ended at the best start; empty while it has not.
        initial: Starting points, shape (starts, parameters).
        starts: Number of the start of each evaluation; those of a start are in order, and one start
            follows the other.
        parameters: Shape (evaluations, parameters).
        values: Values of the observable, shape (evaluations,).
        standard_errors: Their standard errors, shape (evaluations,); 0 where exact.
        gradients: Derivatives, shape (evaluations, parameters); None if the optimizer needs none.
    """

    optimizer: str = stored("@optimizer", codecs.TEXT)
    options: Mapping[str, Any] = stored("@options", codecs.JSON_OBJECT)
    scipy_version: str = stored("@scipy_version", codecs.TEXT)
    seed: int = stored("@seed", codecs.INTEGER)
    message: str = stored("@message", codecs.TEXT)
    initial: NDArray[np.float64] = stored("initial", _ROWS)
    starts: NDArray[np.intp] = stored("evaluations/starts", _STARTS, check=_check_starts)
    parameters: NDArray[np.float64] = stored("evaluations/parameters", _PARAMETERS_EACH)
    values: NDArray[np.float64] = stored("evaluations/values", _NUMBER_EACH)
    standard_errors: NDArray[np.float64] = stored("evaluations/standard_errors", _NUMBER_EACH)
    gradients: NDArray[np.float64] | None = stored(
        "evaluations/gradients", _PARAMETERS_EACH, default=None
    )
