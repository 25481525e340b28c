"""Shots of projectors: what an outcome says of them, and error bars of common and rare outcomes."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit

import hpcq
from hpcq.cutting.cut_circuit import cut_circuit
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.subcircuits import Subcircuit
from hpcq.cutting.subexperiments.device_circuits import SampledTensor
from hpcq.kinds.shots.sampling import CutProblem, sampling_of
from hpcq.planning.problem import Budget
from hpcq.reconstruction.estimation.outcome_signals import SignalReader, string_signs
from tests.kinds.distributions import Device
from tests.kinds.test_error_bars import blocks


def row(num_qubits: int) -> Subcircuit:
    circuit = QuantumCircuit(num_qubits)
    for qubit in range(num_qubits - 1):
        circuit.cz(qubit, qubit + 1)
    (subcircuit,) = cut_circuit(circuit, Cuts()).subcircuits
    return subcircuit


def test_an_outcome_has_the_sign_of_the_paulis_where_the_projectors_fit() -> None:
    subcircuit = row(3)
    strings = ((), ((0, "Z"), (2, "1")), ((0, "0"), (1, "1")), ((0, "Z"), (1, "Z")))
    tensor = SampledTensor(subcircuit, strings)
    assert tensor.bases == ({0: "Z", 1: "Z", 2: "Z"},)
    expected = {
        0b000: [1, 0, 0, 1],
        0b100: [1, 1, 0, 1],
        0b101: [1, -1, 0, -1],
        0b110: [1, 1, 1, -1],
        0b011: [1, 0, 0, 1],
    }
    outcomes = np.array(list(expected), dtype=np.uint64)
    found = string_signs(tensor, outcomes, range(len(strings)))
    assert found.tolist() == list(expected.values())
    assert SignalReader(tensor).fair_coin_variances(0).tolist() == [0, 0.5, 0.25, 1]


@pytest.mark.parametrize("letters", ["+-", "rl", "01"])
def test_projectors_share_the_basis_of_their_pauli(letters: str) -> None:
    subcircuit = row(2)
    pauli = {"+-": "X", "rl": "Y", "01": "Z"}[letters]
    strings = ((), ((0, letters[0]), (1, letters[1])), ((0, pauli),), ((1, letters[0]),))
    assert SampledTensor(subcircuit, strings).bases == ({0: pauli, 1: pauli},)


@pytest.mark.slow
def test_error_bars_of_outcomes() -> None:
    texts = ["0000", "label:Z0+-", "0.5 label:0000 + 0.25 label:1111 - Z0"]
    plan = hpcq.plan(blocks(2, 2, 1, 1), texts, cut_labels="AABB", threads=1)
    truth = hpcq.run(plan, device="cpu").expectation_values
    device = Device(sampling_of(CutProblem.of(plan), Budget(4000)))
    runs = [device.run(seed) for seed in range(40)]
    sigmas = np.array([(run.values() - truth) / run.errors for run in runs])
    squares = np.mean(sigmas**2, axis=0)
    assert (squares < 1.8).all()
    assert (squares > 0.4).all()


@pytest.mark.slow
def test_an_outcome_that_never_came_is_not_impossible() -> None:
    circuit = QuantumCircuit(6)
    circuit.ry(0.1, range(6))
    circuit.rzz(0.4, 2, 3)
    circuit.ry(0.05, range(6))
    plan = hpcq.plan(circuit, ["111111", "000000"], cut_labels="AAABBB", threads=1)
    truth = hpcq.run(plan, device="cpu").expectation_values
    runs = [Device(sampling_of(CutProblem.of(plan), Budget(2000))).run(seed) for seed in range(3)]
    for run in runs:
        assert run.values()[0] == pytest.approx(0, abs=1e-6)
        assert run.errors[0] > truth[0] > 0
        assert run.errors[0] < 0.01
        assert abs(run.values()[1] - truth[1]) < 5 * run.errors[1]
