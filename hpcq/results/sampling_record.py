"""What a run with shots leaves behind: enough to compute its values again, and to go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpcq.cutting.subexperiments.device_circuits import SampledTensor
from hpcq.reconstruction.estimation.estimator import ShotRound
from hpcq.reconstruction.estimation.joint_samples import JointRound
from hpcq.reconstruction.estimation.variant_batches import Mode


@dataclass(frozen=True, eq=False)
class SamplingRecord:
    """The rounds of a run and of those that it went on from.

    Attributes:
        mode: How variants were chosen.
        fingerprint: What must be the same for a run to go on, as SHA-256 or plain words.
        sources: The distinct subcircuits that were measured.
        uses: For each subcircuit its source; None where no term sees it.
        parts: For each subcircuit the number of the part that it belongs to; None likewise.
        rounds: What was measured.
    """

    mode: Mode
    fingerprint: Mapping[str, str]
    sources: tuple[SampledTensor, ...]
    uses: tuple[int | None, ...]
    parts: tuple[int | None, ...]
    rounds: Sequence[ShotRound | JointRound]
