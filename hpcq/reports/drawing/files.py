"""Write drawings to files: check the path, choose what to draw, write atomically."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.circuits.slots import slot_of
from hpcq.core.errors import InputError, MissingDependencyError
from hpcq.core.files import check_writable, open_regular, printable_path, write_atomic
from hpcq.cutting.subcircuits import CutCircuit
from hpcq.reports.drawing.steps import drawn_steps, fits_on_page

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

    from hpcq.planning.plan import CutPlan

_MARKS = {
    ".png": (b"\x89PNG\r\n\x1a\n", b"Software\0hpcq"),
    ".svg": (b"<?xml", b"<dc:title>hpcq</dc:title>"),
    ".txt": (b"hpcq drawing: ", b""),
}
"""For each suffix, how a file of that kind starts, and a mark by which hpcq knows its drawings."""

_MAX_FILE_BYTES = 1 << 30
"""Largest file that may be a drawing, in bytes; only its head is read."""

_HEAD_BYTES = 4096
"""Bytes at the head of a file that hold the mark, if it is a drawing."""

CURE = "pip install 'hpcq[draw]'"


def check_drawing(path: Path) -> Path:
    """Check, before any work is done, that a drawing can be written; return the resolved path.

    Raises:
        InputError: The name does not end in .png, .svg or .txt, the file cannot be written, or it
            exists and is not a drawing by hpcq.
        MissingDependencyError: The drawing is an image, and a package for images is missing.
    """
    suffix = _suffix(path)
    resolved = check_writable(path, "draw", lambda old: _is_ours(old, suffix), "an hpcq drawing")
    if suffix != ".txt":
        for module in ("matplotlib", "pylatexenc"):
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise MissingDependencyError(
                    f"draw: an image needs {module}, which is not usable here ({error}); {CURE}, "
                    "or draw into a file whose name ends in .txt"
                ) from None
    return resolved


def draw_cuts(circuit: QuantumCircuit, cut: CutCircuit, path: Path) -> None:
    """Draw where a circuit is cut.

    A circuit that fits on a page is drawn gate by gate, a larger one as the graph (in text: as
    tables) of its subcircuits and the bonds between them. The path ends in .png, .svg or .txt.

    Raises:
        InputError: As :func:`check_drawing`, or there are too many subcircuits for an image.
        MissingDependencyError: As :func:`check_drawing`.
    """
    resolved = check_drawing(path)
    write_atomic(resolved, _content(circuit, cut, _suffix(path)), "draw")


def draw_plan(plan: CutPlan, path: Path) -> None:
    """Draw where a plan cuts, with the qubits named after those of the given circuit.

    Errors are those of :func:`draw_cuts`.
    """
    draw_cuts(_named(plan), plan.cut, path)


def _named(plan: CutPlan) -> QuantumCircuit:
    """Return the circuit that is cut, with its free parameters.

    With several light cones, qubit 3 of cone 2 is named q3.2.
    """
    from qiskit import QuantumCircuit
    from qiskit.circuit import QuantumRegister

    simplified = plan.simplified
    several = simplified.num_cones > 1
    names = [f"q{qubit}.{cone}" if several else f"q{qubit}" for cone, qubit in simplified.labels]
    named = QuantumCircuit(*(QuantumRegister(1, name) for name in names))
    qubit = dict(zip(simplified.circuit.qubits, named.qubits, strict=True))
    angles = _angles(plan)
    for instruction in simplified.circuit.data:
        slot = slot_of(instruction)
        if slot is not None:
            number, sign = slot
            gate = type(instruction.operation)(sign * angles[number])
            instruction = instruction.replace(operation=gate)
        named.append(instruction.replace(qubits=[qubit[q] for q in instruction.qubits]))
    return named


def _angles(plan: CutPlan) -> dict[int, Any]:
    """Return the angle of each slot, as an expression of free parameters."""
    if plan.parametrised is None:
        return {}
    pairs = zip(plan.parametrised.generic.data, plan.parametrised.circuit.data, strict=True)
    slots = [(slot_of(generic), written) for generic, written in pairs]
    return {slot[0]: written.params[0] for slot, written in slots if slot is not None}


def _content(circuit: QuantumCircuit, cut: CutCircuit, suffix: str) -> bytes:
    steps = drawn_steps(circuit, cut.cuts)
    gate_by_gate = fits_on_page(steps, circuit.num_qubits)
    if suffix == ".txt":
        from hpcq.reports.drawing.text import drawing_text

        return drawing_text(steps, cut, gate_by_gate=gate_by_gate).encode()
    if gate_by_gate:
        from hpcq.reports.drawing.circuit import circuit_image

        return circuit_image(steps, cut, suffix[1:])
    from hpcq.reports.drawing.summary import summary_image

    return summary_image(steps, cut, suffix[1:])


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in _MARKS:
        raise InputError(
            f"draw: {printable_path(path)!r}, expected a name that ends in {', '.join(_MARKS)}"
        )
    return suffix


def _is_ours(path: Path, suffix: str) -> bool:
    start, mark = _MARKS[suffix]
    try:
        descriptor = open_regular(path, _MAX_FILE_BYTES, "a drawing")
        with os.fdopen(descriptor, "rb") as file:
            head = file.read(_HEAD_BYTES)
    except (InputError, OSError):
        return False
    return head.startswith(start) and mark in head
