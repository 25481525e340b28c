"""Runs at rows of parameters: right, in files, resumed, and the same bits however they are cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.quantum_info import SparseObservable

import hpcq
from hpcq.core.errors import InputError, StoppedError
from hpcq.kinds.parameters import by_pieces, by_rows
from hpcq.kinds.parameters import run as rows_run
from hpcq.kinds.parameters.row_groups import DistinctAngles
from hpcq.planning.exact_plan import ExactPlan
from hpcq.results import load_progress
from tests.support.parametrised import random_circuit, random_operator, uncut_values

HOW: dict[str, Any] = {"threads": 1, "memory": 1 << 28}


def two_halves(layers: int = 2) -> QuantumCircuit:
    """Return 6 qubits whose halves have parameters of their own, and one at the cut."""
    left, right = ParameterVector("left", 3 * layers), ParameterVector("right", 3 * layers)
    joint = Parameter("joint")
    circuit = QuantumCircuit(6)
    for layer in range(layers):
        for qubit in range(3):
            circuit.ry(left[3 * layer + qubit], qubit)
            circuit.rx(right[3 * layer + qubit] ** 2, qubit + 3)
        circuit.cx([0, 1], [1, 2])
        circuit.cx([3, 4], [4, 5])
        circuit.rzz(joint, 2, 3)
    return circuit


OBSERVABLES = [
    SparseObservable.from_list([("ZIIIIX", 1.0), ("IIZIII", 0.5)]),
    SparseObservable.from_label("IIXZII"),
]


@pytest.fixture(scope="module")
def plan() -> hpcq.Plan:
    return hpcq.plan(two_halves(), OBSERVABLES, cut_labels="AAABBB", **HOW)


def rows_of(number: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-3, 3, (number, 13))


def expected(rows: np.ndarray) -> np.ndarray:
    circuit = two_halves()
    return np.array([uncut_values(circuit, OBSERVABLES, row) for row in rows])


def piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_run, "block_size", lambda _: 0)


def in_small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    piece_by_piece(monkeypatch)
    monkeypatch.setattr(rows_run, "_SHARE_OF_TENSORS", 1e-5)


def test_values_are_those_of_the_uncut_circuit(plan: hpcq.Plan, tmp_path: Path) -> None:
    rows = rows_of(5)
    result = hpcq.run(plan, parameter_values=rows, output=tmp_path / "out.h5")
    np.testing.assert_allclose(result.expectation_values, expected(rows), atol=1e-10)
    assert (result.standard_errors == 0).all()
    assert (result.error_bounds == 0).all()
    assert result.standard_errors.shape == result.error_bounds.shape == (5, 2)
    assert result.parameters is not None
    assert result.parameters.names == plan.parameters
    np.testing.assert_array_equal(result.parameters.values, rows)
    again = hpcq.load(tmp_path / "out.h5")
    np.testing.assert_array_equal(again.expectation_values, result.expectation_values)
    assert again.details is not None
    assert {parameter.name for parameter in again.details.circuit.parameters} == {*plan.parameters}
    assert len(again.details.subcircuits) == 2
    assert again.predicted_seconds > 0
    assert again.engine in ("aer cpu", "batched numpy")
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["parameters"].shape == (5, 13)
        assert "tensor" not in file["subcircuits/0"]


@pytest.mark.parametrize("seed", range(10))
def test_random_circuits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    circuit = random_circuit(rng)
    operators = [random_operator(rng, 4) for _ in range(2)]
    how: dict[str, Any] = {"cut_labels": "AABB"} if seed % 2 else {}
    plan = hpcq.plan(circuit, operators, **how, **HOW)
    rows = rng.uniform(-2, 2, (3, circuit.num_parameters))
    result = hpcq.run(plan, parameter_values=rows)
    values = np.array([uncut_values(circuit, operators, row) for row in rows])
    np.testing.assert_allclose(result.expectation_values, values, atol=1e-10)


def test_values_by_name_and_single_rows(plan: hpcq.Plan) -> None:
    rows = rows_of(2)
    wanted = hpcq.run(plan, parameter_values=rows).expectation_values
    named = [dict(zip(plan.parameters, row, strict=True)) for row in rows.tolist()]
    vectors = [{"joint": row[0], "left": row[1:7], "right": row[7:]} for row in rows]
    assert plan.parameters[:2] == ("joint", "left[0]")
    for given in (rows.tolist(), named, vectors):
        got = hpcq.run(plan, parameter_values=given).expectation_values
        np.testing.assert_array_equal(got, wanted)
    for one in (rows[0], named[0]):
        got = hpcq.run(plan, parameter_values=one).expectation_values
        np.testing.assert_array_equal(got, wanted[:1])
    with hpcq.Session() as session:
        got = session.run(plan, parameter_values=rows).expectation_values
        np.testing.assert_array_equal(got, wanted)
    got = hpcq.run(
        two_halves(), OBSERVABLES, cut_labels="AAABBB", parameter_values=rows, **HOW
    ).expectation_values
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "not given for the free parameters 'joint'"),
        ([], r"shape \(0,\)"),
        (np.empty((0, 13)), "no rows, expected at least one"),
        (np.zeros((2, 3)), r"shape \(2, 3\), expected finite numbers in the shape \(rows, 13\)"),
        (np.full((1, 13), np.nan), "nan for 'joint' in row 0"),
        ("text", "text, expected finite numbers"),
        ([{"joint": 1.0}], r"row 0 has no value for 'left\[0\]'"),
        ({"x": 1.0}, "no free parameter 'x'"),
        ([[1.0] * 13, [1.0]], "expected finite numbers"),
    ],
)
def test_wrong_rows_are_refused(given: Any, message: str, plan: hpcq.Plan, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"^parameter_values: .*{message}"):
        hpcq.run(plan, parameter_values=given, output=tmp_path / "out.h5")
    assert not list(tmp_path.iterdir())


def test_an_angle_without_a_value_is_refused() -> None:
    angle = Parameter("a")
    circuit = QuantumCircuit(2)
    circuit.ry(1 / angle, 0)
    circuit.cx(0, 1)
    plan = hpcq.plan(circuit, "Z1", cut_labels="AB", **HOW)
    with pytest.raises(InputError, match="the angle 1/a"):
        hpcq.run(plan, parameter_values=[[0.5], [0.0]])


def test_what_rows_have_in_common_is_computed_once(
    plan: hpcq.Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(32)
    rows[:, 7:] = rows[0, 7:]  # the right half has the same angles in all rows
    rows[:, 0] = rows[0, 0]
    rows[16:] = rows[:16]
    counted: list[int] = []
    piece_by_piece(monkeypatch)
    tensors = rows_run.PieceTasks.farm_tasks

    def counting(tasks: Any, groups: Any, blocks: Any) -> Any:
        counted.append(sum(len(block.indices) for block in blocks))
        return tensors(tasks, groups, blocks)

    monkeypatch.setattr(rows_run.PieceTasks, "farm_tasks", counting)
    whole = hpcq.run(plan, parameter_values=rows)
    assert counted == [16 + 1]
    np.testing.assert_allclose(whole.expectation_values[:3], expected(rows[:3]), atol=1e-10)
    counted.clear()
    in_small_groups(monkeypatch)
    divided = hpcq.run(plan, parameter_values=rows)
    np.testing.assert_array_equal(divided.expectation_values, whole.expectation_values)
    assert len(counted) > 2
    assert counted[0] == 1, "the right half, once for all groups"
    assert sum(counted[1:]) == 32


@pytest.mark.slow
def test_groups_and_long_contractions_change_no_bit(
    plan: hpcq.Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = rows_of(20)
    whole = hpcq.run(plan, parameter_values=rows, output=tmp_path / "blocks.h5")
    assert whole.provenance["tasks"] == 10, "blocks of two rows"
    whole = whole.expectation_values
    piece_by_piece(monkeypatch)
    pieces = hpcq.run(plan, parameter_values=rows).expectation_values
    np.testing.assert_array_equal(pieces, whole)
    monkeypatch.setattr(by_pieces, "LONG_CONTRACTION", 0.0)
    monkeypatch.setattr(by_pieces, "_BLOCK_FLOPS", 1.0)
    long = hpcq.run(plan, parameter_values=rows, output=tmp_path / "long.h5")
    np.testing.assert_array_equal(long.expectation_values, whole)
    in_small_groups(monkeypatch)
    divided = hpcq.run(plan, parameter_values=rows, output=tmp_path / "out.h5")
    np.testing.assert_array_equal(divided.expectation_values, whole)
    shared = hpcq.run(plan, parameter_values=rows, output=tmp_path / "shared.h5", shared=True)
    np.testing.assert_array_equal(shared.expectation_values, whole)
    for number, row in enumerate(rows):
        alone = hpcq.run(plan, parameter_values=row).expectation_values
        np.testing.assert_array_equal(alone, whole[number : number + 1])
    program = plan.compile()
    np.testing.assert_array_equal(program.values(rows), whole)


def test_a_run_that_was_stopped_goes_on_where_it_was(
    plan: hpcq.Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It stops between two groups; the next start computes the others only."""
    rows, output = rows_of(24), tmp_path / "out.h5"
    whole = hpcq.run(plan, parameter_values=rows).expectation_values
    in_small_groups(monkeypatch)
    simulated: list[int] = []
    tensors = by_pieces.RunByPieces._tensors

    def stopping(work: Any, group: range, *more: Any) -> Any:
        if len(simulated) == 2:
            work.context.runner.options.output.stop(lambda: work._partial(more[-1]))
            raise StoppedError("stopped")
        simulated.append(group.start)
        return tensors(work, group, *more)

    with monkeypatch.context() as stop:
        stop.setattr(by_pieces.RunByPieces, "_tensors", stopping)
        with pytest.raises(StoppedError):
            hpcq.run(plan, parameter_values=rows, output=output)
    held, stages = load_progress(output)
    done = ~np.isnan(held.expectation_values).all(axis=1)
    assert 0 < done.sum() < 24
    np.testing.assert_array_equal(held.expectation_values[done], whole[done])
    assert stages[0]["done"] == 2
    assert "row 0: " in str(held)
    assert "not yet available" in str(held)

    def counting(work: Any, group: range, *more: Any) -> Any:
        simulated.append(group.start)
        return tensors(work, group, *more)

    monkeypatch.setattr(by_pieces.RunByPieces, "_tensors", counting)
    other = rows.copy()
    other[-1, -1] += 1e-12
    with pytest.raises(InputError, match="parameters differ"):
        hpcq.run(plan, parameter_values=other, output=output)
    again = hpcq.run(plan, parameter_values=rows, output=output)
    np.testing.assert_array_equal(again.expectation_values, whole)
    assert simulated == sorted(set(simulated)), "no group was computed twice"
    before = output.read_bytes()
    done_already = hpcq.run(plan, parameter_values=rows, output=output)
    np.testing.assert_array_equal(done_already.expectation_values, whole)
    assert output.read_bytes() == before


