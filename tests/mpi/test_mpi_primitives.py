"""Run by ``mpirun -n N python -m mpi4py -m pytest --with-mpi``; see test_launched_runs.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

import hpcq
from hpcq.primitives import Estimator, Sampler
from tests.primitives.pubs import ANSATZ, HAMILTONIAN, ROWS

pytestmark = pytest.mark.mpi(min_size=2)

PUBS = [
    (ANSATZ, [[HAMILTONIAN], ["XXX"]], ROWS),
    (ANSATZ.assign_parameters(ROWS[0]), HAMILTONIAN),
    (ANSATZ.assign_parameters(ROWS[1]), HAMILTONIAN),
]
HOW: dict[str, Any] = {"threads": 1, "memory": 1 << 28, "device": "cpu", "cut_labels": "AAB"}


@pytest.mark.parametrize("options", [{}, {"target_error": 0.1}])
def test_ranks_of_a_session_compute_what_one_does(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpcq.kinds.parameters.spread._MIN_SPREAD_SECONDS", 0.0)
    alone = Estimator(**HOW, **options).run(PUBS).result()
    with hpcq.Session() as session:
        if session.rank == 0:
            shared = Estimator(session=session, ranks=1, **HOW, **options).run(PUBS).result()
            for got, expected in zip(shared, alone, strict=True):
                np.testing.assert_array_equal(got.data.evs, expected.data.evs)
                np.testing.assert_array_equal(got.data.stds, expected.data.stds)


def test_short_pubs_are_evaluated_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcq.kinds.parameters.together._MIN_NEW_SECONDS", 0.0)
    how: dict[str, Any] = {"threads": 1, "memory": 1 << 28, "device": "cpu"}
    wide = QuantumCircuit(60)
    wide.h(0)
    for qubit in range(59):
        wide.cx(qubit, qubit + 1)
    far = SparsePauliOp.from_sparse_list([("ZZ", [0, 59], 2.0)], 60)
    pubs = [*PUBS, (ANSATZ, [["ZZZ"], ["YYI"]], ROWS[:2]), (wide, far), (wide, -far)]
    expected = Estimator(**how).run(pubs).result()
    with hpcq.Session() as session:
        if session.rank == 0:
            started: list[str] = []
            start = session.start

            def noted(command: Any) -> None:
                started.append(type(command).__name__)
                start(command)

            monkeypatch.setattr(session, "start", noted)
            shared = Estimator(session=session, ranks=1, **how)
            for seconds, times in ((1e9, 0), (0.0, 1), (0.0, 2)):
                monkeypatch.setattr("hpcq.kinds.parameters.spread._MIN_SPREAD_SECONDS", seconds)
                found = shared.run(pubs).result()
                assert started.count("JoinPrograms") == times
                for got, wanted in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(got.data.evs, wanted.data.evs)


def test_samples_of_a_session_are_those_of_one_rank() -> None:
    circuit = ANSATZ.measure_all(inplace=False)
    pubs = [(circuit, ROWS[:2]), (circuit.assign_parameters(ROWS[2]), None, 70_000)]
    alone = Sampler(**HOW).run(pubs).result()
    with hpcq.Session() as session:
        if session.rank == 0:
            shared = Sampler(ranks=1, **HOW).run(pubs).result()
            for got, expected in zip(shared, alone, strict=True):
                np.testing.assert_array_equal(got.data.meas.array, expected.data.meas.array)
                assert got.data.meas.shape == expected.data.meas.shape


@pytest.mark.usefixtures("algorithms")
def test_gradients_on_the_ranks_of_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    from hpcq.primitives import EstimatorGradient

    monkeypatch.setattr("hpcq.kinds.parameters.spread._MIN_SPREAD_SECONDS", 0.0)

    def gradients(session: hpcq.Session | None = None) -> list[np.ndarray]:
        estimator = Estimator(session=session, ranks=1, **HOW)
        job = EstimatorGradient(estimator).run([ANSATZ] * 4, [HAMILTONIAN] * 4, ROWS)
        return job.result().gradients

    alone = gradients()
    with hpcq.Session() as session:
        if session.rank == 0:
            np.testing.assert_array_equal(gradients(session), alone)


@pytest.fixture
def algorithms() -> None:
    pytest.importorskip("qiskit_algorithms")
