"""What a run with shots samples, and how: the part of a plan that exact runs don't have."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from functools import cached_property

from hpcq.circuits.observables import Observable
from hpcq.core.errors import InputError, MemoryLimitError
from hpcq.core.limits import Limits, as_integer
from hpcq.core.system import format_bytes
from hpcq.cutting.cut_circuit import cut_circuit
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.passes.simplify import SimplifiedCircuit
from hpcq.cutting.subcircuits import CutCircuit
from hpcq.cutting.subexperiments.device_circuits import SampledTensor
from hpcq.reconstruction.connected_parts import ConnectedParts
from hpcq.reconstruction.estimation.joint_samples import WeightedPairs
from hpcq.reconstruction.estimation.outcome_signals import min_shots
from hpcq.reconstruction.estimation.sources import Sources
from hpcq.reconstruction.estimation.variant_batches import Mode
from hpcq.reconstruction.gradients import Reconstruction
from hpcq.reconstruction.term_table import TermTable

MAX_VARIANTS = 4096
"""Variants of one subcircuit beyond which joint samples are drawn, where nothing else is said."""

_MAX_SHOTS = 10**13
_MIN_PRECISION = 1e-100
_COEFFICIENTS = (1e-100, 1e100)
_SHARED = 16.0
"""gamma squared of an edge that gates share, however many and however strong they are."""

_MAX_FLOPS = 1e13
_BYTES = 16
_COPIES = 4
_SHOTS_A_VARIANT = 4
_MIN_SHOTS_A_VARIANT = 2


@dataclass(frozen=True)
class Budget:
    """What a run may spend, or has to reach.

    Attributes:
        shots: Number of shots of all variants together; with a precision, the most.
        precision: Largest standard error of any observable.
        max_variants: Variants of one subcircuit beyond which not all are run.
    """

    shots: int | None
    precision: float | None = None
    max_variants: int = MAX_VARIANTS

    def __post_init__(self) -> None:
        if self.shots is not None:
            shots = as_integer(self.shots, "shots", 1)
            if shots > _MAX_SHOTS:
                raise InputError(f"shots: {str(shots)[:40]}, expected at most {_MAX_SHOTS}")
            object.__setattr__(self, "shots", shots)
        most = as_integer(self.max_variants, "max_variants", 1)
        object.__setattr__(self, "max_variants", most)
        precision = self.precision
        if precision is not None:
            number = not isinstance(precision, bool) and isinstance(precision, numbers.Real)
            if not number or not _MIN_PRECISION <= float(precision) < math.inf:
                raise InputError(
                    f"target_error: {str(precision)[:40]!r}, expected a standard error of at least "
                    f"{_MIN_PRECISION:g}"
                )
            object.__setattr__(self, "precision", float(precision))
        if self.shots is None and precision is None:
            raise InputError("shots, target_error: neither is given, expected at least one of them")


@dataclass(frozen=True, eq=False)
class Sampling:
    """What to sample.

    Attributes:
        mode: ``enumerated`` runs every variant, ``joint`` draws variants of all subcircuits
            together by their weight.
        cut: The subcircuits and edges.
        parts: The terms, taken apart.
        reconstruction: The contraction; None where samples are joint.
        sources: The distinct subcircuits.
        budget: What may be spent.
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
        """For each part the sum of absolute weights of its joint samples.

        Its square is by how much more shots the part takes than a circuit that is not cut.
        """
        part_of = {k: number for number, group in enumerate(self.parts.groups) for k in group}
        found = [1.0] * len(self.parts.groups)
        for edge in self.cut.edges:
            number = part_of.get(edge.ends[0][0])
            if number is not None:
                found[number] *= WeightedPairs.of(edge, self.cut).gamma
        return tuple(found)


@dataclass(frozen=True, eq=False)
class CutProblem:
    """What is asked of which cut circuit, however it will be run.

    Attributes:
        observables: What is asked for.
        simplified: What is left of the circuit to be cut.
        cuts: Where that is cut.
        terms: The observables' terms taken apart over the subcircuits.
        limits: What a rank may use.
    """

    observables: tuple[Observable, ...]
    simplified: SimplifiedCircuit
    cuts: Cuts
    terms: TermTable
    limits: Limits


