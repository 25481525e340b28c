"""The examples give the uncut answer, and print the same on one rank and on three."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit.circuit.library import efficient_su2
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import Statevector
from scipy.optimize import minimize

from tests.support.launch import ROOT, hpcq

pytest.importorskip("qiskit_algorithms")
from qiskit_algorithms.gradients import ReverseEstimatorGradient

pytestmark = pytest.mark.slow

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def numbers(text: str) -> list[float]:
    """Return all numbers of a text."""
    return [float(each) for each in re.findall(r"-?\d+(?:\.\d+)?", text)]


class _Uncut:
    """A program that computes with statevectors of the whole circuit."""

    def __init__(self, circuit: Any, operator: Any) -> None:
        self._circuit, self._operator = circuit, operator
        self.num_parameters = circuit.num_parameters

    def values_and_gradients(self, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        problem = [self._circuit], [self._operator], [row]
        value = Statevector(self._circuit.assign_parameters(row)).expectation_value(self._operator)
        (gradient,) = ReverseEstimatorGradient().run(*problem).result().gradients
        return np.array([[value.real]]), np.array([[gradient]])

    def at(self, row: np.ndarray) -> tuple[float, np.ndarray]:
        values, gradients = self.values_and_gradients(row)
        return values[0, 0], gradients[0, 0]


def uncut(name: str, script: dict[str, Any]) -> list[float]:
    """Return the numbers that an example prints, if all is computed on whole circuits."""
    estimator = StatevectorEstimator()
    if name == "adapt_vqe":
        result = script["minimum"](estimator, size=4, steps=3)
        return [result.num_iterations, result.eigenvalue]
    if name == "minimize_and_resume":
        ansatz = efficient_su2(6, reps=2, entanglement="linear")
        start = np.random.default_rng(4).uniform(-0.5, 0.5, ansatz.num_parameters)
        program, options = _Uncut(ansatz, script["xxz_chain"](6)), {"maxiter": 8}
        result = minimize(program.at, start, jac=True, method="L-BFGS-B", options=options)
        return [result.nfev, result.fun]
    if name == "qaoa_estimator":
        edges = len(script["linked_rings"](8))
        return [edges, -script["best_angles"](estimator, size=8, evaluations=60).fun]
    if name == "scipy_minimize":
        program = _Uncut(script["layers"](6, depth=2), script["ising_chain"](6))
        result = script["minimum"](program, iterations=8)
        return [result.nfev, result.fun]
    if name == "several_circuits":
        return list(script["energies"](estimator, size=4, states=3, evaluations=60))
    assert name == "vqe_qiskit_algorithms"
    result = script["minimum"](estimator, ReverseEstimatorGradient(), size=6, iterations=10)
    return [result.cost_function_evals, result.eigenvalue]


@pytest.fixture(scope="module")
def on_three_ranks() -> dict[str, str]:
    """What the examples print on three ranks, all in one launch."""
    done = hpcq("exec", Path(__file__).parent / "run_all.py", *EXAMPLES, ranks=3)
    assert done.returncode == 0, done.stderr
    texts = re.split(r"^# (.*)\n", done.stdout, flags=re.MULTILINE)[1:]
    return dict(zip(texts[::2], texts[1::2], strict=True))


@pytest.mark.parametrize("path", EXAMPLES, ids=[each.stem for each in EXAMPLES])
def test_an_example_gives_the_uncut_answer_on_one_rank_and_on_three(
    path: Path,
    on_three_ranks: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", [str(path)])
    script = runpy.run_path(str(path), run_name="__main__")
    alone = capsys.readouterr().out
    assert alone == on_three_ranks[str(path)]
    np.testing.assert_allclose(numbers(alone), uncut(path.stem, script), rtol=0, atol=1e-6)


def test_examples_use_public_names_only() -> None:
    for path in EXAMPLES:
        modules = re.findall(r"^\s*(?:import|from) (hpcq\S*)", path.read_text(), re.MULTILINE)
        assert modules
        assert set(modules) <= {"hpcq", "hpcq.primitives"}
