"""Mistakes that are named where they are: the odd character, the comma, the file, the line."""

from __future__ import annotations

import json
import math

import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import RVGate
from qiskit.quantum_info import SparsePauliOp

import hpcq
from hpcq.circuits.observables import parse_observable
from hpcq.cli.main import main
from hpcq.core.errors import InputError
from hpcq.core.strict_json import json_type
from hpcq.results.tables import values_text


@pytest.fixture
def circuit() -> QuantumCircuit:
    found = QuantumCircuit(4)
    found.h(0)
    for qubit in range(3):
        found.cx(qubit, qubit + 1)
    return found


@pytest.mark.parametrize(
    ("text", "odd"), [("Z\u0660", "\u0660"), ("Z\u2080", "\u2080"), ("Z-1", "-")]
)
def test_the_odd_character_is_named(text: str, odd: str) -> None:
    with pytest.raises(InputError, match=f"unexpected '{odd}' after 'Z'"):
        parse_observable(text, 4)


def test_a_coefficient_that_could_be_part_of_a_label() -> None:
    with pytest.raises(InputError, match="label:10Z0"):
        parse_observable("10Z0", 4)
    assert parse_observable("10Z0", 5).terms == ((((0, "Z"),), 10.0),)
    assert parse_observable("0.5X2", 5).terms == ((((2, "X"),), 0.5),)


def test_equal_strings_that_overflow(circuit: QuantumCircuit) -> None:
    for given in (
        SparsePauliOp(["ZZII", "ZZII"], [1e308, 1e308]),
        {"name": "a", "terms": [["Z0", 1e308], ["Z0", 1e308]]},
    ):
        with pytest.raises(InputError, match="add up to more than"):
            hpcq.plan(circuit, given)


def test_commas_in_a_partition(circuit: QuantumCircuit) -> None:
    assert len(hpcq.plan(circuit, "Z0", cut_labels="0,0,10,10").cuts.gates) == 1
    with pytest.raises(InputError, match="empty label"):
        hpcq.plan(circuit, "Z0", cut_labels="0,0,,1")


def test_what_is_no_communicator_and_no_plan(circuit: QuantumCircuit) -> None:
    with pytest.raises(InputError, match=r"comm: a list.*hpcq\.plan"):
        hpcq.run(hpcq.plan(circuit, "Z0"), ["Z0"])
    with pytest.raises(InputError, match=r"comm: a str, expected an mpi4py communicator"):
        hpcq.run(circuit, "Z0", "Z0")
    with pytest.raises(InputError, match=r"^plan: a list, expected what hpcq\.plan"):
        hpcq.run([circuit], None)  # type: ignore[arg-type]


def test_a_parameter_that_is_nan(circuit: QuantumCircuit) -> None:
    circuit.append(RVGate(math.nan, 1, 1), [0])
    with pytest.raises(InputError, match="parameter 0 of 'rv' is nan"):
        hpcq.plan(circuit, "Z0")


@pytest.mark.slow
def test_files_that_are_wrong(tmp_path, capsys) -> None:
    program = tmp_path / "c.qasm"
    head = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\ncx q[0], q[1];\n'
    program.write_text(head)
    cuts = tmp_path / "w.json"
    cuts.write_text(json.dumps({"wire_cuts": [{"qubit": 1, "after": 1}]}))
    assert main(["plan", str(program), "--cuts", str(cuts)]) == 2
    assert "w.json: wire cut on qubit 1, which has 1 two-qubit" in capsys.readouterr().err
    job = tmp_path / "j.toml"
    job.write_text('circuit = "c.qasm"\nobservable = 11\n')
    assert main(["run", str(job)]) == 2
    assert "observable = 11, expected text in quotes" in capsys.readouterr().err
    program.write_text(head + "rz(1/0) q[0];\n")
    assert main(["plan", str(program)]) == 2
    assert "line 5: " in capsys.readouterr().err


def test_values_of_any_size() -> None:
    shown = [
        line.split()[1]
        for line in values_text(
            "abcd", [0.5, 1e308, 1e-9, 2e-17], [0.0] * 4, [0.0] * 4
        ).splitlines()
    ]
    assert shown == ["+0.500000000000", "+1e+308", "+1e-09", "+0.000000000000"]


def test_kinds_in_the_words_of_json() -> None:
    given = [{}, {"a": 1}, [], [1], None, True, "", 3]
    assert [json_type(value) for value in given] == [
        *("an empty object", "an object", "an empty list", "a list"),
        *("null", "true", "an empty text", "a number"),
    ]
