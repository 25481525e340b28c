"""Answers to questions about outcomes, other than samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.measurements import Measurements
from hpcq.core.errors import InputError
from hpcq.core.limits import Precision, as_integer
from hpcq.kinds.identity_check import checked_values
from hpcq.kinds.outcomes.part_samples import Part, parts_of
from hpcq.kinds.outcomes.sample_tasks import measured_bits, packed_outcomes, tasks_of
from hpcq.planning.outcome_plan import OutcomesPlan
from hpcq.planning.problem import MAX_PART_QUBITS, check_measured
from hpcq.reconstruction.outcomes.distribution import Distribution
from hpcq.reconstruction.outcomes.sampler import PerfectSampler, num_chunks
from hpcq.reconstruction.outcomes.sites import SiteNetwork
from hpcq.reconstruction.outcomes.top import TopOutcomes, top_outcomes
from hpcq.results.outcome_record import Marginal, MostProbable, OutcomeProbabilities

_MAX_FREQUENT = 1024
"""Number of the most frequent outcomes whose probabilities are computed, if the samples come
without."""

_TOP_SAMPLES = 1 << 17
"""Number of samples in which the most probable outcomes are sought if nothing else finds them. An
outcome of probability 1e-4 is missed with probability 2e-6."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers from the states of all sites, and from the engines of other parts, on one rank.

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
    def parts(self) -> tuple[Part, ...]:
        """The parts that are not simulated as statevectors."""
        return parts_of(self.plan)

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
        if self.parts:
            raise InputError(
                f"amplitudes: not available with method {', '.join(self.plan.methods_of_parts)}, "
                "expected method cut or statevector"
            )
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
            InputError: If a text is no bit string.
        """
        return self._probabilities(bitstrings)[0]

    def _probabilities(self, bitstrings: Sequence[str]) -> tuple[NDArray[np.float64], float]:
        """Return probabilities, and a bound on their absolute errors apart from rounding."""
        measurements = self.measurements
        bits, possible = measurements.columns(bitstrings)
        found, error = possible.astype(float), 0.0
        if self.network.sites:
            packed = packed_outcomes(bits, measurements, self.network.num_qubits)
            found *= self.distribution.probabilities(packed, measurements.qubits)
        for part in self.parts:
            columns = [n for n, qubit in enumerate(measurements.qubits) if qubit in part.qubits]
            qubits = [measurements.qubits[column] for column in columns]
            of_part, bound = part.probabilities(bits[:, columns], qubits, self.plan.limits)
            found, error = found * of_part, error + bound
        return found, error

    def marginal(self, qubits: Sequence[int]) -> NDArray[np.float64]:
        """Return the joint distribution of measured qubits, shape (2**qubits,).

        Bit i of the index is the outcome of ``qubits[i]``.

        Raises:
            InputError: If a qubit is not measured, or an engine would have to compute too many
                probabilities.
        """
        chosen = check_measured(qubits, self.measurements)
        order: list[int] = []
        found: NDArray[np.float64] = np.ones(1)
        groups = [part.qubits for part in self.parts]
        if self.network.sites:
            groups.append(self.network.qubits)
        for number, group in enumerate(groups):
            here = [qubit for qubit in chosen if qubit in group]
            if number < len(self.parts):
                of_group = self._marginal_of_part(self.parts[number], here)
            else:
                of_group = self.distribution.marginal(here)
            found = (of_group[:, None] * found).reshape(-1)
            order += here
        # Axis 0 is the highest bit of the index, the last qubit of the order.
        axes = [len(order) - 1 - order.index(qubit) for qubit in reversed(chosen)]
        return found.reshape([2] * len(order)).transpose(axes).reshape(-1)

    def _marginal_of_part(self, part: Part, qubits: Sequence[int]) -> NDArray[np.float64]:
        if len(qubits) > MAX_PART_QUBITS:
            raise InputError(
                f"marginal: {len(qubits)} qubits simulated by {part.tensor.engine_name}, expected "
                f"at most {MAX_PART_QUBITS}, or method cut or statevector"
            )
        numbers = np.arange(1 << len(qubits))
        bits = (numbers[:, None] >> np.arange(len(qubits)) & 1).astype(np.uint8)
        return part.probabilities(bits, qubits, self.plan.limits)[0]

    def top(self, number: int) -> MostProbable:
        """Return the most probable outcomes, and whether others are certainly less probable.

        Raises:
            InputError: If the number is not at least 1.
        """
        number = as_integer(number, "top", 1)
        if self.parts:
            return self._top_of_samples(number)
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

    def _top_of_samples(self, number: int) -> MostProbable:
        """Return the most probable of the outcomes that engines and sites draw together."""
        tasks = tasks_of(self.plan.asking(shots=_TOP_SAMPLES), self.network)
        finished = [tasks.compute(task) for task in range(tasks.num_tasks)]
        drawn = list(tasks.samples(finished)[0].distinct())
        texts = [text for text, _, _ in drawn]
        known = [probability for _, probability, _ in drawn]
        if any(map(math.isnan, known)):
            texts = texts[: max(number, _MAX_FREQUENT)]
            known = self.probabilities(texts).tolist()
        ordered = sorted(zip(texts, known, strict=True), key=lambda row: (-row[1], row[0]))
        others = max(0.0, 1 - math.fsum(probability for _, probability in ordered))
        best = ordered[:number]
        found = TopOutcomes(
            np.empty((len(best), 0), dtype=np.uint8),
            np.array([probability for _, probability in best]),
            "samples",
            max([others, *(probability for _, probability in ordered[number : number + 1])]),
            _TOP_SAMPLES,
        )
        return MostProbable(
            tuple(text for text, _ in best),
            found.probabilities,
            _guarantee(found),
            others=found.others,
            num_samples=found.samples,
            missed_probability=found.missed_probability,
        )

    def asked(self, bitstrings: Sequence[str]) -> OutcomeProbabilities:
        """Return the probabilities of bit strings in the form of result files."""
        found, error = self._probabilities(bitstrings)
        note = f"absolute errors of at most {error:.1g}" if error else ""
        return OutcomeProbabilities(tuple(bitstrings), found, note)

    def marginals(self, sets: Sequence[Sequence[int]]) -> tuple[Marginal, ...]:
        """Return the distributions of sets of qubits in the form of result files."""
        return tuple(Marginal(tuple(qubits), self.marginal(qubits)) for qubits in sets)


def _guarantee(found: TopOutcomes) -> str:
    """Return what is certain about the most probable outcomes."""
    if found.is_exact:
        return f"exact, by {found.method}: no other outcome is more probable"
    return (
        f"from {found.samples} samples: an outcome as probable as the last one was missed with a "
        f"probability of at most {found.missed_probability:.2g}, and no other is more probable "
        f"than {found.others:.3g}"
    )
