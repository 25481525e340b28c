"""Draw a circuit gate by gate as an image: Qiskit's drawing, with colours and cuts added.

Qiskit colours gates by name, so each gate gets another name in each subcircuit. Wires and cuts get
colours that nothing else has, by which they are found in the finished drawing; then wires are
coloured by subcircuit and cuts are marked by scissors.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import Circle, Patch, Rectangle
from qiskit import QuantumCircuit
from qiskit.circuit import ControlledGate, Gate, Operation
from qiskit.visualization.circuit.qcstyle import MPLDefaultStyle

from hpcq.cutting.subcircuits import CutCircuit
from hpcq.planning.description import count_text
from hpcq.reports.drawing import canvas
from hpcq.reports.drawing.steps import (
    DrawnGate,
    DrawnStep,
    DrawnWireCut,
    subcircuits_of_wires,
)

_WIRE = "#010203"
_WIRE_CUT = "#030201"
"""Colours by which wires and wire cuts are found in Qiskit's drawing; nothing else has them."""

_INCHES = 0.45
"""Distance between wires in inches."""

_BOX = 0.65
"""Height of Qiskit's gates, in units of the distance between wires."""

_FRONT = 20
"""Z-order of marks in Matplotlib, above that of Qiskit's texts, 13."""

_MAX_WIDTH = 42.0
"""Width at which a drawing is folded into rows, in units of the distance between wires."""

_ASPECT = 1.5
"""Width over height that folding aims at."""

_FONT_SIZE = 8.0
_SMALL_FONT_SIZE = 6.0
_SCISSORS_FONT_SIZE = 11.0
"""Sizes of letters in points: legend, tags and numbers of cuts, scissors."""


def circuit_image(steps: Sequence[DrawnStep], cut: CutCircuit, kind: str) -> bytes:
    """Return a ``png`` or ``svg`` image of the circuit with its subcircuits and cuts."""
    style = _Style()
    circuit = QuantumCircuit(cut.num_qubits)
    for step in steps:
        circuit.append(style.painted(step), step.qubits)
    with canvas.default_settings():
        axes = _draw(circuit, style.options)
        _Marks(axes, steps, cut.num_qubits).add()
        _add_legend(axes, cut)
        return canvas.image(axes, kind)


class _Style:
    """Names for gates, and the style by which Qiskit draws them with their texts and colours."""

    def __init__(self) -> None:
        self._texts = dict(MPLDefaultStyle().style["displaytext"])
        self.options: dict[str, Any] = {
            "name": "iqp",
            "linecolor": _WIRE,
            "margin": [2.0, 0.3, 0.3, 0.3],
            "displaytext": {},
            "displaycolor": {"target": ("#FFFFFF", "#FFFFFF")},
        }

    def painted(self, step: DrawnStep) -> Gate:
        """Return the gate of a step with a name that stands for its colour."""
        if isinstance(step, DrawnWireCut):
            return self._named(Gate("cut", 1, []), "cut", " ", _WIRE_CUT, _WIRE_CUT)
        name = str(step.operation.name)
        if step.cut is None:
            number = step.subcircuits[0]
            paint, fill, letters = str(number), canvas.colour(number), canvas.letter_colour(number)
        else:
            paint, fill, letters = "cut", canvas.CUT, "#FFFFFF"
        key = f"{name} {paint}"
        if not isinstance(step.operation, ControlledGate):
            text = self._texts.get(name) or name.capitalize().replace("_", r"\_")
            return self._named(step.operation.to_mutable(), key, text, fill, letters)
        gate = _controlled(step.operation, key)
        self.options["displaycolor"][gate.name] = (fill, letters)
        return gate

    def _named(self, gate: Gate, key: str, text: str, fill: str, letters: str) -> Gate:
        gate.label = key
        self.options["displaytext"][key] = text
        self.options["displaycolor"][key] = (fill, letters)
        return gate


def _controlled(operation: Operation, name: str) -> ControlledGate:
    base = operation.base_gate
    if len(base.params) != len(operation.params):  # Qiskit's CUGate has one more parameter, a phase
        base = Gate(base.name.capitalize(), base.num_qubits, operation.params)
    return ControlledGate(
        name,
        operation.num_qubits,
        operation.params,
        num_ctrl_qubits=operation.num_ctrl_qubits,
        ctrl_state=operation.ctrl_state,
        base_gate=base,
    )


def _draw(circuit: QuantumCircuit, style: dict[str, Any]) -> Axes:
    """Draw a circuit twice: the first drawing tells how wide it is, and so how to fold it."""
    scratch = canvas.new_axes(10, 10)
    _draw_into(scratch, circuit, style, fold=-1)
    width = sum(abs(x) for x in scratch.get_xlim())
    height = circuit.num_qubits + 1
    rows = max(math.ceil(width / _MAX_WIDTH), round(math.sqrt(width / (_ASPECT * height))))
    fold = -1
    if rows > 1:
        fold = max(math.ceil(width / rows) + 1, 8)
        width = fold + 2
    axes = canvas.new_axes(_INCHES * width, _INCHES * height * rows)
    _draw_into(axes, circuit, style, fold=fold)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    axes.figure.set_size_inches(_INCHES * width, _INCHES * width * (top - bottom) / (right - left))
    return axes


def _draw_into(axes: Axes, circuit: QuantumCircuit, style: dict[str, Any], fold: int) -> None:
    circuit.draw(
        "mpl", ax=axes, style=style, fold=fold, reverse_bits=False, justify="left", idle_wires=True
    )


