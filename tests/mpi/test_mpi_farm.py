"""Run by ``mpirun -n N python -m mpi4py -m pytest --with-mpi tests/mpi``; see tests/test_mpi.py."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.mpi(min_size=2)


def work(task: int) -> np.ndarray:
    return np.full((2, task + 1), task * 1j)


@pytest.mark.parametrize("tasks", [0, 1, 2, 57])
def test_every_task_comes_back_in_its_place(tasks: int) -> None:
    from mpi4py import MPI

    from hpcq.farm.mpi import MpiFarm

    farm = MpiFarm(MPI.COMM_WORLD)
    seen: list[int] = []
    results = farm.run(
        [0.001 * task for task in range(tasks)],
        complex,
        work,
        lambda done, _: seen.append(done),
    )
    if farm.rank:
        assert results == []
    else:
        assert seen == list(range(1, tasks + 1))
        assert len(results) == tasks
        for task, result in enumerate(results):
            np.testing.assert_array_equal(result, work(task).reshape(-1))


def test_bytes_and_the_smallest_number_reach_every_rank() -> None:
    from mpi4py import MPI

    from hpcq.farm.mpi import MpiFarm

    farm = MpiFarm(MPI.COMM_WORLD)
    assert farm.share(b"plan" if farm.rank == 0 else b"") == b"plan"
    assert farm.share(b"") == b""
    assert farm.smallest(10 + farm.rank) == 10
    names = farm.names(f"rank {farm.rank}")
    assert names == ([f"rank {r}" for r in range(farm.size)] if farm.rank == 0 else [])
    cores, memory = farm.local_share()
    assert cores >= 1
    assert memory > 1 << 20


def test_the_answer_is_the_same_bit_for_bit_as_alone() -> None:
    from mpi4py import MPI
    from qiskit import QuantumCircuit

    import hpcq
    from hpcq.farm.serial import SerialFarm
    from hpcq.options import RunOptions
    from hpcq.running import run_on_farm

    rng = np.random.default_rng(5)
    circuit = QuantumCircuit(9)
    for _ in range(3):
        for qubit in range(9):
            circuit.u(*rng.uniform(0, 6, 3), qubit)
        for qubit in range(8):
            circuit.cz(qubit, qubit + 1)
    plan = hpcq.plan(circuit, ["Z0 Z8", "X4 + 0.5 Y1 Y7"], partition="AAABBBCCC", threads=1)
    together = hpcq.run(plan if MPI.COMM_WORLD.rank == 0 else None, MPI.COMM_WORLD, device="cpu")
    alone = run_on_farm(plan, SerialFarm(), RunOptions("cpu"))
    np.testing.assert_array_equal(together.expectation_values, alone.expectation_values)
    assert (together.details is None) == (MPI.COMM_WORLD.rank > 0)


def test_a_plan_refused_on_rank_0_is_refused_everywhere() -> None:
    from mpi4py import MPI

    from hpcq.errors import InputError
    from hpcq.farm.mpi import MpiFarm
    from hpcq.together import from_rank_0

    def make() -> None:
        raise InputError("partition: wrong")

    with pytest.raises(InputError, match="partition: wrong"):
        from_rank_0(MpiFarm(MPI.COMM_WORLD), make)  # type: ignore[arg-type]
