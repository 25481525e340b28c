"""Drawings: every subcircuit and every cut is in them, and foreign files stay as they are."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import rustworkx
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

import hpcq
from hpcq.circuits.port_markers import PORT_MARKERS
from hpcq.core.errors import InputError, MissingDependencyError
from hpcq.cutting.cut_circuit import cut_circuit, subcircuit_segments
from hpcq.cutting.cuts import Cuts, GateCut, WireCut, cuts_from_partition
from hpcq.cutting.subcircuits import CutCircuit
from hpcq.reports.drawing import check_drawing, draw_cuts
from hpcq.reports.drawing.canvas import CUT, FAINT, INK, colour
from hpcq.reports.drawing.files import draw_plan
from hpcq.reports.drawing.layout import layout
from hpcq.reports.drawing.steps import DrawnGate, bonds, drawn_steps
from tests.support.strategies import circuits, cuts_of, standard_gates


def example() -> tuple[QuantumCircuit, Cuts]:
    """Three subcircuits on five qubits: 0 and 1, then 1 (cut) to 3, then 4."""
    circuit = QuantumCircuit(5)
    circuit.global_phase = 0.3
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.ry(0.25, 1)
    circuit.cz(1, 2)
    circuit.cx(2, 3)
    circuit.rzz(0.5, 3, 4)
    circuit.t(4)
    return circuit, Cuts((GateCut(3, (3, 4)),), (WireCut(1, 1),))


def drawn(circuit: QuantumCircuit, cuts: Cuts, path: Path) -> str:
    draw_cuts(circuit, cut_circuit(circuit, cuts), path)
    return path.read_text(encoding="utf-8")


def chain(num_qubits: int, block: int) -> tuple[QuantumCircuit, Cuts]:
    circuit = QuantumCircuit(num_qubits)
    for qubit in range(num_qubits - 1):
        circuit.cz(qubit, qubit + 1)
    return circuit, cuts_from_partition(circuit, [qubit // block for qubit in range(num_qubits)])


def comments(svg: str) -> Counter[str]:
    """Count the texts of an image; Matplotlib writes each as a comment beside its glyphs."""
    return Counter(re.findall(r"<!-- (.*?) -->", svg))


def test_text_shows_each_gate_with_its_subcircuit_and_each_cut(tmp_path: Path) -> None:
    text = drawn(*example(), tmp_path / "cuts.txt")
    assert text.startswith("hpcq drawing: 5 qubits, 1 gate cut, 1 wire cut, 3 subcircuits\n")
    picture, tables = text.split("\nsubcircuit  qubits")
    gates = Counter(re.findall(r"[HXZRTyz(). 0-9]*[:✂][0-9→]+", picture.split("\n\n", 2)[2]))
    assert {gate.strip(): n for gate, n in gates.items()} == {
        "H:0": 1,
        "X:0": 1,
        "✂0→1": 1,
        "Ry(0.25):1": 1,
        "Z:1": 1,
        "X:1": 1,
        "Rzz(0.5)✂3": 1,
        "T:2": 1,
    }
    assert "         0       2      1  0-1\n" in tables
    assert "         1       3      2  1-3\n" in tables
    assert "wire of qubit 1 after its two-qubit gate number 1, subcircuits 0 and 1" in tables
    assert "gate 3: rzz on qubits 3, 4, subcircuits 1 and 2" in tables


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_text_of_random_circuits_names_all(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    circuit = data.draw(circuits())
    cuts = data.draw(cuts_of(circuit))
    text = drawn(circuit, cuts, tmp_path_factory.getbasetemp() / "random.txt")
    picture = text.split("\nsubcircuit  qubits")[0].split("\n\n", 2)[2]
    assert sorted(map(int, re.findall(r"✂(\d+)(?!\d|→)", picture))) == [g.gate for g in cuts.gates]
    assert len(re.findall(r"✂\d+→\d+", picture)) == len(cuts.wires)
    assert len(re.findall(r":\d+ ", picture)) == circuit.size() - len(cuts.gates)
    table = text.split("qubits of the circuit\n")[1].split("\n\n")[0]
    assert len(table.splitlines()) == len(cut_circuit(circuit, cuts).subcircuits)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_gates_are_placed_in_the_subcircuits_that_hold_them(data: st.DataObject) -> None:
    circuit = data.draw(circuits())
    cuts = data.draw(cuts_of(circuit, max_gates=0))
    markers = set(PORT_MARKERS.values())
    steps = [step for step in drawn_steps(circuit, cuts) if isinstance(step, DrawnGate)]
    for number, subcircuit in enumerate(cut_circuit(circuit, cuts).subcircuits):
        held = [step.name for step in subcircuit.circuit.data if step.name not in markers]
        assert held == [step.operation.name for step in steps if step.subcircuits[0] == number]


def test_pieces_are_the_subcircuits_qubits() -> None:
    circuit, cuts = example()
    assert subcircuit_segments(circuit, cuts) == [
        [(0, 0), (1, 0)],
        [(1, 1), (2, 0), (3, 0)],
        [(4, 0)],
    ]


def test_svg_has_the_colours_and_a_mark_for_each_cut(tmp_path: Path) -> None:
    svg = drawn(*example(), tmp_path / "cuts.svg")
    assert svg.startswith("<?xml")
    for number in range(3):
        assert colour(number).lower() in svg
    texts = comments(svg)
    assert texts["✂"] == 2
    assert texts["✂ 1 gate, 1 wire"] == 1
    assert texts["3"] == 1  # the cut gate's number
    # Each qubit's tag, and one more behind the cut of a wire.
    assert [texts[str(number)] for number in range(3)] == [2, 3, 1]
    assert texts["1: 3 qubits, 2 ports"] == 1


def test_wires_change_colour_at_the_cut(tmp_path: Path) -> None:
    svg = drawn(*example(), tmp_path / "cuts.svg")
    wires = re.findall(
        r'<path d="M (\S+) (\S+) \nL (\S+) (\S+) \n" [^>]*stroke: (#\w+); stroke-width: 2.2', svg
    )
    found = sorted(
        ((float(y), float(x), float(end), ink) for x, y, end, _, ink in wires),
    )
    order = [colour(number).lower() for number in (0, 0, 1, 1, 1, 2)]
    assert [ink for *_, ink in found] == order
    assert found[1][2] == found[2][1]  # qubit 1: the second part starts where the first ends


@pytest.mark.slow
def test_every_gate_takes_its_subcircuits_colour(tmp_path: Path) -> None:
    circuit = QuantumCircuit(4)
    for gate in standard_gates(1) + standard_gates(2):
        gate = type(gate)(*[0.5] * len(gate.params)) if gate.params else gate
        for first in range(5 - gate.num_qubits):
            circuit.append(gate, range(first, first + gate.num_qubits))
    circuit.cx(1, 2, ctrl_state=0)
    cuts = cuts_from_partition(circuit, "AABB")
    svg = drawn(circuit, cuts, tmp_path / "all.svg")
    inks = {ink.lower() for ink in re.findall(r"#[0-9A-Fa-f]{6}\b", svg)}
    known = {colour(0), colour(1), CUT, FAINT, INK, "#ffffff", "#000000"}
    assert inks <= {ink.lower() for ink in known}
    texts = comments(svg)
    assert texts["✂"] == len(cuts.gates)
    assert all(texts[str(cut.gate)] >= 1 for cut in cuts.gates)


@pytest.mark.slow
def test_folded_rows_keep_their_colours(tmp_path: Path) -> None:
    circuit = QuantumCircuit(2)
    for _ in range(60):
        circuit.cx(0, 1)
        circuit.h(0)
    cuts = Cuts(tuple(GateCut(n) for n in range(60)), (WireCut(0, 20), WireCut(0, 50)))
    texts = comments(drawn(circuit, cuts, tmp_path / "long.svg"))
    assert texts["✂"] == 62
    assert all(texts[str(number)] >= 1 for number in range(60))
    rows = texts["${q}_{0}$"]
    assert rows > 2
    numbers = [
        number for number, part in enumerate(subcircuit_segments(circuit, cuts)) if (1, 0) in part
    ]
    assert texts[str(numbers[0])] == rows + 1  # the tag of qubit 1 in each row, and a cut's number


def test_png_is_one_and_says_whose(tmp_path: Path) -> None:
    circuit, cuts = example()
    path = tmp_path / "cuts.png"
    draw_cuts(circuit, cut_circuit(circuit, cuts), path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert b"Software\0hpcq" in content


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["png", "svg", "txt"])
@pytest.mark.parametrize("make", [example, lambda: chain(60, 20)], ids=["circuit", "summary"])
def test_drawings_repeat_and_change_no_settings(make, suffix: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    circuit, cuts = make()
    before = dict(mpl.rcParams)
    paths = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    for path in paths:
        draw_cuts(circuit, cut_circuit(circuit, cuts), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert dict(mpl.rcParams) == before


def test_wide_circuits_are_summed_up(tmp_path: Path) -> None:
    circuit, cuts = chain(60, 20)
    circuit.cx(19, 20)
    circuit.swap(19, 20)
    cuts = cuts_from_partition(circuit, [qubit // 20 for qubit in range(60)])
    texts = comments(drawn(circuit, cuts, tmp_path / "wide.svg"))
    assert texts["20 q"] == 3
    assert [texts[str(number)] for number in range(3)] == [1, 1, 1]
    assert texts["3 cuts"] == 1
    assert texts["1 cut"] == 1
    text = drawn(circuit, cuts, tmp_path / "wide.txt")
    assert re.search(r"^ +0 +1 +3 +\d+$", text, re.MULTILINE)
    assert re.search(r"^ +1 +2 +1 +2$", text, re.MULTILINE)
    assert "  20-39\n" in text


def test_bonds_count_cuts_and_multiply_dimensions() -> None:
    circuit = QuantumCircuit(3)
    circuit.cx(0, 1)
    circuit.swap(0, 1)
    circuit.cx(1, 2)
    cuts = cuts_from_partition(circuit, "ABB")
    cut = cut_circuit(circuit, cuts)
    (bond,) = bonds(drawn_steps(circuit, cuts), cut)
    assert (bond.ends, bond.cuts) == ((0, 1), 2)
    assert bond.dimension == np.prod([edge.dimension for edge in cut.edges])


@pytest.mark.parametrize("suffix", [".txt", ".svg", ".png"])
def test_free_parameters_are_named(suffix: str, tmp_path: Path) -> None:
    angle = Parameter("angle")
    circuit = QuantumCircuit(3)
    circuit.ry(angle / 2, 0)
    circuit.cx(0, 1)
    circuit.crz(angle, 1, 2)
    path = tmp_path / f"d{suffix}"
    draw_plan(hpcq.plan(circuit, "Z2", cut_labels="AAB"), path)
    if suffix == ".txt":
        text = path.read_text()
        assert "Ry(angle/2):0" in text
        assert re.search(r"Rzz\(.*angle.*\)✂", text), text


def test_uncut_circuits_are_drawn_too(tmp_path: Path) -> None:
    for num_qubits in (1, 40):
        circuit = QuantumCircuit(num_qubits)
        for qubit in range(num_qubits - 1):
            circuit.cx(qubit, qubit + 1)
        for suffix in ("svg", "txt"):
            assert drawn(circuit, Cuts(), tmp_path / f"uncut{num_qubits}.{suffix}")


def test_no_image_of_thousands(tmp_path: Path) -> None:
    circuit = QuantumCircuit(1500)
    for qubit in range(1500):
        circuit.h(qubit)
    cut = CutCircuit(1500, Cuts(), cut_circuit(QuantumCircuit(1), Cuts()).subcircuits * 1500, ())
    with pytest.raises(InputError, match=r"1500 subcircuits, expected at most 500.*\.txt"):
        draw_cuts(circuit, cut, tmp_path / "many.png")
    assert not list(tmp_path.iterdir())
    draw_cuts(circuit, cut, tmp_path / "many.txt")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["png", "svg", "txt"])
def test_own_drawings_are_overwritten_and_nothing_else(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"cuts.{suffix}"
    circuit, cuts = example()
    draw_cuts(circuit, cut_circuit(circuit, cuts), path)
    first = path.read_bytes()
    draw_cuts(circuit, cut_circuit(circuit, Cuts()), path)
    assert path.read_bytes() != first
    foreign = first.replace(b"hpcq", b"else")
    path.write_bytes(foreign)
    with pytest.raises(InputError, match="is not an hpcq drawing; it is left as it is"):
        draw_cuts(circuit, cut_circuit(circuit, cuts), path)
    assert path.read_bytes() == foreign
    path.write_bytes(b"")
    with pytest.raises(InputError, match="left as it is"):
        check_drawing(path)


@pytest.mark.parametrize("name", ["cuts", "cuts.jpg", "cuts.png.gz", ".svg"])
def test_other_kinds_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"draw: .*expected a name that ends in .png, .svg, .txt"):
        check_drawing(tmp_path / name)


def test_no_folder_is_said_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"draw: .*, expected a path in a folder that exists"):
        check_drawing(tmp_path / "nowhere" / "cuts.txt")


@pytest.mark.parametrize("missing", ["matplotlib", "pylatexenc"])
def test_missing_packages_are_named_with_the_cure(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingDependencyError, match=rf"{missing}.*pip install 'hpcq\[draw\]'"):
        check_drawing(tmp_path / "cuts.png")
    circuit, cuts = example()
    assert drawn(circuit, cuts, tmp_path / "cuts.txt")


GRAPHS = {
    "one": (1, []),
    "two": (2, [(0, 1)]),
    "alone": (7, []),
    "star": (30, [(0, other) for other in range(1, 30)]),
    "chain": (120, [(node, node + 1) for node in range(119)]),
    "all": (20, [(a, b) for a in range(20) for b in range(a)]),
    "apart": (12, [(node, node + 1) for node in range(0, 12, 2)]),
    "mixed": (14, [(0, 5), (5, 9), (9, 0), (1, 2), (3, 4), (4, 6), (6, 7), (7, 3), (8, 10)]),
}


def _components(nodes: int, pairs: list[tuple[int, int]]) -> list[list[int]]:
    graph = rustworkx.PyGraph()
    graph.add_nodes_from(range(nodes))
    graph.add_edges_from_no_data(pairs)
    return [sorted(component) for component in rustworkx.connected_components(graph)]


@pytest.mark.slow
@pytest.mark.parametrize(("nodes", "pairs"), GRAPHS.values(), ids=GRAPHS.keys())
def test_layout_keeps_nodes_apart_and_repeats(nodes: int, pairs: list[tuple[int, int]]) -> None:
    places = layout(nodes, pairs)
    assert places.shape == (nodes, 2)
    gaps = np.linalg.norm(places[:, None] - places[None], axis=2)[~np.eye(nodes, dtype=bool)]
    assert np.all(gaps > 0.75)
    np.testing.assert_array_equal(places, layout(nodes, pairs))
    width, height = np.ptp(places, axis=0)
    assert width < 5 * (height + 1.2)
    components = _components(nodes, pairs)
    boxes = [(places[part].min(0), places[part].max(0)) for part in components]
    for number, (low, high) in enumerate(boxes):
        for other_low, other_high in boxes[:number]:
            assert np.any((other_high < low) | (high < other_low)), "components overlap"
    if nodes == 120:
        assert max(np.linalg.norm(places[a] - places[b]) for a, b in pairs) < 2
