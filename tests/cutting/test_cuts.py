from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit

from hpcq import plan
from hpcq.core.errors import InputError
from hpcq.cutting.cut_circuit import cut_circuit
from hpcq.cutting.cuts import Cuts, GateCut, WireCut, cuts_from_partition
from hpcq.cutting.subcircuits import Port, Subcircuit
from tests.support.strategies import circuits, cuts_of


def chain() -> QuantumCircuit:
    circuit = QuantumCircuit(4)
    for qubit in range(3):
        circuit.h(qubit)
        circuit.cx(qubit, qubit + 1)
    return circuit


@pytest.mark.slow
@given(st.data())
def test_saved_cuts_are_read_again(data: st.DataObject) -> None:
    circuit = data.draw(circuits())
    cuts = data.draw(cuts_of(circuit))
    again = Cuts.from_json(cuts.to_json())
    again.check(circuit)
    assert again == cuts


@pytest.mark.slow
@given(st.data())
def test_every_cut_has_two_ends_and_every_wire_a_subcircuit(data: st.DataObject) -> None:
    circuit = data.draw(circuits())
    cuts = data.draw(cuts_of(circuit))
    cut = cut_circuit(circuit, cuts)
    ends = [end for edge in cut.edges for end in edge.ends]
    ports = [(s, p) for s, sub in enumerate(cut.subcircuits) for p in range(len(sub.ports))]
    assert sorted(ends) == ports
    assert sum(s.num_qubits for s in cut.subcircuits) == circuit.num_qubits + len(cuts.wires)
    open_qubits = [qubit for s in cut.subcircuits for qubit in s.open_wires]
    assert sorted(open_qubits) == list(range(circuit.num_qubits))


def test_a_partition_cuts_the_gates_between_labels() -> None:
    cuts = cuts_from_partition(chain(), "AABB")
    assert cuts == Cuts(gates=(GateCut(1, (1, 2)),))
    assert cuts_from_partition(chain(), [0, 0, 1, 1]) == cuts
    assert cut_circuit(chain(), cuts).sampling_overhead == pytest.approx(9)


def test_a_wire_cut_counts_sixteen() -> None:
    cut = cut_circuit(chain(), Cuts(wires=(WireCut(1, 1),)))
    assert cut.sampling_overhead == 16
    assert [s.qubits for s in cut.subcircuits] == [(0, 1), (1, 2, 3)]
    assert [p.kind for s in cut.subcircuits for p in s.ports] == ["output", "input"]


def test_equal_subcircuits_have_equal_content() -> None:
    circuit = QuantumCircuit(6)
    for first in (0, 2, 4):
        circuit.ry(0.3, first)
        circuit.cz(first, first + 1)
    circuit.cz(1, 2)
    circuit.cz(3, 4)
    first, middle, last = cut_circuit(circuit, cuts_from_partition(circuit, "AABBCC")).subcircuits
    assert len({first.content, middle.content, last.content}) == 3
    circuit = circuit.copy()
    circuit.cz(5, 0)
    ring = cut_circuit(circuit, cuts_from_partition(circuit, "AABBCC")).subcircuits
    assert ring[1].content == ring[0].content or ring[1].content == ring[2].content


def test_content_is_the_same_in_all_versions() -> None:
    """Fingerprints in files depend on it: a run whose fingerprint changed could not go on."""
    ports = (Port("gate", 0, 2), Port("gate", 0, 2, shared_with=0))
    expected = "1389508d85134e50820f48b301807274ba2690ec953ecf9fd87835281bb6c17e"
    assert Subcircuit(QuantumCircuit(1), (0,), ports).content == expected


BAD = {
    "no JSON": ("{", "expected JSON"),
    "a list": ("[]", "JSON object"),
    "other format": ('{"format": "x"}', "'x'"),
    "other version": ('{"format_version": 2}', "format_version is 2"),
    "unknown key": ('{"cuts": []}', "'cuts'"),
    "gates no list": ('{"gate_cuts": 3}', "expected a list"),
    "gate no object": ('{"gate_cuts": [3]}', r"gate_cuts\[0\]"),
    "gate no number": ('{"gate_cuts": [{"gate": "a"}]}', r"gate_cuts\[0\].gate is a"),
    "gate a bool": ('{"gate_cuts": [{"gate": true}]}', r"gate is True"),
    "gate missing": ('{"gate_cuts": [{"gate": 3}]}', "expected 0 to 2"),
    "gate negative": ('{"gate_cuts": [{"gate": -1}]}', "expected 0 to 2"),
    "other qubits": ('{"gate_cuts": [{"gate": 0, "qubits": [1, 2]}]}', r"acts on \[0, 1\]"),
    "cut twice": (
        '{"gate_cuts": [{"gate": 0}, {"gate": 0, "qubits": [0, 1]}]}',
        "gate 0 is cut twice",
    ),
    "gate twice": ('{"gate_cuts": [{"gate": 1}, {"gate": 1}]}', "gate 1 is cut twice"),
    "wire twice": (
        '{"wire_cuts": [{"qubit": 1, "after": 1}, {"after": 1, "qubit": 1}]}',
        "wire of qubit 1 is cut twice after its two-qubit gate number 1",
    ),
    "cone twice": (
        '{"simplified": true, "cones": [{"wire_cuts": '
        '[{"qubit": 1, "after": 1}, {"qubit": 1, "after": 1}]}]}',
        r"cones\[0\]: the wire of qubit 1 is cut twice",
    ),
    "key twice": (
        '{"wire_cuts": [], "gate_cuts": [], "wire_cuts": []}',
        "'wire_cuts' occurs twice",
    ),
    "inner key twice": ('{"gate_cuts": [{"gate": 0, "gate": 1}]}', "'gate' occurs twice"),
    "infinite": ('{"gate_cuts": [{"gate": Infinity}]}', "Infinity is not a number"),
    "no such qubit": ('{"wire_cuts": [{"qubit": 4, "after": 1}]}', "qubit 4"),
    "before the first gate": ('{"wire_cuts": [{"qubit": 1, "after": 0}]}', "expected 1 to 1"),
    "after the last gate": ('{"wire_cuts": [{"qubit": 1, "after": 2}]}', "expected 1 to 1"),
    "deep": ("[" * 100_000, "expected JSON"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_bad_cuts_are_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Cuts.from_json(text, "my.json").check(chain(), "my.json")


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        (Cuts(wires=(WireCut(1, 1), WireCut(1, 1))), "wire of qubit 1 is cut twice"),
        (Cuts(gates=(GateCut(1), GateCut(1))), "gate 1 is cut twice"),
        (Cuts(gates=(GateCut(1), GateCut(1, (1, 2)))), "gate 1 is cut twice"),
        (Cuts(simplified=True, cones=(Cuts(wires=(WireCut(1, 1),) * 2),)), r"cones\[0\]: .* twice"),
    ],
)
def test_cuts_made_in_python_have_no_repeats(cuts: Cuts, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(chain(), cuts=cuts)
