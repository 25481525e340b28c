"""Verdicts: the method by which values are computed, why it was chosen, and the alternatives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, get_args

from hpcq.core.errors import InputError

Method = Literal["auto", "cut", "statevector", "stabilizer", "pauli", "mps"]
"""How values are computed; ``auto`` leaves the choice to the planner."""

DEFAULT_ERROR_TOLERANCE = 1e-8
"""Default error bound that ``auto`` accepts, relative to the sum of absolute coefficients."""

NOT_CONSIDERED = "not considered"
"""Reason of methods that were not looked at, because another one is quick."""

TITLES = {
    "cut": "circuit cutting",
    "statevector": "statevector",
    "stabilizer": "stabilizer simulation",
    "pauli": "Pauli propagation",
    "mps": "matrix product state",
}
"""Names of the methods in descriptions."""


@dataclass(frozen=True)
class MethodRequest:
    """Which method is asked for, and which error bound the choice of one may accept.

    Attributes:
        method: The method; ``auto`` for the quickest that stays within the tolerance.
        error_tolerance: Relative to the sum of absolute coefficients; a number above 0.

    Raises:
        InputError: If a value is invalid.
    """

    method: Method = "auto"
    error_tolerance: float = DEFAULT_ERROR_TOLERANCE

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            names = ", ".join(get_args(Method))
            raise InputError(f"method: {str(self.method)[:40]!r}, expected one of {names}")
        tolerance = self.error_tolerance
        is_number = not isinstance(tolerance, bool) and isinstance(tolerance, Real)
        if not is_number or not 0 < float(tolerance) < math.inf:
            raise InputError(f"error_tolerance: {str(tolerance)[:40]!r}, expected a number above 0")
        object.__setattr__(self, "error_tolerance", float(tolerance))

    def config(self) -> dict[str, Any]:
        """Return the request as plain JSON values, for the configuration."""
        return {"method": self.method, "error_tolerance": self.error_tolerance}


DEFAULT_METHOD = MethodRequest()


@dataclass(frozen=True)
class Alternative:
    """A method that was not chosen.

    Attributes:
        method: The method.
        seconds: Its predicted seconds; infinite if it cannot be used, NaN if they are not known.
        reason: Why it was not chosen.
    """

    method: str
    seconds: float
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the alternative as plain JSON values."""
        seconds = self.seconds if math.isfinite(self.seconds) else None
        return {"method": self.method, "predicted_seconds": seconds, "reason": self.reason}


@dataclass(frozen=True)
class Verdict:
    """The method of a plan.

    Attributes:
        method: The method, or those of different parts, joined by ``+``.
        reason: Why it was chosen.
        alternatives: The other methods.
        settings: What was decided, as plain JSON values, from which a later start of the run makes
            the same plan without deciding again: first the circuit that was divided into parts and
            the width limit of a search for cuts, then for each distinct part its method, with the
            cap, the tolerance and the work of its simulation.
    """

    method: str
    reason: str
    alternatives: tuple[Alternative, ...] = ()
    settings: tuple[tuple[Any, ...], ...] = ()

    @property
    def engines(self) -> list[str]:
        """Names of the engines other than that of statevectors."""
        return [name for name in self.method.split("+") if name not in ("cut", "statevector")]

    @property
    def has_statevectors(self) -> bool:
        """Whether some part is simulated as statevectors, or on a device."""
        return len(self.engines) < len(self.method.split("+"))

    @property
    def title(self) -> str:
        """Name of the method, for descriptions."""
        return " + ".join(TITLES[method] for method in self.method.split("+"))


def checked_settings(settings: object) -> list[list[Any]]:
    """Return the settings of a verdict that was stored in a file.

    Raises:
        ValueError: If they are not of the form that :class:`Verdict` describes.
    """
    if not isinstance(settings, list) or not settings:
        raise ValueError("no settings")
    if not all(isinstance(setting, list) and setting for setting in settings):
        raise ValueError("settings that are not lists")
    (name, *width), *of_parts = settings
    if name not in ("unchanged", "joint", "cones") or len(width) != 1 or not _is_count(*width):
        raise ValueError(f"a circuit {str(settings[0])[:40]}")
    for setting in of_parts:
        if setting not in (["cut"], ["statevector"]) and not _is_simulation(*setting):
            raise ValueError(f"a method {str(setting)[:40]}")
    return settings


def _is_simulation(engine: object, *how: object) -> bool:
    if engine not in ("stabilizer", "pauli", "mps") or len(how) != 3:
        return False
    cap, tolerance, work = how
    return cap is not None and _is_count(cap) and _is_size(tolerance, work)


def _is_count(value: object) -> bool:
    """Whether a value is a whole number that is not negative, or None."""
    return value is None or (type(value) is int and 0 <= value < 1 << 63)


def _is_size(*values: object) -> bool:
    """Whether all values are numbers above 0, or None."""
    return all(
        value is None
        or (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf)
        for value in values
    )


ASKED_TO_CUT = Verdict("cut", "where to cut was given")
"""The verdict on problems with given cuts or a width limit."""


def verdict_lines(verdict: Verdict, seconds: float, bound: float | None) -> list[str]:
    """Return a verdict as lines of text: the method, its seconds and error bound, and the others.

    The bound is the largest of any string's value; None if it is only known after the run.
    """
    error = "error bound known after the run" if bound is None else f"error bound {bound:.1g}"
    lines = [
        f"{verdict.title[0].upper()}{verdict.title[1:]}, {seconds:.2g} s, "
        f"{'exact' if bound == 0 else error}: {verdict.reason}"
    ]
    for other in verdict.alternatives:
        if other.reason == NOT_CONSIDERED:
            continue
        known = f" ({other.seconds:.2g} s)" if math.isfinite(other.seconds) else ""
        lines.append(f"  not {TITLES[other.method]}{known}: {other.reason}")
    return lines
