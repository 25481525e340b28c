"""Values of free parameters by name: every mistake is named, and what is right is assigned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.quantum_info import Operator

from hpcq.circuits.assignment import ParameterNames, assign, read_assignments
from hpcq.circuits.normalise import normalise, unused_parameters
from hpcq.core.errors import InputError

NAMES = ("phi", "theta[0]", "theta[2]", "theta[10]")


def test_a_list_stands_for_a_vector() -> None:
    """Elements that no gate depends on have values in it too."""
    names = ParameterNames(("phi", "theta[0]", "theta[2]"), "parameters")
    expected = {"phi": 1.0, "theta[0]": 2.0, "theta[2]": 4.0}
    for vector in ([2, 3, 4], (2, 3, 4), np.array([2, 3, 4])):
        assert names.numbers({"theta": vector, "phi": 1}) == expected
    assert names.numbers({**expected, "theta[1]": 5.0}) == expected
    rows = names.rows([{"phi": 1, "theta": [2, 3, 4]}, {**expected, "phi": np.float64(5)}])
    assert rows.tolist() == [[1, 2, 4], [5, 2, 4]]
    longer = ParameterNames(names.names, "parameters", [ParameterVector("theta", 4)[0]])
    assert longer.numbers({"theta": [2, 3, 4, 5], "phi": 1}) == expected
    with pytest.raises(InputError, match="theta is 3 values, expected a list of 4 numbers"):
        longer.numbers({"theta": [2, 3, 4]})


def test_parameters_without_an_effect_may_have_values() -> None:
    phi, unused = Parameter("phi"), Parameter("unused")
    circuit = QuantumCircuit(1, global_phase=unused)
    circuit.rx(phi, 0)
    plain = normalise(circuit, free_parameters=True)
    assert [parameter.name for parameter in plain.parameters] == ["phi"]
    assert unused_parameters(plain) == ("unused",)
    half = assign(plain, {"phi": 0.3}, "parameters")
    assert unused_parameters(half) == ("unused",)
    whole = assign(half, {"unused": 0.3}, "parameters")
    assert not whole.parameters
    assert not unused_parameters(whole)
    with pytest.raises(InputError, match="unused is nan"):
        assign(plain, {"unused": float("nan")}, "parameters")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ph": 1}, "no free parameter 'ph', expected 'phi'"),
        ({"x": 1}, r"no free parameter 'x', expected 'phi', 'theta\[0\]'"),
        ({"theta": [1]}, "theta is 1 values, expected a list of 11 numbers"),
        ({"theta": 1}, "theta is 1, expected a list of 11 numbers"),
        ({"theta[11]": 1}, r"no free parameter 'theta\[11\]'"),
        ({"phi": [1]}, r"phi is \[1\], expected a finite number"),
        ({"phi": "1"}, "phi is '1', expected a finite number"),
        ({"phi": True}, "phi is True, expected a finite number"),
        ({"phi": None}, "phi is None, expected a finite number"),
        ({"phi": 1j}, "phi is 1j, expected a finite number"),
        ({"phi": float("nan")}, "phi is nan, expected a finite number"),
        ({"phi": 10**400}, "phi is 1000"),
        ({"theta[0]": 1, "theta": [1] * 11}, r"theta\[0\] has two values"),
        ({1: 1}, "no free parameter '1'"),
    ],
)
def test_mistakes_are_named(values: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^parameters: .*{message}"):
        ParameterNames(NAMES, "parameters").numbers(values)


def test_every_row_needs_every_value() -> None:
    names = ParameterNames(("a", "b"), "parameters")
    with pytest.raises(InputError, match="row 1 has no value for 'b'"):
        names.rows([{"a": 1, "b": 2}, {"a": 3}])
    with pytest.raises(InputError, match="row 0: the circuit has no free parameter 'c'"):
        names.rows([{"a": 1, "b": 2, "c": 3}])


def test_some_parameters_may_stay_free() -> None:
    phi, theta = Parameter("phi"), ParameterVector("theta", 2)
    circuit = QuantumCircuit(2)
    circuit.rx(phi / 2, 0)
    circuit.crz(theta[0] * theta[1], 0, 1)
    circuit.ry(theta[1] + phi, 1)
    plain = normalise(circuit, free_parameters=True)
    partly = assign(plain, {"theta": [0.3, 0.4]}, "parameters")
    assert [parameter.name for parameter in partly.parameters] == ["phi"]
    wholly = assign(partly, {"phi": 0.5}, "parameters")
    assert all(type(value) is float for gate in wholly.data for value in gate.params)
    expected = circuit.assign_parameters({phi: 0.5, theta: [0.3, 0.4]})
    assert Operator(wholly).equiv(Operator(expected))
    assert assign(plain, {}, "parameters") is plain


def test_sums_of_equal_terms_at_zero() -> None:
    theta = Parameter("theta")
    circuit = QuantumCircuit(1)
    circuit.rx(theta.cos() + theta.cos(), 0)
    assigned = assign(normalise(circuit, free_parameters=True), {"theta": 0.0}, "parameters")
    assert assigned.data[0].params == [2.0]  # Qiskit's own assignment gives 0, up to 2.6 at least


def test_an_angle_without_a_value_is_refused() -> None:
    phi = Parameter("phi")
    circuit = QuantumCircuit(1)
    circuit.rx(1 / phi, 0)
    with pytest.raises(
        InputError, match=r"parameters: .*the angle 1/phi has no value \(.*\), expected"
    ):
        assign(normalise(circuit, free_parameters=True), {"phi": 0.0}, "parameters")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (" ", "Expecting value"),
        ("3", "got a number, expected an object"),
        ("[]", "got an empty list, expected an object"),
        ('[{"a": 1}, 2]', "got a number"),
        ('{"a": NaN}', "NaN is not a number"),
        ('{"a": 1, "a": 2}', "occurs twice"),
        ("\xff", "decode"),
    ],
)
def test_files_of_anything_else_are_refused(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "values.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=rf"values\.json: .*{message}"):
        read_assignments(path)
    path.write_text('{"a": 1}')
    assert read_assignments(path) == {"a": 1}