def sampling_of(problem: CutProblem, budget: Budget) -> Sampling:
    """Decide how to sample a cut circuit.

    Raises:
        InputError: If the shots are too few for any way.
    """
    _check_coefficients(problem)
    for lean, each in ((False, _SHOTS_A_VARIANT), (True, _MIN_SHOTS_A_VARIANT)):
        found = enumerated_sampling_of(problem, budget, lean=lean)
        if found is None:
            break
        tensors = found.sources.tensors
        if max((tensor.num_variants for tensor in tensors), default=0) > budget.max_variants:
            continue
        if budget.shots is None or each * min_shots(tensors) <= budget.shots:
            return found
    return joint_sampling_of(problem, budget)


def enumerated_sampling_of(problem: CutProblem, budget: Budget, *, lean: bool) -> Sampling | None:
    """Run every variant; None if the contraction is too much work.

    Args:
        problem: What is cut.
        budget: What may be spent.
        lean: Whether the port bases are those with few settings.

    Raises:
        InputError: If an outcome has too many bits.
    """
    simplified, terms = problem.simplified, problem.terms
    cut = cut_circuit(simplified.analysis, problem.cuts, simplified.labels, shared_above=_SHARED)
    parts = ConnectedParts.of(cut, terms)
    try:
        found = Reconstruction.of(cut, parts, problem.limits.memory_bytes // 2)
    except MemoryLimitError:
        return None
    if found.flops > _MAX_FLOPS:
        return None
    sources = Sources.of(cut, terms, parts.subcircuits, lean=lean)
    if sum(map(_table_bytes, sources.tensors)) > problem.limits.memory_bytes:
        return None
    _check(sources)
    return Sampling("enumerated", cut, parts, found, sources, budget)


def joint_sampling_of(problem: CutProblem, budget: Budget) -> Sampling:
    """Draw joint samples, for which every edge has ports of its own.

    Raises:
        InputError: If the shots are too few.
    """
    simplified, terms = problem.simplified, problem.terms
    cut = cut_circuit(
        simplified.analysis,
        problem.cuts,
        simplified.labels,
        share_ancillas=False,
        shared_above=_SHARED,
    )
    parts = ConnectedParts.of(cut, terms)
    sources = Sources.of(cut, terms, parts.subcircuits, lean=False, shared=False)
    _check(sources)
    least = sum(len(tensor.bases) for tensor in sources.tensors)
    if budget.shots is not None and budget.shots < 2 * least:
        raise InputError(
            f"shots: {budget.shots}, expected at least {2 * least}: two for each subcircuit and "
            "measurement basis"
        )
    return Sampling("joint", cut, parts, None, sources, budget)


def _check_coefficients(problem: CutProblem) -> None:
    """Make sure that variances, which have the coefficients' squares, are numbers."""
    least, most = _COEFFICIENTS
    for observable in problem.observables:
        for _, coefficient in observable.terms:
            if coefficient and not least <= abs(coefficient) <= most:
                raise InputError(
                    f"observables: a coefficient is {coefficient:g}, expected {least:g} to "
                    f"{most:g} in size for a run with shots"
                )


def _table_bytes(tensor: SampledTensor) -> int:
    """Memory of the signals of a source, their tensor and gradient."""
    entries = math.prod(len(port_basis.signals) for port_basis in tensor.port_bases)
    return _COPIES * _BYTES * len(tensor.strings) * entries


def _check(sources: Sources) -> None:
    for tensor in sources.tensors:
        tensor.check()


def check_memory(sampling: Sampling, limits: Limits) -> None:
    """Make sure that a rank can simulate every source; a device needs no memory for that.

    Raises:
        InputError: If one takes too much.
    """
    for number, tensor in enumerate(sampling.sources.tensors):
        size = limits.amplitude_bytes << tensor.simulated_qubits
        if size > limits.memory_bytes:
            raise InputError(
                f"memory: subcircuit {sampling.sources.uses.index(number)} and its ancillas are "
                f"{tensor.simulated_qubits} qubits, which need {format_bytes(size)}; a rank has "
                f"{format_bytes(limits.memory_bytes)}, expected narrower subcircuits or "
                "more memory"
            )
