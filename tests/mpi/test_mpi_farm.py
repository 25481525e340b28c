"""Run by ``mpirun -n N python -m mpi4py -m pytest --with-mpi``; see test_launched_runs.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcq.parallel.task_source import AllTasks
from hpcq.parallel.tasks import Outcome, Tasks
from tests.parallel.task_functions import by_name, plain

pytestmark = pytest.mark.mpi(min_size=2)


def run(kind: str, tasks: int, *, in_subprocess: bool) -> Outcome | bytes:
    """Run tasks on all ranks; return the outcome on rank 0, its closing message elsewhere."""
    from mpi4py import MPI

    from hpcq.parallel.mpi import MpiFarm

    farm = MpiFarm(MPI.COMM_WORLD)
    farm.gather_names(f"host{farm.rank} test")
    if farm.rank:
        return farm.run_worker(by_name)
    with farm.coordinator(by_name) as coordinator:
        coordinator.prepare(kind.encode(), in_subprocess=in_subprocess)
        coordinator.run(AllTasks(Tasks(np.ones(tasks), float)))
        coordinator.prepare(kind.encode(), in_subprocess=in_subprocess)
        outcome = coordinator.run(AllTasks(Tasks(np.linspace(0, 1, tasks), float)))
        coordinator.closing_message = b"done"
    return outcome


@pytest.mark.parametrize("in_subprocess", [False, True])
@pytest.mark.parametrize("tasks", [0, 1, 2, 57])
def test_results_are_ordered_by_task(tasks: int, in_subprocess: bool) -> None:
    outcome = run("plain", tasks, in_subprocess=in_subprocess)
    if isinstance(outcome, bytes):
        assert outcome == b"done"
        return
    assert outcome.complete
    for task, numbers in enumerate(outcome.finished):
        np.testing.assert_array_equal(numbers, plain(task, b""))


@pytest.mark.parametrize("kind", ["failing", "dying"])
def test_a_task_that_fails_on_two_ranks_is_given_up(kind: str) -> None:
    outcome = run(kind, 40, in_subprocess=True)
    if isinstance(outcome, bytes):
        return
    assert outcome.finished.done.tolist() == [task != 3 for task in range(40)]
    (failure,) = outcome.failures
    origins = {reason.split(":")[0] for reason in failure.reasons}
    assert len(origins) == 2, "on two ranks, each named with its host"
    assert all(origin.split()[3].startswith("host") for origin in origins)


def test_large_results_arrive_completely() -> None:
    outcome = run("large", 3, in_subprocess=False)
    if not isinstance(outcome, bytes):
        assert [len(numbers) for numbers in outcome.finished] == [3_000_000] * 3
        assert [numbers[-1] for numbers in outcome.finished] == [0.0, 1.0, 2.0]


def test_each_rank_of_a_node_picks_a_gpu() -> None:
    from mpi4py import MPI

    from hpcq.engines.gpu import pick_gpu
    from hpcq.parallel.mpi import MpiFarm

    comm = MPI.COMM_WORLD
    index, ranks = MpiFarm(comm).local_rank_and_size()
    assert comm.allgather(index) == list(range(comm.size))
    assert ranks == comm.size
    gpus = comm.allgather(pick_gpu(index, ("4", "7")))
    assert gpus == (["4", "7"] * comm.size)[: comm.size]


def test_collectives_reach_every_rank() -> None:
    from mpi4py import MPI

    from hpcq.parallel.mpi import MpiFarm

    farm = MpiFarm(MPI.COMM_WORLD)
    assert farm.broadcast(b"plan" if farm.rank == 0 else b"") == b"plan"
    assert farm.broadcast(b"") == b""
    assert farm.allreduce_min(10 + farm.rank) == 10
    names = farm.gather_names(f"rank {farm.rank}")
    assert names == ([f"rank {r}" for r in range(farm.size)] if farm.rank == 0 else [])
    cores, memory = farm.local_resources()
    assert cores >= 1
    assert memory > 1 << 20


def test_values_are_bit_for_bit_those_of_one_process() -> None:
    from mpi4py import MPI
    from qiskit import QuantumCircuit

    import hpcq
    from hpcq.parallel.serial import SerialFarm
    from hpcq.runs.arguments import RunArguments
    from hpcq.runs.options import RunOptions
    from hpcq.runs.run import run_on_farm

    rng = np.random.default_rng(5)
    circuit = QuantumCircuit(9)
    for _ in range(3):
        for qubit in range(9):
            circuit.u(*rng.uniform(0, 6, 3), qubit)
        for qubit in range(8):
            circuit.cz(qubit, qubit + 1)
    plan = hpcq.plan(circuit, ["Z0 Z8", "X4 + 0.5 Y1 Y7"], cut_labels="AAABBBCCC", threads=1)
    together = hpcq.run(plan if MPI.COMM_WORLD.rank == 0 else None, MPI.COMM_WORLD, device="cpu")
    alone = run_on_farm(plan, SerialFarm(), RunOptions(RunArguments("cpu")))
    np.testing.assert_array_equal(together.expectation_values, alone.expectation_values)
    assert (together.details is None) == (MPI.COMM_WORLD.rank > 0)


def test_an_engine_of_another_package_computes_on_all_ranks_or_refuses_on_all() -> None:
    from mpi4py import MPI

    import hpcq
    from hpcq.core.errors import InputError
    from hpcq.parallel.mpi import MpiFarm
    from hpcq.runs.arguments import RunArguments
    from hpcq.runs.options import RunOptions
    from hpcq.runs.run import run_on_farm
    from tests.engines.test_registry import circuit_of_six, ladder

    farm, options = MpiFarm(MPI.COMM_WORLD), RunOptions(RunArguments("cpu", engine="toy"))
    how = {"threads": 1, "memory": 1 << 30}
    plan = hpcq.plan(circuit_of_six(), ["Z0 Z5"], cut_labels="AABBCC", **how)
    values = [run_on_farm(plan, farm, chosen).expectation_values for chosen in (options, None)]
    np.testing.assert_allclose(*values, atol=1e-10)
    with pytest.raises(InputError, match=r"engine: toy refuses subcircuit 0: .* at most 6"):
        run_on_farm(hpcq.plan(ladder(8), ["Z0 Z7"], **how), farm, options)


def test_a_plan_refused_on_rank_0_is_refused_everywhere() -> None:
    from mpi4py import MPI

    from hpcq.core.errors import InputError
    from hpcq.parallel.mpi import MpiFarm
    from hpcq.runs.collective import from_rank_0

    def make() -> None:
        raise InputError("partition: wrong")

    with pytest.raises(InputError, match="partition: wrong"):
        from_rank_0(MpiFarm(MPI.COMM_WORLD), make)  # type: ignore[arg-type]


def test_communicators_are_freed_with_their_callers() -> None:
    """MPICH has room for 2048 communicators: all but some 60 are taken, then 100 are made."""
    from mpi4py import MPI

    from hpcq.parallel.mpi import MpiFarm
    from hpcq.parallel.private_communicator import private_calls

    comm = MPI.COMM_WORLD
    taken = [MPI.COMM_SELF.Dup() for _ in range(1980)]
    for _ in range(100):
        assert MpiFarm(comm).size == comm.size
    for _ in range(100):
        part = comm.Split(0, comm.rank)
        assert MpiFarm(part).allreduce_min(part.rank) == 0
        part.Free()
    copy = comm.Dup()
    assert private_calls(copy) is not private_calls(comm), (
        "a duplicate has a private communicator too"
    )
    assert private_calls(copy) is private_calls(copy)
    copy.Free()
    assert MpiFarm(comm).broadcast(b"still there" if comm.rank == 0 else b"") == b"still there"
    for each in taken:
        each.Free()


def test_nested_communicators_and_refused_runs_leave_room_for_the_next() -> None:
    from mpi4py import MPI
    from qiskit import QuantumCircuit

    import hpcq
    from hpcq.core.errors import InputError

    comm = MPI.COMM_WORLD
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    plan = hpcq.plan(circuit, ["Z0 Z1", "X0 X1"], cut_labels="AB", threads=1, memory=1 << 30)
    alone = comm.Split(comm.rank, 0)
    pair = comm.Split(int(comm.rank > 1), comm.rank)
    last = comm.size - 1
    for _ in range(3):
        for part in (comm, pair, alone):
            root_plan = plan if part.rank == 0 else None
            values = hpcq.run(root_plan, part, device="cpu").expectation_values
            np.testing.assert_allclose(values, 1.0, atol=1e-10)
        with pytest.raises(InputError, match=rf"rank {last} on .*: stop_signal: 'DOG'"):
            hpcq.run(plan, comm, stop_signal="DOG" if comm.rank == last else "USR1")
        with pytest.raises(InputError, match="plan: None on rank 0"):
            hpcq.run(None if comm.rank == 0 else plan, comm)
    alone.Free()
    pair.Free()


def test_errors_name_the_ranks_that_raised_them() -> None:
    from mpi4py import MPI

    from hpcq.core.errors import HpcqError, InputError, MissingDependencyError
    from hpcq.parallel.mpi import MpiFarm
    from hpcq.runs.collective import all_ranks_or_none

    farm = MpiFarm(MPI.COMM_WORLD)
    assert all_ranks_or_none(farm, lambda: farm.rank) == farm.rank

    def refuse(error: HpcqError, ranks: set[int]) -> None:
        if farm.rank in ranks:
            raise error

    all_ranks = set(range(farm.size))
    with pytest.raises(MissingDependencyError, match=rf"^no Aer \(all {farm.size} ranks\)$"):
        all_ranks_or_none(farm, lambda: refuse(MissingDependencyError("no Aer"), all_ranks))
    with pytest.raises(InputError, match=r"^rank 1 on [^ ]+: no GPU$"):
        all_ranks_or_none(farm, lambda: refuse(InputError("no GPU"), {1}))
    with pytest.raises(InputError) as caught:
        all_ranks_or_none(farm, lambda: refuse(InputError(f"reason {farm.rank}"), all_ranks))
    assert all(f"rank {rank} on " in str(caught.value) for rank in all_ranks)
    assert all(f": reason {rank}" in str(caught.value) for rank in all_ranks)


def _pair_plan() -> Any:
    from qiskit import QuantumCircuit

    import hpcq

    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    return hpcq.plan(circuit, ["Z0 Z1"], cut_labels="AB", threads=1, memory=1 << 30)


def _errors(run: Callable[[], object]) -> list[tuple[str, str]]:
    """Run something that fails on every rank; return the errors' classes and messages by rank."""
    from mpi4py import MPI

    from hpcq.core.errors import HpcqError

    with pytest.raises(HpcqError) as caught:
        run()
    return MPI.COMM_WORLD.allgather((type(caught.value).__name__, str(caught.value)))


