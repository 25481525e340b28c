"""Answers to questions about outcomes, from the states of a circuit's sites, without samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.measurements import Measurements
from hpcq.core.errors import InputError
from hpcq.core.limits import Precision, as_integer
from hpcq.kinds.identity_check import checked_values
from hpcq.kinds.outcomes.sample_tasks import measured_bits, packed_outcomes
from hpcq.planning.outcome_plan import OutcomesPlan
from hpcq.planning.problem import check_measured
from hpcq.reconstruction.outcomes.distribution import Distribution
from hpcq.reconstruction.outcomes.sampler import PerfectSampler, num_chunks
from hpcq.reconstruction.outcomes.sites import SiteNetwork
from hpcq.reconstruction.outcomes.top import TopOutcomes, top_outcomes
from hpcq.results.outcome_record import Marginal, MostProbable, OutcomeProbabilities

_TOP_SAMPLES = 1 << 17
"""Samples in which the most probable outcomes are sought where nothing else finds them. An outcome
of probability 1e-4 is missed with probability 2e-6."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers from the states of all sites, on one rank.

    Attributes:
        plan: The plan.
        network: The sites, with a source of states that are not kept.
        memory_bytes: Bytes that an answer may take, besides the states.
    """

    plan: OutcomesPlan
    network: SiteNetwork
    memory_bytes: int

    @property
    def measurements(self) -> Measurements:
        """The classical registers."""
        return self.plan.question.measurements

    @cached_property
    def distribution(self) -> Distribution:
        """The distribution of the outcomes of all sites."""
        return Distribution(self.network, self.memory_bytes)

    def norm_error(self) -> float:
        """Return how much the norm of the reconstructed state differs from 1.

        Raises:
            HpcqError: If that is more than rounding errors.
        """
        norm = float(np.exp(self.distribution.log_norm))
        precision: Precision = self.plan.limits.precision
        checked_values(np.array([norm], dtype=complex), precision)
        return abs(norm - 1)

    def amplitudes(self, bitstrings: Sequence[str]) -> NDArray[np.complex128]:
        """Return the amplitudes of bit strings, up to one global phase; shape (strings,).

        Raises:
            InputError: If the plan gives no amplitudes, or a text is no bit string.
        """
        self._check_states("amplitudes")
        if not self.plan.has_amplitudes:
            raise InputError(
                "amplitudes: not available, because not all qubits are measured, or gates that "
                "change no probability were dropped; expected a circuit without measurements"
            )
        bits, possible = self.measurements.columns(bitstrings)
        packed = packed_outcomes(bits, self.measurements, self.network.num_qubits)
        amplitudes = self.distribution.amplitudes(packed)
        return np.where(possible, amplitudes, 0)

    def probabilities(self, bitstrings: Sequence[str]) -> NDArray[np.float64]:
        """Return the probabilities of bit strings, shape (strings,).

        Raises:
            InputError: If the plan gives no probabilities, or a text is no bit string.
        """
        self._check_states("probabilities")
        bits, possible = self.measurements.columns(bitstrings)
        packed = packed_outcomes(bits, self.measurements, self.network.num_qubits)
        found = self.distribution.probabilities(packed, self.measurements.qubits)
        return np.where(possible, found, 0.0)

    def marginal(self, qubits: Sequence[int]) -> NDArray[np.float64]:
        """Return the joint distribution of measured qubits, shape (2**qubits,).

        Bit i of the index is the outcome of ``qubits[i]``.

        Raises:
            InputError: If the plan gives no marginals, or a qubit is not measured.
        """
        self._check_states("marginal")
        return self.distribution.marginal(check_measured(qubits, self.measurements))

    def top(self, number: int) -> MostProbable:
        """Return the most probable outcomes, and whether others are certainly less probable.

        Raises:
            InputError: If the plan gives no probabilities, or the number is not at least 1.
        """
        self._check_states("top")
        number = as_integer(number, "top", 1)
        found = top_outcomes(self.distribution, number, self.measurements.qubits, self._drawn)
        texts = self.measurements.texts(measured_bits(found.outcomes, self.measurements))
        return MostProbable(
            tuple(texts),
            found.probabilities,
            _guarantee(found),
            others=found.others,
            num_samples=found.samples,
            missed_probability=found.missed_probability,
        )

    def _drawn(self) -> NDArray[np.uint8]:
        """Return samples in which to look for probable outcomes."""
        sampler = PerfectSampler.of(self.network, self.memory_bytes)
        chunks = range(num_chunks(_TOP_SAMPLES))
        drawn = sampler.draw(chunks, _TOP_SAMPLES, self.plan.config["seed"])
        return np.repeat(drawn.outcomes, drawn.counts, axis=0)

    def asked(self, bitstrings: Sequence[str]) -> OutcomeProbabilities:
        """Return the probabilities of bit strings in the form of result files."""
        return OutcomeProbabilities(tuple(bitstrings), self.probabilities(bitstrings))

    def marginals(self, sets: Sequence[Sequence[int]]) -> tuple[Marginal, ...]:
        """Return the distributions of sets of qubits in the form of result files."""
        return tuple(Marginal(tuple(qubits), self.marginal(qubits)) for qubits in sets)

    def _check_states(self, name: str) -> None:
        """Check that all parts have states.

        Raises:
            InputError: If an engine gives samples of a part, but no states.
        """
        if methods := self.plan.methods_of_parts:
            raise InputError(
                f"{name}: not available with method {', '.join(methods)}, which gives "
                "samples only; expected method cut or statevector"
            )


def _guarantee(found: TopOutcomes) -> str:
    """Return what is certain about the most probable outcomes."""
    if found.is_exact:
        return f"exact, by {found.method}: no other outcome is more probable"
    return (
        f"from {found.samples} samples: an outcome as probable as the last one was missed with a "
        f"probability of at most {found.missed_probability:.2g}, and no other is more probable "
        f"than {found.others:.3g}"
    )
