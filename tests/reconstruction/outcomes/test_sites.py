from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit

from hpcq.circuits.packed_bits import num_bytes, set_values, values_of
from hpcq.cutting.cuts import Cuts
from tests.support.outcomes import joint_amplitudes, network_of, uncut_amplitudes
from tests.support.strategies import circuits, cuts_of, structured


def _assert_equal_up_to_phase(found: np.ndarray, expected: np.ndarray) -> None:
    assert abs(np.vdot(found, expected)) == pytest.approx(1, abs=1e-10)
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-10)


@given(st.data(), st.integers(0, 3), st.booleans())
@settings(max_examples=10, deadline=None)
def test_sites_have_the_uncut_amplitudes(data: st.DataObject, sliced: int, keeps: bool) -> None:
    circuit = data.draw(st.one_of(circuits(5, 10), structured(5, 12)))
    cuts = data.draw(cuts_of(circuit))
    network = network_of(circuit, cuts, sliced_ports=sliced, kept_bytes=1 << 40 if keeps else 0)
    assert network.is_kept(0) == keeps
    assert network.qubits == tuple(range(circuit.num_qubits))
    _assert_equal_up_to_phase(joint_amplitudes(network), uncut_amplitudes(circuit))
    network = pickle.loads(pickle.dumps(network, protocol=5))
    for number, site in enumerate(network.sites):
        flat = network.amplitudes(number).reshape(site.dimension, -1)
        np.testing.assert_allclose(network.gram(number), flat @ flat.conj().T, atol=1e-12)
        outcomes = np.arange(site.num_outcomes)[::-1]
        columns = network.columns(number, outcomes).reshape(-1, site.dimension)
        np.testing.assert_allclose(columns, flat[:, outcomes].T, atol=1e-12)


def test_the_smallest_states_are_kept() -> None:
    circuit = QuantumCircuit(3)
    circuit.cz(0, 1)
    network = network_of(circuit, Cuts((), ()), kept_bytes=16 * 2)
    assert [network.is_kept(site) for site in (0, 1)] == [False, True]
    assert network.state_bytes == 32


def test_bits_of_qubits_are_packed_from_the_end() -> None:
    packed = np.zeros((2, num_bytes(11)), dtype=np.uint8)
    set_values(packed, (0, 9, 3), np.array([0b101, 0b010]))
    assert packed.tolist() == [[0, 0b1001], [0b10, 0]]
    np.testing.assert_array_equal(values_of(packed, (3, 9)), [1, 2])
    np.testing.assert_array_equal(values_of(packed, (0, 9, 3)), [0b101, 0b010])
