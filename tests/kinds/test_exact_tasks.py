from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qiskit import QuantumCircuit

from hpcq.core.limits import Limits
from hpcq.cutting.cut_circuit import cut_circuit
from hpcq.cutting.cuts import Cuts, GateCut
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.aer_engine import AerEngine
from hpcq.engines.requests import NO_PARAMETERS, Tensors
from hpcq.kinds.exact.tasks import ExactTasks
from hpcq.planning.machine_speeds import Speeds

LIMITS = Limits(1 << 30)


def tensors() -> list[ExactTensor]:
    """Both halves of a cut circuit, sliced and not."""
    rng = np.random.default_rng(0)
    circuit = QuantumCircuit(4)
    for qubit in range(4):
        circuit.u(*rng.uniform(0, 6, 3), qubit)
    for a, b in ((0, 1), (1, 2), (2, 3), (0, 3)):
        circuit.rxx(rng.uniform(0, 6), a, b)
        circuit.u(*rng.uniform(0, 6, 3), a)
    cut = cut_circuit(circuit, Cuts((GateCut(1, (1, 2)), GateCut(3, (0, 3))), ()))
    sliced = [ExactTensor(half, ((), ((0, "Z"),)), (0, 1)) for half in cut.subcircuits]
    assert [tensor.num_tasks for tensor in sliced] == [10, 10]
    return [*sliced, *(replace(tensor, sliced=()) for tensor in sliced)]


@pytest.mark.parametrize("seed", range(3))
def test_blocks_are_the_same_in_any_order(seed: int) -> None:
    """What one task leaves for the next is never another subcircuit's or branch's."""
    all_tensors = tensors()
    tasks = ExactTasks(tuple(all_tensors), LIMITS, Speeds(), tuple(range(4)))
    engine = AerEngine(LIMITS)
    compute = tasks.task_function(lambda: engine)
    for task in np.random.default_rng(seed).permutation(22).tolist():
        number, block = tasks.decode(task)
        tensor = all_tensors[number]
        fresh = AerEngine(LIMITS).prepare(tensor)
        (expected,) = fresh.execute(NO_PARAMETERS, Tensors(tensor.strings, block))
        np.testing.assert_array_equal(compute(task, b""), expected)


def test_slices_assemble_to_the_whole() -> None:
    all_tensors = tensors()
    tasks = ExactTasks(tuple(all_tensors), LIMITS, Speeds(), tuple(range(4)))
    compute = tasks.task_function(lambda: AerEngine(LIMITS))
    wholes = [
        tensor.assemble([compute(task, b"") for task in tasks.tasks_of(number)])
        for number, tensor in enumerate(all_tensors)
    ]
    for sliced, whole in zip(wholes[:2], wholes[2:], strict=True):
        np.testing.assert_allclose(sliced, whole, atol=1e-12)
