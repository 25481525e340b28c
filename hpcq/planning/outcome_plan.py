"""Plans of runs for outcomes: the states of all subcircuits, from which everything else follows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import MemoryLimitError
from hpcq.core.system import format_bytes
from hpcq.planning.cost import Cost
from hpcq.planning.exact_plan import ExactPlan
from hpcq.planning.problem import MeasuredOutcomes
from hpcq.reconstruction.outcomes.answer_cost import (
    AnswerCost,
    amplitudes_cost,
    marginal_cost,
    top_cost,
)
from hpcq.reconstruction.outcomes.sampler import KeptSampler
from hpcq.reconstruction.outcomes.sampling_cost import CHUNK_SHOTS, SamplingCost, sampling_cost
from hpcq.reconstruction.outcomes.sites import SiteNetwork, site_network, states_bytes

_KEPT_DIVISOR = 6
"""A rank keeps states in at most its memory divided by this number. Rank 0 has them twice, as
results of tasks and joined; tables for samples take most of the rest."""

_SAMPLER_DIVISOR = 8
"""What samples are drawn with is kept for later draws if it takes at most the memory for tables
divided by this number; the rest is for answers to other questions."""

_SHOT_BYTES = 56
"""Bytes of a sample on rank 0 besides its bits: its count, its probability and its place in the
order, while the samples of all tasks are joined."""


@dataclass
class KnownSites:
    """The sites of a circuit, once they are simulated: later questions about it need no simulation.

    Attributes:
        network: The sites with their states; None if they are not simulated yet.
        norm_error: How much the norm of the state differs from 1; None if it was not checked yet,
            or there are no sites.
        kept_sampler: What samples are drawn with, if it is small.
    """

    network: SiteNetwork | None = None
    norm_error: float | None = None
    kept_sampler: KeptSampler = field(default_factory=KeptSampler)


@dataclass(frozen=True, eq=False)
class OutcomesPlan(ExactPlan):
    """A plan that answers questions about measured outcomes.

    Attributes:
        question: The question.
        states_cost: The cost without samples.
        sampling: The cost of samples; None if they do not fit into the memory.
        shape: The sites without their states; answers to questions cost what follows from it.
        known: What an earlier run of this plan has simulated.
    """

    question: MeasuredOutcomes = field(kw_only=True)
    states_cost: Cost = field(kw_only=True)
    sampling: SamplingCost | None = field(kw_only=True)
    shape: SiteNetwork = field(kw_only=True)
    known: KnownSites = field(default_factory=KnownSites, kw_only=True)

    @classmethod
    def of(cls, plan: ExactPlan, question: MeasuredOutcomes) -> OutcomesPlan:
        """Return the plan for the outcomes of a circuit whose exact plan is given.

        Raises:
            MemoryLimitError: If samples are asked for, and do not fit into the memory.
        """
        parts = {member.name: getattr(plan, member.name) for member in fields(ExactPlan)}
        shape = site_network(plan.cut, plan.tensors, plan.uses, _no_states, 0)
        shape = replace(shape, num_qubits=plan.circuit.num_qubits)
        found = cls(**parts, question=question, states_cost=plan.cost, sampling=None, shape=shape)
        sampling = None
        try:
            if shape.sites:
                sampling = sampling_cost(shape, found.table_bytes, found.kept)
        except MemoryLimitError:
            if question.shots:
                raise
        return replace(found, sampling=sampling)._with_cost()

    def asking(self, options: Mapping[str, Any] | None = None, **wanted: Any) -> OutcomesPlan:
        """Return the plan for another question about the same circuit.

        Args:
            options: Options of the plan to change, such as the seed.
            wanted: What is asked for, as attributes of
                :class:`~hpcq.planning.problem.MeasuredOutcomes`; nothing else is.
        """
        nothing: dict[str, Any] = {"shots": 0, "bitstrings": (), "marginals": (), "top": 0}
        question = replace(self.question, **{**nothing, **wanted})
        config = {**self.config, **question.config(), **(options or {})}
        return replace(self, question=question, config=config)._with_cost()

    @property
    def has_amplitudes(self) -> bool:
        """Whether the states give amplitudes of all qubits, and not probabilities only."""
        all_measured = len(self.question.measurements.qubits) == self.circuit.num_qubits
        return all_measured and (self.question.with_amplitudes or self.simplified.wires is None)

    @property
    def methods_of_parts(self) -> list[str]:
        """Names of the methods of parts that are not simulated as statevectors."""
        return sorted({t.engine_name for t in self.tensors if t.simulation is not None})

    @property
    def kept_bytes(self) -> int:
        """Bytes that the states that are kept may take."""
        return self.limits.memory_bytes // _KEPT_DIVISOR

    @property
    def kept(self) -> tuple[int, ...]:
        """Numbers of the tensors whose states are kept: the smallest, as many as fit."""
        available = self.kept_bytes
        sizes = {n: states_bytes(t) for n, t in enumerate(self.tensors) if t.simulation is None}
        kept = []
        for number in sorted(sizes, key=lambda number: (sizes[number], number)):
            available -= sizes[number]
            if available < 0:
                break
            kept.append(number)
        return tuple(sorted(kept))

    @property
    def table_bytes(self) -> int:
        """Bytes of a rank's memory for tables, besides states and simulations."""
        kept = self.kept
        others = [
            self.limits.amplitude_bytes << tensor.simulated_qubits
            for number, tensor in enumerate(self.tensors)
            if tensor.simulation is None and number not in kept
        ]
        states = self._kept_states_bytes
        return max(1, self.limits.memory_bytes - 2 * states - 2 * max(others, default=0))

    @property
    def _kept_states_bytes(self) -> int:
        return sum(states_bytes(self.tensors[number]) for number in self.kept)

    @property
    def kept_sampler(self) -> KeptSampler:
        """Where to keep what samples are drawn with: for later draws too, if it is small."""
        bound = self.table_bytes // _SAMPLER_DIVISOR
        is_small = self.sampling is not None and self.sampling.memory_bytes <= bound
        return self.known.kept_sampler if is_small else KeptSampler()

    @property
    def shot_seconds(self) -> float:
        """Predicted seconds of a shot."""
        return 0.0 if self.sampling is None else self.sampling.shot_seconds

    def _with_cost(self) -> OutcomesPlan:
        """Return the plan with the cost of everything that is asked for.

        Raises:
            MemoryLimitError: If an answer does not fit into the memory.
        """
        cost, question, sampling = self.states_cost, self.question, self.sampling
        drawn = question.shots * (_SHOT_BYTES + 3 * -(-question.measurements.num_bits // 8))
        stored = 2 * self._kept_states_bytes + drawn
        if stored > self.limits.memory_bytes:
            raise MemoryLimitError(
                f"shots: {question.shots} samples need {format_bytes(stored)} on rank 0, which has "
                f"{format_bytes(self.limits.memory_bytes)}; expected fewer, or more memory"
            )
        cost = replace(cost, tensor_bytes=max(cost.tensor_bytes, stored))
        for answer in self._answer_costs():
            cost = replace(
                cost,
                contraction_seconds=cost.contraction_seconds + answer.seconds,
                task_bytes=max(cost.task_bytes, answer.memory_bytes),
            )
        if sampling is not None and question.shots:
            # The ranks share the chunks, and each computes all tables.
            chunk = min(question.shots, CHUNK_SHOTS) * sampling.shot_seconds
            cost = replace(
                cost,
                num_tasks=cost.num_tasks + math.ceil(question.shots / CHUNK_SHOTS),
                simulation_seconds=cost.simulation_seconds + question.shots * sampling.shot_seconds,
                longest_task_seconds=max(cost.longest_task_seconds, chunk),
                contraction_seconds=cost.contraction_seconds + sampling.setup_seconds,
                task_bytes=max(cost.task_bytes, sampling.memory_bytes),
            )
        return replace(self, cost=cost)

    def _answer_costs(self) -> Iterator[AnswerCost]:
        """Yield the cost of each answer other than samples."""
        question, available = self.question, self.table_bytes
        if self.methods_of_parts:
            return
        if question.bitstrings:
            asked, measured = len(question.bitstrings), question.measurements.qubits
            yield amplitudes_cost(self.shape, asked, available, measured)
        for qubits in question.marginals:
            yield marginal_cost(self.shape, qubits, available)
        if question.top:
            yield top_cost(self.shape, available)


def _no_states(_tensor: int, _branch: int) -> NDArray[np.complexfloating]:
    raise AssertionError("a network that keeps no states asks for none")
