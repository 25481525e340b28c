"""Draw as text: Qiskit's text drawing of the circuit, and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qiskit import QuantumCircuit
from qiskit.circuit import ControlledGate, Gate, Operation
from qiskit.circuit.tools import pi_check

from hpcq.core.text import number_ranges
from hpcq.cutting.subcircuits import CutCircuit
from hpcq.planning.description import size_texts
from hpcq.reports.drawing.steps import (
    DrawnBond,
    DrawnStep,
    DrawnWireCut,
    bonds,
    describe_cut,
    is_cut,
)

_LINE_LENGTH = 140
"""Columns at which Qiskit's drawing is folded."""


def drawing_text(steps: Sequence[DrawnStep], cut: CutCircuit, *, gate_by_gate: bool) -> str:
    """Return tables of subcircuits and cuts as text, after the circuit gate by gate on request."""
    lines = [f"hpcq drawing: {', '.join(size_texts(cut.num_qubits, cut))}"]
    if gate_by_gate:
        lines += [
            "",
            "H:0 is a gate of subcircuit 0, X✂5 the two-qubit gate number 5, which is cut,",
            "and ✂0→1 a wire that is cut between the subcircuits 0 and 1.",
            "",
            *_circuit_lines(steps, cut.num_qubits),
        ]
    details = _cut_lines(steps) if gate_by_gate else _bond_lines(bonds(steps, cut))
    lines += ["", *_subcircuit_lines(cut), "", *details]
    return "\n".join(lines) + "\n"


def _circuit_lines(steps: Sequence[DrawnStep], num_qubits: int) -> list[str]:
    circuit = QuantumCircuit(num_qubits)
    for step in steps:
        circuit.append(_labelled(step), step.qubits)
    drawing = circuit.draw(
        "text",
        fold=_LINE_LENGTH,
        reverse_bits=False,
        justify="left",
        idle_wires=True,
        vertical_compression="medium",
    )
    return [line.rstrip() for line in drawing.lines()]


def _labelled(step: DrawnStep) -> Gate:
    """Return a gate whose label in Qiskit's text drawing names its subcircuit or its cut."""
    if isinstance(step, DrawnWireCut):
        return Gate("✂{}→{}".format(*step.subcircuits), 1, [])
    operation = step.operation
    mark = f":{step.subcircuits[0]}" if step.cut is None else f"✂{step.cut}"
    if not isinstance(operation, ControlledGate):
        return Gate(_name(operation) + _values(operation) + mark, len(step.qubits), [])
    label = _name(operation.base_gate) + _values(operation) + mark
    return ControlledGate(
        label,
        operation.num_qubits,
        [],
        num_ctrl_qubits=operation.num_ctrl_qubits,
        ctrl_state=operation.ctrl_state,
        base_gate=Gate(label, operation.num_qubits - operation.num_ctrl_qubits, []),
    )


def _name(operation: Operation) -> str:
    return str(operation.name).capitalize()


def _values(operation: Operation) -> str:
    """Return the angles of a gate as text; nothing for a matrix."""
    if not operation.params or operation.name == "unitary":
        return ""
    return f"({','.join(pi_check(value, ndigits=3) for value in operation.params)})"


def _subcircuit_lines(cut: CutCircuit) -> Iterable[str]:
    yield "subcircuit  qubits  ports  qubits of the circuit"
    for number, subcircuit in enumerate(cut.subcircuits):
        yield (
            f"{number:>10}  {subcircuit.num_qubits:>6}  {len(subcircuit.ports):>5}"
            f"  {number_ranges(subcircuit.qubits)}"
        )


def _cut_lines(steps: Sequence[DrawnStep]) -> Iterable[str]:
    yield "cuts"
    for step in filter(is_cut, steps):
        yield "  {}, subcircuits {} and {}".format(describe_cut(step), *step.subcircuits)


def _bond_lines(all_bonds: Sequence[DrawnBond]) -> Iterable[str]:
    yield "subcircuits    cuts  dimension"
    for bond in all_bonds:
        pair = "{:>5} {:>5}".format(*bond.ends)
        yield f"{pair}  {bond.cuts:>6}  {bond.dimension_text():>9}"
