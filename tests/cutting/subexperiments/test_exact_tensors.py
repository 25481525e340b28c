from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import Operator

from hpcq.circuits.normalise import normalise
from hpcq.circuits.slots import parametrise
from hpcq.core.limits import Limits
from hpcq.cutting.cut_circuit import cut_circuit
from hpcq.cutting.cuts import Cuts, cuts_from_partition
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor, _pair
from hpcq.cutting.subexperiments.operator_products import operator_products, weighted_states
from hpcq.cutting.subexperiments.pauli_products import pauli_products
from hpcq.engines.aer_engine import AerEngine
from hpcq.engines.requests import NO_PARAMETERS, Tensors
from tests.support.device_arrays import DeviceArray
from tests.support.letters import LETTERS
from tests.support.strategies import circuits, cuts_of

ENGINE = AerEngine(Limits(1 << 30))


def tensor_of(exact: ExactTensor) -> np.ndarray:
    prepared = ENGINE.prepare(exact)
    requests = [Tensors(exact.strings, block) for block in range(exact.num_tasks)]
    return exact.assemble([prepared.execute(NO_PARAMETERS, request)[0] for request in requests])


@pytest.mark.slow
@settings(max_examples=60)
@given(st.data())
def test_slicing_ports_does_not_change_the_tensor(data: st.DataObject) -> None:
    circuit = data.draw(circuits(max_qubits=4, max_gates=8))
    cut = cut_circuit(circuit, data.draw(cuts_of(circuit)))
    for subcircuit in cut.subcircuits:
        wires = sorted(subcircuit.open_wires.values())
        string = tuple((wire, data.draw(st.sampled_from("XYZ01+-rl"))) for wire in wires)
        unsliced = ExactTensor(subcircuit, ((), string))
        sliceable = [p for p, port in enumerate(subcircuit.ports) if port.ancillas]
        chosen = data.draw(st.sets(st.sampled_from(sliceable))) if sliceable else ()
        sliced = replace(unsliced, sliced=tuple(sorted(chosen)))
        assume(sliced.num_branches <= 8 and sliced.shape[1] <= 256)
        np.testing.assert_allclose(tensor_of(sliced), tensor_of(unsliced), atol=1e-12)


MATRICES = {"I": [[1, 0], [0, 1]], **LETTERS}


def applied(text: str, states: np.ndarray) -> np.ndarray:
    """Apply a label, letter by letter, to one state per row."""
    for qubit, letter in enumerate(reversed(text)):
        if letter == "I":
            continue
        split = states.reshape(len(states), -1, 2, 1 << qubit)
        states = np.einsum("ij,ahjl->ahil", MATRICES[letter], split).reshape(len(states), -1)
    return states


@pytest.mark.slow
@settings(max_examples=60)
@given(st.data())
def test_products_equal_the_operators_matrix(data: st.DataObject) -> None:
    qubits = data.draw(st.integers(0, 10))
    rows = data.draw(st.sampled_from((1, 3, 64, 130)))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    strings = data.draw(
        st.lists(st.text([*MATRICES], min_size=qubits, max_size=qubits), min_size=1, max_size=3)
    )
    pauli_strings = [
        tuple((q, p) for q, p in enumerate(reversed(text)) if p != "I") for text in strings
    ]
    ket, bra = (
        rng.normal(size=(rows, 2**qubits)) + 1j * rng.normal(size=(rows, 2**qubits))
        for _ in range(2)
    )
    for left, right in ((ket, bra), (ket, ket)):
        products = pauli_products(left, right, pauli_strings)
        for text, product in zip(strings, products, strict=True):
            np.testing.assert_allclose(product, applied(text, left) @ right.conj().T, atol=1e-9)


@pytest.mark.slow
def test_products_of_many_blocks() -> None:
    qubits, rows = 17, 4
    rng = np.random.default_rng(0)
    ket = rng.normal(size=(rows, 2**qubits)) + 1j * rng.normal(size=(rows, 2**qubits))
    texts = ["Z" + "I" * 16, "X" + "I" * 15 + "Y", "I" * 16 + "X", "ZZ" + "I" * 14 + "Z", "Y" * 17]
    texts += ["01" * 8 + "1", "+-rl01XYZ" + "I" * 8, "I" * 8 + "+-rl01XYZ", "r" + "X" * 15 + "l"]
    texts += ["1" + "I" * 16, "I" * 16 + "+", "Xl" + "I" * 13 + "-Y", "+" * 17]
    pauli_strings = [tuple((q, p) for q, p in enumerate(reversed(t)) if p != "I") for t in texts]
    expected = [applied(text, ket) @ ket.conj().T for text in texts]
    for bra in (ket, ket.copy()):
        products = pauli_products(ket, bra, pauli_strings)
        np.testing.assert_allclose(products, expected, atol=1e-7)


