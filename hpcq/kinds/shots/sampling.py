"""Decide how a run with shots samples: every variant of every subcircuit, or joint samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from hpcq.circuits.observables import Observable
from hpcq.core.errors import InputError, MemoryLimitError
from hpcq.core.limits import COMPLEX_BYTES, Limits
from hpcq.core.system import format_bytes
from hpcq.cutting.cut_circuit import cut_circuit
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.passes.simplify import SimplifiedCircuit
from hpcq.cutting.subcircuits import CutCircuit
from hpcq.cutting.subexperiments.device_circuits import SampledTensor
from hpcq.planning.exact_plan import ExactPlan
from hpcq.planning.plan import CutPlan
from hpcq.planning.problem import Budget
from hpcq.reconstruction.connected_parts import ConnectedParts
from hpcq.reconstruction.estimation.joint_samples import WeightedPairs
from hpcq.reconstruction.estimation.outcome_signals import min_shots
from hpcq.reconstruction.estimation.sources import Sources
from hpcq.reconstruction.estimation.variant_batches import Mode, predicted_seconds
from hpcq.reconstruction.sampled_values import Reconstruction
from hpcq.reconstruction.term_table import TermTable

_COEFFICIENT_RANGE = (1e-100, 1e100)
"""Absolute values of coefficients whose squares, which variances contain, are still floats."""

_SHARED_EDGE_OVERHEAD = 16.0
"""gamma squared of an edge that several gates share, which depends neither on their number nor on
their strength. Gates that would cost less if cut one by one do not share an edge."""

_MAX_FLOPS = 1e13
"""Floating-point operations of the contraction above which samples are joint: about four minutes of
one core at the usual speed."""

_COPIES = 4
"""Arrays of a table's size that a source takes: signals, tensor, gradient, and one in between."""

TYPICAL_ROUNDS = 3
"""Rounds that the predicted seconds of a run assume; each simulates every variant."""

_SHOTS_PER_VARIANT = 4
"""Shots per variant from which port bases have all settings. With fewer shots they are lean: fewer
settings, but larger coefficients."""

_MIN_SHOTS_PER_VARIANT = 2
"""Shots per variant from which lean port bases are used. With fewer shots, samples are joint."""


@dataclass(frozen=True, eq=False)
class Sampling:
    """How a run with shots samples.

    Attributes:
        mode: ``enumerated`` runs every variant, ``joint`` draws variants of all subcircuits
            together by their weights.
        cut: The subcircuits and the edges between them.
        parts: The terms, divided into connected parts.
        reconstruction: The contraction; None if samples are joint.
        sources: The distinct tensors to sample.
        budget: The shots that may be taken.
    """

    mode: Mode
    cut: CutCircuit
    parts: ConnectedParts
    reconstruction: Reconstruction | None
    sources: Sources
    budget: Budget

    @property
    def num_variants(self) -> int:
        """Number of variants of all sources."""
        return sum(tensor.num_variants for tensor in self.sources.tensors)

    @cached_property
    def gammas(self) -> tuple[float, ...]:
        """For each connected part, gamma: the sum of the absolute weights of its joint samples.

        Its square is the sampling overhead of the part.
        """
        gammas = [1.0] * len(self.parts.groups)
        for edge in self.cut.edges:
            part = self.parts.part_of.get(edge.ends[0][0])
            if part is not None:
                gammas[part] *= WeightedPairs.of(edge, self.cut).gamma
        return tuple(gammas)


@dataclass(frozen=True, eq=False)
class ShotsPlan(CutPlan):
    """A plan that estimates expectation values from shots.

    Attributes:
        terms: The observables' terms, as one Pauli string for each subcircuit.
        sampling: How variants are sampled.
    """

    terms: TermTable
    sampling: Sampling

    @property
    def predicted_seconds(self) -> float | None:
        """Predicted seconds of ideal simulation, on the number of ranks that the plan is for."""
        budget = self.sampling.budget
        if budget.shots is None or self.sampling.mode != "enumerated":
            return None
        tensors = self.sampling.sources.tensors
        seconds = predicted_seconds(tensors, budget.shots, TYPICAL_ROUNDS)
        return seconds / int(self.config["ranks"])


@dataclass(frozen=True, eq=False)
class CutProblem:
    """A circuit with its cuts and observables, from which the sampling follows.

    Attributes:
        observables: The observables.
        simplified: The circuit after all passes, which is the one that is cut.
        cuts: The cuts of that circuit.
        terms: The observables' terms, as one Pauli string for each subcircuit.
        limits: Memory, threads and number format of a rank.
    """

    observables: tuple[Observable, ...]
    simplified: SimplifiedCircuit
    cuts: Cuts
    terms: TermTable
    limits: Limits

    @classmethod
    def of(cls, plan: ExactPlan | ShotsPlan) -> CutProblem:
        """Return the circuit of a plan with its cuts."""
        return cls(plan.observables, plan.simplified, plan.cut.cuts, plan.terms, plan.limits)


