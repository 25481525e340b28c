"""The record of a run with shots: enough to compute its values again, and to resume it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpcq.cutting.subexperiments.device_circuits import SampledTensor
from hpcq.reconstruction.estimation.estimator import ShotRound
from hpcq.reconstruction.estimation.joint_samples import JointRound
from hpcq.reconstruction.estimation.variant_batches import Mode


@dataclass(frozen=True, eq=False)
class SamplingRecord:
    """The rounds of a run and of the runs that it went on from.

    Attributes:
        mode: How variants were chosen.
        fingerprint: SHA-256 digests and plain words that name the run; a run with other ones
            cannot resume it.
        sources: The distinct subcircuits that were measured, each with its Pauli strings.
        uses: For each subcircuit its index in ``sources``; None if no term depends on it.
        parts: For each subcircuit the number of its connected part; None likewise.
        rounds: Counts of each round, in the order in which they were measured.
    """

    mode: Mode
    fingerprint: Mapping[str, str]
    sources: tuple[SampledTensor, ...]
    uses: tuple[int | None, ...]
    parts: tuple[int | None, ...]
    rounds: Sequence[ShotRound | JointRound]
