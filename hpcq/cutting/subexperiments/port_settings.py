"""Settings of a device at a port, and how the tensor follows from what it measures.

At every port a device has a choice of *settings*: gates, and with some of them a measurement. A
setting gives one *signal*, or two if it measures a bit: the mean of everything else with the bit's
sign, and without. The tensor's index pair (k, l) of the port is a linear function of the signals,
given by an *inversion matrix*. There are several such matrices, because there are more signals than
unknowns; which of them needs the fewest shots depends on the circuit.

The settings of a gate port are those of Mitarai and Fujii, New J. Phys. 23, 023021 (2021), those of
a cut wire are those of Peng et al., Phys. Rev. Lett. 125, 150504 (2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import pi

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.port_markers import PortKind
from hpcq.cutting.gate_decompositions import PAULI_BASIS, PAULI_MATRICES, u_angles
from hpcq.cutting.subcircuits import Port

Angles = tuple[float, float, float]
"""Angles (theta, phi, lambda) of Qiskit's ``UGate``."""

Unitary = NDArray[np.complex128]

Row = dict[str, complex]
"""A linear combination of signals, by their names."""

IDLE: Angles = (0.0, 0.0, 0.0)
BASIS_ANGLES: dict[str, Angles] = {
    "X": (pi / 2, 0.0, pi),
    "Y": (pi / 2, 0.0, pi / 2),
    "Z": IDLE,
}
"""Pauli → the rotation after which a measurement in the computational basis measures it."""

_STATES: dict[str, Angles] = {
    "0": IDLE,
    "1": (pi, 0.0, 0.0),
    "+": (pi / 2, 0.0, 0.0),
    "-": (pi / 2, pi, 0.0),
    "+i": (pi / 2, pi / 2, 0.0),
    "-i": (pi / 2, -pi / 2, 0.0),
}
_CYCLES = (("X", "Y", "Z"), ("Y", "Z", "X"), ("Z", "X", "Y"))


@dataclass(frozen=True)
class Setting:
    """What a device does at a port.

    Attributes:
        name: Its name.
        before: The one-qubit gate that comes first.
        measured: Whether the wire is then measured in the computational basis; at a gate port the
            wire continues after the measurement.
        after: The one-qubit gate that comes last.
    """

    name: str
    before: Angles = IDLE
    measured: bool = False
    after: Angles = IDLE


@dataclass(frozen=True, eq=False)
class PortBasis:
    """The settings of a port, and the matrices that recover its index pair from their signals.

    Attributes:
        settings: The settings.
        inversions: Inversion matrices of shape (d * d, signals); row k * d + l is the index pair
            (k, l). The first is used until the first shots show which one is best.
    """

    settings: tuple[Setting, ...]
    inversions: tuple[NDArray[np.complex128], ...]

    @cached_property
    def signals(self) -> tuple[tuple[int, bool], ...]:
        """Each signal's setting, and whether it has the sign of the measured bit."""
        return tuple(
            (number, signed)
            for number, setting in enumerate(self.settings)
            for signed in ((True, False) if setting.measured else (False,))
        )

    @cached_property
    def signals_of(self) -> tuple[tuple[int, ...], ...]:
        """The signals of each setting; the one with the sign comes first."""
        return tuple(
            tuple(i for i, (setting, _) in enumerate(self.signals) if setting == number)
            for number in range(len(self.settings))
        )

    def used(self, inversion: int) -> NDArray[np.bool_]:
        """Whether an inversion matrix uses each setting, shape (settings,)."""
        used_signals = np.any(self.inversions[inversion] != 0, axis=0)
        return np.array([bool(used_signals[list(signals)].any()) for signals in self.signals_of])


@lru_cache
def port_basis(kind: PortKind, dimension: int, lean: bool = False) -> PortBasis:
    """Return the port basis of a kind of port; a lean one has few settings and takes more shots."""
    if kind in ("output", "control"):
        return _output_basis()
    if kind == "input":
        return _input_basis(lean)
    return _gate_basis(lean) if dimension == 2 else _general_basis(lean)


