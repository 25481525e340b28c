"""Run by ``mpirun -n N python -m mpi4py -m pytest --with-mpi``; see test_launched_runs.py."""

from __future__ import annotations

import socket
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector

import hpcq
from hpcq.core.errors import EngineError, HpcqError, TasksFailedError
from hpcq.kinds.parameters.pieces import Piece
from hpcq.kinds.parameters.program import Program
from hpcq.primitives import Estimator
from hpcq.runs.session import current_session

pytestmark = pytest.mark.mpi(min_size=2)

BAD_ANGLE = 77.0


def chain_plan() -> hpcq.Plan:
    """Return a plan of three subcircuits, with a parameter for each rotation."""
    circuit, angles = QuantumCircuit(6), iter(ParameterVector("t", 22))
    for _ in range(2):
        for qubit in range(6):
            circuit.ry(next(angles), qubit)
        for qubit in range(5):
            circuit.rzz(next(angles), qubit, qubit + 1)
    observables = ["Z0 Z5 + 0.5 X1 X2", "Y3"]
    return hpcq.plan(circuit, observables, cut_labels="AABBCC", threads=1, memory=1 << 30)


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-3, 3, (count, 22))


@pytest.fixture
def spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spread every evaluation, in blocks of a few rows."""
    monkeypatch.setattr("hpcq.kinds.parameters.spread._MIN_SPREAD_SECONDS", 0.0)
    monkeypatch.setattr("hpcq.kinds.parameters.spread._MIN_BLOCK_SECONDS", 5e-3)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pieces fail at one angle, on every rank."""
    compute = Piece.tensors

    def tensors(piece: Piece, angles: np.ndarray) -> np.ndarray:
        if BAD_ANGLE in angles:
            raise EngineError("the dog ate my amplitudes")
        return compute(piece, angles)

    monkeypatch.setattr(Piece, "tensors", tensors)


def check_same_bits(program: Program, alone: Program, chosen: np.ndarray) -> None:
    np.testing.assert_array_equal(program.values(chosen), alone.values(chosen))
    for got, expected in zip(
        program.values_and_gradients(chosen), alone.values_and_gradients(chosen), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.usefixtures("spread")
@pytest.mark.parametrize("is_subprocess", [False, True])
def test_rows_and_pieces_have_the_bits_of_one_rank(
    is_subprocess: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPCQ_WORKERS", "process" if is_subprocess else "thread")
    plan = chain_plan()
    alone = plan.compile()
    with hpcq.Session() as session:
        if session.rank == 0:
            program = session.compile(plan)
            for count in (1, 30, 0):
                check_same_bits(program, alone, rows(count, seed=count))
            changed = rows(1)
            program.values(changed)
            changed[0, 0] += 0.1  # of one piece only
            check_same_bits(program, alone, changed)


@pytest.mark.usefixtures("spread")
def test_the_open_session_is_used_without_being_named(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[str] = []
    start = hpcq.Session.start

    def note(session: hpcq.Session, command: Any) -> None:
        commands.append(type(command).__name__)
        start(session, command)

    monkeypatch.setattr(hpcq.Session, "start", note)
    plan, other = chain_plan(), plan_without_parameters()
    alone = plan.compile()
    assert current_session() is None
    with hpcq.Session() as session:
        if session.rank == 0:
            assert current_session() is session
            program = plan.compile()
            check_same_bits(program, alone, rows(3))
            assert set(commands) == {"OpenPrograms", "HoldProgram", "JoinEvaluation"}
            commands.clear()
            evs = Estimator(cut_labels="AB").run([(other.circuit, "ZZ")]).result()[0].data.evs
            assert abs(evs - 1) < 1e-12
            assert commands
            with hpcq.Session() as inner:
                assert (inner.rank, inner.size) == (0, session.size)
                assert inner.run(other, device="cpu").status == "complete"
            result = hpcq.run(other, device="cpu")
            assert result.provenance["ranks"] == session.size
        else:
            assert current_session() is None
    assert current_session() is None


@pytest.mark.usefixtures("spread")
def test_ranks_keep_some_programs_and_prepare_others_again() -> None:
    plan = chain_plan()
    alone = plan.compile()
    with hpcq.Session() as session:
        if session.rank == 0:
            programs = [session.compile(plan) for _ in range(10)]
            for program in (programs[0], programs[9], programs[0]):
                check_same_bits(program, alone, rows(3))


@pytest.mark.usefixtures("spread", "failing")
@pytest.mark.parametrize("count", [1, 30])
def test_a_task_that_fails_is_an_error_and_the_session_goes_on(count: int) -> None:
    plan = chain_plan()
    alone = plan.compile()
    with hpcq.Session() as session:
        if session.rank == 0:
            program = session.compile(plan)
            wrong = rows(count)
            wrong[-1, 0] = BAD_ANGLE
            failed = rf"rank \d on {socket.gethostname()}: EngineError: the dog ate my amplitudes"
            for evaluate in (program.values, program.values_and_gradients):
                with pytest.raises(TasksFailedError, match=failed):
                    evaluate(wrong)
            check_same_bits(program, alone, rows(count))
            assert session.run(plan_without_parameters(), device="cpu").status == "complete"


def plan_without_parameters() -> hpcq.Plan:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    return hpcq.plan(circuit, "Z0 Z1", cut_labels="AB", threads=1, memory=1 << 30)


@pytest.mark.usefixtures("spread")
def test_a_program_that_one_rank_refuses_is_refused_and_the_session_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mpi4py import MPI

    def refuse(*_: object) -> None:
        raise hpcq.InputError("device: no room on this one")

    if MPI.COMM_WORLD.rank == 1:
        monkeypatch.setattr("hpcq.kinds.parameters.rank_tasks.piece_engines", refuse)
    with hpcq.Session() as session:
        if session.rank == 0:
            with pytest.raises(hpcq.InputError, match=r"rank 1 on .*: device: no room on this"):
                session.compile(chain_plan())
            assert session.run(plan_without_parameters(), device="cpu").status == "complete"


@pytest.mark.usefixtures("spread")
def test_a_program_needs_its_session() -> None:
    program = None
    with hpcq.Session() as session:
        if session.rank == 0:
            program = session.compile(chain_plan())
            with pytest.raises(hpcq.InputError, match="rows: shape"):
                program.values([1.0])
    if program is not None:
        with pytest.raises(HpcqError, match="session: it runs plans between entering and leaving"):
            program.values(rows(3))
