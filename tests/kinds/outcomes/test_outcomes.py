"""Outcomes of cut circuits are those of the whole circuit, by every method."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.quantum_info import Statevector
from scipy.stats import chisquare

import hpcq
from hpcq.core.errors import EngineError, HpcqError, InputError, TasksFailedError
from hpcq.cutting.subexperiments.exact_tensors import Simulation
from hpcq.kinds.outcomes.sample_tasks import SampleTasks
from hpcq.kinds.outcomes.state_tasks import StateTasks
from hpcq.planning.outcome_plan import KnownSites, OutcomesPlan
from hpcq.results import load_progress
from tests.support.circuits import two_halves
from tests.support.launch import environment, run

SHOTS = 100_000


def rotated(num_qubits: int = 6, layers: int = 3, seed: int = 5) -> QuantumCircuit:
    """Rotations and a ladder of CZ, whose last gates are rotations."""
    rng = np.random.default_rng(seed)
    circuit = QuantumCircuit(num_qubits)
    for layer in range(layers + 1):
        for qubit in range(num_qubits):
            circuit.u(*rng.uniform(0, 6, 3), qubit)
        for qubit in range(layer % 2, num_qubits - 1 if layer < layers else 0, 2):
            circuit.cz(qubit, qubit + 1)
    return circuit


def partly_measured() -> tuple[QuantumCircuit, np.ndarray]:
    """Return a circuit of two registers, and the probabilities of the bits that are written."""
    first, second = ClassicalRegister(2, "first"), ClassicalRegister(2, "second")
    circuit = QuantumCircuit(QuantumRegister(6), first, second)
    circuit.compose(rotated(), inplace=True)
    probabilities = Statevector(circuit).probabilities([4, 1, 5])
    circuit.measure([4, 1, 5], [first[1], second[0], second[1]])
    return circuit, probabilities


def texts(bits: int) -> list[str]:
    return [format(number, f"0{bits}b") for number in range(1 << bits)]


def check_samples(samples: hpcq.results.samples.Samples, expected: dict[str, float]) -> None:
    """Compare samples and their stated probabilities with those of the whole circuit."""
    assert sum(samples.counts.values()) == len(samples)
    assert samples.counts.keys() <= expected.keys()
    found = np.array([samples.counts.get(text, 0) for text in expected])
    wanted = len(samples) * np.array(list(expected.values()))
    assert chisquare(found, wanted * (found.sum() / wanted.sum())).pvalue > 1e-6
    for text, probability, _ in samples.distinct():
        assert probability == pytest.approx(expected[text], abs=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"cut_labels": "AAABBB"},
        {"method": "statevector"},
        pytest.param({"cut_labels": "ABABBA"}, marks=pytest.mark.slow),
        pytest.param({"max_qubits": 4}, marks=pytest.mark.slow),
        pytest.param({"max_qubits": 3, "dtype": "complex64"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_cut_equals_uncut(options: dict) -> None:
    circuit = rotated()
    tolerance = 1e-5 if "dtype" in options else 1e-10
    outcomes = hpcq.outcomes(circuit, threads=1, memory=1 << 30, **options)
    state = Statevector(circuit)
    found = outcomes.probabilities(texts(6))
    np.testing.assert_allclose(found, state.probabilities(), atol=tolerance)
    amplitudes = outcomes.amplitudes(texts(6))
    phase = np.vdot(amplitudes, state.data)
    assert abs(phase) == pytest.approx(1, abs=tolerance)
    np.testing.assert_allclose(amplitudes * phase, state.data, atol=tolerance)
    marginal = outcomes.marginal([4, 0, 3])
    np.testing.assert_allclose(marginal, state.probabilities([4, 0, 3]), atol=tolerance)
    if tolerance < 1e-6:
        check_samples(
            outcomes.sample(SHOTS), dict(zip(texts(6), state.probabilities(), strict=True))
        )


def test_registers_partial_measurements_and_unwritten_bits(tmp_path: Path) -> None:
    circuit, probabilities = partly_measured()
    # Bits: second[1] second[0] first[1] first[0]; nothing is written to first[0].
    expected = {
        f"{n >> 2 & 1}{n >> 1 & 1} {n & 1}0": value for n, value in enumerate(probabilities)
    }
    asked = [*expected, "00 01"]
    plan = hpcq.plan_outcomes(
        circuit,
        shots=SHOTS,
        probabilities=asked,
        marginals=[[5, 4]],
        cut_labels="AAABBB",
        threads=1,
    )
    result = hpcq.run(plan)
    result.save(tmp_path / "out.h5")
    for held in (result, hpcq.load(tmp_path / "out.h5")):
        record = held.outcomes
        assert record is not None
        assert record.samples is not None
        assert record.asked is not None
        check_samples(record.samples, expected)
        assert record.asked.bitstrings == tuple(asked)
        np.testing.assert_allclose(record.asked.probabilities, [*probabilities, 0], atol=1e-12)
        (marginal,) = record.marginals
        two = Statevector(rotated()).probabilities([5, 4])
        np.testing.assert_allclose(marginal.probabilities, two, atol=1e-12)
    samples = record.samples
    first, second = (samples.register(name).get_bitstrings() for name in ("first", "second"))
    assert [f"{b} {a}" for a, b in zip(first, second, strict=True)] == samples.memory


@pytest.mark.slow
def test_gates_that_change_no_probability_are_dropped() -> None:
    circuit = rotated()
    circuit.rzz(0.4, 2, 3)
    circuit.measure_all()
    outcomes = hpcq.outcomes(circuit, max_qubits=4, threads=1)
    assert outcomes.plan is not None
    before = hpcq.outcomes(rotated(), max_qubits=4, threads=1)
    assert len(outcomes.plan.cut.edges) == len(before.plan.cut.edges)
    expected = Statevector(rotated()).probabilities()
    np.testing.assert_allclose(outcomes.probabilities(texts(6)), expected, atol=1e-12)
    with pytest.raises(InputError, match=r"amplitudes: .* expected a circuit without measurements"):
        outcomes.amplitudes(texts(6))
    kept = hpcq.outcomes(circuit.remove_final_measurements(inplace=False), max_qubits=4, threads=1)
    amplitudes = kept.amplitudes(texts(6))
    state = Statevector(circuit.remove_final_measurements(inplace=False)).data
    np.testing.assert_allclose(amplitudes * np.vdot(amplitudes, state), state, atol=1e-10)


@pytest.mark.slow
def test_too_little_memory_for_all_states() -> None:
    circuit = QuantumCircuit(18)
    circuit.compose(rotated(9, 2, 1), range(9), inplace=True)
    circuit.compose(rotated(9, 2, 2), range(9, 18), inplace=True)
    for qubit in range(4):
        circuit.cz(8 - qubit, 9 + qubit)
        circuit.ry(0.3, [8 - qubit, 9 + qubit])
    labels = "A" * 9 + "B" * 9
    few = hpcq.plan_outcomes(circuit, cut_labels=labels, memory=1 << 20, threads=1)
    assert any(tensor.sliced for tensor in few.tensors) or len(few.kept) < len(few.tensors)
    plenty = hpcq.outcomes(circuit, cut_labels=labels, memory=1 << 30, threads=1)
    outcomes = hpcq.outcomes(few)
    samples = plenty.sample(50)
    np.testing.assert_allclose(
        outcomes.probabilities(samples.memory), samples.probabilities, rtol=1e-10
    )
    np.testing.assert_allclose(outcomes.marginal([3, 12]), plenty.marginal([3, 12]), atol=1e-10)


@pytest.mark.parametrize("method", ["stabilizer", "mps"])
def test_other_methods_sample(method: str) -> None:
    circuit, expected = QuantumCircuit(40), {}
    circuit.h(range(0, 40, 10))
    for qubit in range(40):
        if qubit % 10:
            circuit.cx(qubit - 1, qubit)
    for number in range(16):
        expected["".join(str(number >> block & 1) * 10 for block in (3, 2, 1, 0))] = 1 / 16
    outcomes = hpcq.outcomes(circuit, method=method, threads=1)
    check_samples(outcomes.sample(20_000), expected)
    asked = [*expected, "01" * 20]
    np.testing.assert_allclose(outcomes.probabilities(asked), [*expected.values(), 0], atol=1e-12)
    marginal = outcomes.marginal([35, 3, 2, 17])
    # Bits 1 and 2 are of one block.
    assert np.flatnonzero(marginal > 0.1).tolist() == [0, 1, 6, 7, 8, 9, 14, 15]
    top = outcomes.top(16)
    assert top.is_exact
    assert set(top.bitstrings) == set(expected)
    with pytest.raises(InputError, match=f"amplitudes: not available with method {method}"):
        outcomes.amplitudes(asked)
    with pytest.raises(InputError, match="marginal: 40 qubits, expected at most 24"):
        outcomes.marginal(range(40))
    with pytest.raises(InputError, match=f"method: '{method}' gives marginals of at most 12"):
        hpcq.plan_outcomes(circuit, method=method, marginals=[range(13)])


def test_parts_of_several_methods() -> None:
    circuit = rotated(8, 3)
    whole = QuantumCircuit(40)
    whole.compose(circuit, range(4, 12), inplace=True)
    whole.h(20)
    for qubit in range(20, 39):
        whole.cx(qubit, qubit + 1)
    whole.measure_all()
    state = Statevector(circuit)
    outcomes = hpcq.outcomes(
        hpcq.plan_outcomes(whole, shots=1, threads=1, search_seconds=0.1), device="cpu"
    )
    assert outcomes.plan is not None
    assert outcomes.plan.verdict.method == "stabilizer+statevector"
    samples = outcomes.sample(SHOTS)
    for text, stated, _ in list(samples.distinct())[:50]:
        expected = state.probabilities()[int(text[40 - 12 : 40 - 4], 2)] / 2
        assert stated == pytest.approx(expected, abs=1e-12)
        assert text[:20] in ("0" * 20, "1" * 20)
    common = [text for text, _, _ in samples.distinct()][:20]
    stated = [stated for _, stated, _ in samples.distinct()][:20]
    np.testing.assert_allclose(outcomes.probabilities(common), stated, atol=1e-12)
    expected = np.kron([0.5, 0.5], state.probabilities([5, 1]))
    np.testing.assert_allclose(outcomes.marginal([9, 5, 22]), expected, atol=1e-12)
    top = outcomes.top(2)
    best = np.sort(state.probabilities())[-1] / 2
    np.testing.assert_allclose(top.probabilities, [best, best], atol=1e-12)


def test_auto_takes_matrix_product_states_for_samples_of_little_entanglement() -> None:
    circuit = QuantumCircuit(40)
    for layer in range(2):
        circuit.ry(0.4 + layer, range(40))
        for qubit in range(layer, 39, 2):
            circuit.cz(qubit, qubit + 1)
    circuit.ry(1.1, range(40))
    plan = hpcq.plan_outcomes(circuit, shots=1000, threads=1)
    assert plan.verdict.method == "mps"
    record = hpcq.run(plan).outcomes
    assert record is not None
    samples = record.samples
    assert samples is not None
    cut = hpcq.outcomes(circuit, cut_labels=[qubit // 10 for qubit in range(40)], threads=1)
    expected = cut.probabilities(samples.memory)
    np.testing.assert_allclose(samples.probabilities, expected, rtol=1e-8)


def test_samples_of_truncated_states_say_how_far_they_may_be_off(tmp_path: Path) -> None:
    circuit = rotated(14, 14)
    state = Statevector(circuit).probabilities()
    simulation = "hpcq.planning.routing.outcome_router.Simulation"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(simulation, lambda *costs: Simulation(*costs, cap=12))
        plan = hpcq.plan_outcomes(circuit, shots=4000, method="mps", threads=1)
    hpcq.run(plan).save(tmp_path / "out.h5")
    record = hpcq.load(tmp_path / "out.h5").outcomes
    assert record is not None
    assert record.samples is not None
    outcomes = np.array([int(text, 2) for text in record.samples.memory])
    distinct = np.unique(outcomes, return_index=True)[1]
    stated, exact = record.samples.probabilities[distinct], state[outcomes[distinct]]
    assert 1e-3 < np.abs(stated - exact).sum() / 2 <= record.distance


def test_more_samples_than_memory_holds_are_refused() -> None:
    with pytest.raises(InputError, match="shots: 1000000000 samples need"):
        hpcq.plan_outcomes(two_halves(), shots=10**9, memory=1 << 30)


@pytest.mark.slow
def test_auto_keeps_states_where_it_can() -> None:
    circuit = QuantumCircuit(40)
    circuit.h(0)
    for qubit in range(39):
        circuit.cx(qubit, qubit + 1)
    open_question = hpcq.outcomes(circuit, threads=1, search_seconds=0.5)
    assert open_question.plan is not None
    assert open_question.plan.verdict.method == "cut"
    assert open_question.probabilities(["0" * 40, "1" * 40]) == pytest.approx([0.5, 0.5])
    assert hpcq.plan_outcomes(circuit, shots=100, threads=1).verdict.method == "stabilizer"


def test_the_most_probable_outcomes(tmp_path: Path) -> None:
    circuit, probabilities = partly_measured()
    whole = Statevector(rotated()).probabilities()
    outcomes = hpcq.outcomes(rotated(), cut_labels="AAABBB", threads=1)
    top = outcomes.top(5)
    assert top.is_exact
    assert top.bitstrings == tuple(format(n, "06b") for n in np.argsort(-whole)[:5])
    np.testing.assert_allclose(top.probabilities, np.sort(whole)[::-1][:5], atol=1e-12)
    plan = hpcq.plan_outcomes(circuit, top=2, cut_labels="AABBBB", threads=1)
    hpcq.run(plan).save(tmp_path / "out.h5")
    record = hpcq.load(tmp_path / "out.h5").outcomes
    assert record is not None
    assert record.top is not None
    assert "exact, by" in record.top.note
    np.testing.assert_allclose(
        record.top.probabilities, np.sort(probabilities)[::-1][:2], atol=1e-12
    )


def test_the_most_probable_outcomes_of_many_may_come_from_samples() -> None:
    circuit = rotated(30, 1, 2)
    outcomes = hpcq.outcomes(circuit, max_qubits=12, threads=1)
    top = outcomes.top(3)
    assert len(top.bitstrings) == 3
    np.testing.assert_allclose(outcomes.probabilities(top.bitstrings), top.probabilities)
    assert top.is_exact or 0 < top.missed_probability <= 1


def test_the_seed_decides() -> None:
    outcomes = hpcq.outcomes(two_halves(), cut_labels="AAABBB", threads=1, seed=4)
    first = outcomes.sample(200_000).packed
    assert (outcomes.sample(200_000, seed=4).packed == first).all()
    assert not (outcomes.sample(200_000, seed=5).packed == first).all()
    # Outcomes come in random order, over chunks too.
    halves = first[:100_000, 0].mean(), first[100_000:, 0].mean()
    assert halves[0] == pytest.approx(halves[1], rel=0.05)


def test_a_run_that_fails_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "out.h5"
    plan = hpcq.plan_outcomes(
        two_halves(), cut_labels="AAABBB", shots=200_000, probabilities=["000000"], threads=1
    )
    expected = hpcq.run(plan, device="cpu").outcomes
    computed: list[tuple[type, int]] = []
    failing: set[tuple[type, int]] = {(StateTasks, 1), (SampleTasks, 2)}
    for owner in (StateTasks, SampleTasks):
        make = owner.task_function

        def task_function(tasks: Any, open_engine: Any, make: Any = make) -> Any:
            compute = make(tasks, open_engine)

            def watched(task: int, payload: bytes = b"") -> np.ndarray:
                if (type(tasks), task) in failing:
                    raise EngineError("the dog ate my amplitudes")
                computed.append((type(tasks), task))
                return compute(task, payload)

            return watched

        monkeypatch.setattr(owner, "task_function", task_function)
    stages = []
    for owner in (StateTasks, SampleTasks):
        with pytest.raises(TasksFailedError, match="ate my amplitudes"):
            # Each start is a new process elsewhere, and knows nothing of an earlier one.
            hpcq.run(replace(plan, known=KnownSites()), output=output, device="cpu")
        stages.append([(stage["done"], stage["total"]) for stage in load_progress(output)[1]])
        failing -= {each for each in failing if each[0] is owner}
    assert stages == [[(1, 2)], [(2, 2), (3, 4)]]
    found = hpcq.run(replace(plan, known=KnownSites()), output=output, device="cpu").outcomes
    assert sorted(computed, key=str) == sorted(
        [(StateTasks, n) for n in range(2)] + [(SampleTasks, n) for n in range(4)], key=str
    )
    assert found is not None
    assert expected is not None
    np.testing.assert_array_equal(found.packed, expected.packed)
    np.testing.assert_array_equal(found.sample_probabilities, expected.sample_probabilities)
    assert hpcq.load(output).status == "complete"
    with pytest.raises(InputError, match="output: a result of another run"):
        hpcq.run(plan.asking({"seed": 9}, shots=200_000), output=output, device="cpu")


def test_what_is_refused() -> None:
    circuit = two_halves()
    mid = QuantumCircuit(2, 1)
    mid.measure(0, 0)
    mid.x(0)
    with pytest.raises(InputError, match="only final measurements are supported"):
        hpcq.outcomes(mid)
    with pytest.raises(InputError, match="'pauli' gives expectation values only"):
        hpcq.outcomes(circuit, method="pauli")
    with pytest.raises(InputError, match="output: given for exact outcomes"):
        hpcq.outcomes(circuit, output="out.h5")
    with pytest.raises(InputError, match="seed: given with a plan"):
        hpcq.outcomes(hpcq.plan_outcomes(circuit), seed=3)
    with pytest.raises(InputError, match="circuit: a list, expected"):
        hpcq.outcomes([circuit])
    with pytest.raises(InputError, match="noise: given for exact outcomes"):
        hpcq.run(hpcq.plan_outcomes(circuit, shots=5), noise="fake_brisbane")
    with pytest.raises(InputError, match="bit string: '01'"):
        hpcq.plan_outcomes(circuit, probabilities=["01"])
    with pytest.raises(InputError, match="marginal: qubit 9"):
        hpcq.plan_outcomes(circuit, marginals=[[9]])
    outcomes = hpcq.outcomes(circuit)
    with pytest.raises(InputError, match="shots: '0'"):
        outcomes.sample(0)
    with pytest.raises(InputError, match="expected each qubit once"):
        outcomes.marginal([1, 1])


def test_a_wrong_state_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    states = hpcq.kinds.outcomes.state_tasks.StateTasks.states

    def doubled(self: object, finished: object) -> object:
        result = states(self, finished)  # type: ignore[arg-type]
        return lambda tensor, branch: 2 * result(tensor, branch)

    monkeypatch.setattr("hpcq.kinds.outcomes.state_tasks.StateTasks.states", doubled)
    with pytest.raises(HpcqError, match="norm"):
        hpcq.outcomes(two_halves(), cut_labels="AAABBB")


def test_plans_say_what_is_asked_for() -> None:
    plan = hpcq.plan_outcomes(two_halves(), cut_labels="AAABBB", shots=1000, top=3)
    assert isinstance(plan, OutcomesPlan)
    assert "asked for          1000 samples, the 3 most probable outcomes" in str(plan)
    assert "us a shot" in str(plan)
    content = hpcq.planning.kind.kind_of(plan).to_json(plan)
    assert content["sampling"]["shot_seconds"] > 0
    assert content["asked"]["shots"] == 1000
    assert {"method", "subcircuits", "memory_bytes", "predicted_seconds"} <= content.keys()


KILLED = """
import sys, hpcq
from hpcq.runs import file_output
from tests.kinds.outcomes.test_outcomes import rotated
file_output._MIN_PAUSE_FACTOR = 0
plan = hpcq.plan_outcomes(
    rotated(24), cut_labels="A" * 12 + "B" * 12, shots=600_000, threads=1, memory=1 << 30
)
hpcq.run(plan, output=sys.argv[1], checkpoint_seconds=0.02, device="cpu")
"""


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.mpi
def test_a_killed_run_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    """On one rank until it is killed, and then on three."""
    whole, output = tmp_path / "whole.h5", tmp_path / "out.h5"
    assert run(sys.executable, "-c", KILLED, whole).returncode == 0
    started = subprocess.Popen([sys.executable, "-c", KILLED, output], env=environment())
    deadline = time.monotonic() + 60
    while started.poll() is None and time.monotonic() < deadline:
        stages = load_progress(output)[1] if output.exists() else []
        if len(stages) == 2 and stages[1]["done"] > 1:
            break
        time.sleep(0.005)
    started.kill()
    started.wait()
    assert load_progress(output)[0].status == "partial"
    again = run(sys.executable, "-c", KILLED, output, ranks=3)
    assert again.returncode == 0, again.stderr
    found, expected = hpcq.load(output).outcomes, hpcq.load(whole).outcomes
    assert found is not None
    assert expected is not None
    np.testing.assert_array_equal(found.packed, expected.packed)
