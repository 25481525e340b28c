"""What is to be computed, before anything is decided: the circuit, the question, the limits."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from hpcq.circuits.measurements import Measurements
from hpcq.circuits.observables import Observable
from hpcq.circuits.pauli_text import PauliString
from hpcq.circuits.slots import ParametrisedCircuit
from hpcq.core.errors import InputError
from hpcq.core.limits import Limits, as_integer
from hpcq.cutting.passes.simplify import Simplifier
from hpcq.planning import cost as costs
from hpcq.planning.machine_speeds import Speeds
from hpcq.planning.verdict import DEFAULT_METHOD, MethodRequest
from hpcq.reconstruction.outcomes.distribution import MAX_MARGINAL_QUBITS

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

DEFAULT_MAX_VARIANTS = 4096
"""Default of ``max_variants``: variants of one subcircuit above which joint samples are drawn."""

_MAX_SHOTS = 10**13
"""Maximum number of shots, far more than any run can take."""

MAX_PART_QUBITS = 12
"""Maximum number of qubits of a marginal that a stabilizer or matrix-product-state engine answers,
by one projector for each of its 2**n outcomes. Measured with 100 qubits: 0.3 to 0.4 s."""

_MIN_TARGET_ERROR = 1e-100
"""Minimum target error: its square is still a float."""


class Question(Protocol):
    """What is asked about a circuit; its class decides which kinds of run can answer."""

    @property
    def observables(self) -> tuple[Observable, ...]:
        """The observables; empty if the question is not about observables."""

    def config(self) -> dict[str, Any]:
        """Return the question's own options as plain JSON values, for the configuration."""


@dataclass(frozen=True)
class ExpectationValues:
    """The expectation values of observables, without shots.

    Attributes:
        observables: The observables.
        method: The method that is asked for, and the error bound that may be accepted.
    """

    observables: tuple[Observable, ...]
    method: MethodRequest = DEFAULT_METHOD

    def config(self) -> dict[str, Any]:
        """Return the method and the tolerance."""
        return self.method.config()


@dataclass(frozen=True)
class SampledValues:
    """Estimates of expectation values from shots, with standard errors.

    Attributes:
        observables: The observables.
        budget: The shots that may be taken.
    """

    observables: tuple[Observable, ...]
    budget: Budget

    def config(self) -> dict[str, Any]:
        """Return the budget; the target error by its old name, as files have it."""
        return {
            "shots": self.budget.shots,
            "standard_error": self.budget.target_error,
            "max_variants": self.budget.max_variants,
        }


@dataclass(frozen=True)
class MeasuredOutcomes:
    """Outcomes of the measured qubits: samples, probabilities, marginals, the most probable ones.

    Attributes:
        measurements: Which qubits are measured, and into which classical bits.
        shots: Number of samples to draw.
        bitstrings: The outcomes whose probabilities are asked for, as bit strings.
        marginals: Sets of measured qubits, each in the order of its bits, lowest first, whose
            distributions are asked for.
        top: How many of the most probable outcomes are asked for.
        with_amplitudes: Whether amplitudes may be asked for too. They need all gates; for
            probabilities, gates that change no probability are dropped.
        method: The method that is asked for, and the error bound that may be accepted.
    """

    measurements: Measurements
    shots: int = 0
    bitstrings: tuple[str, ...] = ()
    marginals: tuple[tuple[int, ...], ...] = ()
    top: int = 0
    with_amplitudes: bool = False
    method: MethodRequest = DEFAULT_METHOD

    def __post_init__(self) -> None:
        for name in ("shots", "top"):
            number = as_integer(getattr(self, name), name, 0)
            if number > _MAX_SHOTS:
                raise InputError(f"{name}: {str(number)[:40]}, expected at most {_MAX_SHOTS}")
            object.__setattr__(self, name, number)
        self.measurements.columns(self.bitstrings)
        for qubits in self.marginals:
            check_measured(qubits, self.measurements)

    @property
    def observables(self) -> tuple[Observable, ...]:
        """No observables."""
        return ()

    @property
    def terms(self) -> list[PauliString]:
        """Strings that generate the operators whose expectation values must stay the same.

        Those are all products of Z on measured qubits, and with amplitudes all operators.
        """
        letters = "ZX" if self.with_amplitudes else "Z"
        return [((qubit, letter),) for qubit in self.measurements.qubits for letter in letters]

    @property
    def wants_states(self) -> bool:
        """Whether something is asked for that only the states of all parts give."""
        return any(len(qubits) > MAX_PART_QUBITS for qubits in self.marginals)

    @property
    def is_open(self) -> bool:
        """Whether nothing is asked for yet."""
        return not (self.shots or self.bitstrings or self.marginals or self.top)

    def config(self) -> dict[str, Any]:
        """Return what is asked for, the method and the tolerance."""
        return {
            "shots": self.shots,
            "bitstrings": list(self.bitstrings),
            "marginals": [list(qubits) for qubits in self.marginals],
            "top": self.top,
            **self.method.config(),
        }


def check_measured(qubits: Sequence[int], measurements: Measurements) -> tuple[int, ...]:
    """Return distinct measured qubits, checked.

    Raises:
        InputError: If one is not measured, or occurs twice, or there are too many.
    """
    checked = tuple(as_integer(qubit, "marginal", 0) for qubit in qubits)
    measured = set(measurements.qubits)
    for qubit in checked:
        if qubit not in measured:
            raise InputError(f"marginal: qubit {qubit}, expected one of the measured qubits")
    if len(checked) > MAX_MARGINAL_QUBITS:
        raise InputError(
            f"marginal: {len(checked)} qubits, expected at most {MAX_MARGINAL_QUBITS}: there are "
            "2**n probabilities"
        )
    if len(set(checked)) < len(checked):
        raise InputError(f"marginal: {str(list(checked))[:60]}, expected each qubit once")
    return checked


