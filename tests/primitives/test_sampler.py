"""The Sampler answers pubs as Qiskit's StatevectorSampler does."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import real_amplitudes
from qiskit.primitives import BasePrimitiveJob, StatevectorSampler
from qiskit.providers import JobStatus
from scipy.stats import chi2_contingency

from hpcq.core.errors import InputError
from hpcq.primitives import Sampler
from tests.primitives.sampler_pubs import PUBS, ROWS, ansatz, bell, measured

HOW = {"threads": 1, "memory": 1 << 28, "device": "cpu"}
SHOTS = 1000
MIN_P_VALUE = 1e-5
"""Two samplers of the same distribution get a smaller one in 1 of 100,000 comparisons."""


def outcomes(data: Any, row: tuple[int, ...]) -> Counter[str]:
    """Return the counts of the bits of all registers together."""
    registers = [data[name][row] for name in data]
    strings = [each.get_bitstrings() for each in registers if each.num_bits]
    return Counter(" ".join(words) for words in zip(*strings, strict=True))


def p_value(first: Counter[str], second: Counter[str]) -> float:
    """Return the p-value of two counts, if both are samples of one distribution."""
    both = first + second
    common = [key for key, count in both.items() if count >= 20]
    table = [[counts[key] for key in common] for counts in (first, second)]
    table = [
        [*row, counts.total() - sum(row)]
        for row, counts in zip(table, (first, second), strict=True)
    ]
    used = np.array(table)[:, np.sum(table, axis=0) > 0]
    return float(chi2_contingency(used).pvalue) if used.shape[1] > 1 else 1.0


def check_same(found: Any, expected: Any) -> None:
    """Compare two results of pubs, with their metadata."""
    assert found.metadata == expected.metadata
    assert found.data.shape == expected.data.shape
    assert set(found.data) == set(expected.data)
    for name in found.data:
        ours, theirs = found.data[name], expected.data[name]
        assert (ours.shape, ours.num_shots, ours.num_bits) == (
            theirs.shape,
            theirs.num_shots,
            theirs.num_bits,
        )
        assert (ours.array.shape, ours.array.dtype) == (theirs.array.shape, theirs.array.dtype)
    for row in np.ndindex(found.data.shape):
        ours, theirs = outcomes(found.data, row), outcomes(expected.data, row)
        if len(theirs) == 1:  # a certain outcome
            assert ours == theirs
        assert p_value(ours, theirs) > MIN_P_VALUE


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    return Sampler(seed=5, **HOW)


def test_the_table_has_at_least_forty_pubs() -> None:
    assert len(PUBS) >= 40


def _compare(sampler: Any, names: Any) -> None:
    pubs = [PUBS[name]() for name in names]
    found = sampler.run(pubs, shots=SHOTS).result()
    expected = StatevectorSampler(seed=11).run(pubs, shots=SHOTS).result()
    assert len(found) == len(expected) == len(pubs)
    assert found.metadata == expected.metadata
    for got, wanted in zip(found, expected, strict=True):
        check_same(got, wanted)


FEW = ("other order", "unwritten register", "two registers of bytes", "rows in two axes", "bound")


def test_pubs_have_the_samples_of_a_statevector(sampler: Sampler) -> None:
    _compare(sampler, FEW)


@pytest.mark.slow
def test_all_pubs_have_the_samples_of_a_statevector(sampler: Sampler) -> None:
    _compare(sampler, PUBS)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"cut_labels": "AAB"}, {"max_qubits": 2}])
def test_cut_circuits_have_the_same_distribution(options: dict[str, Any]) -> None:
    circuit = measured(real_amplitudes(3, reps=2))
    rows = np.random.default_rng(4).uniform(-3, 3, (3, circuit.num_parameters))
    pubs = [(circuit, rows), circuit.assign_parameters(rows[0])]
    found = Sampler(**options, **HOW).run(pubs, shots=SHOTS).result()
    for got, wanted in zip(
        found, StatevectorSampler().run(pubs, shots=SHOTS).result(), strict=True
    ):
        check_same(got, wanted)


def test_the_comparison_finds_wrong_distributions() -> None:
    biased = Counter({"0": 420, "1": 580})
    assert p_value(biased, Counter({"0": 500, "1": 500})) > MIN_P_VALUE
    assert p_value(biased, Counter({"0": 580, "1": 420})) < MIN_P_VALUE
    other = [bell(2), bell(1, 1)]
    for circuit in other:
        circuit.measure([0, 1], [0, 1])
    found, expected = (StatevectorSampler().run([each]).result()[0] for each in other)
    with pytest.raises(AssertionError):
        check_same(found, expected)


def test_shots_of_the_pub_the_run_and_the_sampler() -> None:
    sampler = Sampler(default_shots=10, **HOW)
    assert (sampler.default_shots, Sampler(**HOW).default_shots) == (10, 1024)
    circuit = bell().measure_all(inplace=False)
    pubs = [circuit, (circuit, None, 30)]
    for shots, expected in ((None, [10, 30]), (20, [20, 30])):
        result = sampler.run(pubs, shots=shots).result()
        assert [each.data.meas.num_shots for each in result] == expected
        assert [each.metadata["shots"] for each in result] == expected


def test_samples_come_in_random_order_and_depend_on_the_seed() -> None:
    circuit = QuantumCircuit(2)
    circuit.h([0, 1])
    circuit.measure_all()
    first, again, other = (
        Sampler(seed=seed, **HOW).run([circuit, circuit], shots=400).result() for seed in (1, 1, 2)
    )
    words = [each.data.meas.get_bitstrings() for each in (*first, *again, *other)]
    assert words[:2] == words[2:4]
    assert len({tuple(each) for each in words}) == 4
    # Independent draws of four outcomes differ from the one before with probability 3/4.
    changes = sum(one != two for one, two in zip(words[0], words[0][1:], strict=False))
    assert abs(changes - 300) < 45


@pytest.mark.parametrize(
    ("pub", "error", "message"),
    [
        ((ansatz(),), ValueError, "number of values"),
        ((ansatz(), ROWS[:, :2]), ValueError, "inconsistent"),
        ((bell(), [1.0]), ValueError, "inconsistent"),
        ((measured(bell()), None, 0), ValueError, "positive"),
        ((measured(bell()), None, 2.5), TypeError, "integer"),
        ((measured(bell()), None, 5, 5), ValueError, "length"),
        (("no circuit",), TypeError, "circuit must be QuantumCircuit"),
    ],
)
def test_wrong_pubs_are_refused_at_once(
    sampler: Sampler, pub: Any, error: type[Exception], message: str
) -> None:
    for each in (sampler, StatevectorSampler()):
        with pytest.raises(error, match=message):
            each.run([pub])


def test_circuits_that_have_no_samples_fail_as_jobs(sampler: Sampler) -> None:
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    circuit.x(0)
    job = sampler.run([circuit])
    assert isinstance(job, BasePrimitiveJob)
    assert job.status() == JobStatus.ERROR
    with pytest.raises(InputError, match="measure"):
        job.result()
    done = sampler.run([measured(bell())])
    assert (done.status(), done.done(), done.cancel()) == (JobStatus.DONE, True, False)


def test_circuits_without_classical_bits_have_empty_results(sampler: Sampler) -> None:
    for each in (sampler, StatevectorSampler()):
        with pytest.warns(UserWarning, match="no .*classical registers"):
            job = each.run([bell()])
        assert list(job.result()[0].data) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sampler.run([bell(1)]).result()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": "fake_brisbane"}, "noise: .* no samples of cut circuits from devices"),
        ({"backend": "generic:3"}, "backend: .* no samples of cut circuits from devices"),
        ({"output": "out.h5"}, "output: given to a Sampler"),
        ({"shots": 10}, "shots: given to a Sampler"),
        ({"session": 3}, "session: a int"),
        ({"seed": -1}, "seed"),
        ({"default_shots": 0}, "default_shots"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sampler(**options)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(TypeError, match="depth"):
        Sampler(depth=3)