def sampling_of(problem: CutProblem, budget: Budget) -> Sampling:
    """Return how to sample a cut circuit within a budget.

    Every variant is run if the contraction, the variants and the shots allow that, with lean port
    bases if there are few shots. Otherwise samples are joint.

    Raises:
        InputError: If the shots are too few even for joint samples.
    """
    _check_coefficients(problem)
    for lean, shots_per_variant in ((False, _SHOTS_PER_VARIANT), (True, _MIN_SHOTS_PER_VARIANT)):
        sampling = enumerated_sampling_of(problem, budget, lean=lean)
        if sampling is None:
            break
        tensors = sampling.sources.tensors
        if max((tensor.num_variants for tensor in tensors), default=0) > budget.max_variants:
            continue
        if budget.shots is None or shots_per_variant * min_shots(tensors) <= budget.shots:
            return sampling
    return joint_sampling_of(problem, budget)


def enumerated_sampling_of(problem: CutProblem, budget: Budget, *, lean: bool) -> Sampling | None:
    """Return the sampling that runs every variant; None if its contraction is too large.

    Lean port bases are those with few settings.

    Raises:
        InputError: If an outcome has too many bits.
    """
    simplified, terms = problem.simplified, problem.terms
    cut = cut_circuit(
        simplified.analysis, problem.cuts, simplified.labels, shared_above=_SHARED_EDGE_OVERHEAD
    )
    parts = ConnectedParts.of(cut, terms)
    try:
        reconstruction = Reconstruction.of(cut, parts, problem.limits.memory_bytes // 2)
    except MemoryLimitError:
        return None
    if reconstruction.flops > _MAX_FLOPS:
        return None
    sources = Sources.of(cut, terms, parts.part_of, lean=lean)
    if sum(map(_table_bytes, sources.tensors)) > problem.limits.memory_bytes:
        return None
    for tensor in sources.tensors:
        tensor.check()
    return Sampling("enumerated", cut, parts, reconstruction, sources, budget)


def joint_sampling_of(problem: CutProblem, budget: Budget) -> Sampling:
    """Return the sampling that draws joint samples, for which ports share no ancillas.

    Raises:
        InputError: If the shots are too few.
    """
    simplified, terms = problem.simplified, problem.terms
    cut = cut_circuit(
        simplified.analysis,
        problem.cuts,
        simplified.labels,
        share_ancillas=False,
        shared_above=_SHARED_EDGE_OVERHEAD,
    )
    parts = ConnectedParts.of(cut, terms)
    sources = Sources.of(cut, terms, parts.part_of, lean=False, shared=False)
    for tensor in sources.tensors:
        tensor.check()
    minimum = sum(len(tensor.bases) for tensor in sources.tensors)
    if budget.shots is not None and budget.shots < 2 * minimum:
        raise InputError(
            f"shots: {budget.shots}, expected at least {2 * minimum}: two for each subcircuit and "
            "measurement basis"
        )
    return Sampling("joint", cut, parts, None, sources, budget)


def _check_coefficients(problem: CutProblem) -> None:
    """Raise InputError if a coefficient's square, which variances contain, is not a float."""
    minimum, maximum = _COEFFICIENT_RANGE
    for observable in problem.observables:
        for _, coefficient in observable.terms:
            if coefficient and not minimum <= abs(coefficient) <= maximum:
                raise InputError(
                    f"observables: a coefficient is {coefficient:g}, expected {minimum:g} to "
                    f"{maximum:g} in magnitude for a run with shots"
                )


def _table_bytes(tensor: SampledTensor) -> int:
    """Return the bytes of the arrays that reconstruction keeps for a source."""
    entries = math.prod(len(port_basis.signals) for port_basis in tensor.port_bases)
    return _COPIES * COMPLEX_BYTES * len(tensor.strings) * entries


def check_memory(sampling: Sampling, limits: Limits) -> None:
    """Check that a rank can simulate every source; a run on a device does not need this.

    Raises:
        InputError: If a source needs more memory than a rank has.
    """
    for number, tensor in enumerate(sampling.sources.tensors):
        size = limits.amplitude_bytes << tensor.simulated_qubits
        if size > limits.memory_bytes:
            raise InputError(
                f"memory: subcircuit {sampling.sources.uses.index(number)} and its ancillas are "
                f"{tensor.simulated_qubits} qubits, which need {format_bytes(size)}; a rank has "
                f"{format_bytes(limits.memory_bytes)}, expected narrower subcircuits "
                "(--max-qubits) or more memory"
            )