@dataclass(frozen=True)
class Budget:
    """The shots that a run may take, or the standard error that it has to reach.

    Attributes:
        shots: Number of shots of all variants together; with a target error, their maximum.
        target_error: The largest standard error that an observable may have.
        max_variants: Variants of one subcircuit above which joint samples are drawn.
    """

    shots: int | None
    target_error: float | None = None
    max_variants: int = DEFAULT_MAX_VARIANTS

    def __post_init__(self) -> None:
        if self.shots is not None:
            shots = as_integer(self.shots, "shots", 1)
            if shots > _MAX_SHOTS:
                raise InputError(f"shots: {str(shots)[:40]}, expected at most {_MAX_SHOTS}")
            object.__setattr__(self, "shots", shots)
        maximum = as_integer(self.max_variants, "max_variants", 1)
        object.__setattr__(self, "max_variants", maximum)
        target_error = self.target_error
        if target_error is not None:
            is_number = not isinstance(target_error, bool) and isinstance(
                target_error, numbers.Real
            )
            if not is_number or not _MIN_TARGET_ERROR <= float(target_error) < math.inf:
                raise InputError(
                    f"target_error: {str(target_error)[:40]!r}, expected a standard error of at "
                    f"least {_MIN_TARGET_ERROR:g}"
                )
            object.__setattr__(self, "target_error", float(target_error))
        if self.shots is None and target_error is None:
            raise InputError("shots, target_error: neither is given, expected at least one of them")

    @classmethod
    def of(
        cls, shots: int | None, target_error: float | None, max_variants: int | None
    ) -> Budget | None:
        """Return the budget of a run with shots; None for an exact run.

        Raises:
            InputError: If a value is invalid.
        """
        if shots is None and target_error is None:
            if max_variants is not None:
                raise InputError("max_variants: given without shots, expected them too")
            return None
        return cls(
            shots, target_error, DEFAULT_MAX_VARIANTS if max_variants is None else max_variants
        )


def question_about(
    observables: Sequence[Observable],
    budget: Budget | None,
    method: MethodRequest = DEFAULT_METHOD,
) -> Question:
    """Return the question for values of observables: exact, or from shots if there is a budget.

    Raises:
        InputError: If a method other than cutting is asked for with shots.
    """
    if budget is None:
        return ExpectationValues(tuple(observables), method)
    if method.method not in ("auto", "cut"):
        raise InputError(f"method: {method.method!r} given with shots, expected auto or cut")
    return SampledValues(tuple(observables), budget)


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be computed, before it is decided how, and where to cut.

    Attributes:
        circuit: The normalised circuit: unitary gates on one or two qubits, with generic angles in
            the slots.
        question: What is asked about it.
        limits: Memory, threads and number format of a rank.
        config: The options of the plan, as plain JSON values.
        speeds: The speeds by which costs are predicted. Plans are compared by those of one thread,
            so that they do not depend on the ranks of a node.
        local_speeds: The speeds of all threads of this machine, by which costs are shown.
        verdict: Settings of the verdict of an earlier start of the run
            (:class:`hpcq.planning.verdict.Verdict`); None to decide anew.
        parametrised: The circuit with its free parameters; None if it has none.
    """

    circuit: QuantumCircuit
    question: Question
    limits: Limits
    config: Mapping[str, Any]
    speeds: Speeds
    local_speeds: Speeds
    verdict: object = None
    parametrised: ParametrisedCircuit | None = None

    @property
    def shown_circuit(self) -> QuantumCircuit:
        """The circuit, with its free parameters if it has any."""
        return self.circuit if self.parametrised is None else self.parametrised.circuit

    @property
    def observables(self) -> tuple[Observable, ...]:
        """The observables of the question."""
        return self.question.observables

    @cached_property
    def simplifier(self) -> Simplifier:
        """The passes over the circuit for the observables' terms."""
        if isinstance(self.question, MeasuredOutcomes):
            return Simplifier(self.circuit, self.question.terms, are_joint=True)
        terms = (term for observable in self.observables for term, _ in observable.terms)
        return Simplifier(self.circuit, terms)

    @cached_property
    def uncut_statevector_seconds(self) -> float:
        """Predicted seconds of an uncut statevector simulation; infinite if it does not fit."""
        return costs.uncut_seconds(self.circuit, self.limits, self.speeds)

    @cached_property
    def uncut_seconds(self) -> tuple[float, float]:
        """Predicted seconds of an uncut statevector and matrix-product-state simulation."""
        analysis = self.simplifier.unchanged.analysis
        mps = costs.uncut_mps_seconds(analysis, self._cubes_of_bonds, self.speeds)
        return self.uncut_statevector_seconds, mps

    @cached_property
    def _cubes_of_bonds(self) -> float:
        return costs.cubes_of_bonds(self.simplifier.unchanged.analysis)

    def at_local_speeds(self) -> Problem:
        """Return the problem with the speeds of all threads of this machine.

        What does not depend on speeds is kept: the passes over a large circuit take long.
        """
        local = replace(self, speeds=self.local_speeds)
        for name in ("simplifier", "_cubes_of_bonds"):
            if name in self.__dict__:
                local.__dict__[name] = self.__dict__[name]
        return local
