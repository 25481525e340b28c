"""Algorithms of qiskit-algorithms run unchanged, and as they do on exact statevectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import qaoa_ansatz, real_amplitudes
from qiskit.primitives import StatevectorEstimator, StatevectorSampler
from qiskit.quantum_info import SparsePauliOp

pytest.importorskip("qiskit_algorithms")
from qiskit_algorithms import VQD, VQE, AdaptVQE, TimeEvolutionProblem, VarQITE
from qiskit_algorithms.gradients import (
    DerivativeType,
    FiniteDiffEstimatorGradient,
    LinCombEstimatorGradient,
    LinCombQGT,
    ParamShiftEstimatorGradient,
    SPSAEstimatorGradient,
)
from qiskit_algorithms.optimizers import COBYLA, L_BFGS_B, SLSQP, SPSA
from qiskit_algorithms.state_fidelities import ComputeUncompute
from qiskit_algorithms.time_evolvers.variational import ImaginaryMcLachlanPrinciple
from qiskit_algorithms.utils import algorithm_globals

from hpcq.primitives import Estimator, EstimatorGradient

pytestmark = pytest.mark.slow

HOW = {"threads": 1, "memory": 1 << 28, "device": "cpu"}
HAMILTONIAN = SparsePauliOp(["ZZI", "IZZ", "XII", "IXI", "IIX"], [-1.0, -1.0, 0.5, 0.5, 0.5])
GROUND = float(np.linalg.eigvalsh(HAMILTONIAN.to_matrix())[0])
ANSATZ = real_amplitudes(3, reps=2)
START = np.random.default_rng(5).uniform(-1, 1, ANSATZ.num_parameters)


def both(algorithm: Callable[[Any], Any], max_qubits: int | None = 2) -> tuple[Any, Any]:
    """Return what an algorithm gives with this Estimator and with Qiskit's."""
    answers = []
    for estimator in (Estimator(max_qubits=max_qubits, **HOW), StatevectorEstimator()):
        algorithm_globals.random_seed = 7
        answers.append(algorithm(estimator))
    return answers[0], answers[1]


def test_vqe_with_exact_gradients() -> None:
    estimator = Estimator(cut_labels="AAB", **HOW)
    vqe = VQE(
        estimator,
        ANSATZ,
        L_BFGS_B(maxiter=60),
        gradient=EstimatorGradient(estimator),
        initial_point=START,
    )
    result = vqe.compute_minimum_eigenvalue(HAMILTONIAN, {"zz": SparsePauliOp("ZZI")})
    assert result.optimal_value == pytest.approx(GROUND, abs=1e-3)
    expected = StatevectorEstimator().run([(ANSATZ, "ZZI", result.optimal_point)]).result()[0]
    assert result.aux_operators_evaluated["zz"][0] == pytest.approx(float(expected.data.evs))


@pytest.mark.slow
def test_vqe_by_gradient_free_optimizers() -> None:
    for optimizer in (lambda: COBYLA(maxiter=25), lambda: SPSA(maxiter=8)):
        ours, theirs = both(
            lambda estimator, make=optimizer: VQE(
                estimator, ANSATZ, make(), initial_point=START
            ).compute_minimum_eigenvalue(HAMILTONIAN, [SparsePauliOp("ZZZ")])
        )
        assert ours.cost_function_evals == theirs.cost_function_evals
        assert ours.optimal_value == pytest.approx(theirs.optimal_value, abs=1e-8)
        np.testing.assert_allclose(ours.optimal_point, theirs.optimal_point, atol=1e-8)
        assert ours.aux_operators_evaluated[0][0] == pytest.approx(
            theirs.aux_operators_evaluated[0][0], abs=1e-8
        )


@pytest.mark.parametrize(
    "kind", [ParamShiftEstimatorGradient, FiniteDiffEstimatorGradient, SPSAEstimatorGradient]
)
def test_gradients_by_shifted_values(kind: Callable[..., Any]) -> None:
    options = {} if kind is ParamShiftEstimatorGradient else {"epsilon": 1e-3}
    if kind is SPSAEstimatorGradient:
        options["seed"] = 3
    ours, theirs = both(
        lambda estimator: (
            kind(estimator, **options)
            .run([ANSATZ, ANSATZ], [HAMILTONIAN, SparsePauliOp("XXX")], [START, 2 * START])
            .result()
        )
    )
    assert ours.precision == theirs.precision
    for got, wanted in zip(ours.gradients, theirs.gradients, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-8)