class _Marks:
    """Find wires and cuts in Qiskit's drawing by their colours, and mark them.

    In Qiskit's drawing, wire q of row r lies at height −(r (qubits + 1) + q).
    """

    def __init__(self, axes: Axes, steps: Sequence[DrawnStep], num_qubits: int) -> None:
        self._axes = axes
        self._lines_a_row = num_qubits + 1
        self._subcircuits_of = subcircuits_of_wires(steps, num_qubits)
        self._cut_gates: dict[tuple[int, int], list[int]] = defaultdict(list)
        for step in steps:
            if isinstance(step, DrawnGate) and step.cut is not None:
                self._cut_gates[min(step.qubits), max(step.qubits)].append(step.cut)

    def add(self) -> None:
        """Colour the wires and mark the cuts."""
        self._mark_gates()
        cuts: dict[int, list[float]] = defaultdict(list)  # positions on each line
        for box in _boxes(self._axes, _WIRE_CUT):
            x, y = box.get_center()
            cuts[round(-y)].append(x)
            box.remove()
        for line in list(self._axes.lines):
            if line.get_color() == _WIRE:
                line.remove()
                (left, right), (y, y_end) = line.get_xdata(), line.get_ydata()
                if y == y_end:
                    self._add_wire(round(-y), left, right, cuts)

    def _mark_gates(self) -> None:
        positions: dict[tuple[int, int], set[tuple[int, float]]] = defaultdict(set)

        def find(x: float, y: float, span: float) -> None:
            row, top = divmod(round(-y), self._lines_a_row)
            positions[top, top + round(span)].add((row, x))

        for line in self._axes.lines:
            (x, x_end), (y, y_end) = line.get_xdata(), line.get_ydata()
            if line.get_color() == canvas.CUT and x == x_end:
                find(x - 0.22, max(y, y_end), abs(y - y_end))  # Qiskit writes to the right
        for box in _boxes(self._axes, canvas.CUT):
            span = box.get_height() - _BOX
            if span > 0.5:
                find(box.get_x() - 0.1, box.get_y() + span + _BOX / 2, span)
        for (top, bottom), points in positions.items():
            # Gates on the same two qubits stand in the order of the circuit.
            numbers = self._cut_gates[top, bottom]
            for (row, x), number in zip(sorted(points), numbers, strict=True):
                y = -(row * self._lines_a_row + top + 0.5)
                self._add_scissors(x, y)
                self._add_text(x - 0.24, y, str(number), canvas.CUT, ha="right")

    def _add_wire(self, line: int, left: float, right: float, cuts: dict[int, list[float]]) -> None:
        """Draw one wire of one row, from Qiskit's label to the end of the row."""
        row, qubit = divmod(line, self._lines_a_row)
        passed = sum(len(cuts[r * self._lines_a_row + qubit]) for r in range(row))
        numbers = self._subcircuits_of[qubit][passed:]
        if not numbers:
            self._axes.plot([left, right], [-line, -line], color=canvas.FAINT, lw=1, zorder=1)
            return
        bounds = [left, *sorted(cuts[line]), right]
        for number, start, end in zip(numbers, bounds, bounds[1:], strict=False):
            self._axes.plot(
                [start, end], [-line, -line], color=canvas.colour(number), lw=2.2, zorder=1
            )
            if start > left:
                self._add_scissors(start, -line)
            self._add_tag(start + 0.36 if start > left else start - 0.02, -line, number)

    def _add_scissors(self, x: float, y: float) -> None:
        self._axes.add_patch(Circle((x, y), 0.19, fc="#FFFFFF", ec=canvas.CUT, lw=1, zorder=_FRONT))
        self._add_text(x, y, "✂", canvas.CUT, _SCISSORS_FONT_SIZE)

    def _add_tag(self, x: float, y: float, number: int) -> None:
        self._axes.add_patch(
            Circle((x, y), 0.15, fc=canvas.colour(number), ec="none", zorder=_FRONT)
        )
        self._add_text(x, y, str(number), canvas.letter_colour(number))

    def _add_text(
        self,
        x: float,
        y: float,
        text: str,
        ink: str,
        size: float = _SMALL_FONT_SIZE,
        ha: str = "center",
    ) -> None:
        self._axes.text(
            x, y, text, color=ink, fontsize=size, ha=ha, va="center_baseline", zorder=_FRONT + 1
        )


def _boxes(axes: Axes, fill: str) -> list[Rectangle]:
    return [
        patch
        for patch in axes.patches
        if isinstance(patch, Rectangle) and to_hex(patch.get_facecolor()) == fill.lower()
    ]


def _add_legend(axes: Axes, cut: CutCircuit) -> None:
    handles = []
    for number, subcircuit in enumerate(cut.subcircuits):
        ports = count_text(len(subcircuit.ports), "port")
        text = f"{number}: {count_text(subcircuit.num_qubits, 'qubit')}, {ports}"
        handles.append(Patch(color=canvas.colour(number), label=text))
    gates, wires = count_text(len(cut.cuts.gates), "gate"), count_text(len(cut.cuts.wires), "wire")
    handles.append(Patch(color=canvas.CUT, label=f"✂ {gates}, {wires}"))
    legend = axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=max(1, min(len(handles), int(axes.figure.get_figwidth() / 1.8))),
        fontsize=_FONT_SIZE,
        labelcolor=canvas.INK,
        frameon=False,
    )
    legend.set_zorder(_FRONT)
