"""Other ways to energies and gradients, against derivatives that are known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from program_circuits import ANSATZES, Ansatz, heisenberg, qaoa
from program_methods import Call, methods_of, num_shifts, shifted_derivative
from program_targets import COMPARISONS, GRADIENT, TARGETS, Target
from qiskit.quantum_info import Statevector

_SMALL = Ansatz(
    "small",
    "QAOA of a path of six qubits, asked for an energy that has all letters",
    "AAABBB",
    lambda: qaoa(6, list(pairwise(range(6))), 2),
    lambda: heisenberg(pairwise(range(6))),
    seed=0,
)


def _gradient(row: np.ndarray) -> np.ndarray:
    """Sixth-order central differences of the uncut state's energy."""
    circuit, energy = _SMALL.build(), _SMALL.energy()
    weights = {1: 45 / 60, 2: -9 / 60, 3: 1 / 60}
    step = 0.01
    found = np.zeros(row.size)
    for place in range(row.size):
        for k, weight in weights.items():
            for sign in (1, -1):
                moved = row.copy()
                moved[place] += sign * k * step
                state = Statevector(circuit.assign_parameters(moved))
                found[place] += sign * weight * state.expectation_value(energy).real / step
    return found


@pytest.mark.slow
@pytest.mark.parametrize("way", ["mps", "statevector", "anew"])
def test_shifts_give_derivatives_of_shared_parameters(way: str) -> None:
    row = _SMALL.rows(1, 4)[0]
    expected = _gradient(row)
    for parameter in range(4):
        found = shifted_derivative(_SMALL, row, parameter, way)
        assert found == pytest.approx(expected[parameter], abs=1e-8)


def test_each_gate_with_a_parameter_takes_two_shifts() -> None:
    assert num_shifts(_SMALL.build()) == 2 * 2 * (5 + 6)


@pytest.mark.slow
def test_all_methods_agree() -> None:
    methods, _ = methods_of(_SMALL)
    rows = _SMALL.rows(2, 4)
    energies = [
        float(
            Statevector(_SMALL.build().assign_parameters(row))
            .expectation_value(_SMALL.energy())
            .real
        )
        for row in rows
    ]
    gradients = [_gradient(row) for row in rows]

    def check(call: Call, some: np.ndarray, first: int) -> None:
        found, derivatives = call(some)
        for number, value in enumerate(found):
            assert value == pytest.approx(energies[first + number], abs=1e-9)
        for number, derivative in enumerate([] if derivatives is None else derivatives):
            assert derivative == pytest.approx(gradients[first + number], abs=1e-8)

    for method in methods.values():
        check(method.call, rows[:1], 0)
        check(method.call, rows[1:], 1)
        if method.rows > 1:
            check(method.call, rows, 0)


def test_targets_are_about_what_is_compared() -> None:
    names = {ansatz.name for ansatz in ANSATZES}
    assert all(name in names and (ours, other) in COMPARISONS for name, ours, other in TARGETS)


def test_targets_are_ratios_in_either_direction() -> None:
    assert Target(6).met(1.0, 6.0)
    assert not Target(6).met(1.0, 5.9)
    assert Target(3.5, at_least=False).met(3.5, 1.0)
    assert not TARGETS["vqe-24-3x8", GRADIENT, "energy"].met(3.6, 1.0)


def test_energies_and_gradients_of_a_turn_have_no_row_in_common() -> None:
    methods, _ = methods_of(_SMALL)
    rows = {
        differentiates: np.concatenate(
            [
                method.parameters(_SMALL, 4, turn)
                for method in methods.values()
                if method.differentiates is differentiates
                for turn in range(4)
            ]
        )
        for differentiates in (False, True)
    }
    assert not np.isin(rows[True], rows[False]).any()