@pytest.mark.parametrize(
    ("has_output", "failing", "kind", "message"),
    [
        (False, "", "HpcqError", "stopped, because the time limit of 1e-09 s is near"),
        (True, "", "StoppedError", "stopped, because the time limit of 1e-09 s is near"),
        (True, "full", "NotWrittenError", "no room"),
        (False, "task", "TasksFailedError", "the dog ate it"),
    ],
)
def test_every_rank_raises_the_same_error(
    has_output: bool,
    failing: str,
    kind: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mpi4py import MPI

    import hpcq
    from hpcq.core.errors import NotWrittenError, TasksFailedError
    from hpcq.kinds.exact.run import ExactRun
    from hpcq.runs.file_output import FileOutput

    def full(*_: object) -> None:
        raise NotWrittenError("no room")

    def failed(*_: object) -> None:
        raise TasksFailedError("the dog ate it")

    if failing == "full":
        monkeypatch.setattr(FileOutput, "_write", full)
    elif failing == "task":
        monkeypatch.setattr(ExactRun, "compute", failed)
    comm = MPI.COMM_WORLD
    output = comm.bcast(str(tmp_path / "out.h5")) if has_output else None
    limit = None if failing else 1e-9
    plan = _pair_plan()
    errors_by_rank = _errors(
        lambda: hpcq.run(plan, comm, output=output, time_limit=limit, device="cpu")
    )
    assert {name for name, _ in errors_by_rank} == {kind}
    assert len(set(errors_by_rank)) == 1, "and the same message"
    assert message in errors_by_rank[0][1]
    values = hpcq.run(plan, comm, device="cpu").expectation_values if failing != "task" else [1.0]
    np.testing.assert_allclose(values, 1.0, atol=1e-10)


@pytest.mark.parametrize("collective_name", ["from_rank_0", "all_ranks_or_none"])
@pytest.mark.parametrize("kind", ["HpcqError", "NotWrittenError", "MemoryLimitError"])
def test_every_rank_raises_the_same_class(collective_name: str, kind: str) -> None:
    from mpi4py import MPI

    from hpcq.core import errors
    from hpcq.parallel.mpi import MpiFarm
    from hpcq.parallel.world import abort_on_error
    from hpcq.runs import collective

    farm = MpiFarm(MPI.COMM_WORLD)

    def make() -> None:
        if farm.rank == (0 if collective_name == "from_rank_0" else farm.size - 1):
            raise getattr(errors, kind)("memory: not enough")

    def ask() -> None:
        with abort_on_error(farm):
            getattr(collective, collective_name)(farm, make)

    errors_by_rank = _errors(ask)
    assert {name for name, _ in errors_by_rank} == {kind}
    assert len(set(errors_by_rank)) == 1


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ({"checkpoint_seconds": -5}, "checkpoint_seconds: '-5', expected a number of seconds"),
        ({"claim_seconds": "60"}, "claim_seconds: '60', expected a number of seconds above 0"),
        ({"backend": object()}, "backend: object, expected a BackendV2 or a SamplerV2"),
        ({"backend": "fake_x"}, "backend: 'fake_x', and rank 0 has none; expected the same"),
        ({"noise": "bogus"}, "noise: 'bogus', and rank 0 has fake_brisbane; expected the same"),
        ({"noise": 7}, "noise: int, expected a NoiseModel"),
    ],
)
def test_a_wrong_argument_on_one_rank_is_refused_by_all(last: dict[str, Any], message: str) -> None:
    from mpi4py import MPI

    import hpcq

    comm = MPI.COMM_WORLD
    plan = _pair_plan()
    options = {"noise": "fake_brisbane"} if comm.rank == 0 and "noise" in last else {}
    if comm.rank == comm.size - 1:
        options = last
    errors_by_rank = _errors(lambda: hpcq.run(plan, comm, **options))
    assert len(set(errors_by_rank)) == 1
    assert errors_by_rank[0][0] == "InputError"
    assert errors_by_rank[0][1].startswith(f"rank {comm.size - 1} on ")
    assert message in errors_by_rank[0][1]


