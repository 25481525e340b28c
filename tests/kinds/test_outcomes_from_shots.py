"""Probabilities of outcomes from counts: exact with all shots, and with error bars that hold."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.quantum_info import Statevector
from qiskit_aer.noise import NoiseModel, ReadoutError

import hpcq
from hpcq.circuits.measurements import measure_all
from hpcq.core.errors import InputError
from hpcq.kinds.shots.outcomes import (
    outcome_observables,
    outcomes_of,
)
from hpcq.kinds.shots.sampling import CutProblem, Sampling, ShotsPlan, joint_sampling_of
from hpcq.reconstruction.estimation.counts import Counts
from hpcq.reconstruction.estimation.estimator import ShotRound
from hpcq.reconstruction.estimation.marginal_estimator import MarginalEstimator
from hpcq.reconstruction.estimation.outcome_signals import first_inversions
from hpcq.results.result import Result
from tests.kinds.distributions import Device
from tests.kinds.test_error_bars import blocks
from tests.support.strategies import structured

WIRE = {"gate_cuts": [], "wire_cuts": [{"qubit": 1, "after": 1}]}
BOTH = {
    "gate_cuts": [{"gate": 0, "qubits": [0, 1]}],
    "wire_cuts": [{"qubit": 2, "after": 1}],
}


def staircase(num_qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    rng = np.random.default_rng(num_qubits)
    for qubit in range(num_qubits - 1):
        circuit.u(*rng.uniform(0, 6, 3), qubit)
        circuit.u(*rng.uniform(0, 6, 3), qubit + 1)
        circuit.cz(qubit, qubit + 1)
        circuit.u(*rng.uniform(0, 6, 3), qubit)
    circuit.h(num_qubits - 1)
    return circuit


def shared_ports() -> QuantumCircuit:
    """Gates of one qubit with two others, which share an ancilla, between random rotations."""
    circuit = QuantumCircuit(4)
    rng = np.random.default_rng(8)
    for qubit in range(4):
        circuit.u(*rng.uniform(0, 6, 3), qubit)
    for other in (1, 2, 3):
        circuit.rzz(rng.uniform(1, 2), 0, other)
    circuit.cx(1, 2)
    for qubit in range(4):
        circuit.u(*rng.uniform(0, 6, 3), qubit)
    return circuit


def equal_halves() -> QuantumCircuit:
    circuit = QuantumCircuit(4)
    for _ in range(2):
        circuit.ry(0.8, range(4))
        circuit.cz([0, 2], [1, 3])
        circuit.rx(0.5, range(4))
    circuit.ry(0.7, range(4))
    return circuit


def triangle() -> QuantumCircuit:
    circuit = blocks(3, 1, 1, 4)
    circuit.cz(0, 2)
    for qubit in range(3):
        circuit.ry(0.7 + qubit, qubit)
    return circuit


CIRCUITS = {
    "gate": (blocks(2, 2, 1, 1), {"cut_labels": "AABB"}),
    "gates": (blocks(2, 2, 2, 2), {"cut_labels": "AABB"}),
    "chain": (blocks(3, 2, 1, 4), {"cut_labels": "AABBCC"}),
    "loop": (triangle(), {"cut_labels": "ABC"}),
    "wire": (staircase(3), {"cuts": WIRE}),
    "gate and wire": (staircase(4), {"cuts": BOTH}),
    "self loop": (blocks(1, 3, 1, 3), {"cuts": WIRE}),
    "shared ports": (shared_ports(), {"cut_labels": "ABBC"}),
    "equal": (equal_halves(), {}),
    "parts": (blocks(2, 2, 0, 6), {}),
}
"""Gate and wire cuts, loops, and parts that no gate joins."""


def plan_of(circuit: QuantumCircuit, shots: int, **how: object) -> ShotsPlan:
    observables = outcome_observables(measure_all(circuit.num_qubits))
    plan = hpcq.plan(circuit, observables, shots=shots, threads=1, **how)
    assert isinstance(plan, ShotsPlan)
    return plan


@cache
def device_of(name: str, shots: int = 10**6) -> Device:
    circuit, how = CIRCUITS[name]
    return Device(plan_of(circuit, shots, **how).sampling)


def known(device: Device) -> ShotRound:
    """A round of shots without number."""
    inversions = tuple(first_inversions(tensor) for tensor in device.sampling.sources.tensors)
    return ShotRound(1.0, inversions, tuple(device.exact))


def marginal(sampling: Sampling, rounds: list[ShotRound], qubits: list[int]) -> MarginalEstimator:
    wires = {
        qubit: (number, wire)
        for number, subcircuit in enumerate(sampling.cut.subcircuits)
        for qubit, wire in subcircuit.open_wires.items()
    }
    sources = sampling.sources
    on = [wires[qubit] for qubit in qubits]
    return MarginalEstimator(sampling.cut, sources.tensors, sources.uses, rounds, on, 1 << 30)


@pytest.mark.parametrize("name", CIRCUITS)
def test_exact_counts_give_the_uncut_distribution(name: str) -> None:
    circuit, _ = CIRCUITS[name]
    device = device_of(name)
    assert device.sampling.mode == "enumerated"
    for qubits in (list(range(circuit.num_qubits)), [2, 0], [1]):
        found = marginal(device.sampling, [known(device)], qubits).values()
        truth = Statevector(circuit).probabilities(qubits)
        np.testing.assert_allclose(found, truth, atol=1e-10)


@pytest.mark.slow
@settings(max_examples=8)
@given(structured(max_qubits=4, max_gates=8), st.text("AB", min_size=4, max_size=4), st.data())
def test_exact_counts_of_random_circuits(
    circuit: QuantumCircuit, labels: str, data: st.DataObject
) -> None:
    plan = plan_of(circuit, 10**9, cut_labels=labels[: circuit.num_qubits])
    if plan.sampling.num_variants > 150:
        reject()  # it would take seconds
    device = Device(plan.sampling)
    qubits = data.draw(st.permutations(range(circuit.num_qubits)))
    qubits = qubits[: data.draw(st.integers(1, len(qubits)))]
    found = marginal(device.sampling, [known(device)], qubits).values()
    np.testing.assert_allclose(found, Statevector(circuit).probabilities(qubits), atol=1e-10)


@pytest.mark.slow
def test_blocks_of_outcomes_give_what_all_at_once_give(monkeypatch: pytest.MonkeyPatch) -> None:
    device = device_of("chain", 20_000)
    rounds = list(device.run(1).rounds)
    whole = marginal(device.sampling, rounds, [5, 0, 1, 3])
    values, variances = whole.values(), whole.variances
    np.testing.assert_allclose(np.diag(whole.covariance), variances, rtol=1e-10)
    monkeypatch.setattr("hpcq.reconstruction.estimation.marginal_estimator._BLOCK_ENTRIES", 70)
    in_blocks = marginal(device.sampling, rounds, [5, 0, 1, 3])
    assert len(list(in_blocks._blocks())) > 3
    np.testing.assert_allclose(in_blocks.values(), values, atol=1e-14)
    np.testing.assert_allclose(in_blocks.variances, variances, rtol=1e-10)


def test_equal_subcircuits_have_counts_of_their_own() -> None:
    """An estimate times itself would be biased."""
    cut, sources = device_of("equal").sampling.cut, device_of("equal").sampling.sources
    assert cut.subcircuits[0].content == cut.subcircuits[1].content
    assert sources.uses == (0, 1)
    outcomes = outcomes_of(result_of("equal", 2000))
    record = outcomes._record.record
    details = replace(outcomes.result.details, sections=(replace(record, uses=(0, 0)),))
    with pytest.raises(InputError, match="share their counts"):
        outcomes_of(replace(outcomes.result, details=details))


def result_of(name: str, shots: int, **how: object) -> Result:
    circuit, where = CIRCUITS[name]
    return hpcq.run(plan_of(circuit, shots, **where, **how), device="cpu")


@pytest.mark.parametrize("name", [pytest.param("chain", marks=pytest.mark.slow), "self loop"])
def test_marginals_agree_with_outcomes_one_by_one(name: str) -> None:
    """Two ways: dense tensors with outcomes, and projectors read as observables are."""
    outcomes = outcomes_of(result_of(name, 30_000))
    num_qubits = len(outcomes.qubits)
    texts = [format(number, f"0{num_qubits}b") for number in range(1 << num_qubits)]
    singly, together = outcomes.probabilities(texts), outcomes.marginal(range(num_qubits))
    np.testing.assert_allclose(singly.values, together.values, atol=1e-12)
    np.testing.assert_allclose(singly.standard_errors, together.standard_errors, rtol=0.1)
    np.testing.assert_allclose(
        together.standard_errors**2, np.diag(together.covariance), rtol=1e-10
    )
    assert singly.projected.sum() <= 1 + 1e-12
    np.testing.assert_allclose(together.projected.sum(), 1)


def bootstrap(device: Device, measured: ShotRound, qubits: list[int], repetitions: int):
    """Yield the estimates from resampled counts."""
    rng = np.random.default_rng(0)
    for _ in range(repetitions):
        counts = []
        for of_source in measured.counts:
            rows = []
            for variant in range(len(of_source)):
                outcomes, frequencies = of_source.of_variant(variant)
                shots = frequencies.sum()
                drawn = rng.multinomial(shots, frequencies / max(1, shots))
                rows.append((variant, outcomes, drawn))
            counts.append(Counts.gather(len(of_source), rows))
        again = replace(measured, counts=tuple(counts))
        yield marginal(device.sampling, [again], qubits).values()


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("name", ["self loop", "gate"])
def test_covariances_are_those_of_a_bootstrap(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pseudo-shots, of which a bootstrap knows nothing."""
    for module in ("marginal_estimator", "outcome_tables"):
        monkeypatch.setattr(f"hpcq.reconstruction.estimation.{module}.PSEUDO_SHOTS", 0.0)
    device = device_of(name)
    shots = np.random.default_rng(3).integers(300, 600, 200)
    counts = []
    for tensor, exact in zip(device.sampling.sources.tensors, device.exact, strict=True):
        rng, rows = np.random.default_rng(5), []
        for variant in range(tensor.num_variants):
            outcomes, probabilities = exact.of_variant(variant)
            drawn = rng.multinomial(shots[variant], probabilities / probabilities.sum())
            rows.append((variant, outcomes, drawn))
        counts.append(Counts.gather(tensor.num_variants, rows))
    measured = replace(known(device), counts=tuple(counts))
    qubits = [0, 2, 1]
    estimates = np.array(list(bootstrap(device, measured, qubits, 500)))
    found = marginal(device.sampling, [measured], qubits).covariance
    expected = np.cov(estimates.T)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    # Correlations from 500 repetitions are known to 0.045.
    assert np.abs((found - expected) / scale).max() < 0.2


