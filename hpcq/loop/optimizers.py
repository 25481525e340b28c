"""The optimizers: those of scipy without second derivatives, and SPSA."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import __version__ as scipy_version
from scipy.optimize import OptimizeResult
from scipy.optimize import minimize as scipy_minimize

from hpcq.core.errors import HpcqError, InputError
from hpcq.core.strict_json import digest
from hpcq.core.system import blas_threads
from hpcq.loop.spsa import spsa

DEFAULT, DEFAULT_WITH_SHOTS = "L-BFGS-B", "SPSA"
"""The default optimizers for exact values and for estimates from shots."""

_WITH_GRADIENTS = ("L-BFGS-B", "BFGS", "CG", "SLSQP", "TNC", "trust-constr", "Newton-CG")
_WITHOUT_GRADIENTS = ("COBYLA", "COBYQA", "Nelder-Mead", "Powell", "SPSA")
OPTIMIZERS = (*_WITH_GRADIENTS, *_WITHOUT_GRADIENTS)
"""Names of the optimizers; those of scipy that need second derivatives are not among them."""

_WITHOUT_BOUNDS = ("BFGS", "CG", "Newton-CG")

_LONGEST_TEXT = 60
"""Maximum length of options that a message quotes; longer ones are compared by their digest."""

Evaluate = Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64] | None]]
"""Returns the value at some parameters, and its gradient if the optimizer uses gradients."""


@dataclass(frozen=True, eq=False)
class Optimizer:
    """An optimizer with its options.

    Attributes:
        name: Its name, in any case.
        options: Its options, as ``scipy.optimize.minimize`` takes them.
        bounds: Least and greatest value of each parameter, None where there is none; or None.
        tol: Tolerance for termination; None for the optimizer's own.

    Raises:
        InputError: If there is no such optimizer, or a value is wrong.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    bounds: Any = None
    tol: float | None = None

    def __post_init__(self) -> None:
        known = {name.lower(): name for name in OPTIMIZERS}
        if str(self.name).lower() not in known:
            names = ", ".join(OPTIMIZERS)
            raise InputError(f"optimizer: {str(self.name)[:40]!r}, expected one of {names}")
        object.__setattr__(self, "name", known[str(self.name).lower()])
        object.__setattr__(self, "options", _plain_options(self.options))
        if self.tol is not None:
            is_number = isinstance(self.tol, (int, float)) and not isinstance(self.tol, bool)
            if not is_number or not 0 < self.tol < math.inf:
                raise InputError(f"tol: {str(self.tol)[:40]!r}, expected a number above 0")
        if self.bounds is not None:
            if self.name in _WITHOUT_BOUNDS:
                raise InputError(
                    f"bounds: given with {self.name}, which takes none; expected another optimizer"
                )
            object.__setattr__(self, "bounds", _pairs(self.bounds))

    @property
    def uses_gradients(self) -> bool:
        """Whether it asks for gradients."""
        return self.name in _WITH_GRADIENTS

    @property
    def fingerprint(self) -> dict[str, str]:
        """What must be the same for a trajectory to continue, as short texts and digests."""
        options = json.dumps(self.options, sort_keys=True)
        return {
            "optimizer": self.name,
            "options": options if len(options) <= _LONGEST_TEXT else digest(options),
            "bounds": "none" if self.bounds is None else digest(self.bounds),
            "tol": "default" if self.tol is None else repr(float(self.tol)),
            "scipy": scipy_version,
        }

    def check(self, num_parameters: int) -> None:
        """Check that there are bounds for all parameters, or none.

        Raises:
            InputError: If there are not.
        """
        if self.bounds is not None and len(self.bounds) != num_parameters:
            raise InputError(
                f"bounds: {len(self.bounds)} pairs, expected {num_parameters}, one for each "
                "parameter"
            )

    def minimize(
        self,
        evaluate: Evaluate,
        x0: NDArray[np.float64],
        rng: np.random.Generator,
        callback: Callable[..., object] | None = None,
    ) -> OptimizeResult:
        """Minimise a function from a starting point.

        The same function and starting point give the same trajectory bit for bit.

        Args:
            evaluate: The function.
            x0: The starting point.
            rng: Source of random numbers for SPSA.
            callback: Called after each iteration, as scipy calls it.

        Raises:
            InputError: If scipy refuses an argument before the first evaluation.
        """
        has_begun = False

        def function(x: NDArray[np.float64]) -> Any:
            nonlocal has_begun
            has_begun = True
            value, gradient = evaluate(np.array(x, dtype=float))
            return (value, gradient) if self.uses_gradients else value

        try:
            with blas_threads(1), warnings.catch_warnings():
                # Given for steps that leave the gradient unchanged bit for bit.
                warnings.filterwarnings("ignore", message="delta_grad == 0.0")
                return self._call(function, np.array(x0, dtype=float), rng, callback)
        except HpcqError:
            raise
        except (ValueError, TypeError) as error:
            if has_begun:
                raise
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"optimizer: {self.name}: {reason}, expected what scipy accepts"
            ) from error

    def _call(
        self,
        function: Callable[[NDArray[np.float64]], Any],
        x0: NDArray[np.float64],
        rng: np.random.Generator,
        callback: Callable[..., object] | None,
    ) -> OptimizeResult:
        if self.name == "SPSA":
            run = partial(spsa, function, x0, rng=rng, callback=callback, **self.options)
            return run(bounds=None if self.bounds is None else _finite_pairs(self.bounds))
        return scipy_minimize(
            function,
            x0,
            method=self.name,
            jac=True if self.uses_gradients else None,
            bounds=self.bounds,
            tol=self.tol,
            callback=callback,
            options=dict(self.options),
        )


def _plain_options(options: Any) -> dict[str, Any]:
    """Return options as plain JSON values; arrays become lists.

    Raises:
        InputError: If they are not numbers, texts and arrays by name.
    """
    expected = "expected numbers, texts and arrays by name"
    if not isinstance(options, Mapping):
        raise InputError(f"options: a {type(options).__name__}, {expected}")
    plain: dict[str, Any] = {}
    for name, value in options.items():
        listed = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
        try:
            json.dumps(listed)
        except (TypeError, ValueError):
            raise InputError(f"options: {name} is a {type(value).__name__}, {expected}") from None
        plain[str(name)] = listed
    return plain


def _pairs(bounds: Any) -> tuple[tuple[float | None, float | None], ...]:
    """Return bounds as pairs; those of scipy's ``Bounds`` too.

    Raises:
        InputError: If they are anything else.
    """
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        bounds = np.broadcast_arrays(np.atleast_1d(bounds.lb), np.atleast_1d(bounds.ub))
        bounds = np.transpose(bounds).tolist()
    try:
        return tuple((_end(least), _end(greatest)) for least, greatest in bounds)
    except (TypeError, ValueError):
        shown = str(bounds)[:40]
        raise InputError(
            f"bounds: {shown}, expected a pair of numbers, or None, for each parameter"
        ) from None


def _end(value: Any) -> float | None:
    return None if value is None or math.isinf(value) else float(value)


def _finite_pairs(bounds: Any) -> list[tuple[float, float]]:
    return [
        (-math.inf if least is None else least, math.inf if greatest is None else greatest)
        for least, greatest in bounds
    ]