def port_basis_of(port: Port, lean: bool = False) -> PortBasis:
    """Return the port basis of a port."""
    return port_basis(port.kind, port.dimension, lean)


def _output_basis() -> PortBasis:
    """Measure the end of a wire: ``R = 1/2 sum_P r_P P``, r_I from any of the measurements.

    The ancilla of a control port is such a wire, too.
    """
    settings = [Setting(p, BASIS_ANGLES[p], measured=True) for p in "XYZ"]
    inversions: list[list[Row]] = []
    for identity in ("XYZ", "X", "Y", "Z", "XZ"):
        rows: list[Row] = [{} for _ in range(4)]
        for entry in range(4):
            for p in "XYZ":
                rows[entry][f"{p} signed"] = PAULI_MATRICES[p].reshape(-1)[entry] / 2
            if entry in (0, 3):
                rows[entry] |= {p: 0.5 / len(identity) for p in identity}
        inversions.append(rows)
    return _basis(settings, inversions)


def _input_basis(lean: bool) -> PortBasis:
    """Prepare the beginning of a wire; ``|0><1|`` follows from states along x and y."""
    inversions: list[list[Row]] = []
    if not lean:
        inversions.append(_input_rows({"+": 0.5, "-": -0.5}, {"+i": 0.5, "-i": -0.5}))
    middle: Row = {"0": -0.5, "1": -0.5}
    for x, y in [("+", "+i")] if lean else [(x, y) for x in "+-" for y in ("+i", "-i")]:
        along_x: Row = {s: v if x == "+" else -v for s, v in {x: 1.0, **middle}.items()}
        along_y: Row = {s: v if y == "+i" else -v for s, v in {y: 1.0, **middle}.items()}
        inversions.append(_input_rows(along_x, along_y))
    names = ["0", "1", "+", "+i"] if lean else list(_STATES)
    return _basis([Setting(name, after=_STATES[name]) for name in names], inversions)


def _input_rows(x: Row, y: Row) -> list[Row]:
    """Return the rows of |0><0|, |0><1|, |1><0|, |1><1| from those of X / 2 and Y / 2."""
    return [{"0": 1.0}, _add(x, y, 1j), _add(x, y, -1j), {"1": 1.0}]


def _gate_basis(lean: bool) -> PortBasis:
    """Apply I, Z or a quarter turn about Z in either direction, or measure Z: ``R_10 = M + i D``.

    D is half the difference of the two turns a and b. Because a + b = I + Z, any one of these four
    can be left out; because the measurement without its sign is (I + Z) / 2, so can a second one.
    """
    settings = [
        Setting("I"),
        Setting("Z", (0.0, 0.0, pi)),
        Setting("a", (0.0, 0.0, pi / 2)),
        Setting("b", (0.0, 0.0, -pi / 2)),
        Setting("M", measured=True),
    ]
    i, z, a, b, m = ({name: 1.0 + 0j} for name in "IZabM")
    half: Row = {"I": 0.5, "Z": 0.5}
    turns: list[tuple[Row, Row, Row]] = [
        (i, z, {"a": 0.5, "b": -0.5}),
        (i, z, _add(a, half, -1)),
        (i, z, _add(half, b, -1)),
        (i, _add(_add(a, b), i, -1), {"a": 0.5, "b": -0.5}),
        (_add(_add(a, b), z, -1), z, {"a": 0.5, "b": -0.5}),
        (i, _add(_add(m, m), i, -1), _add(a, m, -1)),
        (i, _add(_add(m, m), i, -1), _add(m, b, -1)),
        (_add(_add(m, m), z, -1), z, _add(a, m, -1)),
        (_add(_add(m, m), z, -1), z, _add(m, b, -1)),
    ]
    if lean:
        settings = [s for s in settings if s.name in "IaM"]
        turns = turns[5:6]
    inversions = [
        [zero, _add({"M signed": 1.0}, d, -1j), _add({"M signed": 1.0}, d, 1j), one]
        for zero, one, d in turns
    ]
    return _basis(settings, inversions)


