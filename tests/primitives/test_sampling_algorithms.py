"""Algorithms of qiskit-algorithms that sample run unchanged on the Sampler."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import real_amplitudes
from qiskit.quantum_info import SparsePauliOp, Statevector

pytest.importorskip("qiskit_algorithms")
from qiskit_algorithms import (
    QAOA,
    AmplificationProblem,
    AmplitudeEstimation,
    EstimationProblem,
    Grover,
    IterativeAmplitudeEstimation,
    MaximumLikelihoodAmplitudeEstimation,
    SamplingVQE,
)
from qiskit_algorithms.gradients import ParamShiftSamplerGradient
from qiskit_algorithms.optimizers import COBYLA
from qiskit_algorithms.state_fidelities import ComputeUncompute
from qiskit_algorithms.utils import algorithm_globals

from hpcq.primitives import Sampler

pytestmark = pytest.mark.slow

HOW = {"threads": 1, "memory": 1 << 28, "device": "cpu"}
MAX_CUT = SparsePauliOp(["IIZZ", "IZZI", "ZZII", "ZIIZ"], [1.0, 1.0, 1.0, 0.5])
"""Energies of a ring of four bonds, whose ground states are 0101 and 1010."""


@pytest.fixture(autouse=True)
def seeds() -> None:
    algorithm_globals.random_seed = 7


def test_qaoa_and_sampling_vqe_find_a_cut() -> None:
    for make in (
        lambda sampler: QAOA(sampler, COBYLA(maxiter=15), initial_point=[0.5, 0.5]),
        lambda sampler: SamplingVQE(
            sampler,
            real_amplitudes(4, reps=1),
            COBYLA(maxiter=30),
            initial_point=np.full(8, 0.4),
        ),
    ):
        sampler = Sampler(max_qubits=3, seed=3, **HOW)
        result = make(sampler).compute_minimum_eigenvalue(MAX_CUT, [MAX_CUT])
        assert result.best_measurement["bitstring"] in ("0101", "1010")
        assert result.best_measurement["value"] == pytest.approx(-3.5)
        assert sum(result.eigenstate.values()) == pytest.approx(1.0)
        assert result.aux_operators_evaluated[0][0] == pytest.approx(
            result.eigenvalue, abs=5 * 2.5 / np.sqrt(1024)
        )


def test_amplitude_estimation() -> None:
    angle = 2 * np.arcsin(np.sqrt(0.3))
    bernoulli, grover = QuantumCircuit(1), QuantumCircuit(1)
    bernoulli.ry(angle, 0)
    grover.ry(2 * angle, 0)
    problem = EstimationProblem(bernoulli, objective_qubits=[0], grover_operator=grover)
    sampler = Sampler(default_shots=400, **HOW)
    found = AmplitudeEstimation(3, sampler=sampler).estimate(problem)
    assert found.mle == pytest.approx(0.3, abs=0.05)
    found = IterativeAmplitudeEstimation(0.02, 0.05, sampler=sampler).estimate(problem)
    assert found.estimation == pytest.approx(0.3, abs=0.04)
    likelihood = MaximumLikelihoodAmplitudeEstimation(2, sampler=sampler)
    found = likelihood.estimate(problem)
    assert found.shots == 400
    assert found.estimation == pytest.approx(0.3, abs=0.05)


def test_fidelities_of_states() -> None:
    circuit = real_amplitudes(3, reps=1)
    first, second = np.random.default_rng(2).uniform(-1, 1, (2, 2, circuit.num_parameters))
    sampler = Sampler(max_qubits=2, default_shots=4000, **HOW)
    fidelities = ComputeUncompute(sampler).run([circuit] * 2, [circuit] * 2, first, second).result()
    states = [
        [Statevector(circuit.assign_parameters(row)) for row in rows] for rows in (first, second)
    ]
    exact = [abs(one.inner(other)) ** 2 for one, other in zip(*states, strict=True)]
    np.testing.assert_allclose(fidelities.fidelities, exact, atol=5 / np.sqrt(4 * 4000))


def test_grover_and_gradients_of_probabilities() -> None:
    oracle = QuantumCircuit(2)
    oracle.cz(0, 1)
    grover = Grover(iterations=1, sampler=Sampler(cut_labels="AB", **HOW))
    assert (
        grover.amplify(AmplificationProblem(oracle, is_good_state=["11"])).top_measurement == "11"
    )
    circuit = QuantumCircuit(1)
    circuit.ry(Parameter("x"), 0)
    circuit.measure_all()
    gradient = ParamShiftSamplerGradient(Sampler(default_shots=4000, **HOW))
    found = gradient.run([circuit], [[0.8]]).result().gradients[0][0]
    assert found[1] == pytest.approx(np.sin(0.8) / 2, abs=0.05)
