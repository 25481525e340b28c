"""Probabilities of outcomes from the counts of a run with shots, with standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit

from hpcq.circuits.measurements import Measurements, measurements_of
from hpcq.circuits.normalise import normalise
from hpcq.core.errors import InputError
from hpcq.core.limits import as_integer
from hpcq.kinds.shots.reread_record import RereadRecord
from hpcq.kinds.shots.sampling import ShotsPlan
from hpcq.parallel import messages
from hpcq.parallel.world import check_free, open_farm
from hpcq.planning.planner import plan
from hpcq.reconstruction.estimation.marginal_estimator import (
    MAX_COVARIANCE_QUBITS,
    MarginalEstimator,
)
from hpcq.reconstruction.estimation.simplex import (
    nearest_distribution,
    nearest_part_of_distribution,
)
from hpcq.results.result import Result
from hpcq.runs.arguments import RunArguments
from hpcq.runs.collective import from_rank_0
from hpcq.runs.session import current_session, run

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

Reals = NDArray[np.float64]

MAX_MARGINAL_QUBITS = 20
"""Maximum number of qubits of a marginal; no run has the shots to resolve more outcomes."""

MAX_JOINT_MARGINAL_QUBITS = 10
"""The same for a run of joint samples, whose outcomes are estimated one by one."""


@dataclass(frozen=True, eq=False)
class EstimatedProbabilities:
    """Estimates of the probabilities of some outcomes.

    Attributes:
        values: Unbiased estimates, shape (outcomes,); some may be negative, and their sum may
            differ from 1.
        standard_errors: Their standard errors, shape (outcomes,).
        projected: The nearest probabilities in the 2-norm (Smolin, Gambetta and Smith, Phys. Rev.
            Lett. 108, 070502 (2012)), shape (outcomes,). Those of all outcomes sum to 1. They are
            closer to the truth, but biased: do not average them, and do not use the standard errors
            for them.
    """

    values: Reals
    standard_errors: Reals
    projected: Reals


@dataclass(frozen=True, eq=False)
class EstimatedMarginal(EstimatedProbabilities):
    """Estimates of the probabilities of all outcomes of some qubits.

    Attributes:
        qubits: The qubits; bit i of an outcome is that of ``qubits[i]``.
    """

    qubits: tuple[int, ...]
    _estimator: MarginalEstimator | None

    @cached_property
    def covariance(self) -> Reals:
        """The covariances of all values, shape (outcomes, outcomes).

        Raises:
            InputError: If there are more than 10 qubits, or the run drew joint samples.
        """
        if len(self.qubits) > MAX_COVARIANCE_QUBITS:
            raise InputError(
                f"qubits: {len(self.qubits)}, expected at most {MAX_COVARIANCE_QUBITS} for the "
                "covariance"
            )
        if self._estimator is None:
            raise InputError(
                "covariance: not known for joint samples, expected a run of every variant "
                "(more shots, or a larger max_variants)"
            )
        return self._estimator.covariance


class EstimatedOutcomes:
    """Outcomes of a circuit's measurements, estimated from a run with shots.

    Counts of a cut circuit give unbiased estimates of probabilities, which are sums with
    coefficients of both signs, and no samples: see :meth:`sample`. Probabilities below about gamma
    squared over the number of shots are not resolved, so ask for few qubits at a time.

    Args:
        result: The result of a run with shots. Without its details, every method raises InputError.

    Attributes:
        result: The result.

    Example:
        >>> import hpcq
        >>> from qiskit import QuantumCircuit
        >>> circuit = QuantumCircuit(2)
        >>> _ = circuit.h(0), circuit.cx(0, 1)
        >>> outcomes = EstimatedOutcomes(
        ...     hpcq.run(circuit, "Z0 Z1", cut_labels="AB", shots=100_000, device="cpu")
        ... )
        >>> print(outcomes.probabilities(["00", "11"]).values.round(1))
        [0.5 0.5]
    """

    def __init__(self, result: Result) -> None:
        self.result = result

    @cached_property
    def _record(self) -> RereadRecord:
        return RereadRecord.of(self.result)

    @cached_property
    def measurements(self) -> Measurements:
        """The classical registers, and the qubit whose outcome each of their bits holds."""
        return measurements_of(self._record.details.circuit)

    @property
    def shots(self) -> int:
        """Number of shots of all variants of all subcircuits together."""
        return self._record.shots

    @property
    def qubits(self) -> tuple[int, ...]:
        """The qubits whose joint distribution the counts determine, ascending."""
        return self._record.qubits

    def probabilities(self, outcomes: Sequence[str]) -> EstimatedProbabilities:
        """Return the estimated probabilities of distinct outcomes of all measured qubits.

        Args:
            outcomes: Bit strings as in Qiskit, the highest bit of each register leftmost, the
                registers separated by a space.

        Raises:
            InputError: If a string is none of this circuit, is given twice, or the counts don't
                determine the joint distribution of all measured qubits.
        """
        if len(set(outcomes)) < len(outcomes):
            raise InputError("outcomes: one is given twice, expected distinct bit strings")
        bits, possible = self.measurements.columns(outcomes)
        values, errors = np.zeros((2, len(outcomes)))
        qubits = self.measurements.qubits
        values[possible], errors[possible] = self._record.probabilities(qubits, bits[possible])
        return EstimatedProbabilities(values, errors, nearest_part_of_distribution(values))

    def marginal(self, qubits: Sequence[int]) -> EstimatedMarginal:
        """Return the estimated probabilities of all outcomes of some qubits.

        Args:
            qubits: At most 20 distinct qubits; bit i of an outcome is that of ``qubits[i]``.

        Raises:
            InputError: If the qubits are wrong, too many for the memory, or the counts don't
                determine their joint distribution.
        """
        checked = tuple(as_integer(qubit, "marginal", 0) for qubit in qubits)
        is_joint = self._record.record.mode == "joint"
        maximum = MAX_JOINT_MARGINAL_QUBITS if is_joint else MAX_MARGINAL_QUBITS
        if not 0 < len(checked) <= maximum or len(set(checked)) < len(checked):
            raise InputError(
                f"marginal: {str(list(checked))[:60]}, expected 1 to {maximum} distinct qubits"
                + (" for a run of joint samples" if is_joint else "")
            )
        if is_joint:
            numbers = np.arange(1 << len(checked))[:, None]
            bits = (numbers >> np.arange(len(checked)) & 1).astype(np.uint8)
            values, errors = self._record.probabilities(checked, bits)
            return EstimatedMarginal(values, errors, nearest_distribution(values), checked, None)
        estimator = self._record.marginal(checked)
        values, errors = estimator.values(), np.sqrt(estimator.variances)
        return EstimatedMarginal(values, errors, nearest_distribution(values), checked, estimator)

    def sample(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse to sample.

        Raises:
            InputError: Always. Shots of subcircuits are combined with coefficients of both signs,
                so that no subset of them follows the distribution of the circuit.
        """
        raise InputError(
            "sample: shots of subcircuits are combined with positive and negative coefficients, "
            "which gives probabilities but no samples; expected probabilities or marginal, or "
            "outcomes without noise and backend, which can be sampled"
        )

    def amplitudes(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse to return amplitudes.

        Raises:
            InputError: Always. Counts give probabilities, not phases.
        """
        raise InputError(
            "amplitudes: counts give probabilities and no phases, expected probabilities, or "
            "outcomes without noise and backend"
        )

    def top(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse to return the most probable outcomes.

        Raises:
            InputError: Always. There are too many outcomes to estimate all and rule any out.
        """
        raise InputError(
            "top: the estimate of every single outcome has an error of its own, so that the "
            "largest ones are no list of the most probable; expected marginal of at most "
            f"{MAX_MARGINAL_QUBITS} qubits, or outcomes without noise and backend"
        )


def estimate_outcomes(
    circuit: object, comm: Comm | None = None, **options: Any
) -> EstimatedOutcomes:
    """Run a circuit with shots, as on a device, and return estimates of its outcomes.

    Args:
        circuit: A circuit with final measurements, or without any, so that all qubits are measured;
            or a plan with shots. Only rank 0's is used; other ranks may pass None for a plan.
        comm: As for :func:`hpcq.run`.
        options: Options of :func:`hpcq.plan`, including ``shots``, and fields of
            :class:`hpcq.runs.arguments.RunArguments`, such as ``noise`` or ``backend``.

    Returns:
        The estimates, on every rank that called.

    Raises:
        InputError: If an option is wrong.
    """
    names = {field.name for field in fields(RunArguments)} - {"parameter_values"}
    arguments = {name: value for name, value in options.items() if name in names}
    planning = {name: value for name, value in options.items() if name not in names}
    session = current_session() if comm is None else None
    if session is not None:  # rank 0 alone calls
        return EstimatedOutcomes(run(_plan(circuit, planning, session.size), **arguments))
    farm = open_farm(comm)
    check_free(farm)
    made = from_rank_0(farm, lambda: _plan(circuit, planning, farm.size))
    result = run(made, comm, **arguments)
    details = None if result.details is None else replace(result.details, tensors=(), timelines=())
    sent = farm.broadcast(b"" if farm.rank else messages.dumps(details))
    return EstimatedOutcomes(replace(result, details=messages.loads(sent)))


def _plan(circuit: object, options: dict[str, Any], ranks: int) -> ShotsPlan:
    """Return the plan of a circuit whose counts determine its outcomes, or a plan as it is.

    Raises:
        InputError: If an option is wrong.
    """
    if isinstance(circuit, ShotsPlan):
        if options:
            raise InputError(f"{min(options)}: given with a plan, expected it in hpcq.plan")
        return circuit
    if not isinstance(circuit, QuantumCircuit):
        kind = type(circuit).__name__
        raise InputError(f"circuit: a {kind}, expected a QuantumCircuit or a plan with shots")
    if options.get("shots") is None:
        raise InputError("shots: None, expected their number, to estimate outcomes from")
    observables = outcome_observables(measurements_of(normalise(circuit)))
    found = plan(circuit, observables, **{"ranks": ranks, **options})
    assert isinstance(found, ShotsPlan), "shots are given"
    return found


def outcomes_of(result: Result) -> EstimatedOutcomes:
    """Return estimates of the outcomes from the counts of a result, without a new run.

    Raises:
        InputError: If it has no counts.
    """
    RereadRecord.of(result)
    return EstimatedOutcomes(result)


def outcome_observables(measurements: Measurements) -> list[str]:
    """Return observables whose counts determine the distribution of all measured qubits.

    The product of Z on all measured qubits keeps them in one light cone and one basis. Z on each
    of them makes the run spread its shots for more than that product.
    """
    letters = [f"Z{qubit}" for qubit in measurements.qubits]
    return [" ".join(letters), *letters] if len(letters) > 1 else letters
