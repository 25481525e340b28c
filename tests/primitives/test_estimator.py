"""The Estimator answers pubs as Qiskit's StatevectorEstimator does."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.primitives import BasePrimitiveJob, StatevectorEstimator
from qiskit.providers import JobStatus
from qiskit.quantum_info import SparseObservable, Statevector

from hpcq.core.errors import InputError
from hpcq.primitives import Estimator
from tests.primitives.pubs import ANSATZ, HAMILTONIAN, PUBS, ROWS, bell

TOLERANCE = 1e-9
ESTIMATOR = Estimator(threads=1, memory=1 << 28, device="cpu")


def check_same(found: object, expected: object) -> None:
    """Compare two results of pubs, with their metadata."""
    assert found.data.shape == expected.data.shape
    assert set(found.data.keys()) == set(expected.data.keys())
    for name in ("evs", "stds"):
        got, wanted = getattr(found.data, name), getattr(expected.data, name)
        assert isinstance(got, np.ndarray)
        assert got.dtype == np.float64
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, atol=TOLERANCE)
    assert found.metadata == expected.metadata


def test_the_table_has_at_least_forty_pubs() -> None:
    assert len(PUBS) >= 40


@pytest.mark.parametrize("name", PUBS)
def test_a_pub_has_the_values_of_a_statevector(name: str) -> None:
    pub = PUBS[name]()
    check_same(ESTIMATOR.run([pub]).result()[0], StatevectorEstimator().run([pub]).result()[0])


def test_many_pubs_of_one_call() -> None:
    pubs = [make() for make in PUBS.values()]
    found = Estimator(threads=1, memory=1 << 28, device="cpu").run(pubs).result()
    expected = StatevectorEstimator().run(pubs).result()
    assert len(found) == len(expected)
    assert found.metadata == expected.metadata
    for got, wanted in zip(found, expected, strict=True):
        check_same(got, wanted)


@pytest.mark.parametrize("options", [{"cut_labels": "AAB"}, {"max_qubits": 2}])
def test_cut_circuits_have_the_same_values(options: dict[str, object]) -> None:
    pubs = [
        (ANSATZ, [[HAMILTONIAN], ["XXX"]], ROWS),
        (ANSATZ.assign_parameters(ROWS[0]), HAMILTONIAN),
        (ANSATZ.assign_parameters(ROWS[1]), HAMILTONIAN),
    ]
    found = Estimator(threads=1, memory=1 << 28, **options).run(pubs).result()
    for got, wanted in zip(found, StatevectorEstimator().run(pubs).result(), strict=True):
        check_same(got, wanted)


def test_projectors() -> None:
    operator = SparseObservable.from_list([("0+", 1.0), ("1r", -0.5), ("ZX", 0.25)])
    found = ESTIMATOR.run([(bell(), operator)]).result()[0].data.evs
    expected = Statevector(bell()).expectation_value(operator.as_paulis()).real
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


def test_exact_values_whatever_the_precision() -> None:
    result = ESTIMATOR.run([(bell(), "ZZ"), (bell(), "ZZ", None, 0.1)], precision=0.5).result()
    assert [each.metadata["target_precision"] for each in result] == [0.5, 0.1]
    assert [float(each.data.evs) for each in result] == pytest.approx([1.0, 1.0])
    assert [float(each.data.stds) for each in result] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("pub", "error", "message"),
    [
        ((bell(), "ZZZ"), ValueError, "number of qubits"),
        ((ANSATZ, HAMILTONIAN), ValueError, "number of parameters"),
        ((ANSATZ, ["ZZZ", "XXX", "YYY"], ROWS), ValueError, "broadcast"),
        ((bell(), {"ZZ": 1j}), ValueError, "Hermitian"),
        ((bell(), "ZZ", None, -0.1), ValueError, "non-negative"),
        (bell(), ValueError, "wrap"),
    ],
)
def test_wrong_pubs_are_refused_at_once(pub: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ESTIMATOR.run([pub])


def test_a_job_is_over_when_it_is_returned() -> None:
    job = ESTIMATOR.run([(bell(), "ZZ")])
    assert isinstance(job, BasePrimitiveJob)
    assert job.status() == JobStatus.DONE
    assert job.done()
    assert job.in_final_state()
    assert not job.running()
    assert not job.cancel()
    assert not job.cancelled()
    assert job.job_id() != ESTIMATOR.run([]).job_id()


def test_a_failed_job_says_why() -> None:
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.reset(0)
    job = ESTIMATOR.run([(circuit, "Z")])
    assert job.status() == JobStatus.ERROR
    assert not job.done()
    assert job.in_final_state()
    with pytest.raises(InputError, match="reset"):
        job.result()


def test_options_that_an_estimator_does_not_have() -> None:
    with pytest.raises(InputError, match="output: given to an Estimator, which keeps no files"):
        Estimator(output="out.h5")
    with pytest.raises(TypeError, match="max_qubit'"):
        Estimator(max_qubit=3)
    for name, wrong in {"engine": "aer", "max_variants": 10}.items():
        with pytest.raises(InputError, match=f"{name}: given without shots"):
            Estimator(**{name: wrong})
    with pytest.raises(InputError, match="shots"):
        Estimator(shots=0)
