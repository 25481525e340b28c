"""Records of runs with shots, and the sampling, fingerprint and tensors that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.strict_json import digest
from hpcq.cutting.subcircuits import index_of_settings
from hpcq.cutting.subexperiments.device_circuits import SampledTensor
from hpcq.engines.registry import EngineSpec
from hpcq.kinds.shots.sampling import (
    CutProblem,
    Sampling,
    ShotsPlan,
    enumerated_sampling_of,
    joint_sampling_of,
)
from hpcq.planning.fingerprint import fingerprint_of
from hpcq.planning.problem import Budget
from hpcq.reconstruction.estimation.estimator import Estimator
from hpcq.results.sampling_record import SamplingRecord


def record_of(
    sampling: Sampling, fingerprint: Mapping[str, str], rounds: Sequence[Any]
) -> SamplingRecord:
    """Return the record of a run: its sampling and measured rounds."""
    uses = sampling.sources.uses
    return SamplingRecord(
        sampling.mode,
        fingerprint,
        uses,
        tuple(sampling.parts.part_of.get(number) for number in range(len(uses))),
        sampling.sources.tensors,
        tuple(rounds),
    )


def resumed_sampling(record: SamplingRecord, plan: ShotsPlan, budget: Budget) -> Sampling | None:
    """Return a sampling of the same mode as the record's; None if the plan allows none."""
    if record.mode == "joint":
        return joint_sampling_of(CutProblem.of(plan), budget)
    lean = any(tensor.lean for tensor in record.sources)
    return enumerated_sampling_of(CutProblem.of(plan), budget, lean=lean)


def shots_fingerprint(
    plan: ShotsPlan, sampling: Sampling, engine_spec: EngineSpec
) -> dict[str, str]:
    """Return the fingerprint of a run with shots."""
    return {
        **fingerprint_of(plan, sampling.cut),
        "seed": str(plan.config["seed"]),
        "precision": plan.limits.precision,
        "noise": digest(engine_spec.noise) if engine_spec.noise else "none",
        "backend": engine_spec.backend or engine_spec.name,
    }


def full_tensor(tensor: SampledTensor, compact: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return a tensor in the form of exact runs, shape (strings, D, D).

    D is the product of the ports' dimensions; every port has its own index, including ports that
    share the settings of another.

    Args:
        tensor: The subcircuit and its variants.
        compact: The tensor, shape (strings, index pairs of each port with its own settings).
    """
    sizes = [port.dimension for port in tensor.ports]
    split = compact.reshape(len(compact), *(d for size in sizes for d in (size, size)))
    kets = [1 + 2 * position for position in range(len(sizes))]
    matrix = split.transpose(0, *kets, *(1 + ket for ket in kets))
    matrix = matrix.reshape(len(compact), int(np.prod(sizes)), -1)
    rows = index_of_settings(tensor.subcircuit.ports)
    return matrix[:, rows[:, None], rows]


def tensors_of(
    sampling: Sampling, rounds: Sequence[Any]
) -> tuple[NDArray[np.complex128] | None, ...]:
    """Return the estimated tensor of every subcircuit; None where joint samples give none."""
    if sampling.mode == "joint" or sampling.reconstruction is None:
        return tuple(None for _ in sampling.cut.subcircuits)
    estimator = Estimator(sampling.sources, sampling.reconstruction, list(rounds))
    full = [
        full_tensor(tensor, compact)
        for tensor, compact in zip(sampling.sources.tensors, estimator.tensors(), strict=True)
    ]
    return tuple(
        None if source is None else full[source][string_indices]
        for source, string_indices in zip(
            sampling.sources.uses, sampling.sources.string_indices, strict=True
        )
    )
