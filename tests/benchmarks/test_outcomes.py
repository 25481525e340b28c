"""Outcomes by all methods of the benchmark, of a circuit of six qubits."""

from __future__ import annotations

import numpy as np
import pytest
from outcome_cases import CASES, COMPARISONS, MEMORY_CASE, NUM_TOP, TARGETS, Case
from outcome_methods import methods_of
from outcomes import Measured, measure, rows_of
from qiskit.quantum_info import Statevector
from workloads import Blocks

_SMALL = Case("small", Blocks(2, 3, 4, 2, "random", seed=9), ("mps", "statevector"), shots=(4000,))


@pytest.mark.slow
def test_all_methods_agree_with_the_uncut_state() -> None:
    state = Statevector(_SMALL.blocks.circuit())
    probabilities = state.probabilities()
    methods = methods_of(_SMALL)
    texts = methods["amplitudes"].prepare(0)
    amplitudes = methods["amplitudes"].call(texts)
    np.testing.assert_allclose(
        np.abs(amplitudes) ** 2, probabilities[[int(text, 2) for text in texts]], atol=1e-12
    )
    qubits = methods["marginal"].prepare(0)
    found = methods["marginal"].call(qubits)
    np.testing.assert_allclose(found, state.probabilities(qubits), atol=1e-12)
    top = methods["top"].call(methods["top"].prepare(0))
    largest = np.sort(probabilities)[::-1][:NUM_TOP]
    np.testing.assert_allclose(top.probabilities, largest, atol=1e-12)
    expected = 4000 * probabilities
    for name in ("samples-4000", "mps", "statevector"):
        answer = methods[name].call(methods[name].prepare(1))
        counts = answer.counts if name.startswith("samples") else answer
        # Aer's keys are hexadecimal.
        numbers = {int(key, 2 if name.startswith("samples") else 16): counts[key] for key in counts}
        frequencies = np.array([numbers.get(k, 0) for k in range(64)])
        assert frequencies.sum() == 4000
        assert ((frequencies - expected) ** 2 / expected).sum() < 64 + 6 * np.sqrt(128)


@pytest.mark.slow
def test_rows_compare_what_was_measured() -> None:
    measured = measure(_SMALL, repeats=1, limit=1)
    assert all(len(taken) == 1 for taken in measured.seconds.values())
    rows = list(rows_of(_SMALL, measured))
    assert len(rows) == 5
    assert all(row.met for row in rows[-2:])
    broken = Measured(
        measured.methods, measured.seconds | {"amplitudes": [2.0], "expectation": [1]}
    )
    texts = [row.ratio for row in rows_of(_SMALL, broken)]
    assert "2 times as long" in texts


def test_targets_are_about_what_is_compared() -> None:
    names = {case.name for case in CASES}
    for name, ours, other in TARGETS:
        assert name in names
        assert (ours, other) in COMPARISONS
    assert MEMORY_CASE in names
