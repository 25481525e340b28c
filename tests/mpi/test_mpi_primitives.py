"""Run by ``mpirun -n N python -m mpi4py -m pytest --with-mpi``; see test_launched_runs.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hpcq
from hpcq.primitives import Estimator
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
