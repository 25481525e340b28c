"""The values of a plan's free parameters that a run is for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.assignment import ParameterNames
from hpcq.core.errors import InputError
from hpcq.core.text import some_names
from hpcq.planning.plan import Plan

_NAME = "parameter_values"


def rows_for(plan: Plan, given: Any) -> NDArray[np.float64] | None:
    """Return the rows of values that a run is for; None if the plan has no free parameters.

    Args:
        plan: The plan.
        given: An array of shape (rows, parameters), or a list of mappings from names to values; or
            one row of such an array, or one mapping. None for no values.

    Returns:
        Shape (rows, parameters).

    Raises:
        InputError: If values are missing or wrong, or given for a plan without free parameters.
    """
    if plan.slots is None:
        if given is None:
            return None
        raise InputError(f"{_NAME}: given for a plan without free parameters, expected none")
    if given is None:
        raise InputError(
            f"{_NAME}: not given for the free parameters {some_names(plan.parameters)}, expected "
            "rows of their values"
        )
    parameters = () if plan.parametrised is None else plan.parametrised.circuit.parameters
    return ParameterNames(plan.parameters, _NAME, parameters).table(given)