def _general_basis(lean: bool) -> PortBasis:
    """Apply Paulis, rotations about them and about the axes between them, or measure them.

    With P Q = i R: ``P rho Q + Q rho P`` is the difference of the rotations (P + Q) / sqrt 2
    and (P - Q) / sqrt 2; ``i (P rho Q - Q rho P)`` is -2 times R measured with its sign after P.
    """
    settings: list[Setting] = []

    def add(name: str, before: Unitary, after: Unitary | None = None) -> None:
        """Add a setting, which measures if a gate comes after the measurement."""
        angles = IDLE if after is None else u_angles(after)
        settings.append(Setting(name, u_angles(before), after is not None, angles))

    paulis = PAULI_MATRICES
    for p in PAULI_BASIS:
        add(p, paulis[p])
    rows: list[Row] = [{} for _ in range(16)]
    index = {p: k for k, p in enumerate(PAULI_BASIS)}
    for p, k in index.items():
        rows[5 * k] = {p: 1.0}
    for p in "XYZ":
        to_z = _unitary(BASIS_ANGLES[p])
        add(f"a{p}", _turn(p, 1))
        add(f"M{p}", to_z, to_z.conj().T)
        difference: Row = {f"a{p}": 1.0, "I": -0.5, p: -0.5}
        if not lean:
            add(f"b{p}", _turn(p, -1))
            difference = {f"a{p}": 0.5, f"b{p}": -0.5}
        rows[4 * index[p]] = _add({f"M{p} signed": 1.0}, difference, 1j)
        rows[index[p]] = _add({f"M{p} signed": 1.0}, difference, -1j)
    for p, q, r in _CYCLES:
        to_z = _unitary(BASIS_ANGLES[r])
        add(f"+{p}{q}", (paulis[p] + paulis[q]) / np.sqrt(2))
        measured = f"M{r}{p}"
        add(measured, to_z @ paulis[p], to_z.conj().T)
        both: Row = {f"+{p}{q}": 1.0, p: -0.5, q: -0.5}
        if not lean:
            add(f"-{p}{q}", (paulis[p] - paulis[q]) / np.sqrt(2))
            both = {f"+{p}{q}": 0.5, f"-{p}{q}": -0.5}
        rows[4 * index[p] + index[q]] = _add(both, {f"{measured} signed": 1.0}, 1j)
        rows[4 * index[q] + index[p]] = _add(both, {f"{measured} signed": 1.0}, -1j)
    return _basis(settings, [rows])


def _basis(settings: list[Setting], inversions: list[list[Row]]) -> PortBasis:
    """Return the port basis whose inversion matrices have the given rows, written by name."""
    names: list[str] = []
    for setting in settings:
        names += [f"{setting.name} signed", setting.name] if setting.measured else [setting.name]
    column = {name: number for number, name in enumerate(names)}
    matrices = []
    for rows in inversions:
        matrix = np.zeros((len(rows), len(names)), dtype=complex)
        for number, row in enumerate(rows):
            for name, value in row.items():
                matrix[number, column[name]] += value
        matrix.setflags(write=False)
        matrices.append(matrix)
    return PortBasis(tuple(settings), tuple(matrices))


def _add(left: Row, right: Row, factor: complex = 1.0) -> Row:
    total = dict(left)
    for name, value in right.items():
        total[name] = total.get(name, 0) + factor * value
    return total


def _turn(pauli: str, sign: int) -> Unitary:
    """Return ``exp(-+ i pi/4 P)``."""
    return np.asarray((PAULI_MATRICES["I"] - sign * 1j * PAULI_MATRICES[pauli]) / np.sqrt(2))


def _unitary(angles: Angles) -> Unitary:
    from qiskit.circuit.library import UGate

    return np.asarray(UGate(*angles).to_matrix(), dtype=np.complex128)