def pulls(
    name: str, shots: int, qubits: list[int], runs: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the truth, and errors and error bars of some runs, shape (runs, outcomes)."""
    circuit, _ = CIRCUITS[name]
    truth = np.asarray(Statevector(circuit).probabilities(qubits))
    device = device_of(name, shots)
    off, bars = [], []
    for seed in range(runs):
        found = marginal(device.sampling, list(device.run(seed).rounds), qubits)
        off.append(found.values() - truth)
        bars.append(np.sqrt(found.variances))
    return truth, np.array(off), np.array(bars)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shots", "runs"),
    [
        ("self loop", 20_000, 40),
        *(
            pytest.param(name, shots, 100, marks=pytest.mark.nightly)
            for name, shots in [
                ("gate", 20_000),
                ("gates", 60_000),
                ("chain", 60_000),
                ("loop", 60_000),
                ("self loop", 20_000),
                ("shared ports", 60_000),
                ("equal", 60_000),
                ("parts", 20_000),
            ]
        ),
    ],
)
def test_error_bars_hold_given_what_was_measured(name: str, shots: int, runs: int) -> None:
    """Also in the runs whose error bars came out small.

    Only outcomes that are well resolved are looked at there: the bar of a rare one is about the
    root of its count, so that it is small wherever the count is small by chance.
    """
    truth, off, bars = pulls(name, shots, [0, 1, 2], runs)
    squares = (off / bars) ** 2
    assert 0.7 < squares.mean() < 1.4
    assert np.mean(squares > 9) < 0.02
    assert np.abs(off.mean(axis=0) / (off.std(axis=0) / np.sqrt(runs))).max() < 4  # unbiased
    resolved = truth > 8 * bars.mean(axis=0)
    assert resolved.any()
    small_bars = resolved & (bars < np.quantile(bars, 0.25, axis=0))
    assert 0.45 < squares[small_bars].mean() < 1.6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factors", "shots", "runs"),
    [(3, 400, 40), pytest.param(3, 400, 200, marks=pytest.mark.nightly)],
)
def test_products_of_improbable_factors_have_true_error_bars(
    factors: int, shots: int, runs: int
) -> None:
    """To first order the error bar vanishes where several factors are near zero as measured."""
    circuit = QuantumCircuit(factors)
    for qubit in range(factors):
        circuit.ry(0.25, qubit)
    device = Device(plan_of(circuit, shots).sampling)
    truth = np.sin(0.125) ** (2 * factors)
    off, bars = [], []
    for seed in range(runs):
        found = marginal(device.sampling, list(device.run(seed).rounds), list(range(factors)))
        off.append(found.values()[-1] - truth)
        bars.append(np.sqrt(found.variances[-1]))
    sigmas = np.abs(off) / np.array(bars)
    assert np.mean(sigmas**2) < 1.7
    assert np.sum(sigmas > 5) <= 0.005 * runs
    assert np.median(bars) < 3 * np.sqrt(np.mean(np.square(off)))


def test_joint_samples_tell_the_same_distribution() -> None:
    circuit, how = CIRCUITS["chain"]
    plan = plan_of(circuit, 60_000, **how)
    joint = joint_sampling_of(CutProblem.of(plan), plan.sampling.budget)
    outcomes = outcomes_of(hpcq.run(replace(plan, sampling=joint), device="cpu"))
    # Qubits of some subcircuits, of all, and none on the one in between.
    for qubits in ([3, 1], [0, 2, 5], [0, 5]):
        found = outcomes.marginal(qubits)
        sigmas = (found.values - Statevector(circuit).probabilities(qubits)) / found.standard_errors
        assert np.abs(sigmas).max() < 4
        assert 0.005 < found.standard_errors.max() < 0.1
        with pytest.raises(InputError, match="joint samples"):
            _ = found.covariance
    with pytest.raises(InputError, match="1 to 10 distinct"):
        outcomes.marginal(range(11))


@pytest.mark.slow
def test_readout_noise_and_registers(tmp_path: Path) -> None:
    """Readout errors of wires without ports act on the cut circuit as on the uncut one.

    The first wire of either half is read wrongly. The cut gate is on the other wires, so that its
    ports are not.
    """
    circuit = QuantumCircuit(4)
    rng = np.random.default_rng(9)
    for pairs in (((0, 1), (2, 3), (1, 3)), ((0, 1), (2, 3))):
        for qubit in range(4):
            circuit.u(*rng.uniform(0, 6, 3), qubit)
        for pair in pairs:
            circuit.cz(*pair)
    circuit.u(0.5, 0.4, 0.3, range(4))
    truth = Statevector(circuit).probabilities([0, 1, 2]).reshape(2, 2, 2)
    confusion = np.array([[0.8, 0.2], [0.3, 0.7]])
    truth = np.einsum("cba,cd,ae->dbe", truth, confusion, confusion)

    circuit.add_register(ClassicalRegister(2, "a"), ClassicalRegister(2, "b"))
    circuit.measure([2, 0, 1], [0, 1, 3])  # nothing is written to the lower bit of b
    noise = NoiseModel()
    noise.add_readout_error(ReadoutError(confusion), [0])
    path = tmp_path / "out.h5"
    how = {"cut_labels": "AABB", "threads": 1, "device": "cpu", "noise": noise, "output": path}
    found = hpcq.outcomes(circuit, shots=40_000, **how)
    texts = [f"{b}0 {a}{c}" for c in "01" for b in "01" for a in "01"]
    estimates = found.probabilities([*texts, "01 00"])
    assert found.measurements.qubits == (0, 1, 2)
    assert estimates.values[-1] == estimates.standard_errors[-1] == 0
    sigmas = (estimates.values[:-1] - truth.reshape(-1)) / estimates.standard_errors[:-1]
    assert np.abs(sigmas).max() < 4
    assert estimates.standard_errors.max() < 0.02
    loaded = hpcq.outcomes(path)
    np.testing.assert_array_equal(loaded.probabilities(texts).values, estimates.values[:-1])
    of_marginal = loaded.marginal([0, 1, 2]).values
    np.testing.assert_allclose(of_marginal, estimates.values[:-1], atol=1e-12)


def test_what_shots_cannot_tell() -> None:
    outcomes = outcomes_of(result_of("gate", 2000))
    for refused in (outcomes.sample, outcomes.amplitudes, outcomes.top):
        with pytest.raises(InputError, match="expected"):
            refused(10)
    for qubits in ([], [0, 0], [9], range(21)):
        with pytest.raises(InputError, match="qubits"):
            outcomes.marginal(qubits)
    for texts in (["0000", "0000"], ["000"], ["01a0"]):
        with pytest.raises(InputError, match="expected"):
            outcomes.probabilities(texts)
    circuit, plan = blocks(2, 2, 1, 1), plan_of(blocks(2, 2, 1, 1), 2000)
    for match, asked, how in [
        ("shots: None", circuit, {"noise": NoiseModel()}),
        ("cut_labels: given with a plan", plan, {"cut_labels": "AABB"}),
        ("seed: given with a result", outcomes.result, {"seed": 1}),
        ("shots: '0'", circuit, {"shots": 0}),
    ]:
        with pytest.raises(InputError, match=match):
            hpcq.outcomes(asked, **how)
    assert hpcq.outcomes(plan).shots == 2000


def test_counts_of_other_observables_are_refused_unless_they_suffice() -> None:
    circuit, how = CIRCUITS["chain"]
    options = {"threads": 1, "device": "cpu", "shots": 4000, **how}
    some = outcomes_of(hpcq.run(circuit, ["Z0 Z1 + X3", "Z2", "X4 Z5", "Z4"], **options))
    assert some.qubits == (0, 1, 2, 4, 5)
    for qubits in ([2, 0], [4, 1]):
        found = some.marginal(qubits)
        sigmas = (found.values - Statevector(circuit).probabilities(qubits)) / found.standard_errors
        assert np.abs(sigmas).max() < 4
    with pytest.raises(InputError, match="not measured in Z together"):
        some.marginal([0, 3])
    with pytest.raises(InputError, match=r"\[4, 5\] were never measured together in Z"):
        some.marginal([4, 5])
    with pytest.raises(InputError, match="no counts"):
        outcomes_of(hpcq.run(circuit, "Z0", threads=1, device="cpu", **how))
