"""The optimizers: those of scipy without second derivatives, and SPSA."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import __version__ as scipy_version
from scipy.optimize import OptimizeResult, OptimizeWarning
from scipy.optimize import minimize as scipy_minimize

from hpcq.core.errors import InputError
from hpcq.core.strict_json import digest
from hpcq.core.system import blas_threads
from hpcq.loop.optimizer_arguments import as_pairs, as_tolerance, plain_options
from hpcq.loop.spsa import check_options, spsa

DEFAULT, DEFAULT_WITH_SHOTS = "L-BFGS-B", "SPSA"
"""The default optimizers for exact values and for estimates from shots."""

_WITH_GRADIENTS = ("L-BFGS-B", "BFGS", "CG", "SLSQP", "TNC", "trust-constr", "Newton-CG")
_WITHOUT_GRADIENTS = ("COBYLA", "COBYQA", "Nelder-Mead", "Powell", "SPSA")
OPTIMIZERS = (*_WITH_GRADIENTS, *_WITHOUT_GRADIENTS)
"""Names of the optimizers; those of scipy that need second derivatives are not among them."""

_WITHOUT_BOUNDS = ("BFGS", "CG", "Newton-CG")

_UNKNOWN = "Unknown solver options"
"""How scipy's warning of options that an optimizer does not have begins."""

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
        object.__setattr__(self, "options", plain_options(self.options))
        if self.name == "SPSA":
            check_options(self.options)
        if self.tol is not None:
            object.__setattr__(self, "tol", as_tolerance(self.tol))
            if self.name == "SPSA":
                raise InputError(f"tol: {self.tol:g} with SPSA, expected another optimizer")
        if self.bounds is not None:
            if self.name in _WITHOUT_BOUNDS:
                raise InputError(
                    f"bounds: given with {self.name}, which takes none; expected another optimizer"
                )
            object.__setattr__(self, "bounds", as_pairs(self.bounds))

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

    def allows(self, x: NDArray[np.float64]) -> bool:
        """Return whether parameters are within the bounds."""
        if self.bounds is None:
            return True
        least, greatest = np.transpose(_finite_pairs(self.bounds))
        return bool(((least <= x) & (x <= greatest)).all())

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
            InputError: If the optimizer refuses an argument, at once or in the middle.
        """
        if callback is not None and not callable(callback):
            raise InputError(f"callback: {str(callback)[:40]!r}, expected a function")
        has_begun, of_caller = False, False

        def function(x: NDArray[np.float64]) -> Any:
            nonlocal has_begun
            has_begun = True
            value, gradient = noting(evaluate)(np.array(x, dtype=float))
            return (value, gradient) if self.uses_gradients else value

        def noting(call: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(call)  # scipy looks at the names of a callback's arguments
            def noted(*args: Any, **kwargs: Any) -> Any:
                nonlocal of_caller
                try:
                    return call(*args, **kwargs)
                except BaseException:
                    of_caller = True
                    raise

            return noted

        noted = None if callback is None else noting(callback)
        try:
            with blas_threads(1), warnings.catch_warnings():
                # Given for steps that leave the gradient unchanged bit for bit.
                warnings.filterwarnings("ignore", message="delta_grad == 0.0")
                warnings.filterwarnings("error", message=_UNKNOWN, category=OptimizeWarning)
                return self._call(function, np.array(x0, dtype=float), rng, noted)
        except OptimizeWarning as error:
            names = str(error).removeprefix(_UNKNOWN).strip(": ")
            raise InputError(f"options: {names}, expected options of {self.name}") from None
        except (ValueError, TypeError, IndexError, ArithmeticError) as error:
            if of_caller or (has_begun and not self.options and self.bounds is None):
                raise
            reason = " ".join(str(error).split())[:200]
            if not has_begun:
                raise InputError(
                    f"optimizer: {self.name}: {reason}, expected what scipy accepts"
                ) from error
            raise InputError(
                f"options: {json.dumps(self.options)[:80]}: {self.name} refuses these or bounds: "
                f"{reason!r}; expected what scipy accepts"
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


def _finite_pairs(bounds: Any) -> list[tuple[float, float]]:
    return [
        (-math.inf if least is None else least, math.inf if greatest is None else greatest)
        for least, greatest in bounds
    ]
