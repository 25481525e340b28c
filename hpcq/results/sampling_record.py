"""The record of a run with shots: enough to compute its values again, and to resume it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.cutting.subexperiments.device_circuits import SampledTensor
from hpcq.reconstruction.estimation.counts import Counts
from hpcq.reconstruction.estimation.estimator import ShotRound
from hpcq.reconstruction.estimation.joint_samples import JointDraws, JointRound
from hpcq.reconstruction.estimation.outcome_signals import Inversions
from hpcq.reconstruction.estimation.variant_batches import Mode, VariantBatch
from hpcq.results import hdf5_codecs as codecs
from hpcq.results.hdf5_fields import Layout, Place, computed, derived, stored, stored_class


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    """Return non-negative integers with the smallest dtype that holds them."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def _check_counts(starts: NDArray[np.int64], at: Place) -> str:
    outcomes, times = at.outcomes, at.frequencies
    ends = starts[[0, -1]].tolist() if len(starts) else []
    if ends != [0, len(outcomes)] or len(times) != len(outcomes) or (np.diff(starts) < 0).any():
        return f"{at.group.name}: starts, outcomes and times do not fit together"
    return f"{at.group.name}: an outcome came less than once" if (times < 1).any() else ""


_COUNTS = Layout(
    Counts,
    outcomes=stored(
        "outcomes", codecs.numbers("iu", read_as=np.uint64), lambda at: _narrow(at.owner.outcomes)
    ),
    frequencies=stored(
        "times", codecs.numbers("iu", read_as=np.int64), lambda at: _narrow(at.owner.frequencies)
    ),
    starts=stored("starts", codecs.numbers("iu", read_as=np.int64), check=_check_counts),
    shots=derived("shots"),
)


def _port_bases_text(at: Place) -> str:
    """Return the settings and outcome signals of each port of a source, as JSON."""
    rows = zip(at.port_numbers, at.ports, at.port_bases, at.port_bits, strict=True)
    contents = [
        {
            "port": number,
            "kind": port.kind,
            "dimension": port.dimension,
            "settings": [setting.name for setting in basis.settings],
            "readings": [[setting, bit if signed else None] for setting, signed in basis.signals],
        }
        for number, port, basis, bit in rows
    ]
    return json.dumps(contents)


def _reads(at: Place) -> NDArray[np.bool_]:
    """Return which basis measures which string of a source, shape (bases, strings)."""
    reads = np.zeros((len(at.bases), len(at.strings)), dtype=bool)
    for basis, strings in enumerate(at.measured_strings):
        reads[basis, list(strings)] = True
    return reads


def _variants(at: Place) -> NDArray[np.int16] | None:
    """Return all variants of a source, if all of them are run in every round."""
    if at.mode == "joint":
        return None
    return VariantBatch.of_all(at.owner, np.zeros(0, dtype=np.int64)).rows


_ON_WIRES = codecs.paulis(lambda at: at.subcircuit.num_qubits)
_SOURCE = Layout(
    SampledTensor,
    subcircuit=computed(lambda at: at.subcircuits[at.uses.index(at.index)]),
    strings=stored("strings", _ON_WIRES),
    lean=stored("@lean", codecs.FLAG),
    num_qubits=derived("@num_qubits", lambda at: at.subcircuit.num_qubits),
    ports=derived("@ports", _port_bases_text),
    string_masks=derived("masks"),
    projector_masks=derived("projector_masks"),
    projector_values=derived("projector_values"),
    bases=derived("bases", lambda at: [tuple(sorted(b.items())) for b in at.bases], _ON_WIRES),
    reads=derived("reads", _reads),
    variants=derived("variants", _variants),
)


def _check_weight(weight: float, at: Place) -> str:
    message = f"{at.group.name}: its weight is {weight}, expected a number above 0"
    return "" if 0 < weight < math.inf else message


def _check_inversions(inversions: tuple[Inversions, ...], at: Place) -> str:
    """Refuse inversion matrices that ports do not have, and counts that are not of all variants."""
    rows = zip(inversions, at.sources, at.counts, strict=True)
    for number, (chosen, tensor, counts) in enumerate(rows):
        limits = [len(port_basis.inversions) for port_basis in tensor.port_bases]
        fits = len(chosen) == len(limits) and len(counts) == tensor.num_variants
        if not fits or not all(0 <= n < limit for n, limit in zip(chosen, limits, strict=True)):
            name = f"{at.group.name}/sources/{number}"
            return f"{name}: its recipes or counts are not those of the subcircuit"
    return ""


