"""Pubs of every form that Qiskit accepts, each as a function of nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from qiskit import QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.circuit.library import PauliEvolutionGate, UnitaryGate, efficient_su2, real_amplitudes
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.quantum_info import Operator, Pauli, PauliList, SparseObservable, SparsePauliOp

from tests.support.parametrised import random_circuit, random_operator

ANSATZ = real_amplitudes(3, reps=1)
HAMILTONIAN = SparsePauliOp(["ZZI", "IZZ", "XII", "IYX", "III"], [1.0, -0.5, 0.3, 0.7, 0.25])
ROWS = np.random.default_rng(3).uniform(-3, 3, (4, ANSATZ.num_parameters))


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2, metadata={"name": "bell"})
    circuit.h(0)
    circuit.cx(0, 1)
    return circuit


def two_angles() -> tuple[QuantumCircuit, Parameter, Parameter]:
    """Return a circuit whose parameters are used in another order than that of their names."""
    b, a = Parameter("b"), Parameter("a")
    circuit = QuantumCircuit(2)
    circuit.ry(b, 0)
    circuit.cx(0, 1)
    circuit.rz(2 * a - b, 1)
    circuit.rxx(a, 0, 1)
    circuit.rx(0.4, 0)
    return circuit, a, b


def _measured() -> QuantumCircuit:
    circuit = bell()
    circuit.barrier()
    circuit.rz(0.3, 1)
    circuit.ry(np.pi / 2, 1)
    return circuit


def _evolution(time: Any) -> QuantumCircuit:
    circuit = QuantumCircuit(3)
    circuit.h([0, 1, 2])
    cost = SparsePauliOp(["ZZI", "IZZ", "ZIZ"], [1.0, -1.0, 0.5])
    circuit.append(PauliEvolutionGate(cost, time), [0, 1, 2])
    circuit.rx(time * 2, [0, 1, 2])
    return circuit


def _composite() -> QuantumCircuit:
    inner = real_amplitudes(2, reps=1, parameter_prefix="inner")
    circuit = QuantumCircuit(QuantumRegister(2, "a"), QuantumRegister(1, "b"))
    circuit.h(0)
    circuit.append(inner.to_gate(), [0, 2])
    circuit.ccx(0, 1, 2)
    circuit.append(UnitaryGate(Operator(bell()).data), [1, 2])
    circuit.p(np.pi / 4, 2)
    return circuit


def _random(seed: int, rows: tuple[int, ...]) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    circuit = random_circuit(rng, qubits=3, gates=8)
    observables = [random_operator(rng, 3) for _ in range(2)]
    if len(rows) == 2:
        observables = [[each] for each in observables]
        rows = rows[1:]
    return circuit, observables, rng.uniform(-3, 3, (*rows, circuit.num_parameters))


def _random_bound(seed: int) -> tuple[Any, ...]:
    circuit, (observable, _), row = _random(seed, ())
    return circuit.assign_parameters(row), observable


def _table() -> dict[str, Callable[[], Any]]:
    circuit, a, b = two_angles()
    one = QuantumCircuit(1)
    one.rx(Parameter("x"), 0)
    return {
        "str": lambda: (bell(), "ZZ"),
        "Pauli": lambda: (bell(), Pauli("XX")),
        "Pauli with a sign": lambda: (bell(), Pauli("-YY")),
        "SparsePauliOp": lambda: (bell(), SparsePauliOp(["ZZ", "XX", "II"], [0.5, 2, -1])),
        "repeated terms": lambda: (bell(), SparsePauliOp(["ZZ", "XX", "ZZ"], [0.5, 2, -1])),
        "SparseObservable": lambda: (bell(), SparseObservable.from_list([("ZZ", 1), ("IY", 2)])),
        "dict": lambda: (bell(), {"ZZ": 0.5, "XX": -1.5}),
        "dict of Paulis": lambda: (bell(), {Pauli("ZZ"): 0.5, Pauli("YY"): 2.0}),
        "identity": lambda: (bell(), "II"),
        "list of one": lambda: (bell(), ["ZZ"]),
        "list": lambda: (bell(), ["ZZ", "XX", "YY", "ZI"]),
        "mixed list": lambda: (bell(), ["ZZ", Pauli("XX"), {"YY": 2.0}]),
        "nested lists": lambda: (bell(), [["ZZ", "XX"], ["IZ", "ZZ"], ["XI", "YY"]]),
        "PauliList": lambda: (bell(), PauliList(["ZZ", "XX"])),
        "ObservablesArray": lambda: (bell(), ObservablesArray([["ZZ"], ["XX"]])),
        "three axes": lambda: (bell(), np.array([[["ZZ"], ["XX"]]], dtype=object)),
        "no values": lambda: (bell(), ["ZZ", "XX"], None),
        "empty values": lambda: (bell(), ["ZZ", "XX"], []),
        "rows of nothing": lambda: (bell(), [["ZZ"], ["XX"]], np.empty((3, 0))),
        "EstimatorPub": lambda: EstimatorPub.coerce((bell(), "ZZ")),
        "list as pub": lambda: [bell(), "ZZ"],
        "precision": lambda: (bell(), "ZZ", None, 0.0),
        "bound": lambda: (circuit.assign_parameters([0.3, -1.1]), ["ZZ", "XY"]),
        "barrier and numbers": lambda: (_measured(), ["ZZ", "XX"]),
        "no gates": lambda: (QuantumCircuit(2), ["ZZ", "XI"]),
        "one row": lambda: (ANSATZ, HAMILTONIAN, ROWS[0]),
        "list of numbers": lambda: (ANSATZ, HAMILTONIAN, ROWS[0].tolist()),
        "a row in two axes": lambda: (ANSATZ, HAMILTONIAN, ROWS[:1]),
        "rows": lambda: (ANSATZ, HAMILTONIAN, ROWS),
        "rows in two axes": lambda: (ANSATZ, HAMILTONIAN, ROWS.reshape(2, 2, -1)),
        "auxiliary operators": lambda: (ANSATZ, [HAMILTONIAN, "ZZZ", "XXX"], ROWS[0]),
        "each with each": lambda: (ANSATZ, [["ZII"], ["IZI"], ["XXX"]], ROWS),
        "the other way": lambda: (ANSATZ, ["ZII", "IZI", "XXX"], ROWS[:, np.newaxis]),
        "one for each row": lambda: (ANSATZ, ["ZII", "IZI", "XXX", "YYI"], ROWS),
        "scalar values": lambda: (one, "Z", 0.7),
        "values of one parameter": lambda: (one, "Z", [0.1, 0.2, 0.3]),
        "values of one in a column": lambda: (one, "Z", [[0.1], [0.2], [0.3]]),
        "mapping": lambda: (circuit, "ZZ", {b: 0.2, a: -0.9}),
        "mapping from names": lambda: (circuit, "ZZ", {("b", "a"): [[0.2, -0.9], [1.0, 2.0]]}),
        "mapping of rows": lambda: (circuit, ["ZZ", "XX"], {b: [0.2, 0.5], a: [-0.9, 1.0]}),
        "BindingsArray": lambda: (circuit, "XY", BindingsArray({"b": [0.2, 0.5], "a": [1.0, 2.0]})),
        "no rows": lambda: (ANSATZ, HAMILTONIAN, ROWS[:0]),
        "no observables": lambda: (bell(), np.empty((0,), dtype=object)),
        "angles of pi/2": lambda: (ANSATZ, HAMILTONIAN, np.full(ANSATZ.num_parameters, np.pi / 2)),
        "large angles": lambda: (ANSATZ, HAMILTONIAN, ROWS * 100),
        "evolution": lambda: (_evolution(Parameter("t")), HAMILTONIAN, [[0.3], [1.3]]),
        "bound evolution": lambda: (_evolution(0.4), HAMILTONIAN),
        "composite gates": lambda: (_composite(), HAMILTONIAN, [0.1, 0.2, 0.3, 0.4]),
        "bound composite": lambda: (_composite().assign_parameters([0.1, 0.2, 0.3, 0.4]), "ZXZ"),
        "bound library circuit": lambda: (
            efficient_su2(3, reps=1).assign_parameters(np.arange(12) / 3),
            [HAMILTONIAN, "YYY"],
        ),
        **{f"random {k}": lambda k=k: _random(k, ()) for k in range(3)},
        **{f"random rows {k}": lambda k=k: _random(k, (2,)) for k in range(3, 6)},
        **{f"random (2, 1) x (3,) {k}": lambda k=k: _random(k, (2, 3)) for k in range(6, 8)},
        **{f"random bound {k}": lambda k=k: _random_bound(k) for k in range(8, 11)},
    }


PUBS = _table()