@pytest.mark.parametrize("is_subprocess", [False, True])
def test_a_session_serves_run_after_run(
    is_subprocess: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mpi4py import MPI
    from qiskit import QuantumCircuit

    import hpcq
    from hpcq.core.errors import InputError

    monkeypatch.setenv("HPCQ_WORKERS", "process" if is_subprocess else "thread")
    circuit = QuantumCircuit(4)
    for qubit in range(4):
        circuit.ry(0.3 + qubit, qubit)
    for qubit in range(3):
        circuit.cx(qubit, qubit + 1)
    sizes: list[int] = []
    with hpcq.Session(MPI.COMM_WORLD) as session:
        if session.rank == 0:
            farm = session.farm
            broadcast = farm.broadcast
            monkeypatch.setattr(
                farm, "broadcast", lambda payload: sizes.append(len(payload)) or broadcast(payload)
            )
            plan = hpcq.plan(circuit, ["Z0 X3", "Z1"], cut_labels="AABB")
            shots = hpcq.plan(circuit, "Z0 X3", cut_labels="AABB", shots=3000)
            first = session.run(plan, device="cpu")
            largest = max(sizes)
            sizes.clear()
            with pytest.raises(InputError, match="device: 'qpu'"):
                session.run(plan, device="qpu")
            session.run(shots, device="cpu")
            sizes.clear()
            again = session.run(plan, device="cpu")
            assert max(sizes) < largest / 2, "subcircuits travel once"
            np.testing.assert_array_equal(first.expectation_values, again.expectation_values)
    values = MPI.COMM_WORLD.bcast(first.expectation_values if session.rank == 0 else None)
    assert np.abs(values).max() <= 1


def test_a_session_is_alone_on_its_communicator() -> None:
    from mpi4py import MPI

    import hpcq
    from hpcq.core.errors import InputError

    comm, plan = MPI.COMM_WORLD, _pair_plan()
    session = hpcq.Session(comm)
    with session:
        if session.rank == 0:
            for begin in (session, hpcq.Session(comm)):
                with pytest.raises(InputError, match="comm: a session is open on it"), begin:
                    pass
            with pytest.raises(InputError, match="comm: a session is open on it"):
                hpcq.run(plan, comm)
            hpcq.run(plan, MPI.COMM_SELF)
            assert session.run(plan).status == "complete"
    assert hpcq.run(plan, comm).status == "complete"