@pytest.mark.parametrize("rows", [3, 130])
def test_products_of_states_on_a_device_stay_there(rows: int) -> None:
    rng = np.random.default_rng(0)
    ket = rng.normal(size=(rows, 2**9)) + 1j * rng.normal(size=(rows, 2**9))
    texts = ["XYZZIIIXX", "IIIIIIIII", "Z01+-rlXY", "ZIIIIIIII", "IIIIIIIZZ"]
    strings = [tuple((q, p) for q, p in enumerate(reversed(t)) if p != "I") for t in texts]
    operators = [[(string, 1.0 + n) for n, string in enumerate(strings)], [(strings[2], 0.5)]]
    device = DeviceArray(ket)
    for bra, device_bra in ((ket, device), (ket[:2].copy(), DeviceArray(ket[:2].copy()))):
        products = pauli_products(device, device_bra, strings)
        np.testing.assert_array_equal(products.get(), pauli_products(ket, bra, strings))
        summed = operator_products(device, device_bra, operators)
        np.testing.assert_array_equal(summed.get(), operator_products(ket, bra, operators))
        weights = rng.normal(size=(2, 2, rows, len(bra))) + 1j
        states = weighted_states(device, operators, DeviceArray(weights))
        np.testing.assert_array_equal(states.get(), weighted_states(ket, operators, weights))


@pytest.mark.parametrize("sliced", [(), (0,), (1,), (0, 1)])
def test_tensors_are_assembled_on_a_device(sliced: tuple[int, ...]) -> None:
    theta = Parameter("theta")
    circuit = QuantumCircuit(2)
    circuit.rzz(theta, 0, 1)  # with a free parameter it is cut by a control port
    circuit.h([0, 1])
    circuit.cz(0, 1)
    generic = parametrise(normalise(circuit, free_parameters=True), [theta]).generic
    cut = cut_circuit(generic, cuts_from_partition(generic, "AB"))
    kinds = set()
    for subcircuit in cut.subcircuits:
        kinds.update(port.kind for port in subcircuit.ports)
        exact = ExactTensor(subcircuit, ((), ((0, "Z"),)), sliced=sliced)
        rng = np.random.default_rng(0)
        shape = (exact.num_tasks, *exact.block_shape)
        blocks = rng.normal(size=shape) + 1j * rng.normal(size=shape)
        device = list(map(DeviceArray, blocks))
        np.testing.assert_array_equal(exact.assemble(device).get(), exact.assemble(blocks))
        weights = exact.join(blocks)
        np.testing.assert_array_equal(exact.split(DeviceArray(weights)).get(), exact.split(weights))
        states = rng.normal(size=(shape[-1], 2**3)) + 1j
        of_device = exact.prefix_grams(DeviceArray(states), DeviceArray(states), 2)
        np.testing.assert_array_equal(of_device.get(), exact.prefix_grams(states, states, 2))
    assert kinds == {"control", "gate"}


def test_pairs_are_the_lower_triangle() -> None:
    pairs = [_pair(task) for task in range(5000 * 5001 // 2 - 20, 5000 * 5001 // 2 + 20)]
    assert pairs[19] == (4999, 4999)
    assert pairs[20] == (5000, 0)
    assert [_pair(task) for task in range(6)] == [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]


def test_the_circuit_of_an_uncut_subcircuit_is_its_circuit() -> None:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cp(0.3, 0, 1)
    (subcircuit,) = cut_circuit(circuit, Cuts()).subcircuits
    assert Operator(ExactTensor(subcircuit, ((),)).circuit()) == Operator(circuit)
    assert ExactTensor(subcircuit, ((),)).num_tasks == 1
    with pytest.raises(IndexError):
        ExactTensor(subcircuit, ((),)).assemble([])
