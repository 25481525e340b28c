"""Whoever gives no option gets a method that suits the circuit, and an error bound that holds."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparseObservable, SparsePauliOp

import hpcq
from hpcq.circuits.observables import as_observables
from hpcq.core.errors import HpcqError, InputError
from hpcq.core.limits import Limits
from hpcq.cutting.subexperiments.exact_tensors import Simulation
from hpcq.kinds.exact.kind import exact_fingerprint
from hpcq.planning.cut_request import CutRequest
from hpcq.planning.planner import plan_normalised
from hpcq.planning.routing import router
from hpcq.planning.routing.probes import Prober
from hpcq.planning.verdict import Method, MethodRequest
from tests.support import strategies

METHODS = ("statevector", "stabilizer", "pauli", "mps", "cut")


def ghz(num_qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    circuit.h(0)
    for qubit in range(num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
    return circuit


def dense_blocks(num_blocks: int, width: int, links: int, seed: int = 1) -> QuantumCircuit:
    """Return blocks that are scrambled within, with a few gates between neighbouring ones."""
    rng = np.random.default_rng(seed)
    circuit = QuantumCircuit(num_blocks * width)
    for layer in range(8):
        for qubit in range(circuit.num_qubits):
            circuit.u(*rng.uniform(0, 6, 3), qubit)
        for start in range(0, circuit.num_qubits, width):
            order = start + rng.permutation(width)
            for a, b in zip(order[::2], order[1::2], strict=False):
                circuit.cz(int(a), int(b))
        if layer in range(2, 2 + links):
            for end in range(width, circuit.num_qubits, width):
                circuit.rzz(rng.uniform(0.3, 1), end - 1, end)
    return circuit


def kicked_ising(num_qubits: int, steps: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    for _ in range(steps):
        circuit.rx(0.6, range(num_qubits))
        for first in (0, 1):
            for qubit in range(first, num_qubits - 1, 2):
                circuit.rzz(-math.pi / 2, qubit, qubit + 1)
    return circuit


def on_wires(circuit: QuantumCircuit, first: int, num_qubits: int) -> QuantumCircuit:
    wide = QuantumCircuit(num_qubits)
    wide.compose(circuit, range(first, first + circuit.num_qubits), inplace=True)
    return wide


def test_a_wide_clifford_circuit_is_a_stabilizer_state() -> None:
    result = hpcq.run(hpcq.plan(ghz(127), ["Z0 Z126", "Z3", "X0 Y4"]))
    assert result.method == "stabilizer"
    assert result.expectation_values.tolist() == [1, 0, 0]
    assert result.error_bounds.tolist() == [0, 0, 0]
    assert result.engine == "stabilizer"  # no statevector was simulated


def test_few_rotations_are_propagated() -> None:
    plan = hpcq.plan(kicked_ising(90, 4), ["Z40", "Z40 Z41 + 0.5 X3"])
    assert plan.verdict.method in ("pauli", "statevector")
    forced = [hpcq.plan(kicked_ising(90, 4), "Z40", method=name) for name in ("pauli", "mps")]
    values = [hpcq.run(each).expectation_values[0] for each in (plan, *forced)]
    assert values == pytest.approx([values[0]] * 3, abs=3e-8)


@pytest.mark.slow
def test_dense_blocks_are_cut() -> None:
    circuit = dense_blocks(2, 17, 2)
    observables = ["Z0 Z17 Z32 Z33", "X4 + Z13"]
    plan = hpcq.plan(circuit, observables, memory=8 << 30)
    assert "cut" in plan.verdict.method.split("+")
    labels = "A" * 17 + "B" * 17
    given = hpcq.run(hpcq.plan(circuit, observables, cut_labels=labels))
    found = hpcq.run(plan)
    assert found.expectation_values == pytest.approx(given.expectation_values, abs=1e-8)
    assert (found.error_bounds <= 1e-8 * np.array([1, 2])).all()


@pytest.mark.slow
def test_parts_take_different_methods(tmp_path: Path) -> None:
    dense, clifford = dense_blocks(2, 12, 2), ghz(30)
    circuit = on_wires(dense, 0, 54).compose(on_wires(clifford, 24, 54))
    observables = ["Z0 Z23 Z24 Z53", "X5", "Z24 Z25"]
    plan = hpcq.plan(circuit, observables)
    assert plan.verdict.method.split("+")[-1] == "stabilizer"
    assert len(plan.verdict.method.split("+")) == 2
    result = hpcq.run(plan, output=tmp_path / "out.h5")
    alone = hpcq.run(hpcq.plan(dense, ["Z0 Z23", "X5"], cut_labels="A" * 12 + "B" * 12))
    expected = [*alone.expectation_values, 1]
    assert result.expectation_values == pytest.approx(expected, abs=1e-8)
    assert (np.abs(result.expectation_values - expected) <= result.error_bounds + 1e-12).all()
    stored = hpcq.load(tmp_path / "out.h5")
    assert stored.method == plan.verdict.method
    assert stored.error_bounds.tolist() == result.error_bounds.tolist()
    assert stored.reason == plan.verdict.reason
    assert "stabilizer" in stored.engine


@pytest.mark.parametrize("gates", [100, 1000])
@pytest.mark.parametrize("method", ["auto", "mps", "pauli", "cut", "statevector"])
def test_many_tiny_rotations_add_up(gates: int, method: str) -> None:
    """Aer drops each of them in a matrix product state, and reports nothing."""
    circuit, at_once = QuantumCircuit(2), QuantumCircuit(2)
    for _ in range(gates):
        circuit.rxx(1.8e-8, 0, 1)
    at_once.rxx(gates * 1.8e-8, 0, 1)
    observables = [SparsePauliOp(label) for label in ("YX", "XY", "ZZ", "IZ")]
    observables.append(SparsePauliOp(["IZ", "YX"], [1, 1e6]))
    expected = [strategies.uncut_value(at_once, each) for each in observables]
    result = hpcq.run(hpcq.plan(circuit, observables, method=method))
    errors = np.abs(result.expectation_values - expected)
    rounding = np.array([1e-12, 1e-12, 1e-12, 1e-12, 1e-6])
    assert (errors <= result.error_bounds + rounding).all()
    assert (result.error_bounds[:4] <= 1e-8).all()


@st.composite
def near_clifford(draw: st.DrawFn) -> QuantumCircuit:
    """A circuit of Cliffords and a few rotations."""
    num_qubits = draw(st.integers(1, 6))
    circuit = QuantumCircuit(num_qubits)
    names = ("h", "s", "sdg", "x", "t", "rz") + (("cx", "cz", "swap", "rzz") * (num_qubits > 1))
    for name in draw(st.lists(st.sampled_from(names), max_size=30)):
        qubits = draw(st.permutations(range(num_qubits)))
        angle = [draw(st.sampled_from((0.3, math.pi / 2, 1e-9)))] * name.startswith("r")
        getattr(circuit, name)(*angle, *qubits[: 2 if name in ("cx", "cz", "swap", "rzz") else 1])
    return circuit


circuits = st.one_of(strategies.circuits(), strategies.structured(), near_clifford())
problems = circuits.flatmap(lambda c: st.tuples(st.just(c), strategies.operators(c.num_qubits)))
tolerances = st.sampled_from((1e-8, 1e-3, 0.1))


def check_every_method(
    circuit: QuantumCircuit, observable: SparseObservable, tolerance: float
) -> None:
    """Check that every answer is within its bound, and the bound of auto within the tolerance."""
    expected = strategies.uncut_value(circuit, observable)
    largest = tolerance * float(np.abs(observable.coeffs).sum())
    for method in ("auto", *METHODS):
        try:
            plan = hpcq.plan(circuit, observable, method=method, error_tolerance=tolerance)
        except InputError:
            if method != "stabilizer":
                raise
            continue
        result = hpcq.run(plan)
        error = abs(result.expectation_values[0] - expected)
        assert error <= result.error_bounds[0] + 1e-10, method
        if method == "auto":
            assert result.error_bounds[0] <= largest * (1 + 1e-9)


def probe_whatever_is_quick(patch: pytest.MonkeyPatch) -> None:
    """Have the router try methods even on circuits whose statevectors are quick."""
    patch.setattr(router, "QUICK_SECONDS", 0.0)
    patch.setattr(router, "_MAX_PROBE_FRACTION", math.inf)


@pytest.mark.slow
@settings(max_examples=25)
@given(problems, tolerances, st.booleans())
def test_errors_stay_within_their_bounds(
    problem: tuple[QuantumCircuit, SparseObservable], tolerance: float, probed: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if probed:
            probe_whatever_is_quick(patch)
        check_every_method(*problem, tolerance)


@pytest.mark.nightly
@settings(max_examples=1000)
@given(problems, tolerances)
def test_errors_stay_within_their_bounds_in_a_thousand_circuits(
    problem: tuple[QuantumCircuit, SparseObservable], tolerance: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        probe_whatever_is_quick(patch)
        check_every_method(*problem, tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_a_named_method_is_taken(method: str) -> None:
    plan = hpcq.plan(ghz(6), "Z0 Z5", method=method)
    assert plan.verdict.method == method
    result = hpcq.run(plan)
    assert result.method == method
    assert result.expectation_values[0] == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "best"}, "method: 'best', expected one of auto, cut"),
        ({"error_tolerance": 0}, "error_tolerance: '0', expected a number above 0"),
        ({"error_tolerance": "small"}, "error_tolerance: 'small', expected a number above 0"),
        ({"method": "mps", "max_qubits": 2}, "method: 'mps' given with cuts or a width limit"),
        ({"method": "mps", "shots": 100}, "method: 'mps' given with shots, expected auto or cut"),
    ],
)
def test_a_wrong_method_is_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        hpcq.plan(ghz(4), "Z0", **arguments)  # type: ignore[arg-type]


def test_a_method_that_cannot_answer_says_why() -> None:
    circuit = ghz(40)
    circuit.t(3)
    circuit.h(3)
    with pytest.raises(InputError, match=r"method: 'stabilizer' cannot answer: t on 3.* not Cliff"):
        hpcq.plan(circuit, "Z3", method="stabilizer")
    with pytest.raises(InputError, match=r"16\.0 TiB|needs? .*TiB"):
        hpcq.plan(circuit, "X0 " + " ".join(f"X{q}" for q in range(1, 40)), method="statevector")


@pytest.mark.parametrize("labels", [None, "AAABBB", "ABCABC"])
def test_single_precision_has_a_bound(labels: str | None) -> None:
    circuit = dense_blocks(2, 3, 1)
    double = hpcq.run(hpcq.plan(circuit, ["Z0 Z5", "X2"]))
    plan = hpcq.plan(circuit, ["Z0 Z5", "X2"], cut_labels=labels, dtype="complex64")
    single = hpcq.run(plan)
    errors = np.abs(single.expectation_values - double.expectation_values)
    assert (errors <= single.error_bounds).all()
    assert (single.error_bounds > 0).all()
    if labels != "ABCABC":  # it grows with the cuts
        assert (single.error_bounds < 1e-2).all()


@pytest.mark.slow
def test_the_same_verdict_without_deciding_again(monkeypatch: pytest.MonkeyPatch) -> None:
    circuit = kicked_ising(60, 9)
    for qubit in range(60):
        circuit.t(qubit)
        circuit.h(qubit)
    observables = as_observables(["X3 X30", "Z10"], 60)
    limits = Limits(1 << 30, 1, "double")
    first = plan_normalised(circuit, observables, CutRequest(), limits)
    config = json.loads(json.dumps(dict(first.config)))
    assert config["verdict"]
    monkeypatch.setattr(Prober, "probe", None)  # nothing is tried again
    monkeypatch.setattr(router.Router, "choose", None)
    again = plan_normalised(circuit, observables, CutRequest(), limits, earlier=config)
    assert again.config["verdict"] == config["verdict"]
    assert exact_fingerprint(again) == exact_fingerprint(first)
    values = [hpcq.run(plan).expectation_values.tolist() for plan in (first, again)]
    assert values[0] == values[1]


DAMAGED: list[object] = [
    [],
    {},
    5,
    [["joint", None]],
    [["joint", None], ["mps"]],
    [["joint", None], ["mps", -1, 1e-9, None]],
    [["joint", None], ["mps", 4.5, 1e-9, None]],
    [["joint", None], ["mps", True, 1e-9, None]],
    [["joint", None], ["mps", 16, "x", None]],
    [["joint", None], ["mps", 16, math.nan, None]],
    [["joint", None], ["mps", 16, 1e-9, [1]]],
    [["joint", None], ["aer", 0, None, None]],
    [["joint", None], [["mps"], 0, None, None]],
    [["joint", None], ["stabilizer", 0, None, None]],  # the circuit is not Clifford
    [["joint", -5], ["cut"]],
    [["foo", None], ["statevector"]],
    [["joint", None], ["statevector"], ["statevector"]],
]


@pytest.mark.parametrize("verdict", DAMAGED)
def test_a_damaged_verdict_is_refused(verdict: object) -> None:
    circuit = ghz(4)
    circuit.t(3)
    circuit.h(3)
    observables = as_observables("X3", 4)
    limits = Limits(1 << 30, 1, "double")
    plan = plan_normalised(circuit, observables, CutRequest(), limits)
    damaged = {**plan.config, "verdict": verdict}
    with pytest.raises(InputError, match=r"^output: .*its verdict is damaged"):
        plan_normalised(circuit, observables, CutRequest(), limits, earlier=damaged)


ANSWERS = [
    ("mps", "auto", 1e-8, False),  # whatever its error
    ("mps", "mps", 1e-8, True),
    ("mps", "statevector", 1e-8, False),
    ("statevector", "auto", 1e-12, True),
    ("statevector", "pauli", 1e-8, False),
    ("cut", "auto", 1e-8, True),
]


@pytest.mark.parametrize(("earlier", "method", "tolerance", "answers"), ANSWERS)
def test_a_file_by_one_method_is_no_answer_to_another(
    earlier: Method, method: Method, tolerance: float, answers: bool
) -> None:
    circuit, observables = dense_blocks(2, 3, 1), as_observables("Z0 Z5", 6)
    limits = Limits(1 << 30, 1, "double")
    plan = plan_normalised(
        circuit, observables, CutRequest(), limits, method=MethodRequest(earlier)
    )
    asked = MethodRequest(method, tolerance)
    config = dict(plan.config)
    if answers:
        again = plan_normalised(
            circuit, observables, CutRequest(), limits, method=asked, earlier=config
        )
        assert exact_fingerprint(again) == exact_fingerprint(plan)
        return
    with pytest.raises(InputError, match=r"^output: a result of another run .*you ask for "):
        plan_normalised(circuit, observables, CutRequest(), limits, method=asked, earlier=config)


def test_a_smaller_tolerance_than_that_of_the_file_is_refused() -> None:
    circuit, observables = dense_blocks(2, 3, 1), as_observables("Z0 Z5", 6)
    limits = Limits(1 << 30, 1, "double")
    with pytest.MonkeyPatch.context() as patch:
        probe_whatever_is_quick(patch)
        plan = plan_normalised(
            circuit, observables, CutRequest(), limits, method=MethodRequest("auto", 0.1)
        )
    assert set(plan.verdict.engines) & {"mps", "pauli"}
    for tolerance in (0.1, 0.2):
        asked = MethodRequest("auto", tolerance)
        plan_normalised(
            circuit, observables, CutRequest(), limits, method=asked, earlier=plan.config
        )
    asked = MethodRequest("auto", 0.01)
    with pytest.raises(InputError, match=r"you ask for error tolerance 0\.01"):
        plan_normalised(
            circuit, observables, CutRequest(), limits, method=asked, earlier=plan.config
        )


def test_a_value_that_is_given_up_is_not_written() -> None:
    plan = hpcq.plan(dense_blocks(2, 3, 1), "Z0 Z5", method="pauli")
    given_up = tuple(
        replace(tensor, simulation=Simulation("pauli", 1.0, 1, 1, 1e-9)) for tensor in plan.tensors
    )
    with pytest.raises(HpcqError, match="could not be computed within the error tolerance"):
        hpcq.run(replace(plan, tensors=given_up))
