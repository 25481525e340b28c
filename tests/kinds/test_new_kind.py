"""A kind of run is one module and one line: that of parity_kind.py runs, saves and resumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, Statevector

import hpcq
from hpcq.circuits.normalise import normalise
from hpcq.circuits.observables import as_observables
from hpcq.core.errors import InputError, StoppedError
from hpcq.core.limits import Limits
from hpcq.planning.cut_request import CutRequest
from hpcq.planning.kind import kind_of
from hpcq.planning.plan import Plan
from hpcq.planning.planner import plan_question
from hpcq.reports.text import result_text
from hpcq.results import load_progress
from tests.kinds.parity_kind import Parities

SETS = ["Z0", "Z1 Z3", "Z0 Z1 Z2 Z3", "Z2"]


def circuit() -> QuantumCircuit:
    chain = QuantumCircuit(4)
    for qubit in range(4):
        chain.ry(0.3 + qubit, qubit)
    for qubit in range(3):
        chain.cx(qubit, qubit + 1)
    return chain


def parity_plan() -> Plan:
    question = Parities(tuple(as_observables(SETS, 4)))
    return plan_question(normalise(circuit()), question, CutRequest(), Limits(1 << 30))


def expected() -> list[float]:
    state = Statevector(circuit())
    operators = [
        SparsePauliOp.from_sparse_list(
            [("Z" * len(text.split()), [int(word[1:]) for word in text.split()], 1)], 4
        )
        for text in SETS
    ]
    return [float(state.expectation_value(operator).real) for operator in operators]


def test_it_plans_and_runs() -> None:
    plan = parity_plan()
    assert str(plan) == "4 parities of 4 qubits"
    assert kind_of(plan).to_json(plan) == {"num_parities": 4}
    result = hpcq.run(plan, device="cpu")
    assert result.names == tuple(SETS)
    np.testing.assert_allclose(result.expectation_values, expected(), atol=1e-12)
    assert result.config["mode"] == "parities"


def test_it_saves_is_shown_and_is_complete(tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    hpcq.run(parity_plan(), output=output, device="cpu")
    result, stages = load_progress(output)
    np.testing.assert_allclose(result.expectation_values, expected(), atol=1e-12)
    assert "Z1 Z3" in result_text(result, stages)
    again = hpcq.run(parity_plan(), output=output, device="cpu")
    np.testing.assert_array_equal(again.expectation_values, result.expectation_values)


def test_a_stopped_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "out.h5"
    # The limit is over when the first task ends, as a tick takes 0.05 s.
    monkeypatch.setattr("hpcq.runs.stop_conditions._MIN_MARGIN", 10.0)
    monkeypatch.setattr("hpcq.runs.stop_conditions._MARGIN_SECONDS", 10.0)
    with pytest.raises(StoppedError, match="run the same command again"):
        hpcq.run(parity_plan(), output=output, device="cpu", time_limit=1)
    monkeypatch.undo()
    result = hpcq.run(parity_plan(), output=output, device="cpu")
    np.testing.assert_allclose(result.expectation_values, expected(), atol=1e-12)


def test_kinds_do_not_replace_each_other(tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    hpcq.run(parity_plan(), output=output, device="cpu")
    with pytest.raises(InputError, match="holds parities, which an exact run would replace"):
        hpcq.run(hpcq.plan(circuit(), "Z0"), output=output, device="cpu")


def test_a_question_that_no_kind_answers_is_refused() -> None:
    class Riddle:
        observables = ()

    with pytest.raises(InputError, match="question: a Riddle, which no kind of run answers"):
        plan_question(normalise(circuit()), Riddle(), CutRequest(), Limits(1 << 30))  # type: ignore[arg-type]