def _inversion_matrices(at: Place) -> list[list[NDArray[np.float64]]]:
    """Return the inversion matrix of each port of each source."""
    return [
        [basis.inversions[n] for basis, n in zip(tensor.port_bases, chosen, strict=True)]
        for tensor, chosen in zip(at.sources, at.inversions, strict=True)
    ]


def _check_signals(signals: tuple[NDArray[np.intp], ...], at: Place) -> str:
    """Refuse joint samples that do not fit the subcircuits, or each other."""
    for number, (indices, use) in enumerate(zip(signals, at.uses, strict=True)):
        limits = [1] * indices.shape[1]
        if use is not None:
            limits = [len(port_basis.signals) for port_basis in at.sources[use].port_bases]
        if ((indices < 0) | (indices >= np.array(limits, dtype=np.intp))).any():
            return f"{at.group.name}/readings/{number}: has readings that no port gives"
    samples = {len(factor) for factor in at.factors}
    fits = len(samples) == 1 and samples != {0} and np.isfinite(at.factors).all()
    fits = fits and len(at.factors) == len(set(at.parts) - {None})
    fits = fits and len(at.counts) == len(at.sources)
    return "" if fits else f"{at.group.name}: its factors and readings do not fit together"


def _signals_shape(at: Place) -> tuple[int | None, int]:
    return len(at.factors[0]) if at.factors else None, len(at.subcircuits[at.index].ports)


def _variants_shape(at: Place) -> tuple[int, int]:
    return len(at.counts[at.index]), len(at.sources[at.index].shape)


_DRAWS = Layout(
    JointDraws,
    factors=stored("factors/*", codecs.numbers("f"), default=()),
    signals=stored(
        "readings/*",
        codecs.numbers("iu", _signals_shape, write_as=np.int16, read_as=np.intp),
        check=_check_signals,
    ),
)
_ROUND = {
    "weight": stored("@weight", codecs.NUMBER, check=_check_weight),
    "shots": derived("@shots"),
    "counts": stored("sources/*", _COUNTS, default=()),
}
_SHOT_ROUND = Layout(
    ShotRound,
    **_ROUND,
    inversions=stored("sources/*@recipes", codecs.INTEGERS, default=(), check=_check_inversions),
    matrices=derived("sources/*/recipe_*", _inversion_matrices),
)
_JOINT_ROUND = Layout(
    JointRound,
    **_ROUND,
    draws=stored("", _DRAWS),
    rows=stored("sources/*/variants", codecs.numbers("iu", _variants_shape), default=()),
)


def _check_sources(sources: tuple[SampledTensor, ...], at: Place) -> str:
    fits = {use for use in at.uses if use is not None} <= set(range(len(sources)))
    return "" if fits else f"{at.group.name}: a subcircuit has a source that is not there"


@stored_class
class SamplingRecord:
    """The rounds of a run, after those of the runs that it continues.

    Attributes:
        mode: How variants were chosen.
        fingerprint: SHA-256 digests and plain words that name the run; a run with other ones
            cannot resume it.
        uses: For each subcircuit, its index in ``sources``; None if no term depends on it.
        parts: For each subcircuit, the number of its connected part; None likewise.
        sources: The distinct subcircuits that were measured, each with its Pauli strings.
        rounds: Counts of each round, in the order in which they were measured.
    """

    mode: Mode = stored("@mode", codecs.TEXT, check=codecs.one_of("enumerated", "joint"))
    fingerprint: Mapping[str, str] = stored("@identity", codecs.FINGERPRINT)
    uses: tuple[int | None, ...] = stored("/subcircuits/*@source", codecs.INTEGER_OR_NONE)
    parts: tuple[int | None, ...] = stored("/subcircuits/*@part", codecs.INTEGER_OR_NONE)
    sources: tuple[SampledTensor, ...] = stored("sources/*", _SOURCE, check=_check_sources)
    rounds: Sequence[ShotRound | JointRound] = stored(
        "rounds/*", lambda at: _SHOT_ROUND if at.mode == "enumerated" else _JOINT_ROUND
    )
