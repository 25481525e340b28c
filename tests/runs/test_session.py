"""A session in one process; tests/mpi/test_mpi_farm.py has those of several ranks."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from qiskit import QuantumCircuit

import hpcq
from hpcq.core.errors import HpcqError, InputError
from tests.support.circuits import two_halves


def chain(angle: float = 0.3) -> QuantumCircuit:
    circuit = QuantumCircuit(4)
    for qubit in range(4):
        circuit.ry(angle + qubit, qubit)
    for qubit in range(3):
        circuit.cx(qubit, qubit + 1)
    return circuit


def test_runs_of_a_session_give_the_bits_of_single_runs() -> None:
    plans = [
        hpcq.plan(chain(), "Z0 X3", cut_labels="AABB"),
        hpcq.plan(chain(0.7), "Z0 X3", cut_labels="AABB", shots=5000),
        hpcq.plan(chain(), "Z0 X3", cut_labels="AABB"),
    ]
    with hpcq.Session() as session:
        assert (session.rank, session.size) == (0, 1)
        results = [session.run(plan, device="cpu") for plan in plans]
    for plan, result in zip(plans, results, strict=True):
        np.testing.assert_array_equal(
            result.expectation_values, hpcq.run(plan, device="cpu").expectation_values
        )


def test_a_session_keeps_its_worker_and_ends_it() -> None:
    plan = hpcq.plan(chain(), "Z0", cut_labels="AABB")
    before = set(threading.enumerate())
    with hpcq.Session() as session:
        session.run(plan, device="cpu")
        (kept,) = set(threading.enumerate()) - before
        session.run(plan, device="cpu")
        assert set(threading.enumerate()) - before == {kept}
    assert not kept.is_alive()


def test_what_fails_leaves_a_session_that_runs() -> None:
    plan = hpcq.plan(chain(), "Z0", cut_labels="AABB")
    with hpcq.Session() as session:
        with pytest.raises(InputError, match="device: 'qpu', expected"):
            session.run(plan, device="qpu")
        with pytest.raises(InputError, match="plan: None"):
            session.run(None)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="outptu"):
            session.run(plan, outptu="out.h5")
        assert session.run(plan, device="cpu").status == "complete"


def test_a_session_that_is_not_entered_runs_nothing() -> None:
    plan = hpcq.plan(chain(), "Z0", cut_labels="AABB")
    session = hpcq.Session()
    with pytest.raises(HpcqError, match="session: it runs plans between entering and leaving"):
        session.run(plan)
    with session:
        pass
    with pytest.raises(HpcqError, match="session: it runs plans between entering and leaving"):
        session.run(plan)


def test_arguments_that_cannot_be_sent_are_named() -> None:
    plan = hpcq.plan(chain(), "Z0", cut_labels="AABB")
    with hpcq.Session() as session:
        with pytest.raises(InputError, match="session: an argument of the run cannot be sent"):
            session.run(plan, time_limit=lambda: 1)
        with pytest.raises(InputError, match="output: '3', expected a path"):
            session.run(plan, output=3)
        assert session.run(plan, device="cpu").status == "complete"


def test_a_circuit_is_planned_and_run() -> None:
    circuit, options = two_halves(), {"max_qubits": 4, "seed": 3, "threads": 1, "memory": 1 << 30}
    planned = hpcq.run(hpcq.plan(circuit, "Z0 Z5", **options), device="cpu")
    at_once = hpcq.run(circuit, "Z0 Z5", device="cpu", **options)
    assert at_once.expectation_values.tolist() == planned.expectation_values.tolist()
    with hpcq.Session() as session:
        within = session.run(circuit, ["Z0 Z5"], device="cpu", **options)
    assert within.expectation_values.tolist() == planned.expectation_values.tolist()


def test_options_of_a_plan_are_refused_next_to_one() -> None:
    plan = hpcq.plan(two_halves(), "Z0", cut_labels="AAABBB")
    with pytest.raises(InputError, match="max_qubits: given with a plan, expected it in"):
        hpcq.run(plan, max_qubits=3)
    with pytest.raises(TypeError, match=r"run\(\) got an unexpected keyword argument 'max_qubit'"):
        hpcq.run(two_halves(), "Z0", max_qubit=3)
