"""Qiskit's parametrised gates as sequences of Pauli rotations, up to a global phase.

A rotation about a Pauli P by an angle t is exp(-i t P / 2). Angles may be numbers or expressions of
free parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

Rotation = tuple[str, Any]
"""A Pauli as a letter for each qubit of the gate, _ for the identity, and the angle in radians."""

_QUARTER = math.pi / 2


def _rotation(pauli: str, theta: Any) -> list[Rotation]:
    return [(pauli, theta)]


def _controlled(axis: str, theta: Any) -> list[Rotation]:
    return [(f"_{axis}", theta / 2), (f"Z{axis}", -theta / 2)]


def controlled_phase(theta: Any) -> list[Rotation]:
    """Return the rotations of a controlled phase gate."""
    return [("Z_", theta / 2), *_controlled("Z", theta)]


def _euler(theta: Any, phi: Any, lam: Any) -> list[Rotation]:
    return [("Z", lam), ("Y", theta), ("Z", phi)]


def _controlled_u(theta: Any, phi: Any, lam: Any, gamma: Any = 0.0) -> list[Rotation]:
    flip = [("Z_", _QUARTER), *_controlled("X", math.pi)]
    return [
        ("Z_", gamma + (lam + phi) / 2),
        ("_Z", (lam - phi) / 2),
        *flip,
        ("_Z", -(phi + lam) / 2),
        ("_Y", -theta / 2),
        *flip,
        ("_Y", theta / 2),
        ("_Z", phi),
    ]


def _exchange(sign: int, side: str, theta: Any, beta: Any = 0.0) -> list[Rotation]:
    beta = sign * beta
    return [(side, beta), ("XX", theta / 2), ("YY", sign * theta / 2), (side, -beta)]


_ROTATED = ("X", "Y", "Z", "XX", "YY", "ZZ", "ZX")

PARAMETRISED: Mapping[str, Callable[..., list[Rotation]]] = {
    **{f"r{pauli.lower()}": partial(_rotation, pauli) for pauli in _ROTATED},
    **{f"cr{pauli.lower()}": partial(_controlled, pauli) for pauli in "XYZ"},
    **dict.fromkeys(("p", "u1"), partial(_rotation, "Z")),
    **dict.fromkeys(("cp", "cu1"), controlled_phase),
    **dict.fromkeys(("u", "u3"), _euler),
    **dict.fromkeys(("cu", "cu3"), _controlled_u),
    "u2": lambda phi, lam: _euler(_QUARTER, phi, lam),
    "r": lambda theta, phi: [("Z", -phi), ("X", theta), ("Z", phi)],
    "xx_plus_yy": partial(_exchange, 1, "Z_"),
    "xx_minus_yy": partial(_exchange, -1, "_Z"),
}
"""The rotations of every parametrised standard gate on one or two qubits, by its name, in temporal
order."""