@pytest.mark.parametrize("in_blocks", [True, False])
def test_finished_tasks_are_kept(
    in_blocks: bool, plan: hpcq.Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_blocks:
        piece_by_piece(monkeypatch)
    rows, output = rows_of(60), tmp_path / "out.h5"
    with pytest.raises(StoppedError, match="tasks are saved"):
        hpcq.run(plan, parameter_values=rows, output=output, time_limit=1e-3)
    _, stages = load_progress(output)
    assert stages[0]["total"] > 1
    result = hpcq.run(plan, parameter_values=rows, output=output)
    whole = hpcq.run(plan, parameter_values=rows).expectation_values
    np.testing.assert_array_equal(result.expectation_values, whole)


def test_single_precision_and_its_unknown_bounds(tmp_path: Path) -> None:
    plan = hpcq.plan(two_halves(), OBSERVABLES, cut_labels="AAABBB", dtype="complex64", **HOW)
    rows = rows_of(2)
    result = hpcq.run(plan, parameter_values=rows, output=tmp_path / "out.h5")
    np.testing.assert_allclose(result.expectation_values, expected(rows), atol=1e-4)
    assert np.isnan(result.error_bounds).all()


def test_bounds_of_parts_that_other_methods_compute() -> None:
    """Such parts have no parameters; they are computed once."""
    angle, qubits = Parameter("a"), 30
    circuit = QuantumCircuit(qubits + 2)
    circuit.ry(angle, 0)
    circuit.cx(0, 1)
    for layer in range(10):
        for qubit in range(2, qubits + 2):
            circuit.rx(0.1 + 0.01 * qubit, qubit)
        for qubit in range(2 + layer % 2, qubits + 1, 2):
            circuit.rzz(0.1, qubit, qubit + 1)
    middle = qubits // 2
    asked = ["Z0 Z1", f"Z1 Z{middle}", f"Z{middle} Z{middle + 1} + 0.5 Z1"]
    rows = np.array([[0.3], [0.4]])
    plan = hpcq.plan(circuit, asked, method="auto", **HOW)
    assert isinstance(plan, ExactPlan)
    assert any(tensor.simulation is not None for tensor in plan.tensors)
    result = hpcq.run(plan, parameter_values=rows)
    assert (result.error_bounds[:, 0] == 0).all()
    assert (result.error_bounds[:, 1:] > 0).all()
    assert (result.error_bounds < 1e-7).all()
    for row, values, bounds in zip(
        rows, result.expectation_values, result.error_bounds, strict=True
    ):
        alone = hpcq.run(circuit.assign_parameters(row), asked, method="auto", **HOW)
        difference = np.abs(alone.expectation_values - values)
        assert (difference <= bounds + alone.error_bounds + 1e-12).all()


def test_a_sliced_piece_of_one_row_is_one_task(plan: ExactPlan) -> None:
    rows = rows_of(2)
    tensors = tuple(replace(tensor, sliced=(0,)) for tensor in plan.tensors)
    result = hpcq.run(replace(plan, tensors=tensors), parameter_values=rows)
    np.testing.assert_allclose(result.expectation_values, expected(rows), atol=1e-10)


def test_parameters_that_no_angle_depends_on() -> None:
    angle = Parameter("a")
    circuit = QuantumCircuit(2, global_phase=angle)
    circuit.ry(0.3, 0)
    circuit.cx(0, 1)
    plan = hpcq.plan(circuit, "Z1", cut_labels="AB", **HOW)
    for number in (2, 20):
        result = hpcq.run(plan, parameter_values=np.arange(number, dtype=float)[:, np.newaxis])
        np.testing.assert_allclose(result.expectation_values, np.cos(0.3), atol=1e-10)
        assert result.expectation_values.shape == (number, 1)


def angles_of(of_row: list[int], seconds: float) -> DistinctAngles:
    return DistinctAngles.of(np.array(of_row, dtype=float)[:, np.newaxis], 16, seconds)


def test_rows_are_blocks_unless_they_have_much_in_common_or_take_long() -> None:
    rows = list(range(64))
    different = angles_of(rows, 1e-3)
    assert by_rows.block_size([different, angles_of([0] * 64, 1e-3)]) == 4
    assert by_rows.block_size([angles_of(rows, 1.0)]) == 1
    assert by_rows.block_size([angles_of(rows, 11.0)]) == 0, "a row takes long"
    assert by_rows.block_size([angles_of(rows[:15], 1e-3)]) == 0, "there are few rows"
    slow, fast = [n // 8 for n in rows], [n % 8 for n in rows]
    assert by_rows.block_size([angles_of(slow, 1e-3)]) == 4, "the last block's tensors are known"
    assert by_rows.block_size([angles_of(slow, 1e-3), angles_of(fast, 1e-3)]) == 0, "a grid"
    many = angles_of(list(range(100_000)), 1e-7)
    assert by_rows.block_size([many]) == by_rows._MAX_BLOCK_ROWS
