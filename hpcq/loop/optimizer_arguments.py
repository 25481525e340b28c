"""Checks of what optimizers are given: options, bounds and tolerances."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hpcq.core.errors import InputError

_TEXTS = ("factorization_method",)
"""Options of scipy's optimizers whose values are texts, and not numbers or arrays."""


def plain_options(options: Any) -> dict[str, Any]:
    """Return options as plain JSON values; arrays become lists.

    Raises:
        InputError: If they are not numbers, texts and arrays by name.
    """
    expected = "expected numbers, texts and arrays by name"
    if not isinstance(options, Mapping):
        raise InputError(f"options: a {type(options).__name__}, {expected}")
    plain: dict[str, Any] = {}
    for name, value in options.items():
        if not isinstance(name, str):
            raise InputError(f"options: {str(name)[:40]} is not a name, {expected}")
        listed = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
        try:
            json.dumps(listed)
        except (TypeError, ValueError):
            raise InputError(f"options: {name} is a {type(value).__name__}, {expected}") from None
        if name not in _TEXTS and listed is not None and not _has_numbers(listed):
            shown = repr(listed)[:40]
            raise InputError(f"options: {name} is {shown}, expected a number or an array")
        plain[name] = listed
    return plain


def _has_numbers(value: Any) -> bool:
    """Return whether a value is a number, or lists of numbers of equal lengths, without NaN."""
    try:
        array = np.asarray(value)
    except ValueError:
        return False
    return array.dtype.kind in "biuf" and not np.isnan(array).any()


def as_tolerance(tol: Any) -> float:
    """Return a tolerance.

    Raises:
        InputError: If it is not a number above 0.
    """
    is_number = isinstance(tol, (int, float, np.integer, np.floating))
    try:
        number = float(tol) if is_number and not isinstance(tol, bool) else math.nan
    except OverflowError:
        number = math.nan
    if not 0 < number < math.inf:
        raise InputError(f"tol: {str(tol)[:40]!r}, expected a number above 0")
    return number


def as_pairs(bounds: Any) -> tuple[tuple[float | None, float | None], ...]:
    """Return bounds as pairs, None where there is none; those of scipy's ``Bounds`` too.

    Raises:
        InputError: If they are anything else, or a pair leaves no value.
    """
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        bounds = np.broadcast_arrays(np.atleast_1d(bounds.lb), np.atleast_1d(bounds.ub))
        bounds = np.transpose(bounds).tolist()
    try:
        pairs = [
            (
                -math.inf if least is None else _end(least),
                math.inf if greatest is None else _end(greatest),
            )
            for least, greatest in bounds
        ]
    except (TypeError, ValueError, OverflowError):
        shown = str(bounds)[:40]
        raise InputError(
            f"bounds: {shown}, expected a pair of numbers, or None, for each parameter"
        ) from None
    for number, (least, greatest) in enumerate(pairs):
        # Not "least > greatest", which is False of NaN.
        if not (least <= greatest and least < math.inf and greatest > -math.inf):
            raise InputError(
                f"bounds: pair {number} is ({least:g}, {greatest:g}), expected a least value and "
                "one that is not below it"
            )
    return tuple(
        (None if math.isinf(least) else least, None if math.isinf(greatest) else greatest)
        for least, greatest in pairs
    )


def _end(value: Any) -> float:
    if isinstance(value, str):
        raise TypeError
    return float(value)
