"""Values of a part of a circuit that is not simulated as a statevector."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpcq.core.limits import Limits
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.registry import EngineSpec, open_engine
from hpcq.engines.requests import NO_PARAMETERS, Values


def part_values(tensor: ExactTensor, limits: Limits) -> NDArray[np.float64]:
    """Return values of a tensor's strings and bounds on their errors, shape (2, strings).

    They are those that the planner has computed, if it has; otherwise the engine of the tensor's
    ``simulation`` computes them.
    """
    simulation = tensor.simulation
    assert simulation is not None, "statevectors have engines of their own"
    if simulation.answer is not None:
        return simulation.answer
    engine = open_engine(EngineSpec(simulation.engine), limits, "cpu")
    # max_work limits the planner's probes only: the run does not give up a known answer.
    request = Values(tensor.strings, simulation.cap, simulation.tolerance)
    (answer,) = engine.prepared(tensor).execute(NO_PARAMETERS, request)
    return np.asarray(answer, dtype=float)