@pytest.mark.parametrize("kind", list(DerivativeType))
def test_gradients_by_linear_combinations(kind: DerivativeType) -> None:
    ansatz = real_amplitudes(2, reps=1)
    ours, theirs = both(
        lambda estimator: (
            LinCombEstimatorGradient(estimator, derivative_type=kind)
            .run([ansatz], [SparsePauliOp(["ZZ", "XI"], [1.0, 0.5])], [START[:4]])
            .result()
        )
    )
    assert ours.precision == theirs.precision
    np.testing.assert_allclose(ours.gradients[0], theirs.gradients[0], atol=1e-8)


@pytest.mark.slow
def test_quantum_geometric_tensor() -> None:
    ansatz = real_amplitudes(2, reps=1)
    ours, theirs = both(lambda estimator: LinCombQGT(estimator).run([ansatz], [START[:4]]).result())
    np.testing.assert_allclose(ours.qgts[0], theirs.qgts[0], atol=1e-8)


def test_imaginary_time_evolution() -> None:
    ansatz = real_amplitudes(2, reps=1)
    operator = SparsePauliOp(["ZZ", "XI"], [1.0, 0.5])

    def evolve(estimator: Any) -> Any:
        principle = ImaginaryMcLachlanPrinciple(
            LinCombQGT(estimator), LinCombEstimatorGradient(estimator)
        )
        evolver = VarQITE(ansatz, START[:4], principle, estimator, num_timesteps=3)
        problem = TimeEvolutionProblem(operator, 0.3, aux_operators=[SparsePauliOp("ZI")])
        return evolver.evolve(problem)

    ours, theirs = both(evolve, max_qubits=None)
    np.testing.assert_allclose(ours.parameter_values, theirs.parameter_values, atol=1e-6)
    np.testing.assert_allclose(
        [each[0] for each in ours.aux_ops_evaluated],
        [each[0] for each in theirs.aux_ops_evaluated],
        atol=1e-6,
    )


def test_vqd() -> None:
    ansatz = real_amplitudes(2, reps=1)
    operator = SparsePauliOp(["ZZ", "XI", "IX"], [1.0, 0.5, 0.25])

    def solve(estimator: Any) -> Any:
        fidelity = ComputeUncompute(StatevectorSampler(seed=4))
        return VQD(
            estimator, fidelity, ansatz, COBYLA(maxiter=15), k=2, initial_point=START[:4]
        ).compute_eigenvalues(operator, [SparsePauliOp("ZZ")])

    ours, theirs = both(solve)
    np.testing.assert_allclose(ours.eigenvalues, theirs.eigenvalues, atol=1e-6)


def test_adapt_vqe() -> None:
    pool = [SparsePauliOp(label) for label in ("IIY", "IYI", "YII", "IZY", "YZI", "IYZ")]

    def solve(estimator: Any) -> Any:
        vqe = VQE(estimator, QuantumCircuit(3), SLSQP(maxiter=20))
        adaptive = AdaptVQE(vqe, operators=pool, max_iterations=3)
        return adaptive.compute_minimum_eigenvalue(HAMILTONIAN)

    ours, theirs = both(solve)
    assert ours.num_iterations == theirs.num_iterations == 3
    assert ours.eigenvalue == pytest.approx(theirs.eigenvalue, abs=1e-6)


def test_qaoa_that_binds_its_circuit_at_each_evaluation() -> None:
    cost = SparsePauliOp(["ZZI", "IZZ", "ZIZ"], [1.0, 1.0, -0.5])
    ansatz = qaoa_ansatz(cost, reps=2)

    def energies(estimator: Any) -> list[float]:
        rows = np.random.default_rng(1).uniform(0, 3, (4, ansatz.num_parameters))
        bound = [ansatz.assign_parameters(row) for row in rows]
        return [float(estimator.run([(each, cost)]).result()[0].data.evs) for each in bound]

    ours, theirs = both(energies)
    assert ours == pytest.approx(theirs, abs=1e-9)
